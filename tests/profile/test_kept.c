// Kept profiles: found for the machine that they were made on, and for no other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "profile/kept.h"

typedef struct fixture {
  char dir[64], path[4096];
  fg_profile_options options;
  fg_profile machine; // this one, with numbers made up
} fixture;

static int make(void **state) {
  fixture *f = calloc(1, sizeof *f);
  snprintf(f->dir, sizeof f->dir, "/tmp/flexgen-kept-XXXXXX");
  if (!mkdtemp(f->dir) || setenv("XDG_CACHE_HOME", f->dir, 1)) return -1;
  f->options = (fg_profile_options){.offload_dir = f->dir, .threads = 3};
  fg_profile *p = &f->machine;
  if (fg_profile_describe(p, &f->options, NULL) || fg_profile_path(f->path, sizeof f->path, p, NULL))
    return -1;
  p->memory_read = p->memory_copy = 1e10;
  p->row_value = p->store_value = 1e-10;
  p->launch = 1e-6;
  p->disk_read = 1.5e9;
  *state = f;
  return 0;
}

static int drop(void **state) {
  fixture *f = *state;
  char folder[128];
  (void)unlink(f->path);
  snprintf(folder, sizeof folder, "%s/flexgen/profiles", f->dir);
  (void)rmdir(folder);
  snprintf(folder, sizeof folder, "%s/flexgen", f->dir);
  (void)rmdir(folder);
  int left = rmdir(f->dir); // fails if anything else was left behind
  free(f);
  return left;
}

static void test_what_is_kept_is_found(void **state) {
  const fixture *f = *state;
  fg_profile found;
  assert_int_equal(fg_profile_keep(&f->machine, NULL), FG_OK);
  assert_int_equal(fg_profile_find(&found, &f->machine, NULL), FG_OK);
  assert_true(found.disk_read == 1.5e9);
  assert_string_equal(found.date, f->machine.date);
}

static void test_none_is_not_found_and_says_what_to_do(void **state) {
  const fixture *f = *state;
  fg_profile found;
  fg_error err = {FG_OK, ""};
  assert_int_equal(fg_profile_find(&found, &f->machine, &err), FG_NOT_FOUND);
  assert_non_null(strstr(err.message, "flexgen profile"));
}

static void test_a_changed_machine_has_no_profile(void **state) {
  const fixture *f = *state;
  fg_profile found;
  assert_int_equal(fg_profile_keep(&f->machine, NULL), FG_OK);
  fg_profile changed[5];
  for (int i = 0; i < 5; i++) changed[i] = f->machine;
  strcpy(changed[0].machine, "Another CPU, 3 threads");
  strcpy(changed[1].kernels, "plain-1 c");
  strcpy(changed[2].version, "0.0.9");
  strcpy(changed[3].disk, "8:1 ext4 1.0 TiB");
  changed[4].threads = 4; // and somebody has forgotten the name
  for (int i = 0; i < 5; i++) assert_int_equal(fg_profile_find(&found, &changed[i], NULL), FG_NOT_FOUND);
}

static void test_other_threads_are_another_machine(void **state) {
  fixture *f = *state;
  fg_profile other;
  f->options.threads = 5;
  assert_int_equal(fg_profile_describe(&other, &f->options, NULL), FG_OK);
  assert_false(fg_profile_fits(&other, &f->machine));
  f->options.threads = 3;
  f->options.quick = true; // is not
  assert_int_equal(fg_profile_describe(&other, &f->options, NULL), FG_OK);
  assert_true(fg_profile_fits(&other, &f->machine));
}

static void test_keeping_again_replaces(void **state) {
  fixture *f = *state;
  fg_profile found;
  assert_int_equal(fg_profile_keep(&f->machine, NULL), FG_OK);
  f->machine.disk_read = 2e9;
  assert_int_equal(fg_profile_keep(&f->machine, NULL), FG_OK);
  assert_int_equal(fg_profile_find(&found, &f->machine, NULL), FG_OK);
  assert_true(found.disk_read == 2e9);
}

static void test_a_damaged_one_is_refused_with_the_way_out(void **state) {
  const fixture *f = *state;
  fg_profile found;
  fg_error err = {FG_OK, ""};
  assert_int_equal(fg_profile_keep(&f->machine, NULL), FG_OK);
  assert_int_equal(truncate(f->path, 200), 0);
  assert_int_equal(fg_profile_find(&found, &f->machine, &err), FG_CORRUPT);
  assert_non_null(strstr(err.message, "flexgen profile --force"));
}

static bool stop(void *user, const char *what, double share) {
  (void)what, (void)share;
  ++*(int *)user;
  return false;
}

static void test_measuring_happens_only_where_it_is_wanted(void **state) {
  fixture *f = *state;
  fg_profile found;
  int asked = 0;
  bool measured = true;
  f->options.progress = stop, f->options.user = &asked, f->options.memory = 1;
  assert_int_equal(fg_profile_load_or_measure(&found, &f->options, FG_PROFILE_KEPT, &measured, NULL),
                   FG_NOT_FOUND);
  assert_int_equal(asked, 0);
  assert_int_equal(fg_profile_load_or_measure(&found, &f->options, FG_PROFILE_KEPT_OR_MEASURE, NULL, NULL),
                   FG_CANCELLED);
  assert_int_equal(asked, 1);
  assert_int_equal(access(f->path, F_OK), -1); // half a profile is not kept
  assert_int_equal(fg_profile_keep(&f->machine, NULL), FG_OK);
  assert_int_equal(
      fg_profile_load_or_measure(&found, &f->options, FG_PROFILE_KEPT_OR_MEASURE, &measured, NULL), FG_OK);
  assert_false(measured);
  assert_int_equal(asked, 1);
  assert_int_equal(fg_profile_load_or_measure(&found, &f->options, FG_PROFILE_MEASURE, NULL, NULL),
                   FG_CANCELLED);
  assert_int_equal(asked, 2);
}

static void test_a_folder_that_is_not_there_is_refused(void **state) {
  fixture *f = *state;
  fg_profile p;
  fg_error err = {FG_OK, ""};
  f->options.offload_dir = "/nowhere/at/all";
  assert_int_equal(fg_profile_describe(&p, &f->options, &err), FG_IO);
  assert_non_null(strstr(err.message, "--offload-dir"));
}

#define KEPT(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void) {
  const struct CMUnitTest tests[] = {
      KEPT(test_what_is_kept_is_found),
      KEPT(test_none_is_not_found_and_says_what_to_do),
      KEPT(test_a_changed_machine_has_no_profile),
      KEPT(test_other_threads_are_another_machine),
      KEPT(test_keeping_again_replaces),
      KEPT(test_a_damaged_one_is_refused_with_the_way_out),
      KEPT(test_measuring_happens_only_where_it_is_wanted),
      KEPT(test_a_folder_that_is_not_there_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
