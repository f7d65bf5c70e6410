#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cgroup.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text_buffer.h"

static void test_a_text_grows_and_stays_terminated(void **state) {
  (void)state;
  fg_text text = {0};
  for (int i = 0; i < 1000; i++) {
    fg_text_append(&text, "ab\0c", 4);
    fg_text_append_string(&text, "de");
    fg_text_printf(&text, "%03d", i);
    assert_int_equal(text.data[text.length], '\0');
  }
  assert_int_equal(text.length, 9000);
  assert_memory_equal(text.data + 9 * 777, "ab\0cde777", 9);
  assert_false(fg_text_failed(&text));
  fg_text_clear(&text);
  assert_int_equal(text.length, 0);
  fg_text_append(&text, NULL, 0);
  assert_string_equal(text.data, "");
  fg_text_free(&text);
  assert_null(text.data);
}

static void test_a_failed_append_keeps_the_text_and_drops_what_follows(void **state) {
  (void)state;
  fg_text text = {0};
  fg_text_append_string(&text, "kept");
  fg_text_append(&text, "x", SIZE_MAX - 8); // cannot be had
  fg_text_append_string(&text, "dropped");
  fg_text_printf(&text, "%d", 1);
  assert_true(fg_text_failed(&text));
  assert_string_equal(text.data, "kept");
  fg_text_free(&text);
}

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

static void test_chained_hashes_depend_on_order_and_on_where_parts_end(void **state) {
  (void)state;
  // The value that the XXH3 specification's reference gives for no bytes.
  assert_int_equal(fg_hash("", 0), UINT64_C(0x2d06800538d394c2));
  uint64_t ab = fg_hash_more(fg_hash("a", 1), "b", 1), ba = fg_hash_more(fg_hash("b", 1), "a", 1);
  assert_int_not_equal(ab, ba);
  assert_int_not_equal(fg_hash_more(fg_hash("ab", 2), "c", 1), fg_hash_more(fg_hash("a", 1), "bc", 2));
}

static const char mounts[] =
    "23 1 0:20 / / rw - ext4 /dev/sda rw\n"
    "31 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
    "32 31 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:5 - cgroup cgroup rw,memory\n"
    "34 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

static void test_groups_of_version_1_are_found_by_controller(void **state) {
  (void)state;
  static const char groups[] = "5:cpu,cpuacct:/docker/abc/job\n4:memory:/user/me/job\n0::/user/me\n";
  fg_cgroup group;
  assert_true(fg_cgroup_locate(&group, "memory", groups, mounts));
  assert_false(group.unified);
  assert_string_equal(group.directory, "/sys/fs/cgroup/memory/user/me/job");
  int parents = 0;
  while (fg_cgroup_parent(&group)) parents++;
  assert_int_equal(parents, 3);
  assert_string_equal(group.directory, "/sys/fs/cgroup/memory");
  // The mount shows the container's own subtree.
  assert_true(fg_cgroup_locate(&group, "cpu", groups, mounts));
  assert_string_equal(group.directory, "/sys/fs/cgroup/cpu,cpuacct/job");
}

static void test_groups_of_version_2_serve_what_version_1_lacks(void **state) {
  (void)state;
  fg_cgroup group;
  assert_true(fg_cgroup_locate(&group, "memory", "0::/user.slice/x\n", mounts));
  assert_true(group.unified);
  assert_string_equal(group.directory, "/sys/fs/cgroup/unified/user.slice/x");
  assert_true(fg_cgroup_locate(&group, "memory", "0::/\n", mounts));
  assert_string_equal(group.directory, "/sys/fs/cgroup/unified");
  assert_false(fg_cgroup_parent(&group));
}

static void test_strange_tables_find_nothing_or_stay_inside(void **state) {
  (void)state;
  fg_cgroup group;
  assert_false(fg_cgroup_locate(&group, "memory", "", mounts));
  assert_false(fg_cgroup_locate(&group, "memory", "4:memory:/x\n", ""));
  assert_false(fg_cgroup_locate(&group, "memory", "junk\n:::\n4:mem:/x\n0:", mounts));
  assert_true(fg_cgroup_locate(&group, "memory", "0::/../../other\n", mounts));
  assert_string_equal(group.directory, "/sys/fs/cgroup/unified");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_text_grows_and_stays_terminated),
      cmocka_unit_test(test_a_failed_append_keeps_the_text_and_drops_what_follows),
      cmocka_unit_test(test_log_drops_lines_above_its_level),
      cmocka_unit_test(test_chained_hashes_depend_on_order_and_on_where_parts_end),
      cmocka_unit_test(test_groups_of_version_1_are_found_by_controller),
      cmocka_unit_test(test_groups_of_version_2_serve_what_version_1_lacks),
      cmocka_unit_test(test_strange_tables_find_nothing_or_stay_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
