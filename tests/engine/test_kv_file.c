#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/kv_file.h"

static int make_folder(void **state) {
  static char folder[64];
  strcpy(folder, "/tmp/flexgen-kv-XXXXXX");
  *state = folder;
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  return rmdir(*state);
}

static unsigned count_files(const char *folder) {
  DIR *d = opendir(folder);
  unsigned count = 0;
  for (struct dirent *e; d && (e = readdir(d));) count += e->d_name[0] != '.';
  closedir(d);
  return count;
}

static void test_file_has_its_space_and_no_name(void **state) {
  fg_file *file;
  fg_error err;
  if (fg_kv_file_create(&file, *state, 1 << 20, &err) != FG_OK) fail_msg("%s", err.message);
  assert_int_equal(count_files(*state), 0);
  struct stat st;
  assert_int_equal(fstat(fg_file_descriptor(file), &st), 0);
  assert_int_equal(st.st_size, 1 << 20);
  assert_int_equal(st.st_nlink, 0);
  assert_true(st.st_blocks * 512 >= 1 << 20);
  fg_file_close(file);
}

static void test_more_than_the_disk_has_is_refused_with_the_way_out(void **state) {
  fg_file *file;
  fg_error err;
  assert_int_equal(fg_kv_file_create(&file, *state, 1ull << 60, &err), FG_DISK_FULL);
  assert_null(file);
  assert_non_null(strstr(err.message, "--offload-dir"));
  assert_int_equal(count_files(*state), 0);
}

static void test_folder_that_is_not_there_is_named(void **state) {
  (void)state;
  fg_file *file;
  fg_error err;
  assert_int_equal(fg_kv_file_create(&file, "/nonexistent/folder", 4096, &err), FG_IO);
  assert_non_null(strstr(err.message, "/nonexistent/folder"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_file_has_its_space_and_no_name, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_more_than_the_disk_has_is_refused_with_the_way_out, make_folder,
                                      remove_folder),
      cmocka_unit_test(test_folder_that_is_not_there_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
