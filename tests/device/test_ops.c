// Every operation on every device, through the interface alone, against a few lines of doubles.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scene.h"

// ---- rows ----------------------------------------------------------------------------------------------

enum { ROWS = 37, WIDTH = 50, STRIDE = 60 };

// Rows apart and an offset: views, not dense arrays. What lies between rows must stay.
static void check_norm(rig *r) {
  uint64_t state = 1;
  float *x = random_floats(&state, ROWS * STRIDE), *w = random_floats(&state, WIDTH), out[ROWS * STRIDE];
  fg_memory *mx = put(r, x, ROWS * STRIDE * 4), *mw = put(r, w, WIDTH * 4);
  fg_call call = {.op = FG_OP_NORM, .rows = ROWS - 1, .b = view_of(mw, 0)};
  call.a = call.out = (fg_view){mx, STRIDE * 4, STRIDE}; // from row 1 on, in place
  call.params.norm.width = WIDTH;
  call.params.norm.segments = 1;
  call.params.norm.kind = FG_NORM_RMS;
  call.params.norm.eps = 1e-5f;
  run_call(r, &call);
  take(r, mx, out, sizeof out);
  drop_memory(r, mw);
  assert_memory_equal(out, x, STRIDE * 4);
  for (int row = 1; row < ROWS; row++) {
    double squares = 0;
    for (int i = 0; i < WIDTH; i++) squares += (double)x[row * STRIDE + i] * x[row * STRIDE + i];
    for (int i = 0; i < STRIDE; i++) {
      double value = x[row * STRIDE + i],
             want = i < WIDTH ? value / sqrt(squares / WIDTH + 1e-5) * w[i] : value;
      assert_near(out[row * STRIDE + i], want, 2e-6);
    }
  }
  free(x), free(w);
}

static void test_norm(void **state) {
  (void)state;
  each_device(check_norm);
}

static void check_elementwise(rig *r) {
  uint64_t state = 2;
  float *x = random_floats(&state, ROWS * 2 * WIDTH), *y = random_floats(&state, ROWS * WIDTH);
  float gated[ROWS * WIDTH], added[ROWS * WIDTH], acted[ROWS * WIDTH];
  fg_memory *mx = put(r, x, ROWS * 2 * WIDTH * 4), *my = put(r, y, ROWS * WIDTH * 4),
            *ma = put(r, y, ROWS * WIDTH * 4);
  fg_memory *mg = make_memory(r, ROWS * WIDTH * 4);
  fg_call glu = {.op = FG_OP_GLU, .rows = ROWS, .a = view_of(mx, 2 * WIDTH), .out = view_of(mg, WIDTH)};
  glu.params.act.width = WIDTH;
  glu.params.act.kind = FG_ACT_SILU;
  run_call(r, &glu);
  fg_call act = {.op = FG_OP_ACT, .rows = ROWS, .out = view_of(ma, WIDTH)};
  act.params.act.width = WIDTH;
  act.params.act.kind = FG_ACT_RELU;
  run_call(r, &act);
  fg_call add = {.op = FG_OP_ADD, .rows = ROWS, .a = view_of(mg, WIDTH), .out = view_of(my, WIDTH)};
  add.params.copy.width = WIDTH;
  add.params.copy.scale = 1;
  run_call(r, &add);
  take(r, mg, gated, sizeof gated);
  take(r, my, added, sizeof added);
  take(r, ma, acted, sizeof acted);
  drop_memory(r, mx);
  for (int i = 0; i < ROWS * WIDTH; i++) {
    double gate = x[i / WIDTH * 2 * WIDTH + i % WIDTH], up = x[i / WIDTH * 2 * WIDTH + WIDTH + i % WIDTH];
    assert_near(gated[i], gate / (1 + exp(-gate)) * up, 1e-6);
    assert_true(added[i] == y[i] + gated[i]);
    assert_true(acted[i] == (y[i] > 0 ? y[i] : 0));
  }
  free(x), free(y);
}

static void test_activations_and_sums(void **state) {
  (void)state;
  each_device(check_elementwise);
}

