// The OpenCL device's kernels against the reference kernels of the fake device, on shapes that fit no tile;
// and what of its host's side the other tests of this folder do not see.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch_folder.h"
#include "kernels/attention.h"
#include "rig.h"

static void need_opencl(void) {
  if (opencl_is_there()) return;
  print_message("no OpenCL device here (Debian: apt install pocl-opencl-icd)\n");
  skip();
}

// ---- one call on both devices ----------------------------------------------------------------------------

enum { FAKE, OPENCL, SIDES, MOST_OPERANDS = 8 };

// An operand: the view of the call that it is for, what it holds, and afterwards what each device left there.
typedef struct operand {
  fg_view *view;
  const void *data;
  uint64_t bytes;
  uint8_t *left[SIDES];
} operand;

typedef struct bench {
  fg_call call;
  operand operands[MOST_OPERANDS];
  int count;
  uint64_t state; // of random numbers
  void *made[32];
  int made_count;
} bench;

static bench make_bench(fg_op op, uint32_t rows, uint64_t seed) {
  return (bench){.call = {.op = op, .rows = rows}, .state = seed};
}

static void *keep(bench *b, void *made) {
  assert_true(b->made_count < 32);
  return b->made[b->made_count++] = made;
}

// The view begins `offset` bytes into its memory.
static void operand_of(bench *b, fg_view *view, const void *data, uint64_t bytes, uint32_t stride) {
  b->operands[b->count++] = (operand){.view = view, .data = data, .bytes = bytes};
  view->stride = stride;
}

static float *floats_of(bench *b, fg_view *view, size_t count, uint32_t stride) {
  float *x = keep(b, random_floats(&b->state, count));
  operand_of(b, view, x, count * sizeof *x, stride);
  return x;
}

static void run_both(bench *b) {
  static const char *const names[] = {"fake", "opencl"};
  for (int side = 0; side < SIDES; side++) {
    rig r = make_rig(names[side], 1, FG_COMPUTE_F32);
    for (int i = 0; i < b->count; i++)
      b->operands[i].view->memory = put(&r, b->operands[i].data, b->operands[i].bytes);
    run_call(&r, &b->call);
    for (int i = 0; i < b->count; i++) {
      operand *o = &b->operands[i];
      o->left[side] = keep(b, malloc(o->bytes));
      take(&r, o->view->memory, o->left[side], o->bytes);
    }
    drop_rig(&r);
  }
}

// Operand `index` is the same on both devices within `bound`, relative to 1 or to the number; the others,
// which are read, bit for bit.
static void assert_alike(const bench *b, int index, double bound, const char *what) {
  for (int i = 0; i < b->count; i++) {
    const operand *o = &b->operands[i];
    if (i != index) {
      if (memcmp(o->left[FAKE], o->left[OPENCL], o->bytes) != 0)
        fail_msg("%s: operand %d was changed", what, i);
      continue;
    }
    const float *want = (const float *)(const void *)o->left[FAKE],
                *got = (const float *)(const void *)o->left[OPENCL];
    for (uint64_t j = 0; j < o->bytes / sizeof *want; j++)
      if (!(fabs((double)got[j] - want[j]) <= bound * (1 + fabs((double)want[j]))))
        fail_msg("%s: value %llu is %.9g, not %.9g", what, (unsigned long long)j, (double)got[j],
                 (double)want[j]);
  }
}

static void assert_same_bits(const bench *b, const char *what) {
  for (int i = 0; i < b->count; i++) {
    const operand *o = &b->operands[i];
    for (uint64_t j = 0; j < o->bytes; j++)
      if (o->left[FAKE][j] != o->left[OPENCL][j])
        fail_msg("%s: byte %llu of operand %d is %d, not %d", what, (unsigned long long)j, i,
                 o->left[OPENCL][j], o->left[FAKE][j]);
  }
}

