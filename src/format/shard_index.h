// shard_index.h: model.safetensors.index.json and pytorch_model.bin.index.json: which file holds
// which tensor.
#ifndef FG_FORMAT_SHARD_INDEX_H
#define FG_FORMAT_SHARD_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_shard_entry {
  const char *tensor;
  const char *file; // a plain name in the index's own folder
  uint32_t shard;   // number of the file, in order of names
} fg_shard_entry;

typedef struct fg_shard_index {
  fg_shard_entry *entries; // sorted by file
  size_t count;
  char *text; // what the strings point into
} fg_shard_index;

// FG_CORRUPT also for a tensor that is listed twice and for a file name that leaves the folder.
fg_status fg_shard_index_read(fg_shard_index *out, const char *path, fg_error *err);
void fg_shard_index_free(fg_shard_index *index);

#endif