static void check_select(rig *r) {
  uint64_t state = 3;
  float *x = random_floats(&state, ROWS * WIDTH), out[4 * WIDTH];
  const int32_t rows[] = {36, 0, 7, 7};
  fg_memory *mx = put(r, x, ROWS * WIDTH * 4), *mr = put(r, rows, sizeof rows),
            *mo = make_memory(r, sizeof out);
  fg_call call = {
      .op = FG_OP_SELECT, .rows = 4, .a = view_of(mx, WIDTH), .b = view_of(mr, 1), .out = view_of(mo, WIDTH)};
  call.params.copy.width = WIDTH;
  run_call(r, &call);
  take(r, mo, out, sizeof out);
  drop_memory(r, mx), drop_memory(r, mr);
  for (int i = 0; i < 4; i++) assert_memory_equal(out + i * WIDTH, x + rows[i] * WIDTH, WIDTH * 4);
  free(x);
}

static void test_select(void **state) {
  (void)state;
  each_device(check_select);
}

static void check_rope(rig *r) {
  enum { ROPE_HEADS = 3, DIM = 20, ROTARY = 12 };
  uint64_t state = 4;
  float *x = random_floats(&state, ROWS * ROPE_HEADS * DIM), frequencies[ROTARY / 2],
        out[ROWS * ROPE_HEADS * DIM];
  int32_t positions[ROWS];
  for (int i = 0; i < ROTARY / 2; i++) frequencies[i] = powf(10000, -2.f * (float)i / ROTARY);
  for (int i = 0; i < ROWS; i++) positions[i] = i * 53;
  for (int interleaved = 0; interleaved < 2; interleaved++) {
    fg_memory *mx = put(r, x, sizeof out), *mf = put(r, frequencies, sizeof frequencies);
    fg_memory *mp = put(r, positions, sizeof positions);
    fg_call call = {
        .op = FG_OP_ROPE, .rows = ROWS, .a = view_of(mf, 0), .out = view_of(mx, ROPE_HEADS * DIM)};
    call.batch = (fg_batch_view){.tokens = ROWS, .positions = view_of(mp, 1)};
    call.params.rope.heads = ROPE_HEADS;
    call.params.rope.head_dim = DIM;
    call.params.rope.rotary = ROTARY;
    call.params.rope.interleaved = interleaved;
    call.params.rope.scale = 1.25f;
    run_call(r, &call);
    take(r, mx, out, sizeof out);
    drop_memory(r, mf), drop_memory(r, mp);
    for (int i = 0; i < ROWS * ROPE_HEADS; i++)
      for (int p = 0; p < ROTARY / 2; p++) {
        int a = interleaved ? 2 * p : p, b = interleaved ? 2 * p + 1 : p + ROTARY / 2;
        double angle =
            (double)((float)positions[i / ROPE_HEADS] * frequencies[p]); // rounded as float32 models do
        double u = x[i * DIM + a], v = x[i * DIM + b], c = 1.25 * cos(angle), s = 1.25 * sin(angle);
        assert_near(out[i * DIM + a], u * c - v * s, 1e-6);
        assert_near(out[i * DIM + b], v * c + u * s, 1e-6);
      }
    for (int i = 0; i < ROWS * ROPE_HEADS; i++)
      assert_memory_equal(out + i * DIM + ROTARY, x + i * DIM + ROTARY, (DIM - ROTARY) * 4);
  }
  free(x);
}

