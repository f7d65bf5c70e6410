// A folder of kept pages against what was put into it: what comes out is what went in, or nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/prefix_folder.h"

enum { T = 4, LAYERS = 7, LAYER_BYTES = 200 * 1000, BLOCKS = 6, PIECES = 4 };

static const fg_prefix_shape shape = {.page_tokens = T, .layers = LAYERS, .layer_bytes = LAYER_BYTES};

typedef struct fixture {
  char path[64], said[512];
  uint32_t lines;
  fg_budget *budget;
  fg_log log;
  int32_t tokens[BLOCKS * T];
} fixture;

static void hear(void *user, fg_log_level level, const char *line) {
  fixture *f = user;
  (void)level;
  snprintf(f->said, sizeof f->said, "%s", line);
  f->lines++;
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  fg_error err;
  strcpy(f->path, "/tmp/fg-prefix-XXXXXX");
  assert_non_null(mkdtemp(f->path));
  assert_int_equal(fg_budget_create(&f->budget, "host memory", "--host-memory", 0, &err), FG_OK);
  f->log = (fg_log){.level = FG_LOG_INFO, .write = hear, .user = f};
  for (int32_t i = 0; i < BLOCKS * T; i++) f->tokens[i] = 100 + i;
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  char command[128];
  assert_int_equal(fg_budget_used(f->budget), 0);
  fg_budget_destroy(f->budget);
  snprintf(command, sizeof command, "rm -r %s", f->path);
  int failed = system(command);
  free(f);
  return failed;
}

static fg_prefix_folder *open_folder(fixture *f, const char *identity, uint64_t limit) {
  fg_prefix_folder *folder;
  fg_error err;
  const fg_prefix_folder_options options = {.path = f->path,
                                            .limit = limit,
                                            .identity = identity,
                                            .shape = shape,
                                            .longest = BLOCKS * T,
                                            .host = f->budget,
                                            .log = &f->log};
  assert_int_equal(fg_prefix_folder_create(&folder, &options, &err), FG_OK);
  return folder;
}

static uint64_t page_bytes(void) {
  return fg_prefix_page_file_bytes(&shape, 1, T);
}

static fg_prefix_text text_of(const fixture *f, uint32_t blocks) {
  return (fg_prefix_text){.tokens = f->tokens, .count = blocks * T};
}

// ---- pages, whose every byte tells block, layer and place -------------------------------------------------

static unsigned char byte_of(uint32_t block, uint32_t layer, uint32_t i) {
  return (unsigned char)(block * 31 + layer * 7 + i % 251);
}

typedef struct page {
  uint32_t block;
  bool fails;
} page;

static fg_status get(void *user, uint32_t layer, uint32_t layers, void *bytes, fg_error *err) {
  const page *p = user;
  if (p->fails && layer) return fg_fail(err, FG_IO, "the cache cannot be read");
  for (uint32_t l = 0; l < layers; l++)
    for (uint32_t i = 0; i < LAYER_BYTES; i++)
      ((unsigned char *)bytes)[l * LAYER_BYTES + i] = byte_of(p->block, layer + l, i);
  return FG_OK;
}

static bool save(fg_prefix_folder *folder, const fixture *f, uint32_t block) {
  const fg_prefix_text text = text_of(f, block + 1);
  const fg_prefix_note note = {.token = (int32_t)block, .top_count = 1};
  const fg_prefix_notes notes = {&note, 1, 1};
  page p = {.block = block};
  const fg_prefix_source source = {&p, get};
  return fg_prefix_folder_save(folder, &text, &notes, &source);
}

typedef struct taken {
  uint32_t layers[BLOCKS], notes[BLOCKS];
} taken;

static void take_notes(void *user, uint32_t block, const fg_prefix_notes *notes) {
  taken *t = user;
  assert_int_equal(notes->count, 1);
  assert_int_equal(notes->notes[0].token, block);
  t->notes[block]++;
}

