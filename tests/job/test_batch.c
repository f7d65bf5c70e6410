// The batch runner on a small engine: rows, order, resume, shards, failures, memory.
#include "batch_files.h"

#include <sys/mount.h>
#include <sys/wait.h>

#include "base/json.h"
#include "fake_engine.h"
#include "faulty_write.h"
#include "flexgen/batch.h"
#include "job/rows.h"

typedef struct fixture {
  batch_files files;
  fg_batch_options options;
  uint32_t max_seqs;
  uint64_t budget;
  volatile sig_atomic_t stop;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  files_make(&f->files);
  f->options = (fg_batch_options){.input = f->files.input,
                                  .output = f->files.output,
                                  .deterministic_ids = true,
                                  .options_key = "dtype f32"};
  f->max_seqs = 4;
  fault = (write_fault){0};
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  files_remove(&f->files);
  free(f);
  return 0;
}

static fg_status run_on(fixture *f, fg_engine *e, fg_batch_progress *p, fg_error *err) {
  fg_status status = fg_batch_run(e, &f->options, p, err);
  assert_int_equal(fake_close(e), 0); // all memory was given back
  return status;
}

static fg_batch_progress run(fixture *f) {
  fg_batch_progress p;
  fg_error err;
  if (run_on(f, fake_open(f->max_seqs, f->budget), &p, &err) != FG_OK) fail_msg("%s", err.message);
  return p;
}

// ---- inputs ------------------------------------------------------------------------------------------

static void add_row(fg_text *in, int id, const char *body) {
  fg_text_printf(in,
                 "{\"custom_id\":\"row-%d\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{%s}}\n",
                 id, body);
}

// All sorts of rows: short and long answers, n, seeds, greedy, scores, bad ones, duplicates, blank lines.
static void add_mixed_rows(fg_text *in, int count) {
  static const char *const bodies[] = {
      "\"prompt\":\"one\",\"max_tokens\":12",
      "\"prompt\":\"two\",\"n\":3,\"max_tokens\":9",
      "\"prompt\":\"three\",\"seed\":42,\"max_tokens\":5",
      "\"prompt\":[[1,2],[3]],\"n\":2,\"logprobs\":2,\"return_token_ids\":true",
      "\"prompt\":\"score me\",\"echo\":true,\"logprobs\":1,\"max_tokens\":0",
      "\"prompt\":\">a rather long answer that keeps the rows behind it waiting\",\"max_tokens\":80",
      "\"prompt\":\">stop HERE now\",\"stop\":[\"HERE\"],\"max_tokens\":40",
      "\"prompt\":\"bad\",\"temperature\":9",
      "\"prompt\":[999]",
      "\"prompt\":\"four\",\"temperature\":0,\"max_tokens\":3",
  };
  for (int i = 0; i < count; i++) {
    if (i % 37 == 11) fg_text_append_string(in, "not json at all\n");
    if (i % 41 == 7) fg_text_append_string(in, "\n  \n");
    add_row(in, i % 53 == 52 ? 3 : i, bodies[(i * 7 + i / 10) % 10]); // now and then a duplicate
  }
}

static void write_mixed(const fixture *f, int count) {
  fg_text in = {0};
  add_mixed_rows(&in, count);
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
}

static void write_lines(const fixture *f, const char *lines) {
  file_write(f->files.input, lines, strlen(lines));
}

static json_t *row_of(const fixture *f, size_t index) {
  char *text = file_read(f->files.output, NULL), *line = text;
  for (; index && line; index--) line = strchr(line, '\n') + 1;
  fg_error err;
  json_t *row = fg_json_parse(line, strcspn(line, "\n"), "row", &err);
  if (!row) fail_msg("%s: %s", err.message, text);
  free(text);
  return row;
}

static const char *text_of(const json_t *row, size_t choice) {
  const json_t *body = json_object_get(json_object_get(row, "response"), "body");
  return json_string_value(json_object_get(json_array_get(json_object_get(body, "choices"), choice), "text"));
}

