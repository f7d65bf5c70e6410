// What is known of a batch file's job before it runs.
#include "batch_files.h"
#include "byte_context.h"

#include "job/workload.h"

static fg_workload_survey survey;

static int set_up_files(void **state) {
  batch_files *files = calloc(1, sizeof *files);
  files_make(files);
  *state = files;
  return 0;
}

static int tear_down_files(void **state) {
  files_remove(*state);
  free(*state);
  return 0;
}

static fg_workload look(batch_files *files, const char *text, uint32_t shards) {
  file_write(files->input, text, strlen(text));
  fg_workload_look(&survey,
                   &(fg_workload_source){.context = &context, .path = files->input, .shards = shards});
  return survey.workload;
}

#define ROW(id, body)                                                                                        \
  "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{" body "}}\n"

static void test_ids_and_text_are_counted_as_they_will_be_read(void **state) {
  fg_workload w = look(*state,
                       ROW("a", "\"model\":\"m\",\"prompt\":[1,2,3,4,5,6],\"max_tokens\":10") //
                       ROW("b", "\"model\":\"m\",\"prompt\":[[1,2],[3,4]],\"max_tokens\":10"),
                       0);
  assert_int_equal(w.requests, 3);
  assert_int_equal(w.generated, 10);
  assert_in_range(w.tokens, 13, 14);
  assert_int_equal(w.length_count, 3);
  assert_int_equal(w.lengths[0].prompt, 6);
  assert_int_equal(w.lengths[2].prompt, 2);
  w = look(*state, ROW("c", "\"model\":\"m\",\"prompt\":\"nine byte\",\"n\":3,\"temperature\":1"), 0);
  assert_int_equal(w.requests, 3);
  assert_int_equal(w.lengths[0].prompt, 9); // a token a byte
  assert_int_equal(w.generated, 16);        // what the endpoint gives without a limit
}

static void test_rows_beyond_the_sample_count(void **state) {
  batch_files *files = *state;
  fg_text all = {0};
  for (int i = 0; i < 3000; i++)
    fg_text_printf(&all, ROW("%04d", "\"model\":\"m\",\"prompt\":[1,2,3],\"max_tokens\":%d"), i,
                   1 + i / 1500);
  file_write(files->input, all.data, all.length);
  fg_text_free(&all);
  fg_workload_look(&survey, &(fg_workload_source){.context = &context, .path = files->input});
  assert_int_equal(survey.workload.requests, 3000);
  assert_in_range(survey.workload.length_count, 200, 300);
  // Evenly: half of them are of the second half.
  uint32_t late = 0;
  for (uint32_t i = 0; i < survey.workload.length_count; i++) late += survey.lengths[i].generated == 2;
  assert_in_range(2 * late, survey.workload.length_count - 4, survey.workload.length_count + 4);
  fg_workload_look(&survey, &(fg_workload_source){.context = &context, .path = files->input, .shards = 2});
  assert_int_equal(survey.workload.requests, 1500);
}

// 40 tokens of an instruction, and 3 of a row; twice 2 samples, which are all the same.
static void test_what_rows_share_is_counted_in_the_order_in_which_they_run(void **state) {
#define FORTY(letter) letter " thirty-nine bytes that go before a row"
  fg_workload w = look(*state,
                       ROW("a", "\"prompt\":\"" FORTY("A") "one\",\"max_tokens\":1")         //
                       ROW("b", "\"prompt\":\"" FORTY("B") "two\",\"max_tokens\":2,\"n\":2") //
                       ROW("c", "\"prompt\":\"" FORTY("A") "six\",\"max_tokens\":3")         //
                       ROW("d", "\"prompt\":\"own\",\"max_tokens\":4"),
                       0);
  static const uint32_t generated[] = {1, 3, 2, 2, 4}, shared[] = {0, 40, 0, 43, 0};
  assert_int_equal(w.length_count, 5);
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(w.lengths[i].generated, generated[i]);
    assert_int_equal(w.lengths[i].shared, shared[i]);
  }
}

// As many tokens as the request wants candidates with.
static uint32_t kept_of(const void *user, const fg_request *request) {
  assert_ptr_equal(user, &survey);
  return request->prompt_logprobs < 0 ? 0 : request->prompt_count * (uint32_t)request->prompt_logprobs;
}

static void test_what_is_kept_is_asked_of_each_prompt(void **state) {
  batch_files *files = *state;
  static const char rows[] = ROW("a", "\"prompt\":[1,2,3],\"echo\":true,\"logprobs\":2") //
      ROW("b", "\"prompt\":[4,5],\"logprobs\":1");
  file_write(files->input, rows, strlen(rows));
  fg_workload_look(&survey, &(fg_workload_source){
                                .context = &context, .path = files->input, .kept = kept_of, .user = &survey});
  assert_int_equal(survey.workload.length_count, 2);
  assert_int_equal(survey.lengths[0].kept, 6);
  assert_int_equal(survey.lengths[1].kept, 0);
}

static void test_rows_that_draw_from_all_logits_are_told_apart(void **state) {
  fg_workload w = look(*state,
                       ROW("a", "\"prompt\":[1,2,3],\"temperature\":0")                           //
                       ROW("b", "\"prompt\":[5,2,3]")                                             //
                       ROW("c", "\"prompt\":[7,2,3],\"temperature\":0,\"logit_bias\":{\"5\":1}"), //
                       0);
  assert_int_equal(w.length_count, 3);
  for (uint32_t i = 0; i < 3; i++) assert_int_equal(w.lengths[i].drawn, i > 0);
}

static void test_what_tells_nothing_gives_zeros(void **state) {
  static const char *const texts[] = {"", "\n\n", "garbage\n", "[]\n", "{\"body\":7}\n{\"body\":{}}\n"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    fg_workload w = look(*state, texts[i], 0);
    assert_int_equal(w.requests + w.tokens + w.generated + w.length_count, 0);
  }
  static const char *const paths[] = {"-", "/nonexistent/rows.jsonl"};
  for (size_t i = 0; i < 2; i++) {
    fg_workload_look(&survey, &(fg_workload_source){.context = &context, .path = paths[i]});
    assert_int_equal(survey.workload.requests + survey.workload.tokens, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_ids_and_text_are_counted_as_they_will_be_read, set_up_files,
                                      tear_down_files),
      cmocka_unit_test_setup_teardown(test_rows_beyond_the_sample_count, set_up_files, tear_down_files),
      cmocka_unit_test_setup_teardown(test_what_rows_share_is_counted_in_the_order_in_which_they_run,
                                      set_up_files, tear_down_files),
      cmocka_unit_test_setup_teardown(test_what_is_kept_is_asked_of_each_prompt, set_up_files,
                                      tear_down_files),
      cmocka_unit_test_setup_teardown(test_rows_that_draw_from_all_logits_are_told_apart, set_up_files,
                                      tear_down_files),
      cmocka_unit_test_setup_teardown(test_what_tells_nothing_gives_zeros, set_up_files, tear_down_files),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