static fg_status put(void *user, uint32_t block, uint32_t layer, uint32_t layers, const void *bytes,
                     fg_error *err) {
  (void)err;
  taken *t = user;
  assert_int_equal(t->layers[block], layer); // in their order
  for (uint32_t l = 0; l < layers; l++)
    for (uint32_t i = 0; i < LAYER_BYTES; i++)
      if (((const unsigned char *)bytes)[l * LAYER_BYTES + i] != byte_of(block, layer + l, i))
        fail_msg("block %u, layer %u, byte %u", block, layer + l, i);
  t->layers[block] += layers;
  return FG_OK;
}

// Loads blocks [first, end) and returns how many are there, each of them whole.
static uint32_t load(fg_prefix_folder *folder, const fixture *f, uint32_t first, uint32_t end) {
  taken t = {0};
  const fg_prefix_sink sink = {&t, take_notes, put};
  const fg_prefix_text text = text_of(f, end);
  const uint32_t good = fg_prefix_folder_load(folder, &text, first, end, &sink);
  for (uint32_t b = first; b < first + good; b++) {
    assert_int_equal(t.layers[b], LAYERS);
    assert_int_equal(t.notes[b], 1);
  }
  return good;
}

static uint32_t find(const fg_prefix_folder *folder, const fixture *f, uint32_t first) {
  const fg_prefix_text text = text_of(f, BLOCKS);
  return fg_prefix_folder_find(folder, &text, first, BLOCKS);
}

// The file of a block of identity "a".
static void path_of(const fixture *f, uint32_t block, char path[static 256]) {
  char folder[FG_PREFIX_FOLDER_BYTES], name[FG_PREFIX_NAME_BYTES];
  uint64_t hash = fg_prefix_page_root("a", 0);
  for (uint32_t i = 0; i <= block; i++) hash = fg_prefix_page_chain(hash, f->tokens + i * T, T);
  fg_prefix_page_folder(folder, "a");
  fg_prefix_page_name(name, hash, block);
  snprintf(path, 256, "%s/%s/%s", f->path, folder, name);
}

// ---- cases ------------------------------------------------------------------------------------------------

static void test_next_job_finds_what_was_saved(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder = open_folder(f, "a", UINT64_MAX);
  assert_int_equal(fg_prefix_page_pieces(&shape), PIECES);
  for (uint32_t b = 0; b < 4; b++) assert_true(save(folder, f, b));
  assert_int_equal(find(folder, f, 0), 4);
  fg_prefix_folder_destroy(folder);
  folder = open_folder(f, "a", UINT64_MAX);
  assert_int_equal(find(folder, f, 0), 4);
  assert_int_equal(find(folder, f, 3), 1);
  assert_int_equal(find(folder, f, 4), 0);
  assert_int_equal(load(folder, f, 0, 4), 4);
  assert_int_equal(load(folder, f, 2, 4), 2);
  assert_int_equal(fg_prefix_folder_counts(folder).loaded_pages, 6);
  assert_int_equal(fg_prefix_folder_counts(folder).saved_pages, 0);
  assert_true(save(folder, f, 1)); // is there
  assert_int_equal(fg_prefix_folder_counts(folder).saved_pages, 0);
  fg_prefix_folder_destroy(folder);
  assert_int_equal(f->lines, 0);
}

static void test_other_identity_finds_nothing(void **state) {
  fixture *f = *state;
  fg_prefix_folder *a = open_folder(f, "a", UINT64_MAX);
  assert_true(save(a, f, 0));
  fg_prefix_folder_destroy(a);
  fg_prefix_folder *b = open_folder(f, "b", UINT64_MAX);
  assert_int_equal(find(b, f, 0), 0);
  fg_prefix_folder_destroy(b);
}

static void test_hole_ends_what_is_found(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder = open_folder(f, "a", UINT64_MAX);
  char path[256];
  for (uint32_t b = 0; b < 4; b++) assert_true(save(folder, f, b));
  path_of(f, 2, path);
  assert_int_equal(unlink(path), 0); // by another job, while this one runs
  assert_int_equal(load(folder, f, 0, 4), 2);
  assert_int_equal(find(folder, f, 0), 2);
  assert_int_equal(fg_prefix_folder_counts(folder).damaged_pages, 0);
  assert_true(save(folder, f, 2));
  assert_int_equal(load(folder, f, 0, 4), 4);
  fg_prefix_folder_destroy(folder);
}

