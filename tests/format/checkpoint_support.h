// checkpoint_support.h: what the tests of the readers share: an fg_io, files made of bytes in a
// temporary folder, and the comparison of a checkpoint with expected.json, which make_fixtures.py wrote.
#ifndef TESTS_FORMAT_CHECKPOINT_SUPPORT_H
#define TESTS_FORMAT_CHECKPOINT_SUPPORT_H

#include "../io_rig.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "format/checkpoint.h"

#define FIXTURES FG_TEST_DIR "/format/fixtures"

typedef struct support {
  io_rig rig;
  json_t *expected;
} support;

static inline int support_setup(void **state) {
  support *s = calloc(1, sizeof *s);
  fg_error err;
  io_rig_make(&s->rig);
  s->expected = fg_json_read_file(FIXTURES "/expected.json", 1 << 20, &err);
  *state = s;
  return s->expected ? 0 : -1;
}

static inline int support_teardown(void **state) {
  support *s = *state;
  json_decref(s->expected);
  int rc = io_rig_remove(&s->rig);
  free(s);
  return rc;
}

static inline const char *support_path(const support *s, const char *name, char out[static PATH_MAX]) {
  snprintf(out, PATH_MAX, "%s/%s", s->rig.folder.path, name);
  return out;
}

// Makes FOLDER/name; a folder in the name must exist.
static inline void support_write(const support *s, const char *name, const void *data, size_t bytes) {
  char path[PATH_MAX];
  FILE *file = fopen(support_path(s, name, path), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
}

static inline void support_mkdir(const support *s, const char *name) {
  char path[PATH_MAX];
  assert_int_equal(mkdir(support_path(s, name, path), 0700), 0);
}

static inline void *support_read_fixture(const char *name, size_t *bytes) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, FIXTURES "/%s", name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char *data = malloc(1 << 16);
  assert_non_null(data);
  *bytes = fread(data, 1, 1 << 16, file);
  assert_int_equal(fclose(file), 0);
  return data;
}

static inline void assert_message(const fg_error *err, const char *part) {
  if (!strstr(err->message, part)) fail_msg("\"%s\" does not contain \"%s\"", err->message, part);
}

// Opening `path` fails with this status and a message that contains `part`.
static inline void assert_refused(const support *s, const char *path, fg_status status, const char *part) {
  fg_checkpoint *checkpoint;
  fg_error err = {0};
  fg_status got = fg_checkpoint_open(&checkpoint, path, s->rig.io, &err);
  if (got != status)
    fail_msg("%s: status %d, expected %d (%s)", path, (int)got, (int)status, got ? err.message : "opened");
  assert_message(&err, part);
}

static inline void assert_bytes_refused(const support *s, const char *name, const void *data, size_t bytes,
                                        fg_status status, const char *part) {
  char path[PATH_MAX];
  support_write(s, name, data, bytes);
  assert_refused(s, support_path(s, name, path), status, part);
}

static inline void assert_hex(const char *hex, const unsigned char *data, size_t bytes, const char *name) {
  assert_int_equal(strlen(hex), 2 * bytes);
  for (size_t i = 0; i < bytes; i++) {
    unsigned value;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
    if (data[i] != value) fail_msg("tensor %s, byte %zu: %02x, expected %02x", name, i, data[i], value);
  }
}

// All rows in one read and then `step` rows at a time: the same bytes as expected.
static inline void assert_tensor(fg_checkpoint *c, const fg_checkpoint_tensor *t, const json_t *expected,
                                 uint64_t step) {
  fg_error err = {0};
  uint64_t bytes = 0, row_bytes = 0;
  const json_t *shape = json_object_get(expected, "shape");
  const char *hex = json_string_value(json_object_get(expected, "hex"));
  assert_string_equal(t->name, json_string_value(json_object_get(expected, "name")));
  assert_string_equal(fg_dtype_get(t->dtype)->name, json_string_value(json_object_get(expected, "dtype")));
  assert_int_equal(t->dims, json_array_size(shape));
  for (uint32_t i = 0; i < t->dims; i++)
    assert_int_equal(t->shape[i], json_integer_value(json_array_get(shape, i)));
  assert_true(fg_dtype_bytes(t->dtype, t->rows * t->columns, &bytes) &&
              fg_dtype_bytes(t->dtype, t->columns, &row_bytes));
  unsigned char *data = malloc(bytes + 1);
  assert_non_null(data);
  if (fg_checkpoint_read_rows(c, t, 0, t->rows, data, &err)) fail_msg("%s", err.message);
  assert_hex(hex, data, bytes, t->name);
  memset(data, 0xcc, bytes);
  for (uint64_t row = 0; row < t->rows; row += step) {
    uint64_t count = t->rows - row < step ? t->rows - row : step;
    if (fg_checkpoint_read_rows(c, t, row, count, data + row * row_bytes, &err)) fail_msg("%s", err.message);
  }
  assert_hex(hex, data, bytes, t->name);
  free(data);
}

static inline void assert_checkpoint_at(const support *s, const char *path, const char *name) {
  const json_t *expected = json_object_get(s->expected, name),
               *tensors = json_object_get(expected, "tensors");
  fg_checkpoint *c;
  fg_error err = {0};
  if (fg_checkpoint_open(&c, path, s->rig.io, &err)) fail_msg("%s", err.message);
  assert_string_equal(c->ops->format, json_string_value(json_object_get(expected, "format")));
  assert_int_equal(c->count, json_array_size(tensors));
  for (size_t i = 0; i < c->count; i++) {
    for (uint64_t step = 1; step < 4; step++)
      assert_tensor(c, &c->tensors[i], json_array_get(tensors, i), step);
    assert_ptr_equal(fg_checkpoint_find(c, c->tensors[i].name), &c->tensors[i]);
  }
  fg_checkpoint_destroy(c);
}

// The fixture holds exactly what the format's own library read from it.
static inline void assert_fixture(const support *s, const char *name) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, FIXTURES "/%s", name);
  assert_checkpoint_at(s, path, name);
}

#endif
