#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/system.h"

static int by_key(const void *a, const void *b, void *user) {
  const int *keys = user, x = keys[*(const int *)a], y = keys[*(const int *)b];
  return (x > y) - (x < y);
}

static void test_a_comparison_sees_what_its_caller_gave(void **state) {
  (void)state;
  int keys[] = {30, 10, 40, 20}, items[] = {0, 1, 2, 3};
  fg_sort(items, 4, sizeof *items, by_key, keys);
  assert_int_equal(items[0], 1);
  assert_int_equal(items[1], 3);
  assert_int_equal(items[2], 0);
  assert_int_equal(items[3], 2);
}

static void test_an_array_grows_unless_its_size_overflows(void **state) {
  (void)state;
  uint64_t *items = fg_grow(NULL, 4, sizeof *items);
  assert_non_null(items);
  items[3] = 7;
  assert_null(fg_grow(items, SIZE_MAX / 4, sizeof *items));
  assert_null(fg_grow(items, PTRDIFF_MAX / sizeof *items + 1, sizeof *items));
  uint64_t *grown = fg_grow(items, 4096, sizeof *items); // what was refused is still there
  assert_non_null(grown);
  assert_int_equal(grown[3], 7);
  free(grown);
}

static void test_a_woken_sleeper_sees_it_once(void **state) {
  (void)state;
  const uint64_t one = 1;
  uint64_t count;
  int wait_fd, wake_fd;
  assert_int_equal(fg_wake_open(&wait_fd, &wake_fd), 0);
  struct pollfd wait = {.fd = wait_fd, .events = POLLIN};
  assert_int_equal(poll(&wait, 1, 0), 0);
  assert_int_equal(write(wake_fd, &one, sizeof one), sizeof one);
  assert_int_equal(poll(&wait, 1, 0), 1);
  assert_int_equal(read(wait_fd, &count, sizeof count), sizeof count);
  assert_int_equal(poll(&wait, 1, 0), 0);
  assert_int_equal(read(wait_fd, &count, sizeof count), -1); // does not block
  assert_int_equal(errno, EAGAIN);
  fg_wake_close(wait_fd, wake_fd);
}

static void test_a_file_is_as_long_as_what_was_reserved(void **state) {
  (void)state;
  char path[] = "/tmp/flexgen-system-XXXXXX";
  struct stat st;
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  unlink(path);
  if (fg_reserve_blocks(fd, 10000) != 0) {
    assert_int_equal(errno, EOPNOTSUPP);
    close(fd);
    skip(); // this file system cannot
  }
  assert_int_equal(fg_reserve_blocks(fd, 100), 0);
  assert_int_equal(fstat(fd, &st), 0);
  assert_int_equal(st.st_size, 10000);
  assert_int_equal(write(fd, "x", 1), 1);
  assert_int_equal(fg_sync_data(fd), 0);
  fg_forget_cached(fd, 0, 0);
  close(fd);
  assert_int_equal(fg_sync_data(fd), -1);
}

static void test_random_bytes_differ(void **state) {
  (void)state;
  uint8_t a[32] = {0}, b[32] = {0};
  assert_true(fg_random_bytes(a, sizeof a));
  assert_true(fg_random_bytes(b, sizeof b));
  assert_memory_not_equal(a, b, sizeof a);
}

static void test_the_program_is_where_it_says(void **state) {
  (void)state;
  char path[PATH_MAX], tight[4];
  assert_true(fg_program_path(path, sizeof path));
  assert_int_equal(path[0], '/');
  assert_int_equal(access(path, X_OK), 0);
  assert_false(fg_program_path(tight, sizeof tight)); // not cut
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_comparison_sees_what_its_caller_gave),
      cmocka_unit_test(test_an_array_grows_unless_its_size_overflows),
      cmocka_unit_test(test_a_woken_sleeper_sees_it_once),
      cmocka_unit_test(test_a_file_is_as_long_as_what_was_reserved),
      cmocka_unit_test(test_random_bytes_differ),
      cmocka_unit_test(test_the_program_is_where_it_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
