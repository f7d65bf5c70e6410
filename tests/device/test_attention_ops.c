// Attention and what stores its keys, on every device, through the interface alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scene.h"

static void check_attention(rig *r) {
  static const uint32_t windows[] = {0, 20};
  scene s = make_scene(r, false);
  float out[LENGTH * HEADS * V_DIM];
  for (size_t w = 0; w < 2; w++) {
    attend(r, &s, windows[w], out);
    for (int i = 0, row = 0; i < SEQUENCES; i++)
      for (int p = begins[i]; p < ends[i]; p++, row++)
        for (int c = 0; c < HEADS * V_DIM; c++)
          assert_near(out[row * HEADS * V_DIM + c], naive(&s, i, p, c / V_DIM, c % V_DIM, (int)windows[w]),
                      5e-6);
  }
  drop_scene(r, &s);
}

// Turning keys, values and queries cancels out.
static void check_rotated_attention(rig *r) {
  scene s = make_scene(r, true);
  float out[LENGTH * HEADS * V_DIM];
  for (int sparse = 0; sparse < (fg_device_can_be_sparse(r->device->ops->name) ? 2 : 1); sparse++) {
    s.sparsity = sparse * 0.2;
    attend(r, &s, 0, out);
    for (int i = 0, row = 0; i < SEQUENCES; i++)
      for (int p = begins[i]; p < ends[i]; p++, row++)
        for (int c = 0; c < HEADS * V_DIM; c++)
          assert_near(out[row * HEADS * V_DIM + c], naive(&s, i, p, c / V_DIM, c % V_DIM, 0), 1e-5);
  }
  float first[16], plain = s.k[0][0];
  fg_error err;
  must(r->device->ops->download(r->device, FG_QUEUE_COMPUTE, s.cache,
                                (uint64_t)s.tables[0][0] * fg_kv_page_bytes(&s.kv), first, sizeof first,
                                &err),
       &err);
  wait_queue(r, FG_QUEUE_COMPUTE);
  assert_true(fabsf(first[0] - plain) > 1e-3f); // turned indeed
  drop_scene(r, &s);
}

static void test_attention_to_a_rotated_cache(void **state) {
  (void)state;
  each_device(check_rotated_attention);
}

static void test_store_and_attention_of_a_mixed_step(void **state) {
  (void)state;
  each_device(check_attention);
}

// Only tokens behind the prompt are sparse, whatever chunk they come in, and what they spare is counted.
static void check_sparse_attention(rig *r) {
  if (!fg_device_can_be_sparse(r->device->ops->name)) return;
  static const uint32_t windows[] = {0, 20};
  scene s = make_scene(r, false);
  s.sparsity = 0.2;
  float out[LENGTH * HEADS * V_DIM];
  uint64_t seen = 0;
  for (size_t w = 0; w < 2; w++) {
    attend(r, &s, windows[w], out);
    for (int i = 0, row = 0; i < SEQUENCES; i++)
      for (int p = begins[i]; p < ends[i]; p++, row++) {
        for (int c = 0; c < HEADS * V_DIM; c++)
          assert_near(out[row * HEADS * V_DIM + c], naive(&s, i, p, c / V_DIM, c % V_DIM, (int)windows[w]),
                      5e-6);
        if (p >= prompts[i]) seen += windows[w] ? windows[w] : (uint32_t)p + 1;
      }
  }
  fg_sparse_counts counts = r->device->ops->sparse_counts(r->device);
  assert_int_equal(counts.value_bytes, seen * KV_HEADS * V_DIM * sizeof(float));
  // Three heads that choose apart read at most three fifths and themselves, one alone at least a fifth.
  assert_in_range(counts.spared_bytes, counts.value_bytes / 3, counts.value_bytes * 4 / 5);
  drop_scene(r, &s);
}

static void test_sparse_attention_of_a_mixed_step(void **state) {
  (void)state;
  each_device(check_sparse_attention);
}

