#include "format/checkpoint_files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

typedef struct part {
  fg_file *file;
  void *names; // what the names of its tensors point into
} part;

typedef struct files {
  fg_checkpoint base;
  fg_checkpoint_ops ops;
  fg_io *io;
  part *parts;
  uint32_t part_count;
} files;

// ---- lists of tensors ------------------------------------------------------------------------------

fg_status fg_tensor_list_push(fg_tensor_list *list, const fg_checkpoint_tensor *tensor, const char *path,
                              fg_error *err) {
  if (list->count == FG_MAX_TENSORS) {
    return fg_fail(err, FG_UNSUPPORTED, "%s: more than %d tensors in one file", path, FG_MAX_TENSORS);
  }
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    fg_checkpoint_tensor *grown = realloc(list->items, capacity * sizeof *grown);
    if (!grown) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu tensors", path, capacity);
    list->items = grown;
    list->capacity = capacity;
  }
  list->items[list->count++] = *tensor;
  return FG_OK;
}

void fg_tensor_list_free(fg_tensor_list *list) {
  free(list->items);
  free(list->names);
  *list = (fg_tensor_list){0};
}

fg_status fg_tensor_set_shape(fg_checkpoint_tensor *tensor, const uint64_t *shape, uint32_t dims,
                              uint64_t *bytes, const char *path, fg_error *err) {
  uint64_t elements = 1, rows = 1;
  bool ok = true;
  tensor->dims = dims;
  for (uint32_t i = dims; i-- > 0;) {
    tensor->shape[i] = shape[i];
    tensor->stride[i] = elements;
    ok = ok && fg_mul_u64(elements, shape[i], &elements);
  }
  // An outer zero would hide an overflow of the dimensions within it.
  for (uint32_t i = 0; i + 1 < dims; i++) ok = ok && fg_mul_u64(rows, shape[i], &rows);
  tensor->rows = rows;
  tensor->columns = dims ? shape[dims - 1] : 1;
  uint64_t row_bytes;
  if (!ok || !fg_dtype_bytes(tensor->dtype, elements, bytes) ||
      !fg_dtype_bytes(tensor->dtype, tensor->columns, &row_bytes)) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: tensor \"%s\": its shape overflows 64 bits or its rows are no whole blocks of %s",
                   path, tensor->name, fg_dtype_get(tensor->dtype)->name);
  }
  return FG_OK;
}

// ---- reading ---------------------------------------------------------------------------------------

static bool is_contiguous(const fg_checkpoint_tensor *t) {
  uint64_t expected = 1;
  for (uint32_t i = t->dims; i-- > 0;) {
    if (t->shape[i] != 1 && t->stride[i] != expected) return false;
    expected *= t->shape[i];
  }
  return true;
}

fg_checkpoint_tensor fg_tensor_columns(const fg_checkpoint_tensor *tensor, uint64_t first, uint64_t count) {
  fg_checkpoint_tensor view = *tensor;
  const uint32_t last = view.dims - 1;
  view.offset += first * view.stride[last] * fg_dtype_get(view.dtype)->bytes;
  view.shape[last] = view.columns = count;
  return view;
}

bool fg_tensor_run(const fg_checkpoint_tensor *tensor, uint64_t first, uint64_t count,
                   fg_checkpoint_tensor *out) {
  *out = (fg_checkpoint_tensor){.name = tensor->name,
                                .dtype = tensor->dtype,
                                .dims = 1,
                                .shape = {count},
                                .rows = 1,
                                .columns = count,
                                .file = tensor->file,
                                .offset = tensor->offset + first * fg_dtype_get(tensor->dtype)->bytes,
                                .stride = {1}};
  return is_contiguous(tensor);
}

// A part of the file in memory, moved where the next element is asked for.
enum { WINDOW_BYTES = 256 * 1024 };
typedef struct window {
  files *self;
  fg_file *file;
  unsigned char *data;
  uint64_t begin, end;
} window;

// The `bytes` at `offset`; when they are not in the window, it moves there and reaches up to `until`.
static fg_status window_get(window *w, uint64_t offset, size_t bytes, uint64_t until, const void **out,
                            fg_error *err) {
  if (offset < w->begin || offset + bytes > w->end) {
    uint64_t end = until - offset > WINDOW_BYTES ? offset + WINDOW_BYTES : until;
    w->begin = w->end = 0;
    fg_status status = fg_io_read_now(w->self->io, w->file, offset, w->data, (size_t)(end - offset), err);
    if (status) return status;
    w->begin = offset;
    w->end = end;
  }
  *out = w->data + (offset - w->begin);
  return FG_OK;
}

