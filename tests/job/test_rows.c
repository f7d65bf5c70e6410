// The lines of a batch file, and the ids on them.
#include "batch_files.h"

#include <sys/mman.h>
#include <sys/statfs.h>

#include "job/id_set.h"
#include "job/rows.h"

static int set_up(void **state) {
  *state = calloc(1, sizeof(job_place));
  place_make(*state);
  return 0;
}

static int tear_down(void **state) {
  place_remove(*state);
  free(*state);
  return 0;
}

// Reads all rows as "number:text|number:text|".
static char *rows_of(job_place *f, const char *bytes, size_t count) {
  file_write(f->files.input, bytes, count);
  fg_text all = {0};
  fg_rows *rows;
  fg_line line;
  fg_error err;
  bool end;
  uint64_t found = 0;
  assert_int_equal(fg_rows_open(&rows, f->files.input, &f->memory, &err), FG_OK);
  while (fg_rows_next(rows, &line, &end, &err) == FG_OK && !end) {
    fg_text_printf(&all, "%llu:%.*s|", (unsigned long long)line.number, (int)line.length,
                   line.text ? line.text : "");
    found++;
  }
  fg_rows_close(rows);
  fg_rows_survey survey;
  assert_int_equal(fg_rows_look_over(f->files.input, &f->memory, &survey, &err), FG_OK);
  assert_true(survey.regular);
  assert_int_equal(survey.rows, found);
  assert_int_equal(survey.bytes, count);
  fg_text_append(&all, "", 0);
  return all.data;
}

