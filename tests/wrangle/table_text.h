// table_text.h: what tests of tables share: a text as a file, goldens, slices compared.
#ifndef TESTS_WRANGLE_TABLE_TEXT_H
#define TESTS_WRANGLE_TABLE_TEXT_H

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "wrangle/encoding.h"

// A temporary file with these bytes, at its beginning.
static inline FILE *file_of(const char *bytes, size_t length) {
  FILE *file = tmpfile();
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  rewind(file);
  return file;
}

static inline json_t *read_golden(const char *name) {
  char path[512];
  fg_error err;
  snprintf(path, sizeof path, "%s/wrangle/golden_%s.json", FG_TEST_DIR, name);
  json_t *golden = fg_json_read_file(path, 16 << 20, &err);
  if (!golden) fail_msg("%s", err.message);
  return golden;
}

static inline void assert_slice(fg_slice slice, const char *text) {
  if (slice.length == strlen(text) && (!slice.length || memcmp(slice.data, text, slice.length) == 0)) return;
  fail_msg("'%.*s' is not '%s'", (int)slice.length, slice.data, text);
}

#endif