static void drop_bench(bench *b) {
  for (int i = 0; i < b->made_count; i++) free(b->made[i]);
}

// ---- rows ------------------------------------------------------------------------------------------------

enum { ROWS = 7, STRIDE = 700 };

static void test_norms(void **state) {
  (void)state;
  need_opencl();
  static const uint32_t widths[] = {1, 3, 129, 333};
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
    for (int form = 0; form < 8; form++) {
      bench b = make_bench(FG_OP_NORM, ROWS, 1 + w);
      const uint32_t segments = 1 + form % 2, width = widths[w];
      floats_of(&b, &b.call.a, ROWS * STRIDE, STRIDE);
      floats_of(&b, &b.call.out, ROWS * STRIDE, STRIDE);
      if (form & 2) floats_of(&b, &b.call.b, (size_t)width * segments, 0);
      if (form & 4) floats_of(&b, &b.call.c, (size_t)width * segments, 0);
      b.call.params.norm.width = width;
      b.call.params.norm.segments = segments;
      b.call.params.norm.apart = segments > 1 && form & 4;
      b.call.params.norm.kind = form & 1 ? FG_NORM_LAYER : FG_NORM_RMS;
      b.call.params.norm.eps = 1e-5f;
      run_both(&b);
      assert_alike(&b, 1, 3e-6, "norm");
      drop_bench(&b);
    }
}

static void test_activations_maps_and_sums(void **state) {
  (void)state;
  need_opencl();
  enum { WIDTH = 301 };
  for (int kind = 0; kind < 2 * FG_ACT_COUNT + 1; kind++) {
    const bool gated = kind >= FG_ACT_COUNT;
    bench b = make_bench(gated ? FG_OP_GLU : FG_OP_ACT, ROWS, 10 + (uint64_t)kind);
    float *x = floats_of(&b, &b.call.out, ROWS * STRIDE, STRIDE);
    if (gated) x = floats_of(&b, &b.call.a, ROWS * STRIDE, STRIDE);
    for (int i = 0; i < ROWS * STRIDE; i++) x[i] *= 9;
    b.call.params.act.width = WIDTH;
    b.call.params.act.kind = kind % FG_ACT_COUNT;
    if (kind == 2 * FG_ACT_COUNT) b.call.params.act.limit = 7, b.call.params.act.alpha = 1.702f;
    run_both(&b);
    assert_alike(&b, 0, 2e-6, "activation");
    drop_bench(&b);
  }
  for (int kind = 0; kind < FG_MAP_COUNT; kind++) {
    bench b = make_bench(FG_OP_MAP, ROWS, 30 + (uint64_t)kind);
    floats_of(&b, &b.call.out, ROWS * STRIDE, STRIDE);
    b.call.params.map.width = WIDTH;
    b.call.params.map.kind = kind;
    b.call.params.map.number = 0.4f;
    run_both(&b);
    assert_alike(&b, 0, 1e-6, "map");
    drop_bench(&b);
  }
  bench b = make_bench(FG_OP_ADD, ROWS, 40);
  floats_of(&b, &b.call.out, ROWS * STRIDE, STRIDE);
  floats_of(&b, &b.call.a, ROWS * STRIDE, STRIDE);
  b.call.params.copy.width = WIDTH;
  b.call.params.copy.scale = 0.37f;
  run_both(&b);
  assert_same_bits(&b, "add");
  drop_bench(&b);
}