// Heads whose first values are not turned: the view begins behind them, and behind the last head there is
// nothing of the head any more.
static void check_rope_at_the_end_of_heads(rig *r) {
  enum { ROPE_HEADS = 3, DIM = 20, ROTARY = 6, BEFORE = DIM - ROTARY };
  uint64_t state = 4;
  float *x = random_floats(&state, ROWS * ROPE_HEADS * DIM), frequencies[] = {1, 0.1f, 0.01f};
  static float want[ROWS * ROPE_HEADS * DIM], out[ROWS * ROPE_HEADS * DIM];
  int32_t positions[ROWS];
  for (int i = 0; i < ROWS; i++) positions[i] = i * 53;
  fg_memory *mf = put(r, frequencies, sizeof frequencies), *mp = put(r, positions, sizeof positions);
  for (int first = BEFORE; first >= 0; first -= BEFORE) { // the values to turn stand first
    float *moved = random_floats(&state, ROWS * ROPE_HEADS * DIM);
    for (int h = 0; h < ROWS * ROPE_HEADS; h++) {
      memcpy(moved + h * DIM + first, x + h * DIM, ROTARY * 4);
      memcpy(moved + h * DIM + (first ? 0 : ROTARY), x + h * DIM + ROTARY, BEFORE * 4);
    }
    fg_memory *mx = put(r, moved, sizeof out);
    fg_call call = {
        .op = FG_OP_ROPE, .rows = ROWS, .a = view_of(mf, 0), .out = view_of(mx, ROPE_HEADS * DIM)};
    call.out.offset = (uint64_t)first * 4;
    call.batch = (fg_batch_view){.tokens = ROWS, .positions = view_of(mp, 1)};
    call.params.rope.heads = ROPE_HEADS;
    call.params.rope.head_dim = DIM;
    call.params.rope.rotary = ROTARY;
    call.params.rope.interleaved = true;
    call.params.rope.scale = 1;
    run_call(r, &call);
    take(r, mx, first ? want : out, sizeof out);
    free(moved);
  }
  drop_memory(r, mf), drop_memory(r, mp);
  for (int h = 0; h < ROWS * ROPE_HEADS; h++) {
    assert_memory_equal(out + h * DIM, want + h * DIM + BEFORE, ROTARY * 4);
    assert_memory_equal(out + h * DIM + ROTARY, want + h * DIM, BEFORE * 4);
  }
  free(x);
}

static void test_rope(void **state) {
  (void)state;
  each_device(check_rope);
  each_device(check_rope_at_the_end_of_heads);
}

// ---- products ------------------------------------------------------------------------------------------

static void check_matmul(rig *r) {
  enum { N = 130, MOST_K = 256 };
  for (int t = 0; t < WEIGHT_TYPES; t++) {
    uint64_t state = 5;
    fg_dtype dtype = weight_types[t];
    const int K = fg_dtype_get(dtype)->block > 32 ? MOST_K : 96;
    const fg_layout *layout = r->device->family->choose(dtype, N, K);
    float *x = random_floats(&state, ROWS * K), *bias = random_floats(&state, N);
    static float w[N * MOST_K], out[ROWS * N];
    uint8_t *rows = random_weights(&state, dtype, N, K), *panel = malloc(layout->bytes(dtype, N, K));
    layout->pack(dtype, rows, N, K, panel);
    fg_dtype_get(dtype)->to_f32(rows, w, N * K);
    fg_memory *mx = put(r, x, ROWS * K * 4), *mw = put(r, panel, layout->bytes(dtype, N, K)),
              *mb = put(r, bias, N * 4);
    fg_memory *mo = make_memory(r, sizeof out);
    fg_call call = {
        .op = FG_OP_MATMUL, .rows = ROWS, .a = view_of(mx, K), .b = view_of(mw, 0), .c = view_of(mb, 0)};
    call.out = view_of(mo, N);
    call.params.matmul.n = N;
    call.params.matmul.k = K;
    call.params.matmul.dtype = dtype;
    call.params.matmul.layout = layout;
    run_call(r, &call);
    call.params.matmul.accumulate = true; // once more on top, without the bias
    call.c.memory = NULL;
    run_call(r, &call);
    take(r, mo, out, sizeof out);
    drop_memory(r, mx), drop_memory(r, mw), drop_memory(r, mb);
    for (int i = 0; i < ROWS * N; i++) {
      double sum = 0;
      for (int c = 0; c < K; c++) sum += (double)x[i / N * K + c] * w[i % N * K + c];
      assert_near(out[i], 2 * sum + bias[i % N], 4e-7 * K);
    }
    free(x), free(bias), free(rows), free(panel);
  }
}

static void test_matmul_of_every_weight_type(void **state) {
  (void)state;
  each_device(check_matmul);
}

// ---- promises of the interface -------------------------------------------------------------------------

static void test_threads_change_no_bit(void **state) {
  (void)state;
  static float out[2][LENGTH * HEADS * V_DIM];
  uint32_t rows = 0;
  for (uint32_t threads = 1; threads <= 2; threads++) {
    rig r = make_rig("cpu", threads, FG_COMPUTE_F32);
    scene s = make_scene(&r, false);
    rows = attend(&r, &s, 0, out[threads - 1]);
    drop_scene(&r, &s);
    drop_rig(&r);
  }
  assert_memory_equal(out[0], out[1], rows * HEADS * V_DIM * sizeof(float));
}

