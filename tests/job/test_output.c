// OUT and its journal: order, what a crash leaves, what is refused, full disks.
#include "batch_files.h"

#include <sys/file.h>

#include "faulty_write.h"
#include "job/output.h"

typedef struct fixture {
  job_place place;
  fg_journal_key key;
  fg_output_options options;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  place_make(&f->place);
  snprintf(f->key.text, sizeof f->key.text, "input 1\nmodel m\noptions o\n");
  f->options = (fg_output_options){.path = f->place.files.output,
                                   .key = &f->key,
                                   .repeatable = true,
                                   .rows = 10,
                                   .memory = &f->place.memory};
  fault = (write_fault){0};
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  place_remove(&f->place);
  free(f);
  return 0;
}

static size_t row_text(uint64_t row, bool good, char text[128]) {
  return (size_t)snprintf(text, 128,
                          "{\"custom_id\":\"%llu\",\"response\":{\"status_code\":%d,\"body\":{}}}\n",
                          (unsigned long long)row, good ? 200 : 400);
}

static fg_output *open_output(fixture *f) {
  fg_output *o;
  fg_error err;
  if (fg_output_open(&o, &f->options, &err) != FG_OK) fail_msg("%s", err.message);
  return o;
}

static fg_status try_open(fixture *f, fg_error *err) {
  fg_output *o;
  fg_status status = fg_output_open(&o, &f->options, err);
  if (status == FG_OK) fg_output_close(o, false, NULL);
  return status;
}

static fg_status put(fg_output *o, uint64_t row, bool good, fg_error *err) {
  char text[128];
  size_t length = row_text(row, good, text);
  return fg_output_put(o, row, text, length, err);
}

// Puts rows given as digits; a digit after '!' is a failed row.
static void put_rows(fg_output *o, const char *digits) {
  for (const char *d = digits; *d; d++) {
    fg_error err;
    bool good = *d != '!';
    d += !good;
    if (put(o, (uint64_t)(*d - '0'), good, &err) != FG_OK) fail_msg("%s", err.message);
  }
}

static void assert_file_holds(const char *path, const char *digits) {
  fg_text expected = {0};
  char text[128];
  for (const char *d = digits; *d; d++) {
    bool good = *d != '!';
    d += !good;
    fg_text_append(&expected, text, row_text((uint64_t)(*d - '0'), good, text));
  }
  char *is = file_read(path, NULL);
  assert_string_equal(is, expected.data ? expected.data : "");
  free(is);
  fg_text_free(&expected);
}

// ---- order -------------------------------------------------------------------------------------------

static void test_rows_come_out_in_order(void **state) {
  fixture *f = *state;
  srand(5);
  for (int round = 0; round < 200; round++) {
    char order[11] = "0123456789";
    for (int i = 9; i > 0; i--) {
      int j = rand() % (i + 1);
      char swap = order[i];
      order[i] = order[j];
      order[j] = swap;
    }
    fg_output *o = open_output(f);
    for (int i = 0; i < 10; i++) {
      put_rows(o, (char[]){order[i], 0});
      if (rand() % 4 == 0) assert_int_equal(fg_output_sync(o, NULL), FG_OK);
      if (rand() % 4 == 0) { // a run ends, the next goes on
        assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
        o = open_output(f);
        uint64_t earlier, failed;
        fg_output_earlier(o, &earlier, &failed);
        assert_int_equal(earlier, i + 1);
        for (int k = 0; k < 10; k++) assert_int_equal(fg_output_has(o, (uint64_t)(order[k] - '0')), k <= i);
      }
    }
    assert_int_equal(fg_output_close(o, true, NULL), FG_OK);
    assert_file_holds(f->place.files.output, "0123456789");
    assert_false(file_exists(f->place.files.journal));
    files_forget_output(&f->place.files);
  }
}

