#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../kernels/random.h"
#include "engine/shared_segments.h"

enum { CHUNKS = 64, STRIDE = 64, PAGE = 16, MOST_ROWS = 40, FIRST_FREE = 1000 };

// Chunks and their tables; pages of a chunk are its own unless a test says otherwise.
typedef struct step {
  int32_t list[CHUNKS][4], tables[CHUNKS][STRIDE];
  uint32_t count, rows, queries;
  fg_shared_segment segments[CHUNKS];
  fg_query_row members[FG_SHARED_LEVELS * CHUNKS * MOST_ROWS];
  int32_t starts[CHUNKS];
  fg_shared_lists lists;
} step;

static void add_chunk(step *s, int32_t position, int32_t rows) {
  const int32_t chunk[] = {(int32_t)s->rows, rows, position, (int32_t)s->count};
  memcpy(s->list[s->count], chunk, sizeof chunk);
  for (int i = 0; i < STRIDE; i++) s->tables[s->count][i] = FIRST_FREE + (int32_t)s->count * STRIDE + i;
  s->rows += (uint32_t)rows;
  s->count++;
}

// The last chunk has the first pages of another one.
static void share(step *s, uint32_t with, uint32_t pages) {
  memcpy(s->tables[s->count - 1], s->tables[with], pages * sizeof(int32_t));
}

static void find(step *s) {
  const fg_shared_chunks chunks = {.list = s->list[0],
                                   .tables = s->tables[0],
                                   .count = s->count,
                                   .stride = STRIDE,
                                   .page_tokens = PAGE,
                                   .queries = s->queries ? s->queries : 1};
  s->lists = (fg_shared_lists){.segments = s->segments, .members = s->members, .starts = s->starts};
  void *scratch = malloc(fg_shared_scratch_bytes(s->count));
  fg_shared_segments_find(&chunks, scratch, &s->lists);
  free(scratch);
}

// Chunks at 900, one token each, that share pages with the first.
static step *decoding(uint32_t chunks, uint32_t pages) {
  step *s = calloc(1, sizeof *s);
  for (uint32_t i = 0; i < chunks; i++) {
    add_chunk(s, 900, 1);
    if (i) share(s, 0, pages);
  }
  return s;
}

static void assert_segment(const step *s, uint32_t i, int32_t first, int32_t end, int32_t members) {
  assert_int_equal(s->segments[i].first_key, first);
  assert_int_equal(s->segments[i].end_key, end);
  assert_int_equal(s->segments[i].members, members);
}

static void test_a_common_prefix_is_one_segment_of_all_rows(void **state) {
  (void)state;
  step *s = decoding(20, 32);
  add_chunk(s, 900, 1); // a stranger
  find(s);
  assert_int_equal(s->lists.segment_count, 1);
  assert_segment(s, 0, 0, 512, 20);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(s->members[i].row, i);
    assert_int_equal(s->members[i].position, 900);
    assert_int_equal(s->starts[i], 512);
  }
  assert_int_equal(s->starts[20], 0);
  free(s);
}

static void test_only_whole_blocks_are_shared(void **state) {
  (void)state;
  step *s = decoding(20, 31); // 496 tokens
  find(s);
  assert_segment(s, 0, 0, 448, 20);
  free(s);
}

// What a chunk computes in this step is not there yet when segments are attended to.
static void test_only_old_keys_are_shared(void **state) {
  (void)state;
  step *s = decoding(20, 32);
  add_chunk(s, 200, 30);
  share(s, 0, 32);
  find(s);
  assert_int_equal(s->lists.segment_count, 2);
  assert_segment(s, 0, 0, 192, 50);
  assert_segment(s, 1, 192, 512, 20);
  assert_int_equal(s->starts[20], 192);
  free(s);
}

static void test_prefixes_of_prefixes_are_levels(void **state) {
  (void)state;
  step *s = calloc(1, sizeof *s);
  for (uint32_t i = 0; i < 40; i++) { // two documents behind one instruction
    add_chunk(s, 900, 1);
    share(s, 0, 16);
    if (i > 1) share(s, i % 2, 40);
  }
  find(s);
  assert_int_equal(s->lists.segment_count, 3);
  assert_segment(s, 0, 0, 256, 40);
  for (uint32_t i = 1; i < 3; i++) {
    assert_segment(s, i, 256, 640, 20);
    assert_int_equal(s->segments[i].level, 1);
    const int32_t *table = s->tables[s->segments[i].table];
    for (int m = 0; m < 20; m++) {
      const int32_t row = s->members[s->segments[i].first_member + m].row;
      assert_int_equal(s->tables[row][39], table[39]);
    }
  }
  free(s);
}

