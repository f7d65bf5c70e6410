#include "format/torch_bin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/pickle.h"
#include "format/zip_directory.h"

typedef struct reader {
  fg_io *io;
  fg_file *file;
  const char *path;
  fg_zip zip;
  const char *top; // the archive's one folder
  size_t top_length;
  fg_tensor_list *list;
} reader;

// The entry TOP/NAME, or NULL.
static const fg_zip_entry *find_entry(const reader *r, const char *name, size_t name_length) {
  char path[512];
  if (r->top_length + 1 + name_length > sizeof path) return NULL;
  memcpy(path, r->top, r->top_length);
  path[r->top_length] = '/';
  memcpy(path + r->top_length + 1, name, name_length);
  return fg_zip_find(&r->zip, path, r->top_length + 1 + name_length);
}

// The archive's folder is the one that holds data.pkl; its name varies.
static fg_status find_top(reader *r, const fg_zip_entry **pickle, fg_error *err) {
  static const char suffix[] = "/data.pkl";
  const size_t suffix_length = sizeof suffix - 1;
  *pickle = NULL;
  for (size_t i = 0; i < r->zip.count; i++) {
    const fg_zip_entry *e = &r->zip.entries[i];
    if (e->name_length <= suffix_length) continue;
    size_t top = e->name_length - suffix_length;
    if (memcmp(e->name + top, suffix, suffix_length) != 0 || memchr(e->name, '/', top)) continue;
    if (*pickle) return fg_fail(err, FG_CORRUPT, "%s: the archive has two data.pkl", r->path);
    *pickle = e;
    r->top = e->name;
    r->top_length = top;
  }
  if (*pickle) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "%s: the archive has no data.pkl; it was not written by torch.save",
                 r->path);
}

static fg_status check_byte_order(reader *r, fg_error *err) {
  char order[8] = {0};
  uint64_t offset;
  const fg_zip_entry *e = find_entry(r, "byteorder", strlen("byteorder"));
  if (!e) return FG_OK; // older than the entry, and then little
  fg_status status = fg_zip_locate(&r->zip, e, r->io, r->file, &offset, err);
  if (status == FG_OK && e->bytes < sizeof order) {
    status = fg_io_read_now(r->io, r->file, offset, order, (size_t)e->bytes, err);
  }
  if (status || strcmp(order, "little") == 0) return status;
  return fg_fail(err, FG_UNSUPPORTED, "%s: byte order is \"%s\", only \"little\" can be read", r->path,
                 strcmp(order, "big") == 0 ? "big" : "?");
}

static fg_status fail_tensor(const reader *r, const fg_pickle_tensor *t, fg_error *err, fg_status status,
                             const char *what) {
  return fg_fail(err, status, "%s: tensor \"%s\" %s", r->path, t->name, what);
}

// Every element of the view lies within the storage, and there are no more of them than it has.
static fg_status check_extent(const reader *r, const fg_pickle_tensor *t, uint64_t elements, fg_error *err) {
  uint64_t last = t->offset;
  bool ok = t->offset <= t->storage_elements;
  for (uint32_t i = 0; i < t->dims && elements > 0; i++) {
    uint64_t step;
    ok = ok && fg_mul_u64(t->shape[i] - 1, t->stride[i], &step) && fg_add_u64(last, step, &last);
  }
  if (!ok || (elements > 0 && last >= t->storage_elements)) {
    return fail_tensor(r, t, err, FG_CORRUPT, "reaches beyond the end of its storage");
  }
  if (elements > t->storage_elements) {
    return fail_tensor(r, t, err, FG_UNSUPPORTED, "is an expanded view that repeats its storage");
  }
  return FG_OK;
}

