// Attention of a step whose sequences share pages: the bits of each by itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../device/rig.h"
#include "engine/shared_segments.h"

enum { CHUNKS = 24, PAGE = 16, STRIDE = 32, PAGES = 300, HEADS = 6, KV_HEADS = 2, DIM = 64, ROWS = 200 };

typedef struct setting {
  fg_dtype dtype;
  fg_compute compute;
  uint32_t window;
  float softcap;
  fg_head_kind head_kind;
  bool rotated;
} setting;

static const setting settings[] = {
    {FG_F32, FG_COMPUTE_F32, 0, 0, FG_HEAD_PLAIN, false},
    {FG_F32, FG_COMPUTE_F32, 70, 5, FG_HEAD_SINK, false},
    {FG_F16, FG_COMPUTE_F32, 0, 0, FG_HEAD_ALIBI, false},
    {FG_BF16, FG_COMPUTE_BF16, 0, 0, FG_HEAD_PLAIN, false},
    {FG_BF16, FG_COMPUTE_BF16, 150, 0, FG_HEAD_ALIBI, false},
    {FG_I8G64M, FG_COMPUTE_BF16, 0, 0, FG_HEAD_PLAIN, true},
    {FG_I4G64M, FG_COMPUTE_BF16, 0, 0, FG_HEAD_SINK, true},
    {FG_I4G64M, FG_COMPUTE_F32, 90, 0, FG_HEAD_PLAIN, true},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

// Sequences that fork from each other at any page.
typedef struct step {
  int32_t list[CHUNKS][4], tables[CHUNKS][STRIDE], starts[CHUNKS];
  uint32_t count, rows, pages;
  fg_shared_segment segments[CHUNKS];
  fg_query_row members[FG_SHARED_LEVELS * ROWS];
  fg_shared_lists lists;
} step;

static step make_step(uint64_t *random) {
  step s = {.count = 0};
  while (s.count < CHUNKS) {
    const uint32_t i = s.count, length = 2 + (uint32_t)(random_u64(random) % (STRIDE * PAGE - 2));
    const uint32_t most = random_u64(random) % 3 ? 1 : 20, rows = 1 + (uint32_t)(random_u64(random) % most);
    const uint32_t count = rows < length ? rows : length, begin = length - count;
    uint32_t shared = 0;
    if (i) {
      const uint32_t from = (uint32_t)(random_u64(random) % i), there = (uint32_t)s.list[from][2] / PAGE;
      shared = begin / PAGE < there ? begin / PAGE : there;
      if (random_u64(random) % 3 == 0) shared /= 2;
      memcpy(s.tables[i], s.tables[from], shared * sizeof(int32_t));
    }
    const uint32_t fresh = (length - 1) / PAGE + 1 - shared;
    if (s.pages + fresh > PAGES || s.rows + count > ROWS) break;
    for (uint32_t p = shared; p < shared + fresh; p++) s.tables[i][p] = (int32_t)s.pages++;
    const int32_t chunk[] = {(int32_t)s.rows, (int32_t)count, (int32_t)begin, (int32_t)i};
    memcpy(s.list[i], chunk, sizeof chunk);
    s.rows += count;
    s.count++;
  }
  return s;
}

static void find(step *s) {
  const fg_shared_chunks chunks = {s->list[0], s->tables[0], s->count, STRIDE, PAGE, HEADS / KV_HEADS};
  s->lists = (fg_shared_lists){.segments = s->segments, .members = s->members, .starts = s->starts};
  void *scratch = malloc(fg_shared_scratch_bytes(s->count));
  fg_shared_segments_find(&chunks, scratch, &s->lists);
  free(scratch);
}

static fg_kv_geometry geometry_of(const setting *t) {
  return (fg_kv_geometry){KV_HEADS, DIM, DIM, PAGE, t->dtype, false, 0};
}

// Random keys and values in all pages.
static fg_memory *make_cache(rig *r, const setting *t, uint64_t *random) {
  const fg_kv_geometry kv = geometry_of(t);
  fg_memory *cache = make_memory(r, PAGES * fg_kv_page_bytes(&kv));
  for (int32_t page = 0; page < PAGES; page++) {
    int32_t slots[PAGE];
    for (int32_t i = 0; i < PAGE; i++) slots[i] = page * PAGE + i;
    float *k = random_floats(random, PAGE * KV_HEADS * DIM),
          *v = random_floats(random, PAGE * KV_HEADS * DIM);
    fg_memory *mk = put(r, k, PAGE * KV_HEADS * DIM * 4), *mv = put(r, v, PAGE * KV_HEADS * DIM * 4);
    fg_memory *ms = put(r, slots, sizeof slots);
    fg_call call = {.op = FG_OP_KV_STORE, .rows = PAGE, .a = view_of(mk, KV_HEADS * DIM)};
    call.b = view_of(mv, KV_HEADS * DIM);
    call.out = view_of(cache, 0);
    call.batch = (fg_batch_view){.tokens = PAGE, .slots = view_of(ms, 1)};
    call.params.kv_store.kv = kv;
    call.params.kv_store.rotated = t->rotated;
    run_call(r, &call);
    drop_memory(r, mk), drop_memory(r, mv), drop_memory(r, ms);
    free(k), free(v);
  }
  return cache;
}

static void attend(rig *r, const setting *t, const step *s, const float *q, fg_memory *cache, float *out) {
  static const float numbers[HEADS] = {0.01f, 0.1f, 0.5f, 0.02f, 1, 0.2f};
  fg_memory *list = put(r, s->list, sizeof s->list), *tables = put(r, s->tables, sizeof s->tables);
  fg_memory *segments = put(r, s->segments, sizeof s->segments),
            *members = put(r, s->members, sizeof s->members);
  fg_memory *starts = put(r, s->starts, sizeof s->starts), *mn = put(r, numbers, sizeof numbers);
  fg_memory *mq = put(r, q, (uint64_t)s->rows * HEADS * DIM * 4);
  fg_memory *mo = make_memory(r, (uint64_t)s->rows * HEADS * DIM * 4);
  fg_memory *ms = make_memory(r, (uint64_t)s->rows * HEADS * 2 * 4);
  fg_call call = {.op = FG_OP_ATTENTION, .rows = s->rows, .a = view_of(mq, HEADS * DIM)};
  call.b = view_of(cache, 0);
  call.c = view_of(mn, 0);
  call.out = view_of(mo, HEADS * DIM);
  call.state = view_of(ms, 2 * HEADS);
  call.batch = (fg_batch_view){.tokens = s->rows,
                               .chunks = s->count,
                               .max_context = STRIDE * PAGE,
                               .chunk_list = view_of(list, 4),
                               .page_tables = view_of(tables, STRIDE),
                               .shared = s->lists.segment_count,
                               .members = s->lists.member_count,
                               .shared_list = view_of(segments, 1),
                               .member_list = view_of(members, 1),
                               .starts = view_of(starts, 1)};
  call.params.attention.kv = geometry_of(t);
  call.params.attention.heads = HEADS;
  call.params.attention.scale = 0.3f;
  call.params.attention.window = t->window;
  call.params.attention.softcap = t->softcap;
  call.params.attention.head_kind = t->head_kind;
  call.params.attention.rotated = t->rotated;
  run_call(r, &call);
  take(r, mo, out, (uint64_t)s->rows * HEADS * DIM * 4);
  fg_memory *memories[] = {list, tables, segments, members, starts, mn, mq, ms};
  for (size_t i = 0; i < sizeof memories / sizeof *memories; i++) drop_memory(r, memories[i]);
}

// Returns how many segments were shared.
static uint32_t compare(rig *r, const setting *t, step *s, uint64_t *random) {
  const size_t bytes = (size_t)s->rows * HEADS * DIM * sizeof(float);
  float *q = random_floats(random, (size_t)s->rows * HEADS * DIM), *alone = malloc(bytes),
        *together = malloc(bytes);
  fg_memory *cache = make_cache(r, t, random);
  for (size_t i = 0; i < (size_t)s->rows * HEADS * DIM; i++) q[i] *= 4;
  s->lists.segment_count = 0;
  attend(r, t, s, q, cache, alone);
  find(s);
  attend(r, t, s, q, cache, together);
  assert_memory_equal(alone, together, bytes);
  drop_memory(r, cache);
  free(q), free(alone), free(together);
  return s->lists.segment_count;
}

static void test_sharing_changes_no_bit(void **state) {
  (void)state;
  uint32_t shared = 0, deepest = 0;
  for (int i = 0; i < SETTINGS; i++)
    for (uint64_t seed = 1; seed <= 12; seed++) {
      uint64_t random = seed * 104729;
      step s = make_step(&random);
      const bool fake =
          seed == 1 && settings[i].compute == FG_COMPUTE_F32; // it computes by the reference alone
      rig r = make_rig(fake ? "fake" : "cpu", 2, settings[i].compute);
      shared += compare(&r, &settings[i], &s, &random);
      for (uint32_t k = 0; k < s.lists.segment_count; k++)
        if ((uint32_t)s.segments[k].level > deepest) deepest = (uint32_t)s.segments[k].level;
      drop_rig(&r);
    }
  assert_true(shared > 100 && deepest > 1);
}

// What would reach beyond memory, or make rows wait for themselves, is an error.
static void test_lists_that_cannot_be_are_refused(void **state) {
  (void)state;
  static const struct {
    fg_shared_segment segment;
    fg_query_row member;
    int32_t start;
  } bad[] = {
      {{0, 64, 0, 1, 0, 0}, {0, 100}, 32},   {{0, 64, 0, 1, 0, 0}, {0, 100}, 128},
      {{0, 64, 0, 1, 0, 0}, {0, 100}, -64},  {{0, 32, 0, 1, 0, 0}, {0, 100}, 64},
      {{64, 64, 0, 1, 0, 0}, {0, 100}, 64},  {{-64, 64, 0, 1, 0, 0}, {0, 100}, 64},
      {{0, 4096, 0, 1, 0, 0}, {0, 100}, 64}, {{0, 64, 0, 2, 0, 0}, {0, 100}, 64},
      {{0, 64, -1, 1, 0, 0}, {0, 100}, 64},  {{0, 64, 0, 0, 0, 0}, {0, 100}, 64},
      {{0, 64, 0, 1, 1, 0}, {0, 100}, 64},   {{0, 64, 0, 1, -1, 0}, {0, 100}, 64},
      {{0, 64, 0, 1, 0, 0}, {1, 100}, 64},   {{0, 64, 0, 1, 0, 0}, {-1, 100}, 64},
      {{0, 64, 0, 1, 0, 0}, {0, 50}, 64},
  };
  rig r = make_rig("cpu", 1, FG_COMPUTE_F32);
  const fg_kv_geometry kv = {1, 16, 16, PAGE, FG_F32, false, 0};
  const int32_t list[] = {0, 1, 100, 0}, table[] = {0, 1, 2, 3, 4, 5, 6};
  float zeros[7 * 2 * 16 * PAGE] = {0};
  fg_memory *cache = put(&r, zeros, sizeof zeros), *q = put(&r, zeros, 64), *out = make_memory(&r, 64);
  fg_memory *ml = put(&r, list, sizeof list), *mt = put(&r, table, sizeof table), *ms = make_memory(&r, 8);
  for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
    fg_shared_segment segment = {0, 64, 0, 1, 0, 0};
    fg_query_row member = {0, 100};
    int32_t start = 64;
    if (i > 0) segment = bad[i - 1].segment, member = bad[i - 1].member, start = bad[i - 1].start;
    fg_memory *mg = put(&r, &segment, sizeof segment), *mm = put(&r, &member, sizeof member);
    fg_memory *mstart = put(&r, &start, sizeof start);
    fg_call call = {.op = FG_OP_ATTENTION, .rows = 1, .a = view_of(q, 16), .b = view_of(cache, 0)};
    call.out = view_of(out, 16);
    call.state = view_of(ms, 2);
    call.batch = (fg_batch_view){.tokens = 1,
                                 .chunks = 1,
                                 .max_context = 101,
                                 .chunk_list = view_of(ml, 4),
                                 .page_tables = view_of(mt, 7),
                                 .shared = 1,
                                 .members = 1,
                                 .shared_list = view_of(mg, 1),
                                 .member_list = view_of(mm, 1),
                                 .starts = view_of(mstart, 1)};
    call.params.attention.kv = kv;
    call.params.attention.heads = 1;
    if (i == 0)
      run_call(&r, &call);
    else if (run_failing(&r, &call, NULL) != FG_INTERNAL)
      fail_msg("bad list %zu is taken", i - 1);
    drop_memory(&r, mg), drop_memory(&r, mm), drop_memory(&r, mstart);
  }
  fg_memory *memories[] = {cache, q, out, ml, mt, ms};
  for (size_t i = 0; i < sizeof memories / sizeof *memories; i++) drop_memory(&r, memories[i]);
  drop_rig(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sharing_changes_no_bit),
      cmocka_unit_test(test_lists_that_cannot_be_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