// Heads that share a KV head fill blocks by themselves: sharing spares nothing.
static void test_full_blocks_are_left_alone(void **state) {
  (void)state;
  step *s = calloc(1, sizeof *s);
  for (uint32_t i = 0; i < 4; i++) {
    add_chunk(s, 900, 40);
    share(s, 0, 32);
  }
  s->queries = 48;
  find(s);
  assert_int_equal(s->lists.segment_count, 0);
  assert_int_equal(s->starts[3], 0);
  free(s);
}

static void test_a_few_keys_are_left_alone(void **state) {
  (void)state;
  step *s = decoding(2, 4);
  find(s);
  assert_int_equal(s->lists.segment_count, 0);
  free(s);
}

// Each chunk has more in common with the next than with any before: one level more each.
static void test_levels_are_bounded(void **state) {
  (void)state;
  step *s = calloc(1, sizeof *s);
  for (uint32_t i = 0; i < 60; i++) {
    add_chunk(s, 900, 1);
    if (i) share(s, i - 1, i / 4 * 4 < 48 ? i / 4 * 4 : 48);
  }
  find(s);
  int32_t deepest = 0;
  for (uint32_t i = 0; i < s->lists.segment_count; i++)
    if (s->segments[i].level > deepest) deepest = s->segments[i].level;
  assert_int_equal(deepest, FG_SHARED_LEVELS - 1);
  assert_true(s->lists.member_count <= FG_SHARED_LEVELS * s->rows);
  free(s);
}

// ---- any tree ------------------------------------------------------------------------------------------

static step *random_step(uint64_t *random) {
  step *s = calloc(1, sizeof *s);
  const uint32_t count = 1 + (uint32_t)(random_u64(random) % CHUNKS);
  s->queries = 1 + (uint32_t)(random_u64(random) % 12);
  for (uint32_t i = 0; i < count; i++) {
    const bool decodes = random_u64(random) % 4;
    const int32_t rows = decodes ? 1 : 1 + (int32_t)(random_u64(random) % MOST_ROWS);
    add_chunk(s, (int32_t)(random_u64(random) % 900), rows);
    if (i && random_u64(random) % 8)
      share(s, (uint32_t)(random_u64(random) % i), (uint32_t)(random_u64(random) % 56));
  }
  return s;
}

// A row's segments lead from key to key, over pages that are its own too, to where its chunk begins.
static void follow_row(const step *s, uint32_t chunk, int32_t row) {
  int32_t at = 0;
  for (uint32_t i = 0; i < s->lists.segment_count; i++) {
    const fg_shared_segment *g = &s->segments[i];
    for (int32_t m = g->first_member; m < g->first_member + g->members; m++) {
      if (s->members[m].row != row) continue;
      assert_int_equal(g->first_key, at);
      assert_int_equal(g->end_key % 64, 0);
      assert_true(g->end_key > at && g->end_key <= s->list[chunk][2]);
      assert_int_equal(s->members[m].position, s->list[chunk][2] + row - s->list[chunk][0]);
      for (int32_t page = at / PAGE; page < g->end_key / PAGE; page++)
        assert_int_equal(s->tables[g->table][page], s->tables[chunk][page]);
      at = g->end_key;
    }
  }
  assert_int_equal(at, s->starts[chunk]);
}

static void test_segments_lead_every_row_to_its_start(void **state) {
  (void)state;
  uint32_t found = 0;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    uint64_t random = seed * 7919;
    step *s = random_step(&random);
    find(s);
    assert_true(s->lists.member_count <= FG_SHARED_LEVELS * s->rows);
    for (uint32_t c = 0; c < s->count; c++)
      for (int32_t r = 0; r < s->list[c][1]; r++) follow_row(s, c, s->list[c][0] + r);
    found += s->lists.segment_count;
    free(s);
  }
  assert_true(found > 300);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_common_prefix_is_one_segment_of_all_rows),
      cmocka_unit_test(test_only_whole_blocks_are_shared),
      cmocka_unit_test(test_only_old_keys_are_shared),
      cmocka_unit_test(test_prefixes_of_prefixes_are_levels),
      cmocka_unit_test(test_full_blocks_are_left_alone),
      cmocka_unit_test(test_a_few_keys_are_left_alone),
      cmocka_unit_test(test_levels_are_bounded),
      cmocka_unit_test(test_segments_lead_every_row_to_its_start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
