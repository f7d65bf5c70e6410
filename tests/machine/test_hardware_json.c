// Machines as files: what they may say, and what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/hardware_json.h"

static char path[] = "/tmp/machine-XXXXXX";

static int set_up(void **state) {
  (void)state;
  const int fd = mkstemp(path);
  return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state) {
  (void)state;
  return unlink(path);
}

static fg_status find(const char *text, fg_hardware *out, fg_error *err) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
  return fg_hardware_find(out, path, err);
}

static void test_a_name_is_a_known_machine(void **state) {
  (void)state;
  fg_hardware hw;
  assert_int_equal(fg_hardware_find(&hw, "h100", NULL), FG_OK);
  assert_true(hw.device_bytes > 70ull << 30);
}

static void test_every_known_machine_is_whole(void **state) {
  (void)state;
  static const char *const names[] = {"t4", "a10", "rtx4090", "h100", "m2"};
  for (int i = 0; i < 5; i++) {
    const fg_hardware *hw = fg_hardware_known(names[i]);
    assert_non_null(hw);
    assert_true(hw->unified == (hw->device_bytes == 0));
    assert_true(hw->host_bytes && hw->disk_bytes && hw->device_memory > 0 && hw->host_memory > 0);
    assert_true(hw->link > 0 && hw->pageable_out > 0 && hw->pinning > 0 && hw->product > 0);
    assert_true(hw->disk_read > 0 && hw->disk_write > 0 && hw->launch > 0);
    assert_true(strlen(hw->about) > 100); // where its figures are from
  }
}

static void test_a_file_changes_what_it_names(void **state) {
  (void)state;
  fg_hardware hw;
  assert_int_equal(find("{\"machine\": \"t4\", \"disk_read\": 3.5e9}", &hw, NULL), FG_OK);
  assert_true(hw.disk_read == 3.5e9);
  assert_true(hw.disk_write == fg_hardware_known("t4")->disk_write);
}

static void test_what_is_wrong_is_named(void **state) {
  (void)state;
  static const struct {
    const char *text, *says;
  } wrong[] = {
      {"{\"machine\": \"t5\"}", "there are: t4, a10, rtx4090, h100, m2"},
      {"{\"machine\": \"t4\", \"disk_reed\": 1}", "disk_reed"},
      {"{\"machine\": \"t4\", \"disk_read\": 0}", "disk_read"},
      {"{\"machine\": \"t4\", \"link\": -1}", "link"},
      {"{\"machine\": \"t4\", \"host_bytes\": 1e300}", "host_bytes"},
      {"{\"device_bytes\": 1e10}", "it is missing"},
      {"[1]", "object"},
      {"", "a machine is a file, or one of t4"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    fg_hardware hw;
    fg_error err;
    assert_int_equal(find(wrong[i].text, &hw, &err), FG_INVALID);
    if (!strstr(err.message, wrong[i].says)) fail_msg("%s: %s", wrong[i].text, err.message);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_name_is_a_known_machine),
      cmocka_unit_test(test_every_known_machine_is_whole),
      cmocka_unit_test(test_a_file_changes_what_it_names),
      cmocka_unit_test(test_what_is_wrong_is_named),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