// Each way of finding the frequencies, in both orders of pairs.
static void test_rotary_embeddings(void **state) {
  (void)state;
  need_opencl();
  enum { HEADS = 3, DIM = 26, ROTARY = 18 };
  static const int32_t positions[ROWS] = {0, 1, 5, 63, 4000, 131, 9},
                       lengths[ROWS] = {1, 200, 6, 64, 5000, 132, 10};
  for (int form = 0; form < 6; form++) {
    bench b = make_bench(FG_OP_ROPE, ROWS, 50);
    floats_of(&b, &b.call.out, ROWS * HEADS * DIM, HEADS * DIM);
    float *frequencies = floats_of(&b, &b.call.a, ROTARY, 0);
    for (int i = 0; i < ROTARY; i++)
      frequencies[i] = powf(10000, -(float)(i % (ROTARY / 2)) * 2 / ROTARY) / (1 + (float)(i >= ROTARY / 2));
    operand_of(&b, &b.call.batch.positions, positions, sizeof positions, 1);
    operand_of(&b, &b.call.batch.lengths, lengths, sizeof lengths, 1);
    b.call.params.rope.heads = HEADS;
    b.call.params.rope.head_dim = DIM;
    b.call.params.rope.rotary = ROTARY;
    b.call.params.rope.interleaved = form % 2;
    b.call.params.rope.scale = 1.1f;
    b.call.params.rope.original = form / 2 ? 128 : 0;
    b.call.params.rope.growth = form / 2 == 2 ? 2 : 0;
    b.call.params.rope.theta = 10000;
    run_both(&b);
    assert_alike(&b, 0, form / 2 == 2 ? 2e-3 : 2e-6, "rope"); // 4000 times a power's last bits
    drop_bench(&b);
  }
}

static void test_routes(void **state) {
  (void)state;
  need_opencl();
  static const fg_route_form forms[] = {{FG_ROUTE_SOFTMAX, 13, 4, 1, 0, 0, true, 1},
                                        {FG_ROUTE_CHOSEN, 200, 8, 0, 0, 0, false, 1},
                                        {FG_ROUTE_SIGMOID, 40, 6, 8, 3, 2, true, 2.5f},
                                        {FG_ROUTE_SOFTMAX, 12, 2, 12, 5, 1, false, 16},
                                        {FG_ROUTE_SIGMOID, 300, 8, 10, 4, 3, false, 0.5f}};
  for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
    for (int biased = 0; biased < 2; biased++) {
      bench b = make_bench(FG_OP_ROUTE, ROWS, 60 + f);
      floats_of(&b, &b.call.out, ROWS * STRIDE, STRIDE);
      floats_of(&b, &b.call.a, ROWS * STRIDE, STRIDE);
      if (biased) floats_of(&b, &b.call.c, forms[f].experts, 0);
      b.call.params.route = forms[f];
      run_both(&b);
      const uint32_t used = forms[f].used;
      for (int row = 0; row < ROWS; row++) // which experts exactly, as numbers
        assert_memory_equal(b.operands[0].left[FAKE] + row * STRIDE * 4,
                            b.operands[0].left[OPENCL] + row * STRIDE * 4, used * 4);
      assert_alike(&b, 0, 2e-6, "route");
      drop_bench(&b);
    }
}

// ---- products --------------------------------------------------------------------------------------------

static uint8_t *weights_of(uint64_t *state, fg_dtype dtype, size_t n, size_t k) {
  for (int i = 0; i < BLOCK_TYPES; i++)
    if (block_types[i].dtype == dtype) return random_blocks(state, &block_types[i], n, k);
  return random_weights(state, dtype, n, k);
}

static void check_product(fg_dtype dtype, uint32_t rows, uint32_t n, uint32_t k, bool biased) {
  bench b = make_bench(FG_OP_MATMUL, rows, 70 + (uint64_t)dtype);
  const fg_layout *layout = fg_layout_family_plain()->choose(dtype, n, k);
  const uint64_t bytes = layout->bytes(dtype, n, k);
  uint8_t *weights = keep(&b, weights_of(&b.state, dtype, n, k));
  floats_of(&b, &b.call.out, (size_t)rows * (n + 3), n + 3);
  floats_of(&b, &b.call.a, (size_t)rows * (k + 5), k + 5);
  operand_of(&b, &b.call.b, weights, bytes, 0);
  if (biased) floats_of(&b, &b.call.c, n, 0);
  b.call.params.matmul.n = n;
  b.call.params.matmul.k = k;
  b.call.params.matmul.dtype = dtype;
  b.call.params.matmul.layout = layout;
  b.call.params.matmul.accumulate = biased;
  run_both(&b);
  assert_alike(&b, 0, 1e-6 * k, fg_dtype_get(dtype)->name);
  drop_bench(&b);
}