// A bit of each part of the file: head, every piece, the zeros behind them.
static void test_changed_bit_ends_what_is_loaded_and_the_file_goes(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder = open_folder(f, "a", UINT64_MAX);
  char path[256];
  path_of(f, 1, path);
  for (uint32_t b = 0; b < 3; b++) assert_true(save(folder, f, b));
  for (uint64_t at = 17; at < page_bytes(); at += page_bytes() / 9) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    fputc(byte ^ 64, file);
    fclose(file);
    assert_int_equal(load(folder, f, 0, 3), 1);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(find(folder, f, 0), 1);
    assert_true(save(folder, f, 1));
    assert_int_equal(load(folder, f, 0, 3), 3);
  }
  assert_int_equal(f->lines, 1); // told once
  assert_non_null(strstr(f->said, path));
  fg_prefix_folder_destroy(folder);
}

static void test_file_of_another_text_is_not_taken(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder = open_folder(f, "a", UINT64_MAX);
  char path[256];
  assert_true(save(folder, f, 0));
  path_of(f, 0, path);
  f->tokens[T - 1]++;
  assert_true(save(folder, f, 0));
  char other[256];
  path_of(f, 0, other);
  assert_int_equal(rename(path, other), 0); // as if both texts had one hash
  assert_int_equal(find(folder, f, 0), 1);
  assert_int_equal(load(folder, f, 0, 1), 0);
  assert_int_equal(access(other, F_OK), 0);
  fg_prefix_folder_destroy(folder);
}

static void test_failed_save_leaves_nothing_and_is_told_once(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder = open_folder(f, "a", UINT64_MAX);
  const fg_prefix_text text = text_of(f, 1);
  const fg_prefix_notes none = {0};
  page p = {.fails = true};
  const fg_prefix_source source = {&p, get};
  assert_false(fg_prefix_folder_save(folder, &text, &none, &source));
  assert_false(save(folder, f, 0));
  assert_int_equal(f->lines, 1);
  char path[256];
  path_of(f, 0, path);
  assert_int_equal(access(path, F_OK), -1);
  strcat(path, ".tmp");
  assert_int_equal(access(path, F_OK), -1);
  fg_prefix_folder_destroy(folder);
}

static void test_one_job_writes_at_a_time(void **state) {
  fixture *f = *state;
  fg_prefix_folder *first = open_folder(f, "a", UINT64_MAX), *second = open_folder(f, "a", UINT64_MAX);
  assert_true(save(first, f, 0));
  assert_false(save(second, f, 1));
  assert_int_equal(f->lines, 1);
  fg_prefix_folder_destroy(first);
  assert_true(save(second, f, 1));
  assert_int_equal(f->lines, 1);
  fg_prefix_folder_destroy(second);
}

static void test_oldest_pages_go_and_those_of_this_job_stay(void **state) {
  fixture *f = *state;
  const uint64_t limit = 4 * page_bytes();
  fg_prefix_folder *folder = open_folder(f, "a", limit);
  for (uint32_t b = 0; b < 3; b++) assert_true(save(folder, f, b));
  fg_prefix_folder_destroy(folder);
  usleep(20000); // what is used later has a later time on any file system
  folder = open_folder(f, "a", limit);
  assert_int_equal(load(folder, f, 0, 1), 1); // of the old pages the first one is used
  f->tokens[T]++;
  for (uint32_t b = 1; b < 4; b++) assert_true(save(folder, f, b));
  assert_int_equal(fg_prefix_folder_counts(folder).removed_pages, 2);
  assert_int_equal(find(folder, f, 0), 4);
  assert_false(save(folder, f, 4)); // all that is there is this job's
  assert_int_equal(f->lines, 1);
  assert_int_equal(load(folder, f, 0, 4), 4);
  fg_prefix_folder_destroy(folder);
  folder = open_folder(f, "b", 2 * page_bytes()); // less room, and another model
  assert_true(fg_prefix_folder_counts(folder).removed_pages >= 2);
  fg_prefix_folder_destroy(folder);
  folder = open_folder(f, "a", limit);
  assert_true(find(folder, f, 0) == 1 || find(folder, f, 0) == 2); // the beginning is what stays
  fg_prefix_folder_destroy(folder);
}