// ---- what comes out ----------------------------------------------------------------------------------

static void test_a_row_comes_back_as_openai_writes_it(void **state) {
  fixture *f = *state;
  write_lines(f, "{\"custom_id\":\"a\\u0000\\\"b\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":"
                 "{\"model\":\"m\",\"prompt\":\">hi\",\"max_tokens\":9}}");
  fg_batch_progress p = run(f);
  assert_true(p.rows_done == 1 && p.rows_failed == 0 && p.rows_total == 1);
  assert_true(p.prompt_tokens == 3 && p.generated_tokens == 3);
  json_t *row = row_of(f, 0), *response = json_object_get(row, "response");
  assert_int_equal(strncmp(json_string_value(json_object_get(row, "id")), "batch_req_", 10), 0);
  assert_int_equal(json_string_length(json_object_get(row, "custom_id")), 4);
  assert_true(json_is_null(json_object_get(row, "error")));
  assert_int_equal(json_integer_value(json_object_get(response, "status_code")), 200);
  assert_true(json_is_string(json_object_get(response, "request_id")));
  assert_string_equal(text_of(row, 0), "hi");
  assert_string_equal(json_string_value(json_object_get(json_object_get(response, "body"), "model")), "m");
  json_decref(row);
}

static void test_what_the_engine_cannot_take_is_the_rows_fault(void **state) {
  fixture *f = *state;
  static const struct {
    fg_error refusal;
    int status;
    const char *type, *code;
  } cases[] = {{{FG_UNSUPPORTED, "this engine has no penalties"},
                400,
                "invalid_request_error",
                "unsupported_parameter"},
               {{FG_INVALID, "the prompt has no tokens"}, 400, "invalid_request_error", NULL},
               {{FG_NO_SPACE, "out of memory"}, 500, "server_error", NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_engine *e = fake_open(4, 0);
    e->refuse_every = 1;
    e->refusal = cases[i].refusal;
    write_lines(
        f,
        "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"x\"}}");
    fg_batch_progress p;
    fg_error err;
    f->options.resume = FG_RESUME_OVERWRITE;
    assert_int_equal(run_on(f, e, &p, &err), FG_OK);
    assert_true(p.rows_failed == 1);
    json_t *row = row_of(f, 0), *response = json_object_get(row, "response");
    const json_t *error = json_object_get(json_object_get(response, "body"), "error");
    assert_int_equal(json_integer_value(json_object_get(response, "status_code")), cases[i].status);
    assert_string_equal(json_string_value(json_object_get(error, "message")), cases[i].refusal.message);
    assert_string_equal(json_string_value(json_object_get(error, "type")), cases[i].type);
    const char *code = json_string_value(json_object_get(error, "code"));
    assert_true(code && cases[i].code ? strcmp(code, cases[i].code) == 0 : code == cases[i].code);
    json_decref(row);
  }
}

static void test_bad_rows_do_not_stop_the_job(void **state) {
  fixture *f = *state;
  static const struct {
    const char *line;
    int status; // 0: a row without custom_id and response
    const char *says;
  } rows[] = {
      {"oops", 0, "line 1"},
      {"{\"custom_id\":5}", 0, "line 2"},
      {"{\"custom_id\":\"a\"}", 400, "method"},
      {"{\"custom_id\":\"b\",\"method\":\"GET\"}", 400, "method"},
      {"{\"custom_id\":\"c\",\"method\":\"POST\"}", 400, "url"},
      {"{\"custom_id\":\"d\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{}}", 400,
       "/v1/embeddings"},
      {"{\"custom_id\":\"e\",\"method\":\"POST\",\"url\":\"/v1/completions\"}", 400, "body"},
      {"{\"custom_id\":\"f\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":[]}", 400, "body"},
      {"{\"custom_id\":\"g\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":[300]}}",
       400, "vocabulary"},
      {"{\"custom_id\":\"h\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\">x\"}}",
       200, NULL},
      {"{\"custom_id\":\"h\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\">x\"}}",
       400, "line 11"},
  };
  enum { COUNT = sizeof rows / sizeof *rows };
  fg_text in = {0};
  for (int i = 0; i < COUNT; i++) fg_text_printf(&in, "%s\n", rows[i].line);
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  fg_batch_progress p = run(f);
  assert_int_equal(p.rows_done, COUNT);
  assert_int_equal(p.rows_failed, COUNT - 1);
  for (int i = 0; i < COUNT; i++) {
    json_t *row = row_of(f, (size_t)i), *response = json_object_get(row, "response");
    char *all = json_dumps(row, 0);
    if (rows[i].says && !strstr(all, rows[i].says)) fail_msg("%s", all);
    free(all);
    assert_int_equal(json_is_null(json_object_get(row, "custom_id")), rows[i].status == 0);
    assert_int_equal(json_is_null(json_object_get(row, "error")), rows[i].status != 0);
    assert_int_equal(json_integer_value(json_object_get(response, "status_code")), rows[i].status);
    if (rows[i].status == 400)
      assert_string_equal(json_string_value(json_object_get(
                              json_object_get(json_object_get(response, "body"), "error"), "type")),
                          "invalid_request_error");
    json_decref(row);
  }
}