static void test_products_with_every_type(void **state) {
  (void)state;
  need_opencl();
  for (int t = 0; t < FG_DTYPE_COUNT; t++) {
    const uint32_t block = fg_dtype_get(t)->block;
    if (!fg_layout_family_plain()->choose(t, 1, block)) continue;
    check_product(t, 5, 67, block == 1 ? 51 : block == 32 ? 96 : 256, false);
  }
}

// A row's bits are those that it has alone, in either tile.
static void test_rows_of_a_product_do_not_depend_on_company(void **state) {
  (void)state;
  need_opencl();
  static const uint32_t rows[] = {1, 8, 65, 130};
  enum { N = 70, K = 192, MOST = 130 };
  uint64_t random = 4;
  float *x = random_floats(&random, MOST * K);
  float *w = random_floats(&random, N * K);
  static float first[MOST * N], out[MOST * N];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    rig r = make_rig("opencl", 1, FG_COMPUTE_F32);
    fg_call call = {.op = FG_OP_MATMUL, .rows = rows[i]};
    fg_memory *mx = put(&r, x, MOST * K * 4), *mw = put(&r, w, N * K * 4), *mo = make_memory(&r, sizeof out);
    call.a = view_of(mx, K), call.b = view_of(mw, 0), call.out = view_of(mo, N);
    call.params.matmul.n = N;
    call.params.matmul.k = K;
    call.params.matmul.dtype = FG_F32;
    call.params.matmul.layout = fg_layout_family_plain()->choose(FG_F32, N, K);
    run_call(&r, &call);
    take(&r, mo, i ? out : first, sizeof out);
    if (i) assert_memory_equal(out, first, N * 4);
    drop_memory(&r, mx), drop_memory(&r, mw);
    drop_rig(&r);
  }
  free(x), free(w);
}

static void test_products_of_odd_shapes(void **state) {
  (void)state;
  need_opencl();
  static const struct {
    uint32_t rows, n, k;
  } shapes[] = {{1, 1, 1}, {1, 200, 33}, {8, 64, 64}, {65, 63, 31}, {130, 129, 100}, {3, 5, 255}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    check_product(FG_F32, shapes[i].rows, shapes[i].n, shapes[i].k, true);
    check_product(FG_BF16, shapes[i].rows, shapes[i].n, shapes[i].k, i % 2);
  }
}

// ---- the cache -------------------------------------------------------------------------------------------

enum { PAGES = 24, CONTEXT = 160, PAGE = 16 };

typedef struct shape {
  fg_kv_geometry kv;
  uint32_t heads, window;
  float softcap;
  fg_head_kind kind;
  bool rotated;
} shape;

static const shape shapes_of_attention[] = {
    {{2, 24, 40, PAGE, FG_F32, false, 0}, 2, 0, 0, FG_HEAD_PLAIN, false},
    {{1, 33, 7, PAGE, FG_F32, false, 0}, 11, 0, 0, FG_HEAD_SINK, false},
    {{2, 64, 64, PAGE, FG_BF16, false, 4096}, 6, 50, 0, FG_HEAD_PLAIN, false},
    {{2, 80, 80, PAGE, FG_F16, false, 0}, 4, 0, 20, FG_HEAD_ALIBI, false},
    {{1, 112, 96, PAGE, FG_F32, true, 0}, 5, 0, 0, FG_HEAD_PLAIN, false},
    {{2, 80, 48, PAGE, FG_I8G64M, false, 0}, 6, 0, 0, FG_HEAD_ALIBI_BF16, false},
    {{2, 112, 80, PAGE, FG_I4G64M, false, 0}, 4, 70, 0, FG_HEAD_SINK, true},
    {{1, 128, 64, PAGE, FG_I4G64M, true, 0}, 8, 0, 0, FG_HEAD_PLAIN, true},
};
enum { ATTENTION_SHAPES = sizeof shapes_of_attention / sizeof *shapes_of_attention };