// Beyond the keys and heads that scratch was made for.
static void test_sparse_attention_beyond_its_scratch_is_refused(void **state) {
  (void)state;
  rig r = make_rig("cpu", 1, FG_COMPUTE_F32);
  float row[HEADS * K_DIM] = {0};
  const int32_t chunk[] = {0, 1, 400, 0}, table[32] = {0}, prompt = 1;
  fg_kv_geometry kv = {KV_HEADS, K_DIM, V_DIM, PAGE, FG_F32, false, 0};
  fg_memory *cache = make_memory(&r, fg_kv_page_bytes(&kv)), *mrow = put(&r, row, sizeof row);
  fg_memory *mchunk = put(&r, chunk, sizeof chunk), *mtable = put(&r, table, sizeof table);
  fg_memory *mprompt = put(&r, &prompt, 4), *mo = put(&r, row, sizeof row);
  fg_call call = {.op = FG_OP_ATTENTION, .rows = 1, .a = view_of(mrow, 0), .b = view_of(cache, 0)};
  call.out = view_of(mo, 0);
  call.batch = (fg_batch_view){.tokens = 1, .chunks = 1, .max_context = 41};
  call.batch.chunk_list = view_of(mchunk, 4);
  call.batch.page_tables = view_of(mtable, 32);
  call.batch.prompts = view_of(mprompt, 1);
  call.params.attention.kv = kv;
  call.params.attention.heads = HEADS;
  run_call(&r, &call);
  call.params.attention.sparsity = 0.5;
  assert_int_equal(run_failing(&r, &call, NULL), FG_INTERNAL); // 401 keys
  call.params.attention.heads = HEADS * 4;
  assert_int_equal(run_failing(&r, &call, NULL), FG_INTERNAL);
  call.params.attention.heads = HEADS;
  call.params.attention.sparsity = NAN;
  assert_int_equal(run_failing(&r, &call, NULL), FG_INTERNAL);
  drop_memory(&r, cache), drop_memory(&r, mrow), drop_memory(&r, mchunk), drop_memory(&r, mtable);
  drop_memory(&r, mprompt), drop_memory(&r, mo);
  drop_rig(&r);
}

// Whatever a sequence has of the two parts, its rows get the bits of one call.
static void check_segments(rig *r) {
  static const uint32_t windows[] = {0, 20, 70};
  static float whole[LENGTH * HEADS * V_DIM], cut[LENGTH * HEADS * V_DIM];
  for (int rotated = 0; rotated < 2; rotated++) {
    scene s = make_scene(r, rotated);
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
      s.cut = 0;
      uint32_t rows = attend(r, &s, windows[w], whole);
      s.cut = 64;
      attend(r, &s, windows[w], cut);
      assert_memory_equal(whole, cut, rows * HEADS * V_DIM * sizeof(float));
    }
    drop_scene(r, &s);
  }
}

static void test_attention_in_segments(void **state) {
  (void)state;
  each_device(check_segments);
}

static void test_segments_that_cannot_be_are_refused(void **state) {
  (void)state;
  static const fg_key_segment bad[] = {
      {0, 63, false, true}, {1, 64, false, true}, {64, 64, false, true}, {128, 64, true, true}};
  rig r = make_rig("cpu", 1, FG_COMPUTE_F32);
  scene s = make_scene(&r, false);
  float row[HEADS * K_DIM] = {0};
  const int32_t chunk[] = {0, 1, 80, 0}, prompt = 1;
  fg_memory *mrow = put(&r, row, sizeof row), *mo = put(&r, row, sizeof row), *mp = put(&r, &prompt, 4);
  fg_memory *mchunk = put(&r, chunk, sizeof chunk), *ms = make_memory(&r, 2 * HEADS * sizeof(float));
  fg_call call = {.op = FG_OP_ATTENTION, .rows = 1, .a = view_of(mrow, 0), .b = view_of(s.cache, 0)};
  call.out = view_of(mo, 0);
  call.batch = (fg_batch_view){.tokens = 1, .chunks = 1, .max_context = 81};
  call.batch.chunk_list = view_of(mchunk, 4);
  call.batch.page_tables = view_of(s.tables_memory, TABLE);
  call.batch.prompts = view_of(mp, 1);
  call.params.attention.kv = s.kv;
  call.params.attention.heads = HEADS;
  call.params.attention.segment = (fg_key_segment){0, 64, false, true};
  assert_int_equal(run_failing(&r, &call, NULL), FG_INTERNAL); // nowhere to leave its state
  call.state = view_of(ms, 2 * HEADS);
  run_call(&r, &call);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    call.params.attention.segment = bad[i];
    assert_int_equal(run_failing(&r, &call, NULL), FG_INTERNAL);
  }
  call.params.attention.segment = (fg_key_segment){0, 64, false, true};
  call.params.attention.sparsity = 0.5;
  assert_int_equal(run_failing(&r, &call, NULL), FG_INTERNAL);
  drop_memory(&r, mrow), drop_memory(&r, mo), drop_memory(&r, mchunk), drop_memory(&r, ms);
  drop_memory(&r, mp);
  drop_scene(&r, &s);
  drop_rig(&r);
}

// ---- copies of a page's first tokens ----------------------------------------------------------------------

enum { COPY_DIM = 48, COPY_PAGES = 4, COPY_BYTES = COPY_PAGES * 2 * KV_HEADS * PAGE * COPY_DIM * 4 };