static void test_choices_stand_prompt_by_prompt(void **state) {
  fixture *f = *state;
  fg_text in = {0};
  add_row(&in, 0, "\"prompt\":[\">first\",\">second\"],\"n\":2");
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  run(f);
  json_t *row = row_of(f, 0);
  static const char *const texts[] = {"first", "first", "second", "second"};
  for (size_t i = 0; i < 4; i++) assert_string_equal(text_of(row, i), texts[i]);
  json_decref(row);
}

static void test_samples_differ_and_seeds_repeat(void **state) {
  fixture *f = *state;
  fg_text in = {0};
  add_row(&in, 0, "\"prompt\":\"x\",\"n\":8");
  add_row(&in, 1, "\"prompt\":\"x\",\"n\":8");
  add_row(&in, 2, "\"prompt\":\"x\",\"n\":8,\"seed\":7");
  add_row(&in, 3, "\"prompt\":\"x\",\"n\":8,\"seed\":7");
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  run(f);
  json_t *rows[4];
  bool samples = false, lines = false;
  for (size_t i = 0; i < 4; i++) rows[i] = row_of(f, i);
  for (size_t i = 0; i < 8; i++) {
    samples |= strcmp(text_of(rows[0], i), text_of(rows[0], 0)) != 0;
    lines |= strcmp(text_of(rows[0], i), text_of(rows[1], i)) != 0;
    assert_string_equal(text_of(rows[2], i), text_of(rows[3], i)); // wherever it stands
  }
  assert_true(samples && lines);
  for (size_t i = 0; i < 4; i++) json_decref(rows[i]);
}

// ---- the same rows, whatever happens around them -----------------------------------------------------

static char *undisturbed(fixture *f) {
  run(f);
  assert_false(file_exists(f->files.journal));
  char *rows = file_read(f->files.output, NULL);
  files_forget_output(&f->files);
  return rows;
}

static void assert_output(const fixture *f, const char *expected) {
  char *is = file_read(f->files.output, NULL);
  assert_string_equal(is, expected);
  free(is);
}

static void test_batch_size_changes_nothing(void **state) {
  fixture *f = *state;
  write_mixed(f, 120);
  char *expected = undisturbed(f);
  static const uint32_t sizes[] = {1, 2, 7, 64};
  for (size_t i = 0; i < 4; i++) {
    f->max_seqs = sizes[i];
    run(f);
    assert_output(f, expected);
    files_forget_output(&f->files);
  }
  free(expected);
}