// Tokens of all pages; the fake device's bytes are the cache of the attention that follows, to be freed.
static uint8_t *check_store(const shape *s, uint64_t *bytes) {
  static int32_t slots[PAGES * PAGE];
  const uint32_t tokens = PAGES * PAGE / 2; // in two calls
  *bytes = PAGES * fg_kv_page_bytes(&s->kv);
  uint8_t *cache = calloc(1, *bytes);
  for (uint32_t half = 0; half < 2; half++) {
    bench b = make_bench(FG_OP_KV_STORE, tokens, 80 + half);
    for (uint32_t i = 0; i < tokens; i++) slots[i] = (int32_t)((half * tokens + i) * 5 % (PAGES * PAGE));
    operand_of(&b, &b.call.out, cache, *bytes, 0);
    floats_of(&b, &b.call.a, (size_t)tokens * (s->kv.kv_heads * s->kv.k_dim + 1),
              s->kv.kv_heads * s->kv.k_dim + 1);
    floats_of(&b, &b.call.b, (size_t)tokens * s->kv.kv_heads * s->kv.v_dim, s->kv.kv_heads * s->kv.v_dim);
    operand_of(&b, &b.call.batch.slots, slots, tokens * sizeof *slots, 1);
    b.call.params.kv_store.kv = s->kv;
    b.call.params.kv_store.rotated = s->rotated;
    run_both(&b);
    assert_same_bits(&b, "kv store");
    memcpy(cache, b.operands[0].left[FAKE], *bytes);
    drop_bench(&b);
  }
  return cache;
}

// A decoding row, a chunk in the middle, one from the start, one that begins a block of keys; a row of none.
static void check_attention(const shape *s, fg_key_segment segment) {
  static const int32_t chunks[][4] = {{0, 1, 150, 1}, {1, 37, 60, 0}, {38, 9, 0, 2}, {48, 2, 64, 3}};
  static int32_t tables[4][PAGES];
  enum { TOKENS = 50 };
  const uint32_t heads = s->heads;
  uint64_t bytes;
  uint8_t *cache = check_store(s, &bytes);
  bench b = make_bench(FG_OP_ATTENTION, TOKENS, 90);
  for (int i = 0; i < 4; i++) // pages that nobody sees are not there
    for (int j = 0; j < PAGES; j++)
      tables[chunks[i][3]][j] = j <= (chunks[i][1] + chunks[i][2] - 1) / PAGE ? (j * 7 + i * 3) % PAGES : -1;
  floats_of(&b, &b.call.out, (size_t)TOKENS * heads * s->kv.v_dim, heads * s->kv.v_dim);
  floats_of(&b, &b.call.state, (size_t)TOKENS * heads * 2, heads * 2);
  float *q = floats_of(&b, &b.call.a, (size_t)TOKENS * heads * s->kv.k_dim, heads * s->kv.k_dim);
  for (uint32_t i = 0; i < TOKENS * heads * s->kv.k_dim; i++) q[i] *= 3;
  operand_of(&b, &b.call.b, cache, bytes, 0);
  operand_of(&b, &b.call.batch.chunk_list, chunks, sizeof chunks, 4);
  operand_of(&b, &b.call.batch.page_tables, tables, sizeof tables, PAGES);
  if (s->kind != FG_HEAD_PLAIN) floats_of(&b, &b.call.c, heads, 0);
  for (uint32_t i = 0; segment.resumes && i < TOKENS * heads; i++) // a sum is above 0
    ((float *)(uintptr_t)b.operands[1].data)[2 * i + 1] = 1.5f;
  b.call.batch.tokens = TOKENS;
  b.call.batch.chunks = 4;
  b.call.batch.max_context = CONTEXT;
  b.call.params.attention.kv = s->kv;
  b.call.params.attention.heads = heads;
  b.call.params.attention.scale = 0.2f;
  b.call.params.attention.window = s->window;
  b.call.params.attention.softcap = s->softcap;
  b.call.params.attention.head_kind = s->kind;
  b.call.params.attention.rotated = s->rotated;
  b.call.params.attention.segment = segment;
  run_both(&b);
  assert_alike(&b, 0, 2e-5, "attention");
  drop_bench(&b);
  free(cache);
}