static void test_the_journal_shrinks_when_nothing_waits(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  struct stat st, later;
  assert_int_equal(stat(f->place.files.journal, &st), 0);
  put_rows(o, "210");
  assert_int_equal(stat(f->place.files.journal, &later), 0);
  assert_true(later.st_size > st.st_size);
  assert_int_equal(fg_output_sync(o, NULL), FG_OK);
  assert_int_equal(stat(f->place.files.journal, &later), 0);
  assert_int_equal(later.st_size, st.st_size);
  put_rows(o, "43");
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  assert_file_holds(f->place.files.output, "01234");
}

static void test_a_pipe_gets_rows_in_order_too(void **state) {
  fixture *f = *state;
  char fifo[128];
  snprintf(fifo, sizeof fifo, "%s/fifo", f->place.files.folder);
  assert_int_equal(mkfifo(fifo, 0600), 0);
  int reader = open(fifo, O_RDONLY | O_NONBLOCK);
  f->options.path = fifo;
  fg_output *o = open_output(f);
  put_rows(o, "3120");
  assert_int_equal(fg_output_close(o, true, NULL), FG_OK);
  char got[1024] = {0}, expected[1024] = {0};
  assert_true(read(reader, got, sizeof got - 1) > 0);
  for (uint64_t row = 0; row < 4; row++) row_text(row, true, expected + strlen(expected));
  assert_string_equal(got, expected);
  close(reader);
  unlink(fifo);
}

// ---- what a crash leaves -----------------------------------------------------------------------------

// OUT and journal as a run left them, cut at every byte.
static void test_torn_ends_are_dropped(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  put_rows(o, "01532"); // 0 1 2 3 in OUT, 5 waits
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  size_t out_size, journal_size;
  char *out = file_read(f->place.files.output, &out_size),
       *journal = file_read(f->place.files.journal, &journal_size);
  size_t row_size = out_size / 4;
  for (size_t cut = 0; cut <= out_size; cut++) {
    file_write(f->place.files.output, out, cut);
    file_write(f->place.files.journal, journal, journal_size);
    o = open_output(f);
    // 2 and 3: in OUT, or still in the journal, which the run had no time to trim
    for (uint64_t row = 0; row < 6; row++) {
      bool journaled = row == 3 || row == 5;
      assert_int_equal(fg_output_has(o, row), journaled || row < cut / row_size);
    }
    put_rows(o, cut / row_size == 0   ? "0124"
                : cut / row_size == 1 ? "124"
                : cut / row_size == 2 ? "24"
                                      : "4");
    assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
    assert_file_holds(f->place.files.output, "012345");
  }
  free(out);
  free(journal);
}

static void test_a_torn_journal_keeps_its_whole_records(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  struct stat header;
  assert_int_equal(stat(f->place.files.journal, &header), 0);
  put_rows(o, "123");
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  size_t size, record;
  char *journal = file_read(f->place.files.journal, &size);
  record = (size - (size_t)header.st_size) / 3;
  for (size_t cut = (size_t)header.st_size; cut <= size; cut++) {
    file_write(f->place.files.journal, journal, cut);
    o = open_output(f);
    size_t whole = (cut - (size_t)header.st_size) / record;
    for (uint64_t row = 1; row < 4; row++) assert_int_equal(fg_output_has(o, row), row <= whole);
    assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  }
  for (size_t at = (size_t)header.st_size; at < size;
       at++) { // a bit that turned: this record and those behind it
    journal[at] ^= 4;
    file_write(f->place.files.journal, journal, size);
    journal[at] ^= 4;
    o = open_output(f);
    size_t whole = (at - (size_t)header.st_size) / record;
    for (uint64_t row = 1; row < 4; row++) assert_int_equal(fg_output_has(o, row), row <= whole);
    assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  }
  free(journal);
}

static void test_a_block_of_zeros_is_no_row(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  put_rows(o, "01");
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  FILE *file = fopen(f->place.files.output, "ab");
  static const char zeros[64];
  fwrite(zeros, 1, sizeof zeros, file);
  fwrite("\n", 1, 1, file);
  fclose(file);
  o = open_output(f);
  assert_false(fg_output_has(o, 2));
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  assert_file_holds(f->place.files.output, "01");
}

// ---- what is refused ---------------------------------------------------------------------------------

