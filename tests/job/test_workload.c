// What is expected of a batch file, from its first rows.
#include "batch_files.h"

#include "job/workload.h"

static int set_up(void **state) {
  batch_files *files = calloc(1, sizeof *files);
  files_make(files);
  *state = files;
  return 0;
}

static int tear_down(void **state) {
  files_remove(*state);
  free(*state);
  return 0;
}

static fg_workload estimate(batch_files *files, const char *text, uint32_t shards) {
  file_write(files->input, text, strlen(text));
  return fg_workload_estimate(files->input, shards);
}

static void test_ids_text_and_messages_are_counted(void **state) {
  fg_workload w = estimate(*state,
                           "{\"custom_id\":\"a\",\"body\":{\"prompt\":[1,2,3,4,5,6],\"max_tokens\":10}}\n"
                           "{\"custom_id\":\"b\",\"body\":{\"prompt\":[[1,2],[3,4]],\"max_tokens\":10}}\n",
                           0);
  assert_in_range(w.requests, 3, 4); // 1 and 2; the number of rows is reckoned by bytes
  assert_int_equal(w.generated, 10);
  assert_int_equal(w.tokens, 10 + 4);
  w = estimate(
      *state, "{\"custom_id\":\"c\",\"body\":{\"prompt\":\"thirty bytes of a prompt, about\",\"n\":5}}\n", 0);
  assert_in_range(w.requests, 5, 6);
  assert_in_range(w.tokens - w.generated, 8, 12);
  assert_int_equal(w.generated, 16); // what the endpoint gives without a limit
  w = estimate(*state,
               "{\"custom_id\":\"d\",\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"twenty-one "
               "bytes long\"}],"
               "\"max_completion_tokens\":99,\"max_tokens\":7}}\n",
               0);
  assert_int_equal(w.generated, 99);
  assert_in_range(w.tokens - w.generated, 8, 12);
}

static void test_rows_beyond_the_sample_count(void **state) {
  batch_files *files = *state;
  fg_text all = {0};
  for (int i = 0; i < 3000; i++)
    fg_text_printf(&all, "{\"custom_id\":\"%04d\",\"body\":{\"prompt\":[1,2,3],\"max_tokens\":2}}\n", i);
  file_write(files->input, all.data, all.length);
  fg_text_free(&all);
  fg_workload w = fg_workload_estimate(files->input, 0), half = fg_workload_estimate(files->input, 2);
  assert_in_range(w.requests, 2990, 3010);
  assert_in_range(half.requests, 1495, 1505);
  assert_int_equal(w.tokens, 5);
}

static void test_what_tells_nothing_gives_zeros(void **state) {
  static const char *const texts[] = {"", "\n\n", "garbage\n", "[]\n", "{\"body\":7}\n{\"body\":{}}\n"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    fg_workload w = estimate(*state, texts[i], 0);
    assert_int_equal(w.requests + w.tokens + w.generated, 0);
  }
  fg_workload w = fg_workload_estimate("-", 0);
  assert_int_equal(w.requests + w.tokens, 0);
  w = fg_workload_estimate("/nonexistent/rows.jsonl", 0);
  assert_int_equal(w.requests + w.tokens, 0);
  w = estimate(*state, "{\"custom_id\":\"e\",\"body\":{\"prompt\":[1],\"max_tokens\":-3,\"n\":\"x\"}}", 0);
  assert_int_equal(w.generated, 16);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_ids_text_and_messages_are_counted, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_rows_beyond_the_sample_count, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_what_tells_nothing_gives_zeros, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