static void test_stored_rows_and_attention(void **state) {
  (void)state;
  need_opencl();
  for (int i = 0; i < ATTENTION_SHAPES; i++) check_attention(&shapes_of_attention[i], (fg_key_segment){0});
}

// ---- the host's side -------------------------------------------------------------------------------------

// More commands than events are kept, over all queues; what waits sees what it waited for.
static void test_queues_are_ordered_by_events(void **state) {
  (void)state;
  need_opencl();
  enum { TURNS = 700 };
  rig r = make_rig("opencl", 1, FG_COMPUTE_F32);
  fg_device *d = r.device;
  fg_error err;
  static float in[TURNS], out[TURNS];
  const float one = 1;
  fg_memory *m = make_memory(&r, 4), *unit = put(&r, &one, 4);
  fg_call add = {.op = FG_OP_ADD, .rows = 1, .a = view_of(unit, 1), .out = view_of(m, 1)};
  add.params.copy.width = 1;
  add.params.copy.scale = 1;
  fg_event stored = {FG_QUEUE_STORE, 0};
  for (int i = 0; i < TURNS; i++) {
    in[i] = (float)i;
    must(d->ops->queue_wait(d, FG_QUEUE_LOAD, stored, &err), &err);
    must(d->ops->upload(d, FG_QUEUE_LOAD, m, 0, &in[i], 4, &err), &err);
    must(d->ops->queue_wait(d, FG_QUEUE_COMPUTE, d->ops->record(d, FG_QUEUE_LOAD), &err), &err);
    must(d->ops->run(d, FG_QUEUE_COMPUTE, &add, &err), &err);
    must(d->ops->queue_wait(d, FG_QUEUE_STORE, d->ops->record(d, FG_QUEUE_COMPUTE), &err), &err);
    must(d->ops->download(d, FG_QUEUE_STORE, m, 0, &out[i], 4, &err), &err);
    stored = d->ops->record(d, FG_QUEUE_STORE);
  }
  must(d->ops->host_wait(d, stored, &err), &err);
  assert_true(d->ops->reached(d, stored));
  for (int i = 0; i < TURNS; i++) assert_true(out[i] == (float)i + 1);
  drop_memory(&r, m), drop_memory(&r, unit);
  drop_rig(&r);
}

// The one kept program in a folder; its size, 0 if there is none.
static long kept_program(const char *folder, char path[256]) {
  char pattern[128], line[256] = "";
  snprintf(pattern, sizeof pattern, "ls %s/flexgen/opencl/*.bin 2>/dev/null", folder);
  FILE *list = popen(pattern, "r");
  if (!fgets(line, sizeof line, list)) line[0] = 0;
  pclose(list);
  line[strcspn(line, "\n")] = 0;
  memcpy(path, line, 256);
  struct stat at;
  return stat(path, &at) == 0 ? (long)at.st_size : 0;
}

static void run_a_kernel(void) {
  rig r = make_rig("opencl", 1, FG_COMPUTE_F32);
  float x[] = {-1, 2};
  fg_memory *m = put(&r, x, sizeof x);
  fg_call call = {.op = FG_OP_ACT, .rows = 1, .out = view_of(m, 2)};
  call.params.act.width = 2;
  run_call(&r, &call);
  take(&r, m, x, sizeof x);
  assert_true(x[0] == 0 && x[1] == 2);
  drop_rig(&r);
}

