// A batch job that ends before all of its rows were run: each is in the output once, with an answer or why it
// has none.
#include "batch_files.h"

#include "base/json.h"
#include "fake_engine.h"
#include "job/batch_job.h"

static const fg_row_end expired = {"batch_expired", "it is too late"};

typedef struct fixture {
  batch_files files;
  fg_batch_options options;
  fg_engine *engine;
  fg_text seen; // of each row its custom_id and what came of it
} fixture;

#define ROW(id, body)                                                                                        \
  "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"" body   \
  "\",\"max_tokens\":90}}\n"
#define LONG ">an answer of so many letters that it is not over when all the others are"

static int set_up(void **state) {
  static fixture f;
  static const char rows[] = ROW("a", ">x") ROW("b \\\"", LONG) ROW("c", ">y") "no JSON\n" ROW("d", ">w")
      ROW("a", ">z") ROW("e", ">z");
  f = (fixture){.engine = fake_open(3, 0)};
  files_make(&f.files);
  file_write(f.files.input, rows, sizeof rows - 1);
  f.options = (fg_batch_options){.input = f.files.input, .output = f.files.output, .deterministic_ids = true};
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  fg_text_free(&f->seen);
  files_remove(&f->files);
  return fake_close(f->engine) == 0 ? 0 : -1; // all memory was given back
}

static fg_status see_row(void *user, const char *line, size_t length, bool failed, fg_error *err) {
  fixture *f = user;
  json_t *row = fg_json_parse(line, length, "row", err);
  if (!row) return FG_CORRUPT;
  const char *id = json_string_value(json_object_get(row, "custom_id"));
  const json_t *response = json_object_get(row, "response"), *error = json_object_get(row, "error");
  const char *code = json_string_value(json_object_get(error, "code"));
  assert_int_equal(json_is_null(response), code != NULL);
  const bool answered = json_integer_value(json_object_get(response, "status_code")) == 200;
  assert_int_equal(failed, !answered);
  if (code && strcmp(code, expired.code) == 0)
    assert_string_equal(json_string_value(json_object_get(error, "message")), expired.message);
  fg_text_printf(&f->seen, "%s %s, ", id ? id : "-", code ? code : answered ? "answered" : "refused");
  json_decref(row);
  return FG_OK;
}

static fg_batch_job *open_job(fixture *f) {
  fg_batch_job *job;
  fg_error err;
  if (fg_batch_job_open(&job, f->engine, &f->options, &err) != FG_OK) fail_msg("%s", err.message);
  return job;
}

// Runs `room` rows, for so many steps, and gives the rest up.
static void run_some(fixture *f, fg_batch_job *job, uint32_t room, int steps) {
  fg_error err;
  if (room) assert_int_equal(fg_batch_job_fill(job, room, &err), FG_OK);
  for (int i = 0; i < steps; i++) {
    assert_int_equal(fg_engine_step(f->engine, &err), FG_OK);
    assert_int_equal(fg_batch_job_stepped(job, &err), FG_OK);
  }
  fg_batch_job_cancel(job);
  assert_int_equal(fg_engine_step(f->engine, &err), FG_OK);
  assert_int_equal(fg_batch_job_stepped(job, &err), FG_OK);
  assert_false(fg_batch_job_runs(job));
  if (fg_batch_job_give_up(job, &expired, &err) != FG_OK) fail_msg("%s", err.message);
}

static void check(fixture *f, fg_batch_job *job, const char *expected) {
  fg_error err;
  fg_text_clear(&f->seen);
  assert_int_equal(fg_batch_job_visit(job, see_row, f, &err), FG_OK);
  assert_string_equal(f->seen.data, expected);
}

// The third is done before the second, which was under way; what is wrong with the sixth was seen before.
#define TWO_OF_THREE                                                                                         \
  "a answered, b \" batch_expired, c answered, - invalid_json, d batch_expired, a refused, e "               \
  "batch_expired, "

static void test_rows_that_were_not_answered_say_so(void **state) {
  fixture *f = *state;
  fg_error err;
  fg_batch_job *job = open_job(f);
  uint64_t done, failed, total;
  run_some(f, job, 3, 4);
  check(f, job, TWO_OF_THREE);
  fg_batch_job_count(job, &done, &failed, &total);
  assert_true(done == 7 && failed == 5 && total == 7);
  assert_int_equal(fg_batch_job_close(job, true, &err), FG_OK);
}

static void test_a_job_that_has_not_begun_has_no_answers(void **state) {
  fixture *f = *state;
  fg_error err;
  fg_batch_job *job = open_job(f);
  run_some(f, job, 0, 0);
  check(f, job,
        "a batch_expired, b \" batch_expired, c batch_expired, - invalid_json, d batch_expired, a "
        "batch_expired, e batch_expired, ");
  assert_int_equal(fg_batch_job_close(job, true, &err), FG_OK);
}

static void test_rows_are_given_up_once(void **state) {
  fixture *f = *state;
  fg_error err;
  fg_batch_job *job = open_job(f);
  run_some(f, job, 3, 4);
  assert_int_equal(fg_batch_job_close(job, false, &err),
                   FG_OK); // such as when its files could not be written
  job = open_job(f);
  run_some(f, job, 0, 0);
  check(f, job, TWO_OF_THREE);
  assert_int_equal(fg_batch_job_close(job, true, &err), FG_OK);
}

static void test_a_shard_gives_up_its_own_rows(void **state) {
  fixture *f = *state;
  fg_error err;
  f->options.shards = 2;
  f->options.shard = 1;
  fg_batch_job *job = open_job(f);
  run_some(f, job, 0, 0);
  check(f, job, "b \" batch_expired, - invalid_json, a batch_expired, ");
  assert_int_equal(fg_batch_job_close(job, true, &err), FG_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_rows_that_were_not_answered_say_so, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_job_that_has_not_begun_has_no_answers, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_rows_are_given_up_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_shard_gives_up_its_own_rows, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
