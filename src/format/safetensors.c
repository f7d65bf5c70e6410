#include "format/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/json_scan.h"

// The limit of the format's own reader.
enum { LENGTH_BYTES = 8, MAX_HEADER = 100 * 1000 * 1000 };

static const struct {
  const char *name;
  fg_dtype dtype;
} dtypes[] = {
    {"F32", FG_F32},         {"F16", FG_F16},   {"BF16", FG_BF16},       {"F64", FG_F64},
    {"I8", FG_I8},           {"I16", FG_I16},   {"I32", FG_I32},         {"I64", FG_I64},
    {"U8", FG_U8},           {"BOOL", FG_BOOL}, {"F8_E4M3", FG_F8_E4M3}, {"F8_E5M2", FG_F8_E5M2},
    {"F8_E8M0", FG_F8_E8M0},
};

// One entry of the header as it is written.
typedef struct entry {
  char *name, *dtype;
  uint64_t shape[FG_MAX_DIMS], begin, end;
  uint32_t dims;
  bool has_shape, has_offsets;
} entry;

typedef struct reader {
  fg_json_scan scan;
  uint64_t data_begin, data_bytes;
  fg_tensor_list *list;
  const char *path;
} reader;

static fg_status parse_dtype(reader *r, const entry *e, fg_dtype *out, fg_error *err) {
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    if (strcmp(e->dtype, dtypes[i].name) == 0) {
      *out = dtypes[i].dtype;
      return FG_OK;
    }
  }
  return fg_fail(err, FG_UNSUPPORTED, "%s: tensor \"%s\" has type %.32s, which this version cannot read",
                 r->path, e->name, e->dtype);
}

static fg_status parse_shape(reader *r, entry *e, fg_error *err) {
  bool more;
  fg_status status = fg_scan_take(&r->scan, '[', err);
  while (status == FG_OK) {
    status = fg_scan_next(&r->scan, e->dims, ']', &more, err);
    if (status || !more) break;
    if (e->dims == FG_MAX_DIMS) {
      return fg_fail(err, FG_UNSUPPORTED, "%s: tensor \"%s\" has more than %d dimensions", r->path, e->name,
                     FG_MAX_DIMS);
    }
    status = fg_scan_u64(&r->scan, &e->shape[e->dims], err);
    e->dims++;
  }
  e->has_shape = true;
  return status;
}

static fg_status parse_offsets(reader *r, entry *e, fg_error *err) {
  fg_status status = fg_scan_take(&r->scan, '[', err);
  if (status == FG_OK) status = fg_scan_u64(&r->scan, &e->begin, err);
  if (status == FG_OK) status = fg_scan_take(&r->scan, ',', err);
  if (status == FG_OK) status = fg_scan_u64(&r->scan, &e->end, err);
  if (status == FG_OK) status = fg_scan_take(&r->scan, ']', err);
  e->has_offsets = true;
  return status;
}

static fg_status parse_field(reader *r, entry *e, fg_error *err) {
  char *key;
  fg_status status = fg_scan_key(&r->scan, &key, err);
  if (status) return status;
  bool is_dtype = strcmp(key, "dtype") == 0, is_shape = strcmp(key, "shape") == 0;
  bool is_offsets = strcmp(key, "data_offsets") == 0;
  if ((is_dtype && e->dtype) || (is_shape && e->has_shape) || (is_offsets && e->has_offsets)) {
    return fg_fail(err, FG_CORRUPT, "%s: tensor \"%s\" has \"%s\" twice", r->path, e->name, key);
  }
  if (is_dtype) return fg_scan_string(&r->scan, &e->dtype, err);
  if (is_shape) return parse_shape(r, e, err);
  if (is_offsets) return parse_offsets(r, e, err);
  return fg_scan_skip(&r->scan, err);
}

// Checks what an entry says against itself and the size of the data, and keeps it.
static fg_status add_entry(reader *r, const entry *e, fg_error *err) {
  fg_checkpoint_tensor t = {.name = e->name};
  uint64_t bytes;
  if (!e->dtype || !e->has_shape || !e->has_offsets) {
    return fg_fail(err, FG_CORRUPT, "%s: tensor \"%s\" lacks \"%s\"", r->path, e->name,
                   !e->dtype       ? "dtype"
                   : !e->has_shape ? "shape"
                                   : "data_offsets");
  }
  fg_status status = parse_dtype(r, e, &t.dtype, err);
  if (status == FG_OK) status = fg_tensor_set_shape(&t, e->shape, e->dims, &bytes, r->path, err);
  if (status) return status;
  if (e->begin > e->end || e->end > r->data_bytes) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: tensor \"%s\" lies at [%" PRIu64 ", %" PRIu64 "), outside of the %" PRIu64
                   " bytes of data",
                   r->path, e->name, e->begin, e->end, r->data_bytes);
  }
  if (e->end - e->begin != bytes) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: tensor \"%s\" has %" PRIu64 " bytes, its shape and type need %" PRIu64, r->path,
                   e->name, e->end - e->begin, bytes);
  }
  t.offset = r->data_begin + e->begin;
  return fg_tensor_list_push(r->list, &t, r->path, err);
}

static fg_status parse_entry(reader *r, char *name, fg_error *err) {
  entry e = {.name = name};
  bool more;
  if (strlen(name) > FG_MAX_TENSOR_NAME) {
    return fg_fail(err, FG_UNSUPPORTED, "%s: a tensor name of more than %d bytes", r->path,
                   FG_MAX_TENSOR_NAME);
  }
  fg_status status = fg_scan_take(&r->scan, '{', err);
  for (size_t i = 0; status == FG_OK; i++) {
    status = fg_scan_next(&r->scan, i, '}', &more, err);
    if (status || !more) break;
    status = parse_field(r, &e, err);
  }
  return status ? status : add_entry(r, &e, err);
}

