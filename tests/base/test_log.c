#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/log.h"

static void keep_line(void *user, fg_log_level level, const char *line) {
  char *kept = user;
  kept[0] = (char)('0' + level);
  strncpy(kept + 1, line, 62);
}

static void test_log_drops_lines_above_its_level(void **state) {
  (void)state;
  char kept[64] = "";
  fg_log log = {.level = FG_LOG_INFO, .write = keep_line, .user = kept};
  fg_log_line(&log, FG_LOG_DEBUG, "no");
  assert_string_equal(kept, "");
  fg_log_line(&log, FG_LOG_INFO, "%d rows", 3);
  assert_string_equal(kept, "13 rows");
  fg_log_line(NULL, FG_LOG_WARN, "nobody");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_log_drops_lines_above_its_level),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