// Tokens of a text come to stand in a page of the cache, from its first place on.
static void store_in_page(rig *r, fg_memory *cache, const fg_kv_geometry *kv, int32_t page, uint32_t count) {
  uint64_t state = 11;
  float *x = random_floats(&state, PAGE * KV_HEADS * COPY_DIM);
  int32_t slots[PAGE];
  for (int32_t i = 0; i < PAGE; i++) slots[i] = page * PAGE + i;
  fg_memory *values = put(r, x, PAGE * KV_HEADS * COPY_DIM * 4), *m = put(r, slots, sizeof slots);
  fg_call call = {.op = FG_OP_KV_STORE,
                  .rows = count,
                  .a = view_of(values, KV_HEADS * COPY_DIM),
                  .b = view_of(values, KV_HEADS * COPY_DIM),
                  .out = view_of(cache, 0),
                  .batch = {.tokens = count, .slots = view_of(m, 1)}};
  call.params.kv_store.kv = *kv;
  run_call(r, &call);
  drop_memory(r, values), drop_memory(r, m);
  free(x);
}

static fg_memory *empty_cache(rig *r) {
  static const char zeros[COPY_BYTES];
  return put(r, zeros, sizeof zeros);
}

// As if they had been stored there; the second copy is one of the first.
static void check_copies(rig *r) {
  const fg_kv_geometry kinds[] = {{KV_HEADS, COPY_DIM, COPY_DIM, PAGE, FG_F32, false, 0},
                                  {KV_HEADS, COPY_DIM, COPY_DIM, PAGE, FG_BF16, false, 4096},
                                  {KV_HEADS, COPY_DIM, COPY_DIM, PAGE, FG_I8G64M, false, 0},
                                  {KV_HEADS, COPY_DIM, COPY_DIM, PAGE, FG_I4G64M, false, 0},
                                  {KV_HEADS, COPY_DIM, 32, PAGE, FG_F32, true, 0}};
  static const fg_page_copy copies[] = {{0, 2, 9}, {2, 3, 4}};
  static char got[COPY_BYTES], want[COPY_BYTES];
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    fg_memory *copied = empty_cache(r), *stored = empty_cache(r), *list = put(r, copies, sizeof copies);
    store_in_page(r, copied, &kinds[i], 0, 12);
    fg_call call = {.op = FG_OP_KV_COPY, .rows = 2, .b = view_of(list, 1), .out = view_of(copied, 0)};
    call.params.kv_store.kv = kinds[i];
    run_call(r, &call);
    store_in_page(r, stored, &kinds[i], 0, 12);
    store_in_page(r, stored, &kinds[i], 2, 9);
    store_in_page(r, stored, &kinds[i], 3, 4);
    take(r, copied, got, sizeof got);
    take(r, stored, want, sizeof want);
    assert_memory_equal(got, want, sizeof got);
    drop_memory(r, list);
  }
}

static void test_tokens_of_a_page_are_copied(void **state) {
  (void)state;
  each_device(check_copies);
}

static void test_copies_that_cannot_be_are_refused(void **state) {
  (void)state;
  static const fg_page_copy bad[] = {{-1, 2, 9}, {0, -1, 9}, {0, COPY_PAGES, 9}, {COPY_PAGES, 0, 9},
                                     {1, 1, 9},  {0, 1, 0},  {0, 1, PAGE + 1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    rig r = make_rig("cpu", 1, FG_COMPUTE_F32);
    fg_error err = {0};
    fg_memory *cache = empty_cache(&r), *list = put(&r, &bad[i], sizeof bad[i]);
    fg_call call = {.op = FG_OP_KV_COPY, .rows = 1, .b = view_of(list, 1), .out = view_of(cache, 0)};
    call.params.kv_store.kv = (fg_kv_geometry){KV_HEADS, COPY_DIM, COPY_DIM, PAGE, FG_F32, false, 0};
    assert_int_equal(run_failing(&r, &call, &err), FG_INTERNAL);
    assert_non_null(strstr(err.message, "to page"));
    call.rows = 2; // the list ends before
    assert_int_equal(run_failing(&r, &call, &err), FG_INTERNAL);
    assert_non_null(strstr(err.message, "copies"));
    drop_memory(&r, cache), drop_memory(&r, list);
    drop_rig(&r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_attention_to_a_rotated_cache),
      cmocka_unit_test(test_store_and_attention_of_a_mixed_step),
      cmocka_unit_test(test_sparse_attention_of_a_mixed_step),
      cmocka_unit_test(test_sparse_attention_beyond_its_scratch_is_refused),
      cmocka_unit_test(test_tokens_of_a_page_are_copied),
      cmocka_unit_test(test_copies_that_cannot_be_are_refused),
      cmocka_unit_test(test_attention_in_segments),
      cmocka_unit_test(test_segments_that_cannot_be_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
