// quantised_support.h: what the tests of quantised checkpoints and adapters share: whole matrices in float32,
// and safetensors files made of a list of shapes.
#ifndef TESTS_FORMAT_QUANTISED_SUPPORT_H
#define TESTS_FORMAT_QUANTISED_SUPPORT_H

#include "checkpoint_support.h"

#include "base/text_buffer.h"
#include "format/assets.h"

static inline fg_checkpoint *open_checkpoint(const support *s, const char *path) {
  fg_checkpoint *c;
  fg_error err = {0};
  if (fg_checkpoint_open(&c, path, s->rig.io, &err)) fail_msg("%s", err.message);
  return c;
}

// All rows of a tensor as it is shown, expanded, `step` rows at a time. free()
static inline float *read_expanded(fg_checkpoint *c, const fg_checkpoint_tensor *t, uint64_t step) {
  fg_error err = {0};
  uint64_t row_bytes = 0;
  const fg_dtype_info *type = fg_dtype_get(t->dtype);
  assert_true(fg_dtype_bytes(t->dtype, t->columns, &row_bytes));
  char *raw = malloc(t->rows * row_bytes + 1);
  float *out = malloc(t->rows * t->columns * sizeof *out + 1);
  assert_true(raw && out);
  for (uint64_t row = 0; row < t->rows; row += step) {
    uint64_t count = t->rows - row < step ? t->rows - row : step;
    if (fg_checkpoint_read_rows(c, t, row, count, raw + row * row_bytes, &err)) fail_msg("%s", err.message);
  }
  type->to_f32(raw, out, t->rows * t->columns);
  free(raw);
  return out;
}

static inline const fg_checkpoint_tensor *find_tensor(const fg_checkpoint *c, const char *name) {
  const fg_checkpoint_tensor *t = fg_checkpoint_find(c, name);
  if (!t) fail_msg("%s is not there", name);
  return t;
}

// A tensor of a made-up file; all its bytes are `fill`, or `text` if there is one.
typedef struct spec {
  const char *name, *dtype;
  uint32_t rows, columns; // rows 0: a list; both 0: the end
  uint8_t fill;
  const char *text;
} spec;

static inline uint64_t spec_bytes(const spec *t) {
  static const struct {
    const char *name;
    uint32_t bytes;
  } types[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I8", 1},      {"U8", 1},
               {"I32", 4}, {"I64", 8}, {"F64", 8},  {"F8_E4M3", 1}, {"F8_E8M0", 1}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, t->dtype) == 0)
      return types[i].bytes * (uint64_t)(t->rows ? t->rows : 1) * t->columns;
  fail_msg("%s", t->dtype);
  return 0;
}

static inline void write_specs(const support *s, const char *name, const spec *tensors, size_t most) {
  fg_text header = {0}, data = {0}, file = {0};
  for (size_t i = 0; i < most && tensors[i].name; i++) {
    const spec *t = &tensors[i];
    size_t begin = data.length;
    uint64_t bytes = spec_bytes(t);
    for (uint64_t j = 0; j < bytes; j++)
      fg_text_append(&data, t->text ? &t->text[j] : (const char *)&t->fill, 1);
    fg_text_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", header.length ? "," : "{", t->name,
                   t->dtype);
    if (t->rows) fg_text_printf(&header, "%u,", t->rows);
    fg_text_printf(&header, "%u],\"data_offsets\":[%zu,%zu]}", t->columns, begin, data.length);
  }
  fg_text_append_string(&header, "}");
  uint64_t length = header.length;
  fg_text_append(&file, &length, 8);
  fg_text_append(&file, header.data, header.length);
  if (data.length) fg_text_append(&file, data.data, data.length);
  assert_false(fg_text_failed(&file) || fg_text_failed(&header) || fg_text_failed(&data));
  support_write(s, name, file.data, file.length);
  fg_text_free(&header);
  fg_text_free(&data);
  fg_text_free(&file);
}

#endif
