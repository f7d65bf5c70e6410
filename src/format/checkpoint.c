#include "format/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "format/checkpoint_files.h"
#include "format/gguf_checkpoint.h"
#include "format/safetensors.h"
#include "format/shard_index.h"
#include "format/torch_bin.h"

// The formats, the preferred one first.
typedef struct format {
  const char *name;
  const char *suffix;         // of a file given directly
  const char *single, *index; // what a folder holds; NULL = not looked for
  fg_status (*add)(fg_checkpoint *checkpoint, const char *path, fg_error *err);
} format;

static const format formats[] = {
    {"safetensors", ".safetensors", "model.safetensors", "model.safetensors.index.json", fg_safetensors_add},
    {"pytorch_bin", ".bin", "pytorch_model.bin", "pytorch_model.bin.index.json", fg_torch_bin_add},
    {"gguf", ".gguf", NULL, NULL, fg_gguf_checkpoint_add},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static bool join(char out[static PATH_MAX], const char *folder, const char *name) {
  int n = snprintf(out, PATH_MAX, "%s/%s", folder, name);
  return n > 0 && n < PATH_MAX;
}

static bool exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

// Every tensor of the index is where the index says.
static fg_status check_index(const fg_checkpoint *checkpoint, const fg_shard_index *index, fg_error *err) {
  for (size_t i = 0; i < index->count; i++) {
    const fg_shard_entry *e = &index->entries[i];
    const fg_checkpoint_tensor *t = fg_checkpoint_find(checkpoint, e->tensor);
    if (!t || t->file != e->shard) {
      return fg_fail(err, FG_CORRUPT, "tensor \"%.128s\" is not in %.128s, where the index says it is",
                     e->tensor, e->file);
    }
  }
  return FG_OK;
}

static fg_status add_shards(fg_checkpoint *checkpoint, const format *f, const char *folder,
                            const fg_shard_index *index, fg_error *err) {
  char path[PATH_MAX];
  fg_status status = FG_OK;
  for (size_t i = 0; i < index->count && status == FG_OK; i++) {
    if (i > 0 && index->entries[i].shard == index->entries[i - 1].shard) continue;
    if (!join(path, folder, index->entries[i].file))
      return fg_fail(err, FG_INVALID, "%s: path too long", folder);
    status = f->add(checkpoint, path, err);
  }
  if (status == FG_OK) status = fg_checkpoint_files_finish(checkpoint, err);
  return status ? status : check_index(checkpoint, index, err);
}

static fg_status add_indexed(fg_checkpoint *checkpoint, const format *f, const char *folder,
                             const char *index_path, fg_error *err) {
  fg_shard_index index;
  fg_status status = fg_shard_index_read(&index, index_path, err);
  if (status) return status;
  status = add_shards(checkpoint, f, folder, &index, err);
  fg_shard_index_free(&index);
  return status;
}

static fg_status add_single(fg_checkpoint *checkpoint, const format *f, const char *path, fg_error *err) {
  fg_status status = f->add(checkpoint, path, err);
  return status ? status : fg_checkpoint_files_finish(checkpoint, err);
}

// What to open: a file of the format, or the index of a folder.
typedef struct source {
  const format *format;
  bool indexed;
  char path[PATH_MAX];
} source;

static fg_status find_in_folder(source *out, const char *folder, fg_error *err) {
  for (size_t i = 0; i < FORMATS; i++) {
    out->format = &formats[i];
    out->indexed = false;
    if (formats[i].single && join(out->path, folder, formats[i].single) && exists(out->path)) return FG_OK;
    out->indexed = true;
    if (formats[i].index && join(out->path, folder, formats[i].index) && exists(out->path)) return FG_OK;
  }
  return fg_fail(
      err, FG_NOT_FOUND,
      "%s holds no weights: looked for model.safetensors and pytorch_model.bin and their index files "
      "(a .gguf file is given by its own path)",
      folder);
}

static fg_status find_source(source *out, const char *path, fg_error *err) {
  struct stat st;
  if (stat(path, &st) != 0) {
    return fg_fail(err, errno == ENOENT || errno == ENOTDIR ? FG_NOT_FOUND : FG_IO, "%s: %s", path,
                   strerror(errno));
  }
  if (S_ISDIR(st.st_mode)) return find_in_folder(out, path, err);
  size_t length = strlen(path);
  for (size_t i = 0; i < FORMATS; i++) {
    size_t suffix = strlen(formats[i].suffix);
    if (length < suffix || strcmp(path + length - suffix, formats[i].suffix) != 0) continue;
    if (length >= sizeof out->path) return fg_fail(err, FG_INVALID, "%s: path too long", path);
    out->format = &formats[i];
    out->indexed = false;
    memcpy(out->path, path, length + 1);
    return FG_OK;
  }
  return fg_fail(err, FG_UNSUPPORTED, "%s is neither a folder nor a .safetensors, .bin or .gguf file", path);
}

fg_status fg_checkpoint_open(fg_checkpoint **out, const char *path, fg_io *io, fg_error *err) {
  source from;
  fg_checkpoint *checkpoint;
  fg_status status = find_source(&from, path, err);
  if (status == FG_OK) status = fg_checkpoint_files_create(&checkpoint, from.format->name, io, err);
  if (status) return status;
  status = from.indexed ? add_indexed(checkpoint, from.format, path, from.path, err)
                        : add_single(checkpoint, from.format, from.path, err);
  if (status) {
    fg_checkpoint_destroy(checkpoint);
    return status;
  }
  *out = checkpoint;
  return FG_OK;
}

void fg_checkpoint_destroy(fg_checkpoint *checkpoint) {
  if (checkpoint) checkpoint->ops->destroy(checkpoint);
}

const fg_checkpoint_tensor *fg_checkpoint_find(const fg_checkpoint *checkpoint, const char *name) {
  size_t low = 0, high = checkpoint->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(name, checkpoint->tensors[middle].name);
    if (order == 0) return &checkpoint->tensors[middle];
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

fg_status fg_checkpoint_read_rows(fg_checkpoint *checkpoint, const fg_checkpoint_tensor *tensor, uint64_t row,
                                  uint64_t count, void *out, fg_error *err) {
  if (!fg_range_ok(row, count, tensor->rows)) {
    return fg_fail(err, FG_INVALID,
                   "tensor \"%s\" has %" PRIu64 " rows; rows %" PRIu64 " + %" PRIu64 " were asked for",
                   tensor->name, tensor->rows, row, count);
  }
  return checkpoint->ops->read_rows(checkpoint, tensor, row, count, out, err);
}

fg_status fg_checkpoint_read_f32(fg_checkpoint *checkpoint, const fg_checkpoint_tensor *tensor, uint64_t row,
                                 uint64_t count, float *out, fg_error *err) {
  const fg_dtype_info *type = fg_dtype_get(tensor->dtype);
  uint64_t bytes, rows_bytes;
  if (checkpoint->ops->read_f32) return checkpoint->ops->read_f32(checkpoint, tensor, row, count, out, err);
  if (!type->to_f32 || !fg_dtype_bytes(tensor->dtype, tensor->columns, &bytes)) {
    return fg_fail(err, FG_UNSUPPORTED, "tensor %s: values of type %s cannot be used", tensor->name,
                   type->name);
  }
  char *raw = fg_mul_u64(count, bytes, &rows_bytes) ? malloc(rows_bytes + 1) : NULL;
  if (!raw)
    return fg_fail(err, FG_NO_SPACE, "tensor %s: no memory for %" PRIu64 " rows", tensor->name, count);
  fg_status status = fg_checkpoint_read_rows(checkpoint, tensor, row, count, raw, err);
  if (!status) type->to_f32(raw, out, (size_t)(count * tensor->columns));
  free(raw);
  return status;
}
