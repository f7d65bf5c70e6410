// golden.h: the oracle's files, for the tests of this folder.
#ifndef FG_TESTS_TEXT_GOLDEN_H
#define FG_TESTS_TEXT_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer.h"

static inline json_t *golden_json(const char *name) {
  char path[512];
  fg_error err = {0};
  snprintf(path, sizeof path, "%s/text/goldens/%s", FG_TEST_DIR, name);
  json_t *json = fg_json_read_file(path, 4 << 20, &err);
  if (!json) fail_msg("%s", err.message);
  return json;
}

static inline fg_tokenizer *golden_tokenizer(const char *path) {
  fg_assets assets = {0};
  fg_error err = {0};
  fg_tokenizer *tokenizer = NULL;
  if (fg_assets_load(&assets, path, &err) || fg_tokenizer_load(&tokenizer, &assets, &err))
    fail_msg("%s", err.message);
  fg_assets_free(&assets);
  return tokenizer;
}

static inline fg_ids ids_of(const json_t *list) {
  fg_ids ids = {0};
  for (size_t i = 0; i < json_array_size(list); i++) {
    int32_t id = (int32_t)json_integer_value(json_array_get(list, i));
    assert_int_equal(fg_ids_append(&ids, &id, 1, NULL), FG_OK);
  }
  return ids;
}

static inline void assert_ids(const fg_ids *ids, const json_t *expected, const char *what,
                              const json_t *text) {
  fg_ids wanted = ids_of(expected);
  size_t same = 0;
  while (same < ids->count && same < wanted.count && ids->data[same] == wanted.data[same]) same++;
  if (same < ids->count || same < wanted.count) {
    fail_msg("%s: \"%.200s\": %zu ids, expected %zu; the first %zu agree, then %d instead of %d", what,
             json_string_value(text), ids->count, wanted.count, same,
             same < ids->count ? ids->data[same] : -1, same < wanted.count ? wanted.data[same] : -1);
  }
  fg_ids_free(&wanted);
}

static inline void assert_text(const fg_text *text, const json_t *expected, const char *what) {
  size_t length = json_string_length(expected);
  if (text->length != length || (length && memcmp(text->data, json_string_value(expected), length) != 0)) {
    fail_msg("%s: \"%.*s\", expected \"%s\"", what, (int)text->length, text->length ? text->data : "",
             json_string_value(expected));
  }
}

#endif