static void stop_at(fg_engine *e) {
  fixture *f = e->user;
  if (e->steps == e->fail_at / 2) f->stop = 1;
}

static void test_a_stopped_job_goes_on_where_it_was(void **state) {
  fixture *f = *state;
  write_mixed(f, 60);
  char *expected = undisturbed(f);
  fg_error err;
  fg_batch_progress p = {0};
  uint64_t before = 0;
  f->options.stop = &f->stop;
  fg_status status = FG_CANCELLED;
  int runs = 0;
  for (; status == FG_CANCELLED && runs < 1000; runs++) {
    fg_engine *e = fake_open(f->max_seqs, 0);
    e->after_step = stop_at;
    e->fail_at = 2 * 12 * (uint64_t)(runs + 1); // stopped after half of them
    e->user = f;
    f->stop = 0;
    status = run_on(f, e, &p, &err);
    assert_true(p.rows_done >= before);
    before = p.rows_done;
    f->options.resume = FG_RESUME_REQUIRE;
  }
  assert_int_equal(status, FG_OK);
  assert_true(runs > 3);
  assert_int_equal(p.rows_done, p.rows_total);
  assert_output(f, expected);
  free(expected);
}

static void test_a_failing_engine_loses_no_row(void **state) {
  fixture *f = *state;
  write_mixed(f, 60);
  char *expected = undisturbed(f);
  fg_error err;
  fg_status status = FG_IO;
  for (int runs = 0; status != FG_OK && runs < 1000; runs++) {
    fg_engine *e = fake_open(f->max_seqs, 0);
    e->fail_at = 9 * (uint64_t)(runs + 1);
    status = run_on(f, e, NULL, &err);
    if (status != FG_OK) assert_non_null(strstr(err.message, "cannot read"));
    char *so_far = file_read(f->files.output, NULL);
    assert_int_equal(strncmp(so_far, expected, strlen(so_far)), 0); // no failed row because of it
    free(so_far);
  }
  assert_int_equal(status, FG_OK);
  assert_output(f, expected);
  free(expected);
}

static void test_shards_together_are_the_whole(void **state) {
  fixture *f = *state;
  write_mixed(f, 100);
  char *expected = undisturbed(f), *shards[3], *at[3], *whole = expected;
  f->options.shards = 3;
  for (uint32_t i = 0; i < 3; i++) {
    f->options.shard = i;
    fg_batch_progress p = run(f);
    assert_int_equal(p.rows_done, p.rows_total);
    at[i] = shards[i] = file_read(f->files.output, NULL);
    files_forget_output(&f->files);
  }
  for (uint32_t row = 0; *whole; row++) {
    size_t length = strcspn(whole, "\n") + 1;
    assert_int_equal(strncmp(at[row % 3], whole, length), 0);
    at[row % 3] += length;
    whole += length;
  }
  for (uint32_t i = 0; i < 3; i++) {
    assert_string_equal(at[i], "");
    free(shards[i]);
  }
  free(expected);
}

static void test_another_input_model_or_seed_is_refused(void **state) {
  fixture *f = *state;
  write_mixed(f, 30);
  fg_engine *e = fake_open(4, 0);
  e->fail_at = 6;
  fg_error err;
  assert_int_equal(run_on(f, e, NULL, &err), FG_IO);
  f->options.seed = 1;
  assert_int_equal(run_on(f, fake_open(4, 0), NULL, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "seed differs"));
  f->options.seed = 0;
  f->options.options_key = "dtype bf16";
  assert_int_equal(run_on(f, fake_open(4, 0), NULL, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "options differs"));
  f->options.options_key = "dtype f32";
  write_mixed(f, 31);
  assert_int_equal(run_on(f, fake_open(4, 0), NULL, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "input differs"));
}