static void assert_refused(fixture *f, const char *words) {
  size_t before, after;
  char *bytes = file_read(f->place.files.output, &before), *later;
  fg_error err;
  assert_int_equal(try_open(f, &err), FG_INVALID);
  if (!strstr(err.message, words)) fail_msg("%s", err.message);
  later = file_read(f->place.files.output, &after);
  assert_int_equal(before, after);
  assert_memory_equal(bytes, later, before);
  free(bytes);
  free(later);
}

static void test_another_job_is_refused_by_name(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  put_rows(o, "02");
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  static const struct {
    const char *key, *words;
  } others[] = {{"input 2\nmodel m\noptions o\n", "input differs"},
                {"input 1\nmodel n\noptions o\n", "model differs"},
                {"input 1\nmodel m\noptions oo\n", "options differs"}};
  for (size_t i = 0; i < 3; i++) {
    snprintf(f->key.text, sizeof f->key.text, "%s", others[i].key);
    assert_refused(f, others[i].words);
    assert_refused(f, "--overwrite");
  }
  f->options.resume = FG_RESUME_OVERWRITE;
  o = open_output(f);
  assert_false(fg_output_has(o, 0) || fg_output_has(o, 2));
  put_rows(o, "01");
  assert_int_equal(fg_output_close(o, true, NULL), FG_OK);
  assert_file_holds(f->place.files.output, "01");
}

static void test_a_finished_or_foreign_file_is_not_touched(void **state) {
  fixture *f = *state;
  file_write(f->place.files.output, "my notes\n", 9);
  assert_refused(f, "no journal");
  f->options.resume = FG_RESUME_REQUIRE;
  assert_refused(f, "no journal");
}

static void test_resume_needs_something_to_resume(void **state) {
  fixture *f = *state;
  fg_error err;
  f->options.resume = FG_RESUME_REQUIRE;
  assert_int_equal(try_open(f, &err), FG_NOT_FOUND);
}

static void test_two_runs_do_not_write_one_file(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  fg_error err;
  assert_int_equal(try_open(f, &err), FG_BUSY);
  f->options.resume = FG_RESUME_OVERWRITE;
  assert_int_equal(try_open(f, &err), FG_BUSY);
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  assert_int_equal(try_open(f, &err), FG_OK);
}

static void test_a_journal_of_an_unrepeatable_input_is_refused(void **state) {
  fixture *f = *state;
  f->options.repeatable = false;
  fg_output *o = open_output(f);
  put_rows(o, "0");
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  assert_refused(f, "cannot be read again");
}

// ---- failed rows once more ---------------------------------------------------------------------------

static void test_failed_rows_run_again_in_a_resumed_job(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  put_rows(o, "0!12!456"); // 3 is missing
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  uint64_t earlier, failed;
  o = open_output(f);
  fg_output_earlier(o, &earlier, &failed);
  assert_int_equal(earlier, 6);
  assert_int_equal(failed, 2);
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  f->options.retry_errors = true;
  o = open_output(f);
  for (uint64_t row = 0; row < 7; row++)
    assert_int_equal(fg_output_has(o, row), row == 0 || row == 2 || row > 4);
  fg_output_earlier(o, &earlier, &failed);
  assert_int_equal(earlier, 4);
  assert_int_equal(failed, 0);
  put_rows(o, "4");
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK); // and is interrupted
  f->options.retry_errors = false;
  o = open_output(f);
  put_rows(o, "31");
  assert_int_equal(fg_output_close(o, false, NULL), FG_OK);
  assert_file_holds(f->place.files.output, "0123456");
}

static fg_status says_its_number(void *user, uint64_t row, const char *line, size_t length, fg_error *err) {
  char text[128];
  (void)user;
  for (int good = 0; good < 2; good++)
    if (row_text(row, good, text) == length && memcmp(text, line, length) == 0) return FG_OK;
  return fg_fail(err, FG_INVALID, "row %d is another", (int)row);
}