// A kept program is taken as it is; one that is broken, on which some drivers die, is made again.
static void test_kept_programs_are_checked(void **state) {
  (void)state;
  need_opencl();
  scratch_folder folder;
  scratch_make(&folder);
  const char *before = getenv("XDG_CACHE_HOME");
  char *own = before ? strdup(before) : NULL, path[256];
  setenv("XDG_CACHE_HOME", folder.path, 1);
  run_a_kernel();
  const long bytes = kept_program(folder.path, path);
  assert_true(bytes > 100);
  struct stat first, second;
  assert_int_equal(stat(path, &first), 0);
  run_a_kernel();
  assert_int_equal(stat(path, &second), 0);
  assert_int_equal(first.st_ino, second.st_ino); // what is written is a new file
  static const long cuts[] = {0, 7, 24, 100, -1};
  for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
    assert_int_equal(truncate(path, cuts[i] < 0 ? bytes - 1 : cuts[i]), 0);
    run_a_kernel();
    assert_int_equal(kept_program(folder.path, path), bytes);
  }
  FILE *file = fopen(path, "r+b");
  fseek(file, bytes / 2, SEEK_SET);
  const int byte = fgetc(file);
  fseek(file, bytes / 2, SEEK_SET);
  fputc(byte ^ 1, file);
  fclose(file);
  run_a_kernel();
  file = fopen(path, "rb");
  fseek(file, bytes / 2, SEEK_SET);
  assert_int_equal(fgetc(file), byte);
  fclose(file);
  if (own)
    setenv("XDG_CACHE_HOME", own, 1);
  else
    unsetenv("XDG_CACHE_HOME");
  free(own);
  assert_int_equal(scratch_remove(&folder), 0);
}

static void test_fresh_memory_holds_no_numbers(void **state) {
  (void)state;
  need_opencl();
  rig r = make_rig("opencl", 1, FG_COMPUTE_F32);
  float x[33];
  take(&r, make_memory(&r, sizeof x), x, sizeof x);
  for (int i = 0; i < 33; i++) assert_true(isnan(x[i]));
  drop_rig(&r);
}

static void test_numbers_of_devices(void **state) {
  (void)state;
  need_opencl();
  fg_device *device;
  fg_error err;
  rig r = make_rig("opencl:0", 1, FG_COMPUTE_F32);
  fg_device_options options = rig_options(&r, FG_COMPUTE_F32);
  options.sparse_heads = 0;
  assert_int_equal(fg_device_create(&device, "opencl:9999", &options, &err), FG_NOT_FOUND);
  assert_non_null(strstr(err.message, "flexgen devices"));
  static const char *const wrong[] = {"opencl:", "opencl:x", "opencl:1x", "opencl:99999",
                                      "openc",   "cpu:0",    "opencl:-1"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_int_equal(fg_device_create(&device, wrong[i], &options, NULL), FG_INVALID);
    assert_null(fg_device_family(wrong[i]));
  }
  drop_rig(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_norms),
      cmocka_unit_test(test_activations_maps_and_sums),
      cmocka_unit_test(test_rotary_embeddings),
      cmocka_unit_test(test_routes),
      cmocka_unit_test(test_products_with_every_type),
      cmocka_unit_test(test_products_of_odd_shapes),
      cmocka_unit_test(test_rows_of_a_product_do_not_depend_on_company),
      cmocka_unit_test(test_stored_rows_and_attention),
      cmocka_unit_test(test_queues_are_ordered_by_events),
      cmocka_unit_test(test_kept_programs_are_checked),
      cmocka_unit_test(test_fresh_memory_holds_no_numbers),
      cmocka_unit_test(test_numbers_of_devices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