// A matrix in the file with any two strides (in bytes).
typedef struct block {
  uint64_t offset;
  uint64_t rows, columns, row_stride, column_stride;
  size_t element;
} block;

// Walks the block with the smaller stride inside, so that the window moves through the file in order.
static fg_status gather_elements(window *w, const block *b, unsigned char *out, fg_error *err) {
  bool rows_inside = b->row_stride < b->column_stride;
  uint64_t outer = rows_inside ? b->columns : b->rows, inner = rows_inside ? b->rows : b->columns;
  uint64_t outer_stride = rows_inside ? b->column_stride : b->row_stride;
  uint64_t inner_stride = rows_inside ? b->row_stride : b->column_stride;
  size_t outer_step = rows_inside ? b->element : (size_t)b->columns * b->element;
  size_t inner_step = rows_inside ? (size_t)b->columns * b->element : b->element;
  uint64_t inner_span = (inner - 1) * inner_stride + b->element;
  uint64_t block_end = b->offset + (outer - 1) * outer_stride + inner_span;
  for (uint64_t o = 0; o < outer; o++) {
    uint64_t at = b->offset + o * outer_stride;
    // Runs that lie far apart are read one by one, without what lies between them.
    uint64_t until = outer_stride > WINDOW_BYTES ? at + inner_span : block_end;
    unsigned char *to = out + o * outer_step;
    for (uint64_t i = 0; i < inner; i++, at += inner_stride, to += inner_step) {
      const void *from;
      fg_status status = window_get(w, at, b->element, until, &from, err);
      if (status) return status;
      memcpy(to, from, b->element);
    }
  }
  return FG_OK;
}

static fg_status gather_block(window *w, const block *b, unsigned char *out, fg_error *err) {
  if (b->column_stride != b->element) return gather_elements(w, b, out, err);
  size_t row_bytes = (size_t)b->columns * b->element;
  for (uint64_t r = 0; r < b->rows; r++) {
    fg_status status = fg_io_read_now(w->self->io, w->file, b->offset + r * b->row_stride,
                                      out + r * row_bytes, row_bytes, err);
    if (status) return status;
  }
  return FG_OK;
}

// Offset in elements of row `row`: the row number is a number in the base of the leading dimensions.
static uint64_t row_element(const fg_checkpoint_tensor *t, uint64_t row) {
  uint64_t element = 0;
  for (uint32_t i = t->dims - 1; i-- > 0;) {
    element += row % t->shape[i] * t->stride[i];
    row /= t->shape[i];
  }
  return element;
}

// Rows of a tensor with strides: one block for every run of rows that share all outer dimensions.
static fg_status gather_rows(files *self, const fg_checkpoint_tensor *t, uint64_t row, uint64_t count,
                             unsigned char *out, fg_error *err) {
  const uint64_t element = fg_dtype_get(t->dtype)->bytes;
  window w = {.self = self, .file = self->parts[t->file].file, .data = malloc(WINDOW_BYTES)};
  if (!w.data) return fg_fail(err, FG_NO_SPACE, "no memory for a window of %d bytes", WINDOW_BYTES);
  fg_status status = FG_OK;
  while (count > 0 && status == FG_OK) {
    uint64_t inner = t->dims > 1 ? t->shape[t->dims - 2] : 1;
    uint64_t left = inner - row % inner;
    block b = {
        .offset = t->offset + row_element(t, row) * element,
        .rows = left < count ? left : count,
        .columns = t->columns,
        .row_stride = (t->dims > 1 ? t->stride[t->dims - 2] : 0) * element,
        .column_stride = t->stride[t->dims - 1] * element,
        .element = (size_t)element,
    };
    status = gather_block(&w, &b, out, err);
    out += b.rows * b.columns * element;
    row += b.rows;
    count -= b.rows;
  }
  free(w.data);
  return status;
}

static bool place(const fg_checkpoint *checkpoint, const fg_checkpoint_tensor *t, uint64_t row,
                  uint64_t count, fg_checkpoint_place *out) {
  const files *self = (const files *)checkpoint;
  uint64_t row_bytes;
  if (!is_contiguous(t) || !fg_dtype_bytes(t->dtype, t->columns, &row_bytes)) return false;
  *out = (fg_checkpoint_place){
      .file = self->parts[t->file].file, .offset = t->offset + row * row_bytes, .bytes = count * row_bytes};
  return true;
}