static void test_failed_rows_run_again_on_demand(void **state) {
  fixture *f = *state;
  fg_text in = {0};
  for (int i = 0; i < 40; i++) add_row(&in, i, "\"prompt\":\"x\",\"n\":2");
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  char *expected = undisturbed(f);
  fg_engine *e = fake_open(4, 0);
  e->refuse_every = 9;
  fg_batch_progress p;
  fg_error err;
  assert_int_equal(run_on(f, e, &p, &err), FG_OK);
  assert_true(p.rows_failed > 4 && p.rows_done == 40);
  assert_false(file_exists(f->files.journal));
  f->options.retry_errors = true;
  p = run(f);
  assert_true(p.rows_failed == 0 && p.rows_done == 40);
  assert_output(f, expected);
  write_lines(f, "{\"custom_id\":\"other\"}\n");
  assert_int_equal(run_on(f, fake_open(4, 0), &p, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "does not answer"));
  assert_output(f, expected);
  free(expected);
}

// ---- the order in which rows are computed --------------------------------------------------------------

// As many tokens as bytes: more than a block.
#define INSTRUCTION(letter) letter " is what all these rows begin with:"

// Rows of three instructions in turn, and among them some of their own, with an answer of 3 letters.
static void write_groups(const fixture *f, int count) {
  static const char *const starts[] = {INSTRUCTION("A"), "own", INSTRUCTION("B"), INSTRUCTION("C")};
  fg_text in = {0};
  for (int i = 0; i < count; i++) {
    char body[128];
    snprintf(body, sizeof body, "\"prompt\":\"%s%d\",\"max_tokens\":%d", starts[i % 4], i,
             i % 4 == 1 ? 9 : 3);
    add_row(&in, i, body);
  }
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
}

// What was submitted: the letters that prompts begin with.
typedef struct submissions {
  char starts[512];
  size_t count;
} submissions;

static void see_submission(fg_engine *e, const fg_request *r) {
  submissions *s = e->user;
  s->starts[s->count++] = (char)r->prompt[0];
}

static void run_watched(fixture *f, submissions *s) {
  *s = (submissions){0};
  fg_engine *e = fake_open(f->max_seqs, f->budget);
  e->on_submit = see_submission;
  e->user = s;
  fg_batch_progress p;
  fg_error err;
  if (run_on(f, e, &p, &err) != FG_OK) fail_msg("%s", err.message);
}

static int changes(const char *starts) {
  int count = 0;
  for (const char *c = starts; c[0] && c[1]; c++) count += c[0] != c[1] && c[1] != 'o';
  return count;
}

static void test_rows_of_one_beginning_run_one_after_the_other(void **state) {
  fixture *f = *state;
  write_groups(f, 200);
  submissions s;
  run_watched(f, &s);
  assert_int_equal(s.count, 200);
  assert_int_equal(changes(s.starts), 2); // from A to B to C, with the rows of their own wherever
  char *out = file_read(f->files.output, NULL), *at = out;
  for (int i = 0; i < 200; i++) { // and the answers are where they were
    char id[32];
    snprintf(id, sizeof id, "\"custom_id\":\"row-%d\"", i);
    const char *end = strchr(at, '\n');
    assert_non_null(end);
    assert_non_null(memmem(at, (size_t)(end - at), id, strlen(id)));
    at = (char *)end + 1;
  }
  assert_int_equal(*at, 0);
  free(out);
}

static void see_length(fg_engine *e, const fg_request *r) {
  submissions *s = e->user;
  s->starts[s->count++] = (char)('A' + r->max_tokens);
}