static void test_failed_rows_of_a_finished_job_run_again(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  put_rows(o, "01!234!56789");
  assert_int_equal(fg_output_close(o, true, NULL), FG_OK);
  f->options.retry_errors = true;
  f->options.belongs = says_its_number;
  o = open_output(f);
  for (uint64_t row = 0; row < 10; row++) assert_int_equal(fg_output_has(o, row), row != 2 && row != 5);
  put_rows(o, "52");
  assert_int_equal(fg_output_close(o, true, NULL), FG_OK);
  assert_file_holds(f->place.files.output, "0123456789");
}

static void test_retry_does_not_touch_what_it_does_not_know(void **state) {
  fixture *f = *state;
  f->options.retry_errors = true;
  f->options.belongs = says_its_number;
  file_write(f->place.files.output, "my notes\n", 9);
  assert_refused(f, "does not answer this input");
  fg_text rows = {0};
  char text[128];
  for (uint64_t row = 0; row < 10; row++)
    fg_text_append(&rows, text, row_text(row == 4 ? 5 : row, row != 7, text));
  file_write(f->place.files.output, rows.data, rows.length);
  assert_refused(f, "row 4 is another");
  fg_text_free(&rows);
  assert_false(file_exists(f->place.files.journal));
}

// ---- disks that are full or broken -------------------------------------------------------------------

static void test_short_writes_are_finished(void **state) {
  fixture *f = *state;
  fg_output *o = open_output(f);
  fault = (write_fault){.at = 1, .bytes = 5};
  put_rows(o, "0");
  fault = (write_fault){.at = 1, .bytes = 5};
  put_rows(o, "21");
  assert_int_equal(fg_output_close(o, true, NULL), FG_OK);
  assert_file_holds(f->place.files.output, "012");
}

static void test_a_full_disk_loses_no_row(void **state) {
  fixture *f = *state;
  for (uint64_t at = 1; at <= 6; at++) {
    for (size_t bytes = 0; bytes < 3; bytes++) {
      fg_error err;
      fg_output *o = open_output(f);
      fault = (write_fault){.at = at, .bytes = bytes * 20, .error = ENOSPC};
      bool safe[10] = {false};
      uint64_t order[] = {1, 0, 3, 4, 2};
      fg_status status = FG_OK;
      for (int i = 0; i < 5 && status == FG_OK; i++) {
        status = put(o, order[i], true, &err);
        safe[order[i]] = status == FG_OK;
      }
      assert_int_equal(status, FG_DISK_FULL);
      assert_non_null(strstr(err.message, "No space left"));
      (void)fg_output_close(o, false, NULL);
      fault = (write_fault){0}; // somebody makes room
      o = open_output(f);
      for (uint64_t row = 0; row < 5; row++) {
        if (safe[row]) assert_true(fg_output_has(o, row));
        if (!fg_output_has(o, row)) put_rows(o, (char[]){(char)('0' + row), 0});
      }
      assert_int_equal(fg_output_close(o, true, NULL), FG_OK);
      assert_file_holds(f->place.files.output, "01234");
      files_forget_output(&f->place.files);
    }
  }
}

static void test_a_broken_disk_says_so(void **state) {
  fixture *f = *state;
  fg_error err;
  fg_output *o = open_output(f);
  fault = (write_fault){.at = 1, .error = EIO};
  assert_int_equal(put(o, 0, true, &err), FG_IO);
  assert_non_null(strstr(err.message, f->place.files.output));
  (void)fg_output_close(o, false, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_rows_come_out_in_order, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_the_journal_shrinks_when_nothing_waits, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_pipe_gets_rows_in_order_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_torn_ends_are_dropped, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_torn_journal_keeps_its_whole_records, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_block_of_zeros_is_no_row, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_another_job_is_refused_by_name, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_finished_or_foreign_file_is_not_touched, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_resume_needs_something_to_resume, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_two_runs_do_not_write_one_file, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_journal_of_an_unrepeatable_input_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_failed_rows_run_again_in_a_resumed_job, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_failed_rows_of_a_finished_job_run_again, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_retry_does_not_touch_what_it_does_not_know, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_short_writes_are_finished, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_full_disk_loses_no_row, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_broken_disk_says_so, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
