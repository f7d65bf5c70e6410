// The journal's size: what nobody waits for goes, and nothing else, whenever the process dies.
#include "batch_files.h"

#include <sys/wait.h>

#include "faulty_write.h"
#include "job/journal.h"

enum { ROWS = 400, SPARE = 4096, WAITING = 20 };

typedef struct fixture {
  job_place place;
  fg_journal_key key;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  place_make(&f->place);
  snprintf(f->key.text, sizeof f->key.text, "input 1\nmodel m\n");
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

static fg_journal *open_journal(fixture *f, const char *path, bool keep, uint64_t first) {
  const fg_journal_options options = {
      .path = path, .key = &f->key, .keep = keep, .first = first, .spare = SPARE, .memory = &f->place.memory};
  fg_journal *j;
  fg_error err;
  if (fg_journal_open(&j, &options, &err) != FG_OK) fail_msg("%s", err.message);
  return j;
}

static size_t line_of(uint64_t row, char line[256]) {
  return (size_t)snprintf(line, 256, "row %llu %0*llu\n", (unsigned long long)row, 1 + (int)(row * 37 % 150),
                          (unsigned long long)row);
}

// Rows wait in twos and threes, the last WAITING of them; every tenth row the journal is trimmed.
static fg_status fill(fg_journal *j, uint64_t from, fg_error *err) {
  char line[256];
  fg_status status = FG_OK;
  for (uint64_t row = from; status == FG_OK && row < ROWS; row++) {
    if (row % 7 == 0) continue; // it never came
    if (row > WAITING) fg_journal_set_first(j, row - WAITING);
    size_t length = line_of(row, line);
    status = fg_journal_append(j, row, line, length, err);
    if (status == FG_OK && row % 10 == 0) status = fg_journal_trim(j, err);
  }
  return status;
}

static void assert_rows(fg_journal *j, uint64_t first, uint64_t end) {
  fg_text text = {0};
  char line[256];
  fg_error err;
  for (uint64_t row = first; row < end; row++) {
    assert_int_equal(fg_journal_has(j, row), row % 7 != 0);
    if (row % 7 == 0) continue;
    size_t length = line_of(row, line);
    if (fg_journal_read(j, row, &text, &err) != FG_OK) fail_msg("%s", err.message);
    assert_int_equal(text.length, length);
    assert_memory_equal(text.data, line, length);
  }
  fg_text_free(&text);
}

static void fill_and_check(fixture *f, const char *path) {
  fg_journal *j = open_journal(f, path, false, 0);
  fg_error err;
  if (fill(j, 0, &err) != FG_OK) fail_msg("%s", err.message);
  assert_rows(j, ROWS - 1 - WAITING, ROWS);
  fg_journal_close(j);
}

static void test_a_journal_stays_small_while_rows_wait(void **state) {
  fixture *f = *state;
  fill_and_check(f, f->place.files.journal);
  struct stat st;
  assert_int_equal(stat(f->place.files.journal, &st), 0);
  assert_true(st.st_size < 3 * SPARE); // of some 45 KiB that were written
  fg_journal *j = open_journal(f, f->place.files.journal, true, ROWS - 1 - WAITING);
  assert_rows(j, ROWS - 1 - WAITING, ROWS);
  fg_journal_close(j);
}

static void test_one_without_a_name_too(void **state) {
  fill_and_check(*state, NULL);
}

// At every write, of rows as of the new file: what waited is there afterwards.
static void test_killed_while_it_is_rewritten(void **state) {
  fixture *f = *state;
  char left[160];
  snprintf(left, sizeof left, "%s.new", f->place.files.journal);
  uint32_t found = 0;
  for (uint64_t at = 1;; at += 3) {
    pid_t child = fork();
    if (child == 0) {
      fault = (write_fault){.at = at, .bytes = at % 90, .kill = true};
      fg_error err;
      _exit(fill(open_journal(f, f->place.files.journal, false, 0), 0, &err) != FG_OK);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    found += file_exists(left);
    fg_journal *j = open_journal(f, f->place.files.journal, true, 0);
    assert_false(file_exists(left));
    const uint64_t end = fg_journal_end(j);
    if (end) assert_rows(j, end > WAITING ? end - WAITING : 0, end);
    fg_journal_close(j);
    if (WIFEXITED(status)) break;
  }
  assert_true(found > 5); // killed in the middle of a new file
}

static void test_a_full_disk_leaves_the_old_one(void **state) {
  fixture *f = *state;
  fg_journal *j = open_journal(f, f->place.files.journal, false, 0);
  fg_error err;
  char line[256];
  for (uint64_t row = 1; row < 100; row++)
    if (row % 7 && fg_journal_append(j, row, line, line_of(row, line), &err) != FG_OK)
      fail_msg("%s", err.message);
  fg_journal_set_first(j, 90);
  fault = (write_fault){.at = 3, .bytes = 10, .error = ENOSPC};
  assert_int_equal(fg_journal_trim(j, &err), FG_OK);
  assert_true(fault.broken); // it was tried
  fault = (write_fault){0};
  assert_rows(j, 90, 100);
  if (fg_journal_append(j, 100, line, line_of(100, line), &err) != FG_OK) fail_msg("%s", err.message);
  assert_rows(j, 90, 101);
  fg_journal_close(j);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_journal_stays_small_while_rows_wait, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_one_without_a_name_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_killed_while_it_is_rewritten, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_full_disk_leaves_the_old_one, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