static void test_long_answers_run_first_where_the_engine_wishes(void **state) {
  fixture *f = *state;
  static const int lengths[] = {3, 9, 1, 9, 20, 2};
  fg_text in = {0};
  for (int i = 0; i < 6; i++) {
    char body[64];
    snprintf(body, sizeof body, "\"prompt\":\"%d\",\"max_tokens\":%d", i, lengths[i]);
    add_row(&in, i, body);
  }
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  char *expected = undisturbed(f);
  submissions s = {0};
  fg_engine *e = fake_open(1, 0);
  e->on_submit = see_length;
  e->user = &s;
  e->order = FG_ORDER_LONGEST;
  fg_error err;
  assert_int_equal(run_on(f, e, NULL, &err), FG_OK);
  assert_string_equal(s.starts, "UJJDCB");
  assert_output(f, expected);
  free(expected);
}

static void test_prompts_of_one_row_run_by_their_beginnings(void **state) {
  fixture *f = *state;
  fg_text in = {0};
  add_row(
      &in, 0,
      "\"n\":2,\"prompt\":[\"" INSTRUCTION("A") "1\",\"" INSTRUCTION("B") "2\",\"" INSTRUCTION("A") ">x\"]");
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  submissions s;
  run_watched(f, &s);
  assert_string_equal(s.starts, "AAAABB");
  json_t *row = row_of(f, 0);
  assert_string_equal(text_of(row, 4), "x"); // the third prompt's answers stand third
  assert_string_equal(text_of(row, 5), "x");
  json_decref(row);
}

static void test_the_order_changes_no_answer(void **state) {
  fixture *f = *state;
  write_groups(f, 150);
  char *expected = undisturbed(f);
  f->budget = 5 << 20; // room for a few rows at a time
  f->max_seqs = 1;
  run(f);
  assert_output(f, expected);
  free(expected);
}

static void test_a_stop_in_the_middle_of_a_group_goes_on_there(void **state) {
  fixture *f = *state;
  write_groups(f, 160);
  char *expected = undisturbed(f);
  f->options.stop = &f->stop;
  fg_error err;
  fg_batch_progress p;
  for (int stops = 1;; stops++) {
    fg_engine *e = fake_open(f->max_seqs, 0);
    e->after_step = stop_at;
    e->fail_at = 2 * (uint64_t)stops * 5;
    e->user = f;
    f->stop = 0;
    if (run_on(f, e, &p, &err) == FG_OK) break;
    assert_true(stops < 100);
    assert_true(p.rows_done == 0 || file_exists(f->files.journal));
  }
  assert_output(f, expected);
  free(expected);
}

typedef struct race {
  uint64_t submitted, most; // rows; of them while the long one was not done
} race;

static void see_race(fg_engine *e, const fg_request *r) {
  race *seen = e->user;
  (void)r;
  seen->submitted++;
  // The long one was submitted first and leaves the list when it is done.
  if (e->first && e->first->request.max_tokens > 1) seen->most = seen->submitted;
}

static void test_rows_wait_when_one_takes_too_long(void **state) {
  enum { AHEAD = 1 << 18 };
  fixture *f = *state;
  fg_text in = {0};
  add_row(&in, 0, "\"prompt\":[65],\"max_tokens\":700,\"ignore_eos\":true");
  for (int i = 1; i < AHEAD + 3000; i++) add_row(&in, i, "\"prompt\":[66],\"max_tokens\":1");
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  race seen = {0};
  fg_engine *e = fake_open(400, 0);
  e->on_submit = see_race;
  e->user = &seen;
  fg_batch_progress p;
  fg_error err;
  assert_int_equal(run_on(f, e, &p, &err), FG_OK);
  assert_int_equal(p.rows_done, AHEAD + 3000);
  assert_int_equal(seen.most, AHEAD);
}

// ---- disks and memory --------------------------------------------------------------------------------

static void test_a_full_disk_stops_the_job_and_it_goes_on(void **state) {
  fixture *f = *state;
  write_mixed(f, 60);
  char *expected = undisturbed(f);
  fg_error err;
  int stops = 0;
  for (uint64_t at = 1;; at += 5) { // room for that many writes more, each time
    fault = (write_fault){.at = at, .bytes = at % 40, .error = ENOSPC};
    fg_status status = run_on(f, fake_open(4, 0), NULL, &err);
    fault = (write_fault){0};
    if (status == FG_OK) break;
    assert_int_equal(status, FG_DISK_FULL);
    stops++;
  }
  assert_true(stops > 3);
  assert_output(f, expected);
  free(expected);
}