static void test_scratch_is_what_create_charges(void **state) {
  (void)state;
  for (int i = 0; i < DEVICES; i++)
    for (int compute = 0; compute < 2; compute++)
      for (uint32_t rows = 0; rows < 2000; rows += 333) {
        rig r = make_rig(devices[i], 2, FG_COMPUTE_F32);
        fg_device_destroy(r.device);
        fg_device_options options = rig_options(&r, compute);
        options.max_rows = rows;
        options.max_k = rows; // 0: as max_width
        options.max_head_dim = rows % 2 ? 0 : 80;
        options.sparse_heads = rows % 3;
        options.sparse_context = rows;
        assert_int_equal(fg_device_create(&r.device, devices[i], &options, NULL), FG_OK);
        assert_int_equal(fg_budget_used(r.host), fg_device_scratch_bytes(devices[i], &options));
        drop_rig(&r);
      }
}

// At every limit below what it needs, creation fails, says why and gives back what it took.
static void test_creation_fails_within_a_small_budget(void **state) {
  (void)state;
  for (int i = 0; i < DEVICES; i++) {
    rig r = make_rig(devices[i], 2, FG_COMPUTE_BF16);
    fg_device_options options = rig_options(&r, FG_COMPUTE_BF16);
    uint64_t needed = fg_device_scratch_bytes(devices[i], &options);
    for (uint64_t limit = 4096; limit < needed; limit += 50000) {
      fg_device *device;
      fg_error err;
      assert_int_equal(fg_budget_create(&options.host, "host memory", "--host-memory", limit, NULL), FG_OK);
      assert_int_equal(fg_device_create(&device, devices[i], &options, &err), FG_NO_SPACE);
      assert_non_null(strstr(err.message, "--host-memory"));
      assert_int_equal(fg_budget_used(options.host), 0);
      fg_budget_destroy(options.host);
    }
    drop_rig(&r);
  }
}

static void test_device_memory_is_refused_beyond_its_budget(void **state) {
  (void)state;
  for (int i = 0; i < DEVICES; i++) {
    rig r = make_rig(devices[i], 1, FG_COMPUTE_F32);
    fg_memory *m;
    fg_error err;
    assert_int_equal(r.device->ops->memory_create(r.device, 9 << 20, "the model", &m, &err), FG_NO_SPACE);
    assert_non_null(strstr(err.message, "the model"));
    drop_rig(&r);
  }
}

static void test_names_of_devices(void **state) {
  (void)state;
  fg_device *device;
  fg_device_options options = {.max_rows = 1};
  assert_int_equal(fg_device_create(&device, "gpu", &options, NULL), FG_INVALID);
  assert_null(fg_device_family("gpu"));
  assert_ptr_equal(fg_device_family("cpu"), fg_layout_family_cpu());
  assert_ptr_equal(fg_device_family("fake"), fg_layout_family_plain());
}

// Wrong calls are refused before anything is touched: each row breaks one thing of a good call.
static void check_refusals(rig *r) {
  float zeros[4 * WIDTH] = {0};
  const int32_t rows[] = {0, 4}, negative[] = {0, -1};
  fg_memory *m = put(r, zeros, sizeof zeros), *out = put(r, zeros, sizeof zeros);
  fg_memory *mr = put(r, rows, sizeof rows), *mn = put(r, negative, sizeof negative);
  fg_call good = {.op = FG_OP_ADD, .rows = 4, .a = view_of(m, WIDTH), .out = view_of(out, WIDTH)};
  good.params.copy.width = WIDTH;
  run_call(r, &good);
  fg_call bad[9];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) bad[i] = good;
  bad[0].rows = 5;
  bad[1].rows = 201; // more than max_rows
  bad[2].a.offset = 4;
  bad[3].a.stride = UINT32_MAX;
  bad[4].out.memory = NULL;
  bad[5].params.copy.width = WIDTH + 1;
  bad[6].op = FG_OP_COUNT;
  bad[7].op = bad[8].op = FG_OP_SELECT;
  bad[7].rows = bad[8].rows = 2;
  bad[7].b = view_of(mr, 1);
  bad[8].b = view_of(mn, 1);
  const char *name = r->device->ops->name;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fg_error err = {0};
    rig own = make_rig(name, 1, FG_COMPUTE_F32); // an error stays on the fake device: a fresh one for each
    fg_memory *own_m = put(&own, zeros, sizeof zeros), *own_out = put(&own, zeros, sizeof zeros);
    fg_memory *own_rows = put(&own, i == 7 ? rows : negative, sizeof rows);
    bad[i].a.memory = own_m;
    if (bad[i].out.memory) bad[i].out.memory = own_out;
    if (bad[i].b.memory) bad[i].b.memory = own_rows;
    assert_int_equal(run_failing(&own, &bad[i], &err), FG_INTERNAL);
    assert_true(strlen(err.message) > 10);
    drop_memory(&own, own_m), drop_memory(&own, own_out), drop_memory(&own, own_rows);
    drop_rig(&own);
  }
  drop_memory(r, m), drop_memory(r, out), drop_memory(r, mr), drop_memory(r, mn);
}

