// Files of a server: kept across restarts, whole or not there, within limits.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve/file_store.h"

static char folder[64];
static fg_file_store *store;
static const fg_file_limits limits = {.file_bytes = 100, .total_bytes = 250, .files = 4};

static fg_error err;

static int open_store(void **state) {
  (void)state;
  strcpy(folder, "/tmp/flexgen-files-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  return fg_file_store_open(&store, folder, limits, &err) == FG_OK ? 0 : -1;
}

static int remove_store(void **state) {
  (void)state;
  char command[128];
  fg_file_store_close(store);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static void reopen(void) {
  fg_file_store_close(store);
  assert_int_equal(fg_file_store_open(&store, folder, limits, &err), FG_OK);
}

static void write_raw(const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static bool is_there(const char *name, const char *suffix) {
  char path[256];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
  return stat(path, &st) == 0;
}

static fg_status put(const char *text, fg_file_info *info) {
  fg_file_draft *draft;
  fg_status status = fg_file_draft_begin(store, &draft, &err);
  if (status != FG_OK) return status;
  status = fg_file_draft_append(draft, text, strlen(text), &err);
  if (status == FG_OK) return fg_file_draft_commit(draft, "in.jsonl", "batch", info, &err);
  fg_file_draft_drop(draft);
  return status;
}

static void expect_content(const char *id, const char *text) {
  char read_back[256] = "";
  fg_file_info info;
  int fd;
  assert_int_equal(fg_file_store_get(store, id, &fd, &info, &err), FG_OK);
  assert_int_equal(read(fd, read_back, sizeof read_back - 1), strlen(text));
  assert_string_equal(read_back, text);
  assert_int_equal(info.bytes, strlen(text));
  close(fd);
}

static void test_a_file_outlives_the_server(void **state) {
  (void)state;
  fg_file_info info, found;
  assert_int_equal(put("{}\n", &info), FG_OK);
  reopen();
  assert_true(fg_file_store_find(store, info.id, &found));
  assert_string_equal(found.name, "in.jsonl");
  assert_string_equal(found.purpose, "batch");
  assert_int_equal(found.created, info.created);
  expect_content(info.id, "{}\n");
}

static void test_ids_differ_and_are_names(void **state) {
  (void)state;
  char a[FG_ID_BYTES], b[FG_ID_BYTES];
  fg_new_id(a, "batch_");
  fg_new_id(b, "batch_");
  assert_int_equal(strlen(a), 6 + 24);
  assert_memory_equal(a, "batch_", 6);
  assert_string_not_equal(a, b);
}

static void test_a_removed_file_is_gone_for_good(void **state) {
  (void)state;
  fg_file_info a, b;
  assert_int_equal(put("1", &a), FG_OK);
  assert_int_equal(put("22", &b), FG_OK);
  assert_int_equal(fg_file_store_remove(store, a.id, &err), FG_OK);
  assert_int_equal(fg_file_store_remove(store, a.id, &err), FG_NOT_FOUND);
  assert_false(is_there(a.id, "") || is_there(a.id, ".json"));
  reopen();
  assert_false(fg_file_store_find(store, a.id, &a));
  expect_content(b.id, "22");
}

static void test_what_a_kill_left_is_cleared(void **state) {
  (void)state;
  fg_file_info info;
  assert_int_equal(put("12345", &info), FG_OK);
  write_raw("file-torn.part", "half");
  write_raw("file-without-note", "bytes");
  write_raw(
      "file-no-bytes.json",
      "{\"id\":\"file-no-bytes\",\"bytes\":3,\"created_at\":1,\"filename\":\"a\",\"purpose\":\"batch\"}");
  write_raw("file-short.json",
            "{\"id\":\"file-short\",\"bytes\":3,\"created_at\":1,\"filename\":\"a\",\"purpose\":\"batch\"}");
  write_raw("file-short", "12");
  write_raw("file-broken.json", "{\"id\":");
  reopen();
  fg_file_info *files;
  uint32_t count;
  assert_int_equal(fg_file_store_list(store, &files, &count, &err), FG_OK);
  assert_int_equal(count, 1);
  assert_string_equal(files[0].id, info.id);
  free(files);
  assert_false(is_there("file-torn", ".part") || is_there("file-without-note", "") ||
               is_there("file-no-bytes", ".json") || is_there("file-short", "") ||
               is_there("file-broken", ".json"));
}

static void test_a_note_names_its_own_file_only(void **state) {
  (void)state;
  char other[96];
  snprintf(other, sizeof other, "%s-outside", folder);
  FILE *file = fopen(other, "w");
  assert_non_null(file);
  fputs("abc", file);
  fclose(file);
  char note[256];
  snprintf(note, sizeof note,
           "{\"id\":\"../%s\",\"bytes\":3,\"created_at\":1,\"filename\":\"a\",\"purpose\":\"batch\"}",
           strrchr(other, '/') + 1);
  write_raw("file-x.json", note);
  write_raw("file-y.json",
            "{\"id\":\"file-z\",\"bytes\":3,\"created_at\":1,\"filename\":\"a\",\"purpose\":\"batch\"}");
  write_raw("file-z", "abc");
  reopen();
  fg_file_info *files;
  uint32_t count;
  assert_int_equal(fg_file_store_list(store, &files, &count, &err), FG_OK);
  assert_int_equal(count, 0);
  free(files);
  assert_int_equal(unlink(other), 0);
}

static void test_limits(void **state) {
  (void)state;
  char text[102];
  fg_file_info info, first;
  memset(text, 'x', sizeof text);
  text[101] = 0;
  assert_int_equal(put(text, &info), FG_NO_SPACE); // larger than a file may be
  text[100] = 0;
  assert_int_equal(put(text, &first), FG_OK);
  assert_int_equal(put(text, &info), FG_OK);
  assert_int_equal(put(text, &info), FG_NO_SPACE); // 300 of 250
  text[50] = 0;
  assert_int_equal(put(text, &info), FG_OK);
  assert_int_equal(put("", &info), FG_OK);
  assert_int_equal(put("", &info), FG_NO_SPACE); // five of four
  assert_int_equal(fg_file_store_remove(store, first.id, &err), FG_OK);
  assert_int_equal(put(text, &info), FG_OK);
}

static void test_a_dropped_draft_leaves_nothing(void **state) {
  (void)state;
  char text[101];
  memset(text, 'x', 100);
  text[100] = 0;
  for (int i = 0; i < 10; i++) {
    fg_file_draft *draft;
    assert_int_equal(fg_file_draft_begin(store, &draft, &err), FG_OK);
    assert_int_equal(fg_file_draft_append(draft, text, 100, &err), FG_OK);
    fg_file_draft_drop(draft);
  }
  fg_file_info info;
  assert_int_equal(put(text, &info), FG_OK);
}

static void test_what_is_made_again_takes_the_old_ones_place(void **state) {
  (void)state;
  fg_file_info info;
  for (int i = 0; i < 3; i++) {
    fg_file_draft *draft;
    assert_int_equal(fg_file_draft_begin_as(store, "file-answer", &draft, &err), FG_OK);
    assert_int_equal(fg_file_draft_append(draft, "123456", (size_t)i + 1, &err), FG_OK);
    assert_int_equal(fg_file_draft_commit(draft, "out.jsonl", "batch_output", &info, &err), FG_OK);
  }
  fg_file_info *files;
  uint32_t count;
  assert_int_equal(fg_file_store_list(store, &files, &count, &err), FG_OK);
  assert_int_equal(count, 1);
  free(files);
  expect_content("file-answer", "123");
}

static void test_one_server_at_a_time(void **state) {
  (void)state;
  fg_file_store *other;
  assert_int_equal(fg_file_store_open(&other, folder, limits, &err), FG_BUSY);
}

#define STORED(test) cmocka_unit_test_setup_teardown(test, open_store, remove_store)

int main(void) {
  const struct CMUnitTest tests[] = {
      STORED(test_a_file_outlives_the_server),
      STORED(test_ids_differ_and_are_names),
      STORED(test_a_removed_file_is_gone_for_good),
      STORED(test_what_a_kill_left_is_cleared),
      STORED(test_a_note_names_its_own_file_only),
      STORED(test_limits),
      STORED(test_a_dropped_draft_leaves_nothing),
      STORED(test_what_is_made_again_takes_the_old_ones_place),
      STORED(test_one_server_at_a_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