static void test_a_full_tmpfs(void **state) {
  fixture *f = *state;
  write_mixed(f, 400);
  char small[96], target[128];
  snprintf(small, sizeof small, "%s/small", f->files.folder);
  snprintf(target, sizeof target, "%s/out.jsonl", small);
  assert_int_equal(mkdir(small, 0700), 0);
  if (mount("none", small, "tmpfs", 0, "size=64k") != 0) {
    rmdir(small);
    skip();
  }
  char *expected = undisturbed(f);
  f->options.output = target;
  fg_error err;
  assert_int_equal(run_on(f, fake_open(4, 0), NULL, &err), FG_DISK_FULL);
  assert_int_equal(mount("none", small, "tmpfs", MS_REMOUNT, "size=8m"), 0);
  fg_batch_progress p = run(f);
  assert_int_equal(p.rows_done, p.rows_total);
  char *is = file_read(target, NULL);
  assert_string_equal(is, expected);
  free(is);
  free(expected);
  umount(small);
  rmdir(small);
}

static void test_memory_bounds_the_rows_under_way(void **state) {
  fixture *f = *state;
  fg_text in = {0};
  for (int i = 0; i < 200; i++)
    add_row(&in, i, "\"prompt\":\"x\",\"n\":10,\"logprobs\":20,\"max_tokens\":500");
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  f->max_seqs = 500;
  fg_engine *wide = fake_open(500, 0), *narrow = fake_open(500, 16 << 20);
  fg_batch_progress p;
  fg_error err;
  assert_int_equal(fg_batch_run(wide, &f->options, &p, &err), FG_OK);
  uint32_t many = wide->most_pending;
  assert_int_equal(fake_close(wide), 0);
  char *expected = file_read(f->files.output, NULL);
  files_forget_output(&f->files);
  assert_int_equal(fg_batch_run(narrow, &f->options, &p, &err), FG_OK);
  assert_true(narrow->most_pending < many / 4);
  assert_int_equal(fake_close(narrow), 0);
  assert_int_equal(p.rows_failed, 0);
  assert_output(f, expected);
  free(expected);
}

static void test_a_row_too_large_for_memory_is_an_error_of_that_row(void **state) {
  fixture *f = *state;
  fg_text in = {0};
  add_row(&in, 0, "\"prompt\":\">a\"");
  add_row(&in, 1, "\"prompt\":\"x\",\"n\":128,\"logprobs\":20,\"max_tokens\":900");
  add_row(&in, 2, "\"prompt\":\">b\"");
  file_write(f->files.input, in.data, in.length);
  fg_text_free(&in);
  f->budget = 8 << 20;
  fg_batch_progress p = run(f);
  assert_true(p.rows_done == 3 && p.rows_failed == 1);
  json_t *row = row_of(f, 1);
  char *all = json_dumps(row, 0);
  assert_non_null(strstr(all, "--host-memory"));
  free(all);
  json_decref(row);
}

// ---- pipes, emptiness, progress ----------------------------------------------------------------------

static void test_rows_through_pipes(void **state) {
  fixture *f = *state;
  write_mixed(f, 50);
  char *expected = undisturbed(f), fifo[2][112];
  for (int i = 0; i < 2; i++) {
    snprintf(fifo[i], sizeof fifo[i], "%s/fifo%d", f->files.folder, i);
    assert_int_equal(mkfifo(fifo[i], 0600), 0);
  }
  pid_t feeder = fork();
  if (feeder == 0) {
    char command[512];
    snprintf(command, sizeof command, "cat %s > %s & cat %s > %s; wait", f->files.input, fifo[0], fifo[1],
             f->files.output);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(1);
  }
  f->options.input = fifo[0];
  f->options.output = fifo[1];
  fg_batch_progress p = run(f);
  assert_int_equal(p.rows_total, 0);
  int status;
  assert_int_equal(waitpid(feeder, &status, 0), feeder);
  assert_output(f, expected);
  unlink(fifo[0]);
  unlink(fifo[1]);
  free(expected);
}