// Neither the folder, nor its lock, nor what a dead writer left.
static void test_who_only_looks_changes_nothing(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder = open_folder(f, "a", UINT64_MAX);
  assert_true(save(folder, f, 0));
  fg_prefix_folder_destroy(folder);
  char path[128], unfinished[264];
  snprintf(path, sizeof path, "%s/none", f->path);
  fg_prefix_folder_options options = {.path = path,
                                      .limit = 1, // less than there is
                                      .identity = "a",
                                      .shape = shape,
                                      .longest = BLOCKS * T,
                                      .read_only = true,
                                      .host = f->budget,
                                      .log = &f->log};
  fg_error err;
  assert_int_equal(fg_prefix_folder_create(&folder, &options, &err), FG_OK);
  assert_int_equal(find(folder, f, 0), 0);
  fg_prefix_folder_destroy(folder);
  assert_int_not_equal(access(path, F_OK), 0);
  path_of(f, 0, unfinished);
  strcat(unfinished, ".tmp");
  fclose(fopen(unfinished, "w"));
  options.path = f->path;
  assert_int_equal(fg_prefix_folder_create(&folder, &options, &err), FG_OK);
  assert_int_equal(find(folder, f, 0), 1);
  assert_false(save(folder, f, 1));
  fg_prefix_folder_destroy(folder);
  assert_int_equal(access(unfinished, F_OK), 0);
}

static void test_text_that_is_too_long_is_not_kept(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder;
  fg_error err;
  const fg_prefix_folder_options options = {.path = f->path,
                                            .limit = UINT64_MAX,
                                            .identity = "a",
                                            .shape = shape,
                                            .longest = 2 * T + 1,
                                            .host = f->budget};
  assert_int_equal(fg_prefix_folder_create(&folder, &options, &err), FG_OK);
  assert_true(save(folder, f, 1));
  assert_false(save(folder, f, 2));
  fg_prefix_folder_destroy(folder);
}

static void test_buffers_are_the_budgets(void **state) {
  fixture *f = *state;
  fg_prefix_folder *folder;
  fg_error err;
  fg_budget *small;
  assert_int_equal(fg_budget_create(&small, "host memory", "--host-memory", 100000, &err), FG_OK);
  const fg_prefix_folder_options options = {
      .path = f->path, .limit = UINT64_MAX, .identity = "a", .shape = shape, .longest = 2 * T, .host = small};
  assert_int_equal(fg_prefix_folder_create(&folder, &options, &err), FG_NO_SPACE);
  assert_int_equal(fg_budget_used(small), 0);
  fg_budget_destroy(small);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_next_job_finds_what_was_saved, setup, teardown),
      cmocka_unit_test_setup_teardown(test_other_identity_finds_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_hole_ends_what_is_found, setup, teardown),
      cmocka_unit_test_setup_teardown(test_changed_bit_ends_what_is_loaded_and_the_file_goes, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(test_file_of_another_text_is_not_taken, setup, teardown),
      cmocka_unit_test_setup_teardown(test_failed_save_leaves_nothing_and_is_told_once, setup, teardown),
      cmocka_unit_test_setup_teardown(test_one_job_writes_at_a_time, setup, teardown),
      cmocka_unit_test_setup_teardown(test_oldest_pages_go_and_those_of_this_job_stay, setup, teardown),
      cmocka_unit_test_setup_teardown(test_who_only_looks_changes_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_text_that_is_too_long_is_not_kept, setup, teardown),
      cmocka_unit_test_setup_teardown(test_buffers_are_the_budgets, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
