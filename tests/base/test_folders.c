#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folders.h"

static void test_all_folders_above_are_made(void **state) {
  (void)state;
  char root[] = "/tmp/flexgen-folders-XXXXXX", path[64];
  struct stat st;
  assert_non_null(mkdtemp(root));
  snprintf(path, sizeof path, "%s/a/b", root);
  for (int i = 0; i < 2; i++) { // also where they are there
    assert_int_equal(fg_folders_make(path, NULL), FG_OK);
    assert_true(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
  }
  assert_int_equal(rmdir(path), 0);
  *strrchr(path, '/') = 0;
  assert_int_equal(rmdir(path) | rmdir(root), 0);
}

static void test_the_part_that_cannot_be_made_is_named(void **state) {
  (void)state;
  fg_error err;
  assert_int_equal(fg_folders_make("/proc/self/none/x", &err), FG_IO);
  assert_non_null(strstr(err.message, "/proc/self/none:"));
}

static void test_what_is_no_path_is_refused(void **state) {
  (void)state;
  char lengthy[PATH_MAX + 1];
  memset(lengthy, 'a', sizeof lengthy);
  lengthy[PATH_MAX] = 0;
  assert_int_equal(fg_folders_make("", NULL), FG_INVALID);
  assert_int_equal(fg_folders_make(lengthy, NULL), FG_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_folders_above_are_made),
      cmocka_unit_test(test_the_part_that_cannot_be_made_is_named),
      cmocka_unit_test(test_what_is_no_path_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