static fg_status read_rows(fg_checkpoint *checkpoint, const fg_checkpoint_tensor *t, uint64_t row,
                           uint64_t count, void *out, fg_error *err) {
  files *self = (files *)checkpoint;
  uint64_t row_bytes;
  if (!fg_dtype_bytes(t->dtype, t->columns, &row_bytes)) {
    return fg_fail(err, FG_INTERNAL, "tensor \"%s\" has rows of broken blocks", t->name);
  }
  if (row_bytes == 0 || count == 0) return FG_OK;
  fg_file *file = self->parts[t->file].file;
  fg_status status = is_contiguous(t) ? fg_io_read_now(self->io, file, t->offset + row * row_bytes, out,
                                                       (size_t)(count * row_bytes), err)
                                      : gather_rows(self, t, row, count, out, err);
  return status
             ? fg_fail_prefix(err, "tensor \"%s\", rows %" PRIu64 " to %" PRIu64, t->name, row, row + count)
             : FG_OK;
}

// ---- making ----------------------------------------------------------------------------------------

static void destroy(fg_checkpoint *checkpoint) {
  files *self = (files *)checkpoint;
  for (uint32_t i = 0; i < self->part_count; i++) {
    fg_file_close(self->parts[i].file);
    free(self->parts[i].names);
  }
  free(self->parts);
  free(self->base.tensors);
  free(self);
}

fg_status fg_checkpoint_files_create(fg_checkpoint **out, const char *format, fg_io *io, fg_error *err) {
  files *self = calloc(1, sizeof *self);
  if (!self) return fg_fail(err, FG_NO_SPACE, "no memory to open a checkpoint");
  self->ops =
      (fg_checkpoint_ops){.format = format, .read_rows = read_rows, .place = place, .destroy = destroy};
  self->base.ops = &self->ops;
  self->io = io;
  *out = &self->base;
  return FG_OK;
}

// Room for `more` tensors behind those that are there.
static bool grow_tensors(files *self, size_t more) {
  size_t count = self->base.count + more;
  if (more == 0) return true;
  fg_checkpoint_tensor *grown = realloc(self->base.tensors, count * sizeof *grown);
  if (grown) self->base.tensors = grown;
  return grown != NULL;
}

// Takes over what the list holds, and the file. The first file's list becomes the checkpoint's.
static fg_status append_part(files *self, fg_file *file, fg_tensor_list *list, fg_error *err) {
  part *parts = realloc(self->parts, (self->part_count + 1) * sizeof *parts);
  if (parts) self->parts = parts;
  for (size_t i = 0; i < list->count; i++) list->items[i].file = self->part_count;
  bool ok = parts != NULL;
  if (ok && self->base.count == 0) {
    free(self->base.tensors); // of a first part without tensors
    self->base.tensors = list->items;
    list->items = NULL;
  } else if (ok) {
    ok = grow_tensors(self, list->count);
    if (ok && list->count) {
      memcpy(self->base.tensors + self->base.count, list->items, list->count * sizeof *list->items);
    }
  }
  if (!ok) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu tensors", fg_file_path(file), list->count);
  self->base.count += list->count;
  parts[self->part_count++] = (part){file, list->names};
  list->names = NULL;
  return FG_OK;
}

fg_status fg_checkpoint_files_add(fg_checkpoint *checkpoint, const char *path, fg_checkpoint_reader *reader,
                                  void *user, fg_error *err) {
  files *self = (files *)checkpoint;
  fg_file *file;
  fg_tensor_list list = {0};
  fg_status status = fg_file_open(&file, path, FG_FILE_READ, err);
  if (status) return status;
  status = reader(self->io, file, user, &list, err);
  if (status == FG_OK) status = append_part(self, file, &list, err);
  if (status) fg_file_close(file);
  fg_tensor_list_free(&list);
  return status;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const fg_checkpoint_tensor *)a)->name, ((const fg_checkpoint_tensor *)b)->name);
}

fg_status fg_checkpoint_files_finish(fg_checkpoint *checkpoint, fg_error *err) {
  if (checkpoint->count == 0) return FG_OK;
  qsort(checkpoint->tensors, checkpoint->count, sizeof *checkpoint->tensors, by_name);
  for (size_t i = 1; i < checkpoint->count; i++) {
    const fg_checkpoint_tensor *a = &checkpoint->tensors[i - 1], *b = &checkpoint->tensors[i];
    if (strcmp(a->name, b->name) == 0) {
      return fg_fail(err, FG_CORRUPT, "tensor \"%s\" stands twice: in %s and in %s", a->name,
                     fg_checkpoint_files_path(checkpoint, a), fg_checkpoint_files_path(checkpoint, b));
    }
  }
  return FG_OK;
}

const char *fg_checkpoint_files_path(const fg_checkpoint *checkpoint, const fg_checkpoint_tensor *tensor) {
  return fg_file_path(((const files *)checkpoint)->parts[tensor->file].file);
}