// "__metadata__": strings by name, for people.
static fg_status skip_metadata(reader *r, fg_error *err) {
  char *ignored;
  bool more;
  fg_status status = fg_scan_take(&r->scan, '{', err);
  for (size_t i = 0; status == FG_OK; i++) {
    status = fg_scan_next(&r->scan, i, '}', &more, err);
    if (status || !more) break;
    status = fg_scan_key(&r->scan, &ignored, err);
    if (status == FG_OK) status = fg_scan_string(&r->scan, &ignored, err);
  }
  return status;
}

static fg_status parse_header(reader *r, fg_error *err) {
  bool more, metadata_seen = false;
  if (r->scan.text[0] != '{')
    return fg_fail(err, FG_CORRUPT, "%s: its header does not begin with '{'", r->path);
  fg_status status = fg_scan_take(&r->scan, '{', err);
  for (size_t i = 0; status == FG_OK; i++) {
    char *name;
    status = fg_scan_next(&r->scan, i, '}', &more, err);
    if (status || !more) break;
    status = fg_scan_key(&r->scan, &name, err);
    if (status) break;
    if (strcmp(name, "__metadata__") != 0) {
      status = parse_entry(r, name, err);
    } else if (metadata_seen) {
      status = fg_fail(err, FG_CORRUPT, "%s: its header has \"__metadata__\" twice", r->path);
    } else {
      metadata_seen = true;
      status = skip_metadata(r, err);
    }
  }
  return status ? status : fg_scan_end(&r->scan, err);
}

static uint64_t bytes_of(const fg_checkpoint_tensor *t) {
  uint64_t bytes = 0;
  fg_dtype_bytes(t->dtype, t->rows * t->columns, &bytes); // was checked when the entry was added
  return bytes;
}

// By place; an empty tensor stands before the one that begins where it ends.
static int by_offset(const void *a, const void *b) {
  const fg_checkpoint_tensor *x = a, *y = b;
  if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
  uint64_t x_bytes = bytes_of(x), y_bytes = bytes_of(y);
  return x_bytes < y_bytes ? -1 : x_bytes > y_bytes;
}

// Every byte of the data belongs to one tensor: no hole, no overlap, nothing behind the last.
static fg_status check_cover(const reader *r, fg_error *err) {
  fg_tensor_list *list = r->list;
  uint64_t at = r->data_begin, end = r->data_begin + r->data_bytes;
  if (list->count) qsort(list->items, list->count, sizeof *list->items, by_offset);
  for (size_t i = 0; i < list->count; i++) {
    const fg_checkpoint_tensor *t = &list->items[i];
    if (t->offset != at) {
      return fg_fail(err, FG_CORRUPT,
                     "%s: tensor \"%s\" begins at data byte %" PRIu64 ", the one before ends at %" PRIu64
                     ": %s",
                     r->path, t->name, t->offset - r->data_begin, at - r->data_begin,
                     t->offset < at ? "they overlap" : "a hole");
    }
    at += bytes_of(t);
  }
  if (at == end) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "%s: its tensors end at data byte %" PRIu64 ", the file has %" PRIu64,
                 r->path, at - r->data_begin, r->data_bytes);
}

static fg_status read_length(fg_io *io, fg_file *file, uint64_t *length, fg_error *err) {
  unsigned char raw[LENGTH_BYTES];
  const uint64_t size = fg_file_size(file);
  if (size < LENGTH_BYTES) {
    return fg_fail(err, FG_CORRUPT, "%s: %" PRIu64 " bytes are too short for a safetensors file",
                   fg_file_path(file), size);
  }
  fg_status status = fg_io_read_now(io, file, 0, raw, sizeof raw, err);
  if (status) return status;
  *length = 0;
  for (int i = LENGTH_BYTES; i-- > 0;) *length = *length << 8 | raw[i];
  if (*length < 2 || *length > MAX_HEADER || *length > size - LENGTH_BYTES) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: a header of %" PRIu64 " bytes in a file of %" PRIu64
                   " (at most %d); is this a safetensors file?",
                   fg_file_path(file), *length, size, MAX_HEADER);
  }
  return FG_OK;
}

static fg_status read_file(fg_io *io, fg_file *file, void *user, fg_tensor_list *out, fg_error *err) {
  (void)user;
  uint64_t length = 0;
  fg_status status = read_length(io, file, &length, err);
  if (status) return status;
  char *text = malloc(length);
  if (!text)
    return fg_fail(err, FG_NO_SPACE, "%s: no memory for a header of %" PRIu64 " bytes", fg_file_path(file),
                   length);
  reader r = {
      .scan = {.text = text, .length = length, .where = fg_file_path(file)},
      .data_begin = LENGTH_BYTES + length,
      .data_bytes = fg_file_size(file) - LENGTH_BYTES - length,
      .list = out,
      .path = fg_file_path(file),
  };
  out->names = text;
  status = fg_io_read_now(io, file, LENGTH_BYTES, text, length, err);
  if (status == FG_OK) status = parse_header(&r, err);
  return status ? status : check_cover(&r, err);
}

fg_status fg_safetensors_add(fg_checkpoint *checkpoint, const char *path, fg_error *err) {
  return fg_checkpoint_files_add(checkpoint, path, read_file, NULL, err);
}
