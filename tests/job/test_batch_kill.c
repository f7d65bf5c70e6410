// A batch that is killed, at any moment and in the middle of any write, gives the same file after a resume.
#include "batch_files.h"

#include <sys/wait.h>

#include "fake_engine.h"
#include "faulty_write.h"
#include "flexgen/batch.h"

enum { ROWS = 300 };

typedef struct fixture {
  batch_files files;
  fg_batch_options options;
  char *expected;
} fixture;

// Rows of every kind: n, sampled and greedy, with and without seed, scores, bad ones; some take long, and
// some begin alike and are computed one after the other.
static void write_rows(const char *path) {
  static const char *const bodies[] = {
      "\"prompt\":\"a\",\"n\":2",
      "\"prompt\":\"b\",\"temperature\":0",
      "\"prompt\":[300]",
      "\"prompt\":\"c\",\"seed\":5,\"n\":3",
      "\"prompt\":\">an answer that takes its time, so that others are done before it\",\"max_tokens\":90",
      "\"prompt\":\"score\",\"echo\":true,\"logprobs\":2,\"max_tokens\":1",
      "\"prompt\":\"d\"",
      "\"prompt\":\"the first of two beginnings that are alike: e\"",
      "\"prompt\":\"now the other one of these two beginnings: f\",\"n\":2",
  };
  fg_text in = {0};
  for (int i = 0; i < ROWS; i++) {
    if (i % 29 == 28)
      fg_text_append_string(&in, "{\"broken\n");
    else
      fg_text_printf(&in,
                     "{\"custom_id\":\"%d\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{%s}}\n",
                     i, bodies[i % 9]);
  }
  file_write(path, in.data, in.length);
  fg_text_free(&in);
}

static int run_once(const fixture *f, uint32_t step_microseconds) {
  fg_engine *e = fake_open(4, 0);
  e->step_microseconds = step_microseconds;
  fg_error err;
  fg_status status = fg_batch_run(e, &f->options, NULL, &err);
  if (status != FG_OK) fprintf(stderr, "%s\n", err.message);
  fake_close(e);
  return status == FG_OK ? 0 : 1;
}

static pid_t start(const fixture *f, uint32_t step_microseconds, write_fault planned) {
  pid_t child = fork();
  if (child == 0) {
    fault = planned;
    _exit(run_once(f, step_microseconds));
  }
  return child;
}

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  files_make(&f->files);
  write_rows(f->files.input);
  f->options =
      (fg_batch_options){.input = f->files.input, .output = f->files.output, .deterministic_ids = true};
  assert_int_equal(run_once(f, 0), 0);
  f->expected = file_read(f->files.output, NULL);
  files_forget_output(&f->files);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  files_remove(&f->files);
  free(f->expected);
  free(f);
  return 0;
}

static void assert_same_file(const fixture *f) {
  char *is = file_read(f->files.output, NULL);
  assert_string_equal(is, f->expected);
  free(is);
  assert_false(file_exists(f->files.journal));
  files_forget_output(&f->files);
}

static uint64_t lines_of(const char *path) {
  char *text = file_read(path, NULL);
  uint64_t lines = 0;
  for (const char *c = text; *c; c++) lines += *c == '\n';
  free(text);
  return lines;
}

// In the middle of the n-th write, to OUT or to the journal, after none, some or all of its bytes.
static void test_killed_in_a_write(void **state) {
  fixture *f = *state;
  static const size_t bytes[] = {0, 1, 100, 1 << 20};
  uint32_t torn = 0;
  for (uint64_t at = 1; at < 400; at += 13) {
    pid_t child = start(f, 0, (write_fault){.at = at, .bytes = bytes[at % 4], .kill = true});
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    char *out = file_read(f->files.output, NULL);
    size_t length = strlen(out);
    torn += length && out[length - 1] != '\n';
    free(out);
    assert_int_equal(run_once(f, 0), 0);
    assert_same_file(f);
  }
  print_message("rows of OUT left torn: %u\n", torn);
  assert_true(torn >= 3);
}

// Again and again, in every run a bit later.
static void test_killed_many_times_over(void **state) {
  fixture *f = *state;
  uint64_t writes = 0, safe = 0;
  for (uint64_t kills = 0;; kills++) {
    writes = 5 + kills * 3;
    pid_t child = start(f, 0, (write_fault){.at = writes, .bytes = kills % 60, .kill = true});
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    uint64_t lines = lines_of(f->files.output);
    assert_true(lines >= safe); // what was safe stays
    safe = lines;
    if (WIFEXITED(status)) {
      print_message("killed %llu times\n", (unsigned long long)kills);
      assert_int_equal(WEXITSTATUS(status), 0);
      break;
    }
  }
  assert_same_file(f);
}

// At moments of the clock, wherever the run is then.
static void test_killed_at_any_moment(void **state) {
  fixture *f = *state;
  uint32_t killed = 0, between = 0;
  srand(11);
  for (int round = 0; round < 20; round++) {
    pid_t child = start(f, 200, (write_fault){0});
    nanosleep(&(struct timespec){.tv_nsec = (long)(rand() % 120) * 1000000}, NULL);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status);
    uint64_t lines = lines_of(f->files.output);
    between += lines > 0 && lines < ROWS;
    if (WIFSIGNALED(status)) assert_int_equal(run_once(f, 0), 0);
    assert_same_file(f);
  }
  print_message("killed %u times, %u of them between first and last row\n", killed, between);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_killed_in_a_write, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_killed_many_times_over, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_killed_at_any_moment, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