static void test_wrong_calls_are_refused(void **state) {
  (void)state;
  each_device(check_refusals);
}

// Slots and pages come from another layer's tables; a wrong one must not become a wild write or read.
static void test_wrong_slots_and_pages_are_refused(void **state) {
  (void)state;
  rig r = make_rig("cpu", 1, FG_COMPUTE_F32);
  scene s = make_scene(&r, false);
  float row[HEADS * K_DIM] = {0}, out[HEADS * V_DIM];
  const int32_t slot = SEQUENCES * TABLE * PAGE, chunk[] = {0, 1, 40, 0},
                table[TABLE] = {0, 3, SEQUENCES * TABLE};
  fg_memory *mrow = put(&r, row, sizeof row), *mslot = put(&r, &slot, 4), *mo = put(&r, out, sizeof out);
  fg_memory *mchunk = put(&r, chunk, sizeof chunk), *mtable = put(&r, table, sizeof table);
  fg_call store = {.op = FG_OP_KV_STORE, .rows = 1, .a = view_of(mrow, 0), .b = view_of(mrow, 0)};
  store.out = view_of(s.cache, 0);
  store.batch = (fg_batch_view){.tokens = 1, .slots = view_of(mslot, 1)};
  store.params.kv_store.kv = s.kv;
  assert_int_equal(run_failing(&r, &store, NULL), FG_INTERNAL);
  fg_call attention = {.op = FG_OP_ATTENTION, .rows = 1, .a = view_of(mrow, 0), .b = view_of(s.cache, 0)};
  attention.out = view_of(mo, 0);
  attention.batch = (fg_batch_view){.tokens = 1, .chunks = 1, .max_context = 41};
  attention.batch.chunk_list = view_of(mchunk, 4);
  attention.batch.page_tables = view_of(mtable, TABLE);
  attention.params.attention.kv = s.kv;
  attention.params.attention.heads = HEADS;
  assert_int_equal(run_failing(&r, &attention, NULL), FG_INTERNAL);
  attention.batch.page_tables.stride = 2; // 41 tokens need three pages
  attention.batch.page_tables.offset = 6 * 4;
  assert_int_equal(run_failing(&r, &attention, NULL), FG_INTERNAL);
  drop_memory(&r, mrow), drop_memory(&r, mslot), drop_memory(&r, mo), drop_memory(&r, mchunk),
      drop_memory(&r, mtable);
  drop_scene(&r, &s);
  drop_rig(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_norm),
      cmocka_unit_test(test_activations_and_sums),
      cmocka_unit_test(test_select),
      cmocka_unit_test(test_rope),
      cmocka_unit_test(test_matmul_of_every_weight_type),
      cmocka_unit_test(test_threads_change_no_bit),
      cmocka_unit_test(test_scratch_is_what_create_charges),
      cmocka_unit_test(test_creation_fails_within_a_small_budget),
      cmocka_unit_test(test_device_memory_is_refused_beyond_its_budget),
      cmocka_unit_test(test_names_of_devices),
      cmocka_unit_test(test_wrong_calls_are_refused),
      cmocka_unit_test(test_wrong_slots_and_pages_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
