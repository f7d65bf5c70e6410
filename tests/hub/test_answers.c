// What a Hub's answers mean: another try, or a line for the user.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "hub/answers.h"

static void test_passing_trouble_is_tried_again_with_longer_pauses(void **state) {
  (void)state;
  static const fg_http_answer passing[] = {{.cut = true},   {.status = 200}, {.status = 206},
                                           {.status = 408}, {.status = 429}, {.status = 500},
                                           {.status = 502}, {.status = 503}, {.status = 504}};
  static const int64_t pauses[] = {250, 500, 1000, 2000, 4000, -1};
  for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
    for (unsigned tried = 1; tried <= 6; tried++)
      assert_int_equal(fg_hub_wait_ms(&passing[i], tried), pauses[tried - 1]);
}

static void test_what_will_not_change_is_not_tried_again(void **state) {
  (void)state;
  static const long lasting[] = {0, 301, 400, 401, 403, 404, 410, 416, 501};
  for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++)
    assert_int_equal(fg_hub_wait_ms(&(fg_http_answer){.status = lasting[i]}, 1), -1);
}

static void test_retry_after_is_kept_within_reason(void **state) {
  (void)state;
  fg_http_answer busy = {.status = 429, .retry_s = 30};
  assert_int_equal(fg_hub_wait_ms(&busy, 3), 30000);
  assert_int_equal(fg_hub_wait_ms(&busy, 6), -1);
  busy.retry_s = 600;
  assert_int_equal(fg_hub_wait_ms(&busy, 1), 600000);
  busy.retry_s = 601;
  assert_int_equal(fg_hub_wait_ms(&busy, 1), -1);
}

static void test_each_refusal_says_what_to_do(void **state) {
  (void)state;
  static const struct {
    fg_http_answer answer;
    const char *file;
    bool token;
    fg_status status;
    const char *part;
  } rows[] = {
      {{.status = 401}, NULL, false, FG_NOT_FOUND, "set HF_TOKEN if it is private"},
      {{.status = 401}, NULL, true, FG_IO, "https://hub/settings/tokens"},
      {{.status = 401, .code = "GatedRepo"},
       NULL,
       false,
       FG_IO,
       "licence at https://hub/org/name, then set HF_TOKEN"},
      {{.status = 403, .code = "GatedRepo"}, "f", true, FG_IO, "must be of that account"},
      {{.status = 403, .message = "no"}, NULL, true, FG_IO, "refused (403): no; check what the token"},
      {{.status = 404, .code = "RevisionNotFound"}, NULL, true, FG_NOT_FOUND, "no revision 'v1'"},
      {{.status = 404, .code = "EntryNotFound"}, "f.json", true, FG_NOT_FOUND, "no file f.json at v1"},
      {{.status = 404}, "f.json", true, FG_NOT_FOUND, "no file f.json"},
      {{.status = 404}, NULL, true, FG_NOT_FOUND, "no model org/name that this token may see"},
      {{.status = 429, .retry_s = 9}, NULL, true, FG_BUSY, "try again in 9 s"},
      {{.status = 429}, NULL, false, FG_BUSY, "try again later, or set HF_TOKEN"},
      {{.status = 503}, NULL, false, FG_IO, "trouble (503)"},
      {{.status = 206}, "f", false, FG_IO, "ends it early"},
      {{.status = 300}, NULL, false, FG_IO, "answers with 300 for org/name; does HF_ENDPOINT"},
  };
  static const fg_hub_repo repo = {"org/name", "v1"};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const fg_hub_subject subject = {&repo, rows[i].file, "https://hub", rows[i].token};
    fg_error err;
    assert_int_equal(fg_hub_explain(&subject, &rows[i].answer, &err), rows[i].status);
    if (!strstr(err.message, rows[i].part)) fail_msg("%s", err.message);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_passing_trouble_is_tried_again_with_longer_pauses),
      cmocka_unit_test(test_what_will_not_change_is_not_tried_again),
      cmocka_unit_test(test_retry_after_is_kept_within_reason),
      cmocka_unit_test(test_each_refusal_says_what_to_do),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
