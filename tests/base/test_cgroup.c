#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cgroup.h"

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
      cmocka_unit_test(test_groups_of_version_1_are_found_by_controller),
      cmocka_unit_test(test_groups_of_version_2_serve_what_version_1_lacks),
      cmocka_unit_test(test_strange_tables_find_nothing_or_stay_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
