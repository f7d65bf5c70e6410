// pickle_machine.h: the stack machine behind pickle.h, and what it knows when a pickle has been run.
//
// Values are numbers: a tensor, a storage or a dictionary is a row of a pool, a tuple a range of cells,
// a string a range of the pickle's bytes. Pools have a fixed size, so that a pickle cannot make the
// machine grow.
#ifndef FG_FORMAT_PICKLE_MACHINE_H
#define FG_FORMAT_PICKLE_MACHINE_H

#include <assert.h>
#include <stdbool.h>

#include "format/pickle.h"

typedef enum fg_pickle_kind {
  FG_PICKLE_OTHER, // a value that no tensor is made of: None, a bool, a float, a negative or huge integer
  FG_PICKLE_MARK,
  FG_PICKLE_INT,
  FG_PICKLE_STRING,  // bytes [first, first + count) of the pickle
  FG_PICKLE_TUPLE,   // cells [first, first + count)
  FG_PICKLE_LIST,    // contents are forgotten
  FG_PICKLE_DICT,    // number of a dictionary
  FG_PICKLE_GLOBAL,  // row of the table of names
  FG_PICKLE_STORAGE, // number of a storage
  FG_PICKLE_TENSOR,  // number of a tensor
} fg_pickle_kind;

// Eight bytes, as there may be one for every few bytes of pickle.
typedef struct fg_pickle_value {
  uint64_t kind : 8;
  uint64_t number : 56;
} fg_pickle_value;
static_assert(sizeof(fg_pickle_value) == 8, "a value is one word");

enum { FG_PICKLE_RANGE_BITS = 28 };
static_assert(FG_MAX_PICKLE <= 1 << FG_PICKLE_RANGE_BITS, "an offset in the pickle fits half a value");

static inline size_t fg_pickle_first(fg_pickle_value v) {
  return (size_t)(v.number >> FG_PICKLE_RANGE_BITS);
}
static inline size_t fg_pickle_count(fg_pickle_value v) {
  return (size_t)(v.number & ((1u << FG_PICKLE_RANGE_BITS) - 1));
}

typedef struct fg_pickle_storage {
  fg_dtype dtype;
  fg_pickle_value key;
  uint64_t elements;
} fg_pickle_storage;

// A view of a storage.
typedef struct fg_pickle_view {
  uint32_t storage, dims;
  uint64_t offset;
  uint32_t shape, stride; // cells
} fg_pickle_view;

// An entry of a dictionary that matters: a tensor, or another dictionary.
typedef struct fg_pickle_item {
  uint32_t dict;
  fg_pickle_value key, value;
} fg_pickle_item;

// A stack of things with a place for every one that the pickle could make, or for the cap.
typedef struct fg_pickle_pool {
  void *data;
  size_t count, capacity;
} fg_pickle_pool;

typedef struct fg_pickle_machine {
  unsigned char *pickle;
  size_t bytes, at;
  const char *where;
  bool stopped;
  const unsigned char *arg; // of the instruction that runs
  uint32_t operand;
  fg_pickle_pool stack, memo, cells; // value
  fg_pickle_pool storages, tensors;  // storage, tensor
  fg_pickle_pool items;              // item
  fg_pickle_pool dict_tensors;       // uint32_t: tensors in each dictionary
} fg_pickle_machine;

// `pickle` is borrowed until the machine is freed.
fg_status fg_pickle_machine_init(fg_pickle_machine *m, void *pickle, size_t bytes, const char *where,
                                 fg_error *err);
void fg_pickle_machine_free(fg_pickle_machine *m);
// Runs the whole pickle: then its one value is the stack's first.
fg_status fg_pickle_machine_run(fg_pickle_machine *m, fg_error *err);
// A message with the place in the pickle.
fg_status fg_pickle_fail(const fg_pickle_machine *m, fg_error *err, fg_status status, const char *what);

#endif