static void test_all_honest_line_forms(void **state) {
  static const struct {
    const char *file, *rows;
  } cases[] = {
      {"", ""},
      {"\n\n", ""},
      {"a", "1:a|"},
      {"a\n", "1:a|"},
      {"a\nb", "1:a|2:b|"},
      {"a\r\nb\r\n", "1:a|2:b|"},
      {"\n  \t\r\na\n\n\nb\n \n", "3:a|6:b|"},
      {"\xef\xbb\xbf{}\n", "1:{}|"},
      {"\xef\xbb\xbf\n{}\n", "2:{}|"},
      {"  a  \n", "1:a|"},
      {"a\n\xef\xbb\xbf\n", "1:a|2:\xef\xbb\xbf|"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *rows = rows_of(*state, cases[i].file, strlen(cases[i].file));
    assert_string_equal(rows, cases[i].rows);
    free(rows);
  }
}

static void test_lines_across_chunks(void **state) {
  fg_text file = {0}, expected = {0};
  for (int i = 1; i <= 40; i++) { // lines of up to 200 KB
    size_t length = 1 + (size_t)i * 5003;
    char *line = malloc(length);
    memset(line, 'a' + i % 26, length);
    fg_text_append(&file, line, length);
    fg_text_append(&file, "\r\n\n", 3);
    fg_text_printf(&expected, "%d:%.*s|", 2 * i - 1, (int)length, line);
    free(line);
  }
  char *rows = rows_of(*state, file.data, file.length);
  assert_string_equal(rows, expected.data);
  free(rows);
  fg_text_free(&file);
  fg_text_free(&expected);
}

static void test_a_line_too_long_is_one_row(void **state) {
  job_place *f = *state;
  size_t count = FG_ROW_MAX_BYTES + 10;
  char *bytes = malloc(count);
  memset(bytes, 'x', count);
  bytes[count - 4] = '\n'; // "xxx" follows
  file_write(f->files.input, bytes, count);
  fg_rows *rows;
  fg_line line;
  fg_error err;
  bool end;
  assert_int_equal(fg_rows_open(&rows, f->files.input, &f->memory, &err), FG_OK);
  assert_int_equal(fg_rows_next(rows, &line, &end, &err), FG_OK);
  assert_int_equal(line.length, 0);
  assert_non_null(strstr(line.error.message, "longer than 16 MiB"));
  fg_envelope e;
  fg_envelope_read(&e, &line, &f->memory);
  assert_null(e.root);
  assert_string_equal(e.code, "line_too_long");
  assert_non_null(strstr(e.error.message, "line 1"));
  assert_int_equal(fg_rows_next(rows, &line, &end, &err), FG_OK);
  assert_int_equal(line.number, 2);
  assert_int_equal(line.length, 3);
  assert_int_equal(fg_rows_next(rows, &line, &end, &err), FG_OK);
  assert_true(end);
  fg_rows_close(rows);
  free(bytes);
}

static void test_a_row_that_does_not_fit_in_memory_is_refused(void **state) {
  job_place *f = *state;
  fg_budget *whole = f->memory.host;
  fg_budget_create(&f->memory.host, "host memory", "--host-memory", 1 << 20, NULL);
  fg_text file = {0};
  for (int i = 0; i < 200000; i++) fg_text_append_string(&file, i ? ",1" : "{\"custom_id\":\"a\",\"x\":[1");
  fg_text_append_string(&file, "]}");
  fg_line line = {.number = 7, .text = file.data, .length = file.length};
  fg_envelope e;
  fg_envelope_read(&e, &line, &f->memory);
  assert_null(e.root);
  assert_string_equal(e.code, "line_too_long");
  assert_non_null(strstr(e.error.message, "--host-memory"));
  assert_int_equal(f->memory.used, 0);
  fg_text_free(&file);
  fg_budget_destroy(f->memory.host);
  f->memory.host = whole;
}

static void test_what_cannot_be_read_names_the_line(void **state) {
  job_place *f = *state;
  static const struct {
    const char *text, *code;
  } cases[] = {
      {"{", "invalid_json"},
      {"{\"custom_id\":\"a\"} x", "invalid_json"},
      {"{\"custom_id\":\"\\ud800\"}", "invalid_json"}, // half a surrogate pair
      {"{\"custom_id\":\"\xff\"}", "invalid_json"},
      {"{\"custom_id\":\"a\",\"custom_id\":\"b\"}", "invalid_json"},
      {"[]", "invalid_request"},
      {"\"a\"", "invalid_request"},
      {"{}", "invalid_request"},
      {"{\"custom_id\":5}", "invalid_request"},
      {"{\"custom_id\":null}", "invalid_request"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_line line = {.number = 17, .text = cases[i].text, .length = strlen(cases[i].text)};
    fg_envelope e;
    fg_envelope_read(&e, &line, &f->memory);
    assert_null(e.root);
    assert_string_equal(e.code, cases[i].code);
    assert_non_null(strstr(e.error.message, "line 17"));
  }
}

static void test_deep_nesting_does_not_end_the_process(void **state) {
  job_place *f = *state;
  size_t depth = 1 << 20;
  char *text = malloc(depth);
  memset(text, '[', depth);
  fg_envelope e;
  fg_envelope_read(&e, &(fg_line){.number = 1, .text = text, .length = depth}, &f->memory);
  assert_null(e.root);
  assert_string_equal(e.code, "invalid_json");
  free(text);
}

static void test_any_change_of_the_input_changes_its_hash(void **state) {
  job_place *f = *state;
  static char bytes[200000];
  memset(bytes, 'x', sizeof bytes);
  fg_rows_survey first, second;
  fg_error err;
  file_write(f->files.input, bytes, sizeof bytes);
  assert_int_equal(fg_rows_look_over(f->files.input, &f->memory, &first, &err), FG_OK);
  for (size_t at = 0; at < sizeof bytes; at += 65535) {
    bytes[at] ^= 1;
    file_write(f->files.input, bytes, sizeof bytes);
    assert_int_equal(fg_rows_look_over(f->files.input, &f->memory, &second, &err), FG_OK);
    assert_true(first.hash != second.hash);
    bytes[at] ^= 1;
  }
  file_write(f->files.input, bytes, sizeof bytes - 1);
  assert_int_equal(fg_rows_look_over(f->files.input, &f->memory, &second, &err), FG_OK);
  assert_true(first.hash != second.hash);
}

enum { LINE = 4096, LARGE = 24 << 20, TMPFS = 0x01021994 };

// Bytes of a file that the system holds in memory.
static size_t cached_bytes(int fd, size_t size) {
  static unsigned char pages[LARGE / LINE];
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  assert_ptr_not_equal(map, MAP_FAILED);
  assert_int_equal(mincore(map, size, pages), 0);
  munmap(map, size);
  size_t cached = 0;
  for (size_t i = 0; i < size / page; i++) cached += (pages[i] & 1) * page;
  return cached;
}

static void read_all(const char *path, fg_job_memory *memory) {
  fg_rows *rows;
  fg_line line;
  fg_error err;
  bool end = false;
  assert_int_equal(fg_rows_open(&rows, path, memory, &err), FG_OK);
  while (!end) assert_int_equal(fg_rows_next(rows, &line, &end, &err), FG_OK);
  fg_rows_close(rows);
}

// The budget counts the system's cache of files too.
static void test_a_file_that_is_large_beside_the_budget_does_not_fill_the_cache(void **state) {
  (void)state;
  char path[] = "/var/tmp/flexgen-rows-XXXXXX";
  static char text[LINE];
  struct statfs fs;
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  unlink(path);
  if (fstatfs(fd, &fs) != 0 || fs.f_type == TMPFS || sysconf(_SC_PAGESIZE) < LINE) {
    close(fd);
    skip(); // what is in memory only cannot be dropped
  }
  memset(text, 'x', sizeof text);
  text[LINE - 1] = '\n';
  for (size_t done = 0; done < LARGE; done += LINE) assert_int_equal(write(fd, text, LINE), LINE);
  assert_int_equal(fsync(fd), 0);
  snprintf(path, sizeof path, "/dev/fd/%d", fd);
  fg_job_memory small = {0}, large = {0};
  fg_budget_create(&small.host, "host memory", "--host-memory", 64 << 20, NULL);
  fg_budget_create(&large.host, "host memory", "--host-memory", (uint64_t)4 << 30, NULL);
  read_all(path, &large);
  assert_true(cached_bytes(fd, LARGE) > LARGE / 4 * 3);
  read_all(path, &small);
  assert_true(cached_bytes(fd, LARGE) < LARGE / 3);
  read_all(path, &large);
  fg_rows_survey survey;
  fg_error err;
  assert_int_equal(fg_rows_look_over(path, &small, &survey, &err), FG_OK);
  assert_int_equal(survey.rows, LARGE / LINE);
  assert_true(cached_bytes(fd, LARGE) < LARGE / 3);
  fg_budget_destroy(small.host);
  fg_budget_destroy(large.host);
  close(fd);
}

static void test_ids_are_seen_once_each(void **state) {
  job_place *f = *state;
  fg_id_set set = {.memory = &f->memory};
  fg_error err;
  char id[32];
  bool seen;
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 100000; i++) {
      int length = snprintf(id, sizeof id, "row-%d", i);
      assert_int_equal(fg_id_set_add(&set, id, (size_t)length, &seen, &err), FG_OK);
      assert_int_equal(seen, round);
    }
  }
  assert_true(f->memory.used <= 100000 * 18);
  fg_id_set_free(&set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_honest_line_forms),
      cmocka_unit_test(test_lines_across_chunks),
      cmocka_unit_test(test_a_line_too_long_is_one_row),
      cmocka_unit_test(test_a_row_that_does_not_fit_in_memory_is_refused),
      cmocka_unit_test(test_what_cannot_be_read_names_the_line),
      cmocka_unit_test(test_deep_nesting_does_not_end_the_process),
      cmocka_unit_test(test_any_change_of_the_input_changes_its_hash),
      cmocka_unit_test(test_a_file_that_is_large_beside_the_budget_does_not_fill_the_cache),
      cmocka_unit_test(test_ids_are_seen_once_each),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