static fg_status add_tensor(void *user, const fg_pickle_tensor *t, fg_error *err) {
  reader *r = user;
  char key[256] = "data/";
  fg_checkpoint_tensor out = {.name = t->name, .dtype = t->dtype};
  uint64_t bytes, storage_bytes, storage_offset;
  const size_t element = fg_dtype_get(t->dtype)->bytes;
  fg_status status = fg_tensor_set_shape(&out, t->shape, t->dims, &bytes, r->path, err);
  if (status == FG_OK) status = check_extent(r, t, bytes / element, err);
  if (status) return status;
  if (t->key_length > sizeof key - 5)
    return fail_tensor(r, t, err, FG_CORRUPT, "has a storage of a far too long name");
  memcpy(key + 5, t->key, t->key_length);
  const fg_zip_entry *entry = find_entry(r, key, 5 + t->key_length);
  if (!entry) return fail_tensor(r, t, err, FG_CORRUPT, "has a storage that is not in the archive");
  if (!fg_dtype_bytes(t->dtype, t->storage_elements, &storage_bytes) || storage_bytes != entry->bytes) {
    return fail_tensor(r, t, err, FG_CORRUPT, "has a storage whose size differs from its archive entry's");
  }
  status = fg_zip_locate(&r->zip, entry, r->io, r->file, &storage_offset, err);
  if (status) return status;
  out.offset = storage_offset + t->offset * element;
  memcpy(out.stride, t->stride, t->dims * sizeof *out.stride);
  return fg_tensor_list_push(r->list, &out, r->path, err);
}

static fg_status read_pickle(reader *r, const fg_zip_entry *entry, fg_error *err) {
  uint64_t offset;
  if (entry->bytes > FG_MAX_PICKLE) {
    return fg_fail(err, FG_UNSUPPORTED, "%s: data.pkl has %" PRIu64 " bytes; at most %d are read", r->path,
                   entry->bytes, FG_MAX_PICKLE);
  }
  fg_status status = fg_zip_locate(&r->zip, entry, r->io, r->file, &offset, err);
  if (status) return status;
  void *pickle = malloc((size_t)entry->bytes + 1);
  if (!pickle) return fg_fail(err, FG_NO_SPACE, "%s: no memory for data.pkl", r->path);
  r->list->names = pickle;
  status = fg_io_read_now(r->io, r->file, offset, pickle, (size_t)entry->bytes, err);
  return status ? status : fg_pickle_tensors(pickle, (size_t)entry->bytes, r->path, add_tensor, r, err);
}

// What torch.save wrote before 1.6: a pickled magic number first.
static fg_status refuse_legacy(const reader *r, fg_error *err) {
  static const unsigned char legacy[] = {0x80, 0x02, 0x8a, 0x0a};
  unsigned char begin[sizeof legacy];
  if (fg_file_size(r->file) < sizeof begin) return FG_OK; // too short for a zip as well
  fg_status status = fg_io_read_now(r->io, r->file, 0, begin, sizeof begin, err);
  if (status || memcmp(begin, legacy, sizeof legacy) != 0) return status;
  return fg_fail(
      err, FG_UNSUPPORTED,
      "%s is in the format of torch before 1.6; load and save it with a newer torch, or as safetensors",
      r->path);
}

static fg_status read_file(fg_io *io, fg_file *file, void *user, fg_tensor_list *out, fg_error *err) {
  (void)user;
  reader r = {.io = io, .file = file, .path = fg_file_path(file), .list = out};
  const fg_zip_entry *pickle;
  fg_status status = refuse_legacy(&r, err);
  if (status == FG_OK) status = fg_zip_read(&r.zip, io, file, err);
  if (status) return status;
  status = find_top(&r, &pickle, err);
  if (status == FG_OK) status = check_byte_order(&r, err);
  if (status == FG_OK) status = read_pickle(&r, pickle, err);
  fg_zip_free(&r.zip);
  return status;
}

fg_status fg_torch_bin_add(fg_checkpoint *checkpoint, const char *path, fg_error *err) {
  return fg_checkpoint_files_add(checkpoint, path, read_file, NULL, err);
}
