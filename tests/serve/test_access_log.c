// What is written down of requests: a line each, that a log reader takes, whatever a client sent.
#include "../scratch_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "serve/access_log.h"

static const fg_access_entry plain = {.address = "127.0.0.1",
                                      .method = "POST",
                                      .path = "/v1/completions",
                                      .version = "HTTP/1.1",
                                      .time = 1700000000,
                                      .status = 200,
                                      .bytes = 412,
                                      .milliseconds = 1734};

static void check_line(const fg_access_entry *entry, const char *zone, const char *expected) {
  fg_text out = {0};
  setenv("TZ", zone, 1);
  tzset();
  fg_access_entry_put(&out, entry);
  assert_string_equal(out.data, expected);
  fg_text_free(&out);
}

static void test_a_line_is_in_the_common_log_format(void **state) {
  (void)state;
  check_line(&plain, "UTC0",
             "127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] \"POST /v1/completions HTTP/1.1\" 200 412 1734\n");
}

static void test_time_is_local_with_its_distance_from_utc(void **state) {
  (void)state;
  check_line(&plain, "XYZ-5:30",
             "127.0.0.1 - - [15/Nov/2023:03:43:20 +0530] \"POST /v1/completions HTTP/1.1\" 200 412 1734\n");
  check_line(&plain, "XYZ3:30",
             "127.0.0.1 - - [14/Nov/2023:18:43:20 -0330] \"POST /v1/completions HTTP/1.1\" 200 412 1734\n");
}

static void test_what_a_client_sent_ends_neither_the_quotes_nor_the_line(void **state) {
  (void)state;
  fg_access_entry e = plain;
  e.method = "\"\n";
  e.path = "/a\" 200\r\n127.0.0.1\\\x1b[2J\xc3\xa9";
  check_line(&e, "UTC0",
             "127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] \"\\x22\\x0A "
             "/a\\x22 200\\x0D\\x0A127.0.0.1\\x5C\\x1B[2J\\xC3\\xA9 HTTP/1.1\" 200 412 1734\n");
}

static void test_a_log_is_appended_to(void **state) {
  (void)state;
  scratch_folder folder;
  char path[96], line[256];
  fg_error err;
  int reason, lines = 0;
  scratch_make(&folder);
  snprintf(path, sizeof path, "%s/access.log", folder.path);
  for (int i = 0; i < 2; i++) {
    fg_access_log *log;
    assert_int_equal(fg_access_log_open(&log, path, &err), FG_OK);
    fg_access_log_put(log, &plain);
    assert_int_equal(fg_access_log_lost(log, &reason), 0);
    fg_access_log_close(log);
  }
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  while (fgets(line, sizeof line, file)) {
    assert_non_null(strstr(line, "\"POST /v1/completions HTTP/1.1\" 200 412 1734\n"));
    lines++;
  }
  fclose(file);
  assert_int_equal(lines, 2);
  assert_int_equal(scratch_remove(&folder), 0);
}

static void test_a_log_that_cannot_be_opened_is_an_error(void **state) {
  (void)state;
  fg_access_log *log = NULL;
  fg_error err;
  assert_int_equal(fg_access_log_open(&log, "/nowhere/access.log", &err), FG_IO);
  assert_non_null(strstr(err.message, "--access-log /nowhere/access.log"));
  assert_null(log);
}

static void test_lines_that_cannot_be_written_are_counted(void **state) {
  (void)state;
  fg_access_log *log;
  fg_error err;
  int reason = 0;
  assert_int_equal(fg_access_log_open(&log, "/dev/full", &err), FG_OK);
  for (int i = 0; i < 3; i++) fg_access_log_put(log, &plain);
  assert_int_equal(fg_access_log_lost(log, &reason), 3);
  assert_int_equal(reason, ENOSPC);
  fg_access_log_close(log);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_line_is_in_the_common_log_format),
      cmocka_unit_test(test_time_is_local_with_its_distance_from_utc),
      cmocka_unit_test(test_what_a_client_sent_ends_neither_the_quotes_nor_the_line),
      cmocka_unit_test(test_a_log_is_appended_to),
      cmocka_unit_test(test_a_log_that_cannot_be_opened_is_an_error),
      cmocka_unit_test(test_lines_that_cannot_be_written_are_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
