// pickle.h: the tensors that a torch pickle describes, and nothing else that it could do.
//
// A pickle is a program for a stack machine whose full instruction set can call anything. This machine
// knows the instructions that torch.save writes for a dictionary of tensors and a fixed list of names
// that may be called; it makes descriptions of tensors out of them, ignores plain values beside them,
// and refuses everything else by name. Nothing is executed and no object is made.
//
// Memory: a few times the pickle's length, fixed before the first instruction.
#ifndef FG_FORMAT_PICKLE_H
#define FG_FORMAT_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "format/checkpoint.h"

// A view of a storage: elements `offset` + sum of index x stride. Numbers are as the file has them.
typedef struct fg_pickle_tensor {
  const char *name; // NUL-terminated, in the pickle's bytes
  fg_dtype dtype;
  const char *key; // of the storage (not NUL-terminated)
  size_t key_length;
  uint64_t storage_elements;
  uint64_t offset;
  uint32_t dims;
  uint64_t shape[FG_MAX_DIMS], stride[FG_MAX_DIMS];
} fg_pickle_tensor;

typedef fg_status fg_pickle_visit(void *user, const fg_pickle_tensor *tensor, fg_error *err);

enum { FG_MAX_PICKLE = 16 * 1024 * 1024 };

// Calls visit for every tensor of the dictionary in the pickle, or of the one dictionary of tensors in
// it ({"state_dict": {...}}). `pickle` is changed: names are ended with a NUL in place, and must
// outlive what the caller keeps of them. bytes <= FG_MAX_PICKLE. `where` names it in messages.
fg_status fg_pickle_tensors(void *pickle, size_t bytes, const char *where, fg_pickle_visit *visit, void *user,
                            fg_error *err);

#endif
