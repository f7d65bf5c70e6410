// Records of batches: what may become of them, and that they are read back as they were written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "serve/batch_record.h"

static fg_batch_record some_record(fg_batch_state state) {
  fg_batch_record r = {.id = "batch_1", .input = "file-1", .endpoint = "/v1/completions", .expires = 86500};
  r.since[FG_BATCH_VALIDATING] = 100;
  r.state = state;
  return r;
}

static void test_what_is_over_stays_so(void **state) {
  (void)state;
  for (uint32_t from = 0; from < FG_BATCH_STATES; from++)
    for (uint32_t to = 0; to < FG_BATCH_STATES; to++)
      if (fg_batch_is_over(from)) assert_false(fg_batch_may(from, to));
}

static void test_every_state_but_the_first_is_reached_and_every_one_ends(void **state) {
  (void)state;
  for (uint32_t s = 0; s < FG_BATCH_STATES; s++) {
    bool reached = s == FG_BATCH_VALIDATING, ends = fg_batch_is_over(s);
    for (uint32_t other = 0; other < FG_BATCH_STATES; other++) {
      reached = reached || fg_batch_may(other, s);
      ends = ends || (fg_batch_may(s, other) && fg_batch_is_over(other));
    }
    assert_true(reached && ends);
  }
}

static void test_the_usual_way(void **state) {
  (void)state;
  fg_batch_record r = some_record(FG_BATCH_VALIDATING);
  assert_false(fg_batch_enter(&r, FG_BATCH_COMPLETED, 101));
  assert_true(fg_batch_enter(&r, FG_BATCH_IN_PROGRESS, 102));
  assert_true(fg_batch_enter(&r, FG_BATCH_FINALIZING, 103));
  assert_false(fg_batch_enter(&r, FG_BATCH_CANCELLING, 104));
  assert_true(fg_batch_enter(&r, FG_BATCH_COMPLETED, 105));
  assert_int_equal(r.since[FG_BATCH_FINALIZING], 103);
  assert_int_equal(r.since[FG_BATCH_CANCELLING], 0);
}

static void test_a_record_is_read_back(void **state) {
  (void)state;
  for (uint32_t s = 0; s < FG_BATCH_STATES; s++) {
    fg_batch_record r = some_record(s), back;
    fg_error err;
    strcpy(r.output, s % 2 ? "file-2" : "");
    strcpy(r.errors, s % 3 ? "file-3" : "");
    r.since[s] = 200 + s;
    r.total = 10;
    r.completed = 7;
    r.failed = 2;
    if (s == FG_BATCH_FAILED) strcpy(r.why, "the file holds no requests");
    r.metadata = s % 2 ? json_pack("{s:s}", "project", "x") : NULL;
    json_t *object = fg_batch_json(&r);
    assert_non_null(object);
    assert_int_equal(fg_batch_read(&back, object, &err), FG_OK);
    json_t *again = fg_batch_json(&back);
    assert_true(json_equal(object, again));
    assert_int_equal(back.state, s);
    json_decref(object);
    json_decref(again);
    fg_batch_record_free(&r);
    fg_batch_record_free(&back);
  }
}

// Each field alone taken away, or of another type, or too long.
static void test_what_is_no_record_is_refused(void **state) {
  (void)state;
  static const char *const needed[] = {"id",     "input_file_id", "endpoint",
                                       "status", "expires_at",    "request_counts"};
  char long_text[300];
  memset(long_text, 'x', sizeof long_text - 1);
  long_text[sizeof long_text - 1] = 0;
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    for (uint32_t how = 0; how < 3; how++) {
      fg_batch_record r = some_record(FG_BATCH_IN_PROGRESS), back;
      fg_error err;
      json_t *object = fg_batch_json(&r);
      if (how == 0)
        json_object_del(object, needed[i]);
      else
        json_object_set_new(object, needed[i], how == 1 ? json_real(-1.5) : json_string(long_text));
      assert_int_equal(fg_batch_read(&back, object, &err), FG_CORRUPT);
      json_decref(object);
    }
  }
  fg_batch_record back;
  fg_error err;
  json_t *array = json_array();
  assert_int_equal(fg_batch_read(&back, array, &err), FG_CORRUPT);
  json_decref(array);
}

static void test_names_are_openais(void **state) {
  (void)state;
  static const char *const names[] = {"validating", "failed",  "in_progress", "finalizing",
                                      "completed",  "expired", "cancelling",  "cancelled"};
  for (uint32_t s = 0; s < FG_BATCH_STATES; s++) assert_string_equal(fg_batch_state_name(s), names[s]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_over_stays_so),
      cmocka_unit_test(test_every_state_but_the_first_is_reached_and_every_one_ends),
      cmocka_unit_test(test_the_usual_way),
      cmocka_unit_test(test_a_record_is_read_back),
      cmocka_unit_test(test_what_is_no_record_is_refused),
      cmocka_unit_test(test_names_are_openais),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