static void test_an_empty_input_makes_an_empty_output(void **state) {
  fixture *f = *state;
  write_lines(f, "\n \n");
  fg_batch_progress p = run(f);
  assert_true(p.rows_done == 0 && p.rows_total == 0);
  assert_output(f, "");
  assert_true(file_exists(f->files.output));
  assert_false(file_exists(f->files.journal));
}

static void test_a_missing_input_touches_no_output(void **state) {
  fixture *f = *state;
  fg_error err;
  assert_int_equal(run_on(f, fake_open(4, 0), NULL, &err), FG_NOT_FOUND);
  assert_false(file_exists(f->files.output));
  assert_false(file_exists(f->files.journal));
}

static void test_a_kept_journal_lets_a_finished_job_be_done_again(void **state) {
  fixture *f = *state;
  write_mixed(f, 30);
  char *expected = undisturbed(f);
  f->options.keep_journal = true;
  fg_batch_progress p = run(f);
  assert_true(p.rows_earlier == 0 && p.rows_done == p.rows_total);
  assert_true(file_exists(f->files.journal));
  p = run(f);
  assert_true(p.rows_earlier == p.rows_total && p.rows_done == p.rows_total && p.generated_tokens == 0);
  assert_output(f, expected);
  free(expected);
}

typedef struct watch {
  uint64_t calls, rows;
  bool ok;
} watch;

static void see(void *user, const fg_batch_progress *p) {
  watch *w = user;
  w->calls++;
  w->ok &=
      p->rows_done >= w->rows && p->rows_done <= p->rows_total && p->seconds >= 0 && p->eta_seconds >= -1;
  w->rows = p->rows_done;
}

static void test_progress_grows_to_the_end(void **state) {
  fixture *f = *state;
  write_mixed(f, 60);
  watch w = {.ok = true};
  f->options.progress = see;
  f->options.user = &w;
  fg_engine *e = fake_open(2, 0);
  e->step_microseconds = 3000;
  fg_batch_progress p;
  fg_error err;
  assert_int_equal(run_on(f, e, &p, &err), FG_OK);
  assert_true(w.ok && w.calls >= 1 && w.rows == p.rows_total);
  assert_true(p.eta_seconds == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_row_comes_back_as_openai_writes_it, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_what_the_engine_cannot_take_is_the_rows_fault, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_bad_rows_do_not_stop_the_job, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_choices_stand_prompt_by_prompt, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_samples_differ_and_seeds_repeat, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_batch_size_changes_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_stopped_job_goes_on_where_it_was, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_failing_engine_loses_no_row, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_shards_together_are_the_whole, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_another_input_model_or_seed_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_failed_rows_run_again_on_demand, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_rows_of_one_beginning_run_one_after_the_other, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_long_answers_run_first_where_the_engine_wishes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_prompts_of_one_row_run_by_their_beginnings, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_the_order_changes_no_answer, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_stop_in_the_middle_of_a_group_goes_on_there, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_rows_wait_when_one_takes_too_long, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_full_disk_stops_the_job_and_it_goes_on, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_full_tmpfs, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_memory_bounds_the_rows_under_way, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_row_too_large_for_memory_is_an_error_of_that_row, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(test_rows_through_pipes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_an_empty_input_makes_an_empty_output, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_missing_input_touches_no_output, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_kept_journal_lets_a_finished_job_be_done_again, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(test_progress_grows_to_the_end, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
