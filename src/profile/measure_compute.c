// Products of weights from memory with activations.
#include <assert.h>
#include <math.h>

#include "base/clock.h"
#include "profile/measure_internal.h"

// What can be told apart: how a kernel reads weights (in place, as codes, after expanding them) and how many
// bytes they take. Other types take the time of the nearest of these (fg_profile_product_seconds).
static const struct {
  fg_dtype dtype;
  fg_compute compute;
  bool quick;
} kinds[] = {
    {FG_F32, FG_COMPUTE_F32, true},     {FG_BF16, FG_COMPUTE_F32, false},
    {FG_I4G64M, FG_COMPUTE_F32, false}, {FG_Q4_K, FG_COMPUTE_F32, false},
    {FG_F32, FG_COMPUTE_BF16, false},   {FG_BF16, FG_COMPUTE_BF16, true},
    {FG_F16, FG_COMPUTE_BF16, false},   {FG_I4G64M, FG_COMPUTE_BF16, false},
    {FG_Q4_K, FG_COMPUTE_BF16, true},   {FG_Q6_K, FG_COMPUTE_BF16, false},
    {FG_Q5_0, FG_COMPUTE_BF16, false},  {FG_I8G128, FG_COMPUTE_INT8, true},
    {FG_I8G64, FG_COMPUTE_INT8, true},  {FG_I8G64M, FG_COMPUTE_INT8, false},
    {FG_I4G64M, FG_COMPUTE_INT8, true}, {FG_Q8_0, FG_COMPUTE_INT8, false},
    {FG_Q4_0, FG_COMPUTE_INT8, false},  {FG_Q4_1, FG_COMPUTE_INT8, false},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct {
  uint32_t k;
  bool quick;
} lengths[] = {{512, true}, {2048, true}, {8192, false}};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static_assert(KINDS * LENGTHS <= FG_PROFILE_MAX_PRODUCTS, "a profile has room for every product");

enum {
  PANEL_BYTES = 4 << 20, // as the packer makes them for models of a few GB
  TILE = 64,
  LEAST_TILES_A_THREAD = 4,
  MATRIX_ROWS = 2048, // of all matrices that take the same activations, one behind the other
  PASSES = 2,         // over all kinds
  MOST_TAKES = 64,
};
static const double most_work = 2e9; // weights times rows in one call: tens of milliseconds

// Output rows of a panel: no more than its bytes allow, less where the call would take too long, but so many
// that each thread has several tiles.
static uint32_t panel_rows(const fg_taker *t, const fg_layout *layout, fg_dtype dtype, uint32_t k,
                           uint32_t rows) {
  uint32_t least = TILE * LEAST_TILES_A_THREAD * fg_threads_count(t->threads), most = MATRIX_ROWS;
  uint64_t by_bytes = PANEL_BYTES / layout->bytes(dtype, TILE, k) * TILE;
  double by_work = most_work / ((double)k * rows);
  if (by_bytes < most) most = (uint32_t)by_bytes;
  if (by_work < most) most = (uint32_t)by_work / TILE * TILE;
  if (most < least) most = least;
  return most < MATRIX_ROWS ? most : MATRIX_ROWS;
}

static fg_call product_call(const fg_taker *t, const fg_layout *layout, fg_dtype dtype, uint32_t n,
                            uint32_t k, uint32_t rows) {
  fg_call call = {
      .op = FG_OP_MATMUL, .rows = rows, .a = {t->x, 0, k}, .b = {t->pool, 0, 0}, .out = {t->y, 0, n}};
  call.params.matmul.n = n, call.params.matmul.k = k;
  call.params.matmul.dtype = dtype, call.params.matmul.layout = layout;
  return call;
}

// Each call takes weights that were not used for as long as the pool is.
static void next_panel(const fg_taker *t, fg_call *call, uint64_t bytes) {
  call->b.offset += bytes;
  if (call->b.offset + bytes > t->pool_bytes) call->b.offset = 0;
}

// The rows are in the form that the product reads: measure_input has what it takes to put them there.
static fg_status measure_point(const fg_taker *t, fg_compute compute, fg_call *call, double *seconds,
                               fg_error *err) {
  const uint32_t n = call->params.matmul.n, k = call->params.matmul.k;
  const uint64_t bytes = call->params.matmul.layout->bytes(call->params.matmul.dtype, n, k);
  double takes[MOST_TAKES];
  uint32_t count = 0;
  uint64_t warm = 0, spent = 0;
  // A tile alone makes what is made once for a shape.
  fg_call tile = *call;
  tile.params.matmul.n = TILE;
  fg_status status = fg_taker_run(t, compute, &tile, &warm, err);
  call->params.matmul.same_a = true;
  while (!status && count < MOST_TAKES && (count < 2 || spent < t->slice_ns / PASSES)) {
    uint64_t ns = 0;
    next_panel(t, call, bytes);
    status = fg_taker_run(t, compute, call, &ns, err);
    takes[count++] = (double)ns;
    spent += ns;
  }
  *seconds = 1e-9 * fg_typical(takes, count) / ((double)n * k);
  return status;
}

// A disturbance only ever takes time, and more rows never take less: what a larger number of rows took bounds
// the smaller ones.
static void smooth(double *seconds) {
  for (uint32_t i = FG_PROFILE_ROW_POINTS - 1; i > 0; i--)
    if (seconds[i - 1] > seconds[i]) seconds[i - 1] = seconds[i];
}

// A quick profile leaves out points that are between two others; the first and the last one are not.
static bool is_quick_point(uint32_t i) {
  static const uint16_t left_out[] = {2, 12, 24, 48, 128, 512};
  for (size_t n = 0; n < sizeof left_out / sizeof *left_out; n++)
    if (fg_profile_rows[i] == left_out[n]) return false;
  return true;
}

// Points that were left out, from their neighbours.
static void fill_between(double *seconds) {
  for (uint32_t i = 1; i + 1 < FG_PROFILE_ROW_POINTS; i++) {
    if (is_quick_point(i)) continue;
    const double low = fg_profile_rows[i - 1], high = fg_profile_rows[i + 1];
    const double share = log(fg_profile_rows[i] / low) / log(high / low);
    seconds[i] = seconds[i - 1] * pow(seconds[i + 1] / seconds[i - 1], share);
  }
}

// The entry of a kind and a length: the one of an earlier pass, or a new one.
static fg_profile_product *entry_for(fg_profile *out, const fg_profile_product *p) {
  for (uint32_t i = 0; i < out->product_count; i++) {
    fg_profile_product *e = &out->products[i];
    if (e->dtype == p->dtype && e->compute == p->compute && e->k == p->k) return e;
  }
  out->products[out->product_count] = *p;
  return &out->products[out->product_count++];
}

// What disturbs a machine for seconds disturbs one pass and not the other: a run meets both.
static void keep_mean(fg_profile *out, const fg_profile_product *p) {
  fg_profile_product *e = entry_for(out, p);
  for (uint32_t i = 0; i < FG_PROFILE_ROW_POINTS; i++) e->seconds[i] = sqrt(e->seconds[i] * p->seconds[i]);
}

static fg_status measure_kind(fg_taker *t, uint32_t kind, uint32_t k, fg_error *err) {
  const fg_dtype dtype = kinds[kind].dtype;
  const fg_compute compute = kinds[kind].compute;
  const fg_layout *layout = t->devices[compute]->family->choose(dtype, MATRIX_ROWS, k);
  if (!layout) return FG_OK; // no weight of this device
  fg_profile_product p = {.dtype = dtype, .compute = (int)compute, .k = k};
  fg_status status = FG_OK;
  for (uint32_t i = 0; !status && i < FG_PROFILE_ROW_POINTS; i++) {
    if (t->options->quick && !is_quick_point(i)) continue;
    const uint32_t rows = fg_profile_rows[i];
    fg_call call = product_call(t, layout, dtype, panel_rows(t, layout, dtype, k, rows), k, rows);
    status = measure_point(t, compute, &call, &p.seconds[i], err);
  }
  if (status) return status;
  if (t->options->quick) fill_between(p.seconds);
  smooth(p.seconds);
  keep_mean(t->out, &p);
  return FG_OK;
}

// What it takes to put a value of the rows into the form that products of this arithmetic read: what the
// first of two products over a single tile takes longer.
static fg_status measure_input(const fg_taker *t, fg_compute compute, double *seconds, fg_error *err) {
  enum { ROWS = 512, K = 2048 };
  static const fg_dtype dtypes[] = {
      [FG_COMPUTE_F32] = FG_F32, [FG_COMPUTE_BF16] = FG_BF16, [FG_COMPUTE_INT8] = FG_I8G128};
  const fg_layout *layout = t->devices[compute]->family->choose(dtypes[compute], TILE, K);
  fg_call call = product_call(t, layout, dtypes[compute], TILE, K, ROWS);
  double takes[MOST_TAKES];
  uint32_t count = 0;
  uint64_t spent = 0;
  fg_status status = fg_taker_run(t, compute, &call, &(uint64_t){0}, err);
  while (!status && count < MOST_TAKES && (count < 2 || spent < t->slice_ns)) {
    uint64_t first = 0, other = 0;
    call.params.matmul.same_a = false;
    status = fg_taker_run(t, compute, &call, &first, err);
    call.params.matmul.same_a = true;
    if (!status) status = fg_taker_run(t, compute, &call, &other, err);
    takes[count++] = first > other ? (double)(first - other) : 0;
    spent += first + other;
  }
  *seconds = 1e-9 * fg_typical(takes, count) / ((double)ROWS * K);
  return status;
}

fg_status fg_measure_products(fg_taker *t, fg_error *err) {
  fg_status status = FG_OK;
  for (int i = 0; !status && i < FG_TAKER_COMPUTES; i++)
    status = measure_input(t, (fg_compute)i, &t->out->input_value[i], err);
  for (uint32_t pass = 0; !status && pass < PASSES; pass++)
    for (uint32_t kind = 0; !status && kind < KINDS; kind++)
      for (uint32_t i = 0; !status && i < LENGTHS; i++) {
        if (t->options->quick && !(kinds[kind].quick && lengths[i].quick)) continue;
        const double done = pass + (double)kind / KINDS;
        status = fg_taker_tell(t, "products", 0.05 + 0.45 * done / PASSES, err);
        if (!status) status = measure_kind(t, kind, lengths[i].k, err);
      }
  return status;
}

fg_status fg_measure_product_rate(fg_taker *t, uint64_t ns, fg_measure_turn *turn, void *user, double *rate,
                                  fg_error *err) {
  enum { ROWS = 64, K = 2048, N = 512 };
  const fg_dtype dtype = FG_I8G128;
  const fg_layout *layout = t->devices[FG_COMPUTE_INT8]->family->choose(dtype, N, K);
  fg_call call = product_call(t, layout, dtype, N, K, ROWS);
  uint64_t begin = fg_now_ns(), computing = 0, calls = 0;
  fg_status status = FG_OK;
  while (!status && fg_now_ns() - begin < ns) {
    status = fg_taker_run(t, FG_COMPUTE_INT8, &call, &computing, err);
    call.params.matmul.same_a = true;
    if (turn) turn(user);
    calls++;
  }
  *rate = (double)N * K * ROWS * (double)calls / (1e-9 * (double)(fg_now_ns() - begin));
  return status;
}
