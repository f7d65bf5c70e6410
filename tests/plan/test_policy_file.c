// Policies that are given back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "plan/policy_file.h"

static fg_status read_text(const char *text, fg_plan_input *wishes, fg_error *err) {
  char path[] = "/tmp/flexgen-policy-XXXXXX";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  const fg_status status = fg_policy_file_read(path, wishes, err);
  unlink(path);
  return status;
}

static void test_what_it_names_is_wished(void **state) {
  (void)state;
  fg_plan_input in = {0};
  fg_error err;
  if (read_text("{\"max_num_seqs\": 7, \"kv_disk_pages\": 100, \"device_weight_bytes\": 5000000000, "
                "\"device\": \"cpu\","
                "\"resident_share\": 0.5}",
                &in, &err) != FG_OK)
    fail_msg("%s", err.message);
  assert_int_equal(in.max_seqs, 7);
  assert_int_equal(in.disk_pages, 100);
  assert_int_equal(in.weight_bytes, 5000000000);
  assert_int_equal(in.max_tokens, 0); // left to the planner
}

static void test_rings_and_order_are_wished(void **state) {
  (void)state;
  fg_plan_input in = {0};
  fg_error err;
  assert_int_equal(
      read_text("{\"kv_frames\": 3, \"kv_frame_pages\": 40, \"row_order\": \"longest\"}", &in, &err), FG_OK);
  assert_int_equal(in.frames, 3);
  assert_int_equal(in.frame_pages, 40);
  assert_int_equal(in.order, FG_ORDER_LONGEST);
  in.order = FG_ORDER_INPUT;
  assert_int_equal(read_text("{\"row_order\": \"longest\"}", &in, &err), FG_OK);
  assert_int_equal(in.order, FG_ORDER_INPUT); // was said more plainly
}

static void test_the_whole_of_plan_json_will_do(void **state) {
  (void)state;
  fg_plan_input in = {0};
  fg_error err;
  assert_int_equal(read_text("{\"model\": {}, \"policy\": {\"max_model_len\": 64}}", &in, &err), FG_OK);
  assert_int_equal(in.max_len, 64);
}

static void test_options_win(void **state) {
  (void)state;
  fg_plan_input in = {.max_seqs = 3};
  fg_error err;
  assert_int_equal(read_text("{\"max_num_seqs\": 7}", &in, &err), FG_OK);
  assert_int_equal(in.max_seqs, 3);
}

static void test_what_is_no_policy_is_refused_by_name(void **state) {
  (void)state;
  static const struct {
    const char *text, *named;
  } cases[] = {
      {"{\"max_num_seq\": 7}", "max_num_seq"},
      {"{\"max_num_seqs\": -1}", "max_num_seqs"},
      {"{\"max_num_seqs\": 4294967296}", "max_num_seqs"},
      {"{\"max_num_seqs\": 1.5}", "max_num_seqs"},
      {"{\"ring_bytes\": \"1G\"}", "ring_bytes"},
      {"{\"row_order\": \"shortest\"}", "row_order"},
      {"{\"row_order\": 1}", "row_order"},
      {"{\"kv_frames\": 1025}", "kv_frames"},
      {"[1]", "object"},
      {"{", "policy"}, // the file's name
      {"{\"policy\": 3}", "object"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_plan_input in = {0};
    fg_error err;
    if (read_text(cases[i].text, &in, &err) == FG_OK) fail_msg("%s was taken", cases[i].text);
    if (!strstr(err.message, cases[i].named)) fail_msg("%s: %s", cases[i].text, err.message);
  }
  fg_plan_input in = {0};
  fg_error err;
  assert_int_not_equal(fg_policy_file_read("/nonexistent/policy.json", &in, &err), FG_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_it_names_is_wished),
      cmocka_unit_test(test_rings_and_order_are_wished),
      cmocka_unit_test(test_the_whole_of_plan_json_will_do),
      cmocka_unit_test(test_options_win),
      cmocka_unit_test(test_what_is_no_policy_is_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
