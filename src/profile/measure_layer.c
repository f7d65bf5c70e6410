// Products as a step has them: of the matrices of a layer, one after the other, between operations on rows.
//
// By itself a product finds its rows where it left them the last time and writes over what it wrote before.
// In a layer other threads have just made its rows, and its results go where others were. That takes longer,
// by a share that depends on the machine and less on the model: here it is measured, and the plan takes it
// for all products of a step.
#include <math.h>

#include "profile/measure_internal.h"

static const struct {
  fg_dtype dtype;
  fg_compute compute;
} kinds[] = {{FG_F32, FG_COMPUTE_F32},
             {FG_BF16, FG_COMPUTE_BF16},
             {FG_I8G128, FG_COMPUTE_INT8},
             {FG_I4G64M, FG_COMPUTE_INT8}};
enum { KINDS = sizeof kinds / sizeof *kinds };

enum {
  WIDTH = 2048,
  INNER = 4096,
  HEADS = 3072, // queries, keys and values
  PANEL_BYTES = 4 << 20,
  TILE = 64,
  LEAST_LAYERS = 3,
  MOST_LAYERS = 32,
};

// The layer's registers, apart in the two blocks of activations.
typedef enum reg { HIDDEN, NORMED, WIDE, GATED, REGS } reg;

static fg_view view_of(const fg_taker *t, reg r) {
  const uint64_t block = (uint64_t)FG_TAKER_ROWS * FG_TAKER_WIDTH * sizeof(float);
  const fg_view views[REGS] = {[HIDDEN] = {t->x, 0, WIDTH},
                               [NORMED] = {t->x, block / 2, WIDTH},
                               [WIDE] = {t->y, 0, 2 * INNER},
                               [GATED] = {t->y, block / 2, INNER}};
  return views[r];
}

typedef struct matrix {
  reg from, to;
  uint32_t n, k;
} matrix;

// A norm stands for attention: only the time of products is taken.
typedef struct layer {
  const fg_taker *t;
  fg_dtype dtype;
  fg_compute compute;
  uint32_t rows;
  uint64_t offset; // of the weights that come next, in the pool
  uint64_t ns;     // of the products so far
} layer;

static fg_status run_products(layer *l, const matrix *m, fg_error *err) {
  const fg_taker *t = l->t;
  const fg_layout *layout = t->devices[l->compute]->family->choose(l->dtype, m->n, m->k);
  const uint32_t most = (uint32_t)(PANEL_BYTES / layout->bytes(l->dtype, TILE, m->k)) * TILE;
  fg_call call = {.op = FG_OP_MATMUL, .rows = l->rows, .a = view_of(t, m->from), .out = view_of(t, m->to)};
  call.params.matmul.k = m->k;
  call.params.matmul.dtype = l->dtype, call.params.matmul.layout = layout;
  fg_status status = FG_OK;
  for (uint32_t n = 0; !status && n < m->n; n += call.params.matmul.n) {
    call.params.matmul.n = m->n - n < most ? m->n - n : most;
    const uint64_t bytes = layout->bytes(l->dtype, call.params.matmul.n, m->k);
    if (l->offset + bytes > t->pool_bytes) l->offset = 0;
    call.b = (fg_view){t->pool, l->offset, 0};
    l->offset += bytes;
    status = fg_taker_run(t, l->compute, &call, &l->ns, err);
    call.params.matmul.same_a = true;
    call.out.offset += call.params.matmul.n * sizeof(float);
  }
  return status;
}

static fg_status run_rows(const layer *l, fg_op op, reg from, reg to, uint32_t width, fg_error *err) {
  fg_call call = {.op = op, .rows = l->rows, .a = view_of(l->t, from), .out = view_of(l->t, to)};
  if (op == FG_OP_NORM) {
    call.params.norm.kind = FG_NORM_RMS, call.params.norm.eps = 1e-5f;
    call.params.norm.width = width, call.params.norm.segments = 1;
  } else {
    call.params.act.width = width;
  }
  return fg_taker_run(l->t, l->compute, &call, &(uint64_t){0}, err);
}

static const matrix matrices[] = {{NORMED, WIDE, HEADS, WIDTH},
                                  {NORMED, HIDDEN, WIDTH, WIDTH},
                                  {NORMED, WIDE, 2 * INNER, WIDTH},
                                  {GATED, HIDDEN, WIDTH, INNER}};
enum { MATRICES = sizeof matrices / sizeof *matrices };

static fg_status run_layer(layer *l, fg_error *err) {
  static const struct {
    fg_op op;
    reg from, to;
    uint32_t width;
  } before[MATRICES] = {{FG_OP_NORM, HIDDEN, NORMED, WIDTH},
                        {FG_OP_NORM, WIDE, NORMED, WIDTH},
                        {FG_OP_NORM, HIDDEN, NORMED, WIDTH},
                        {FG_OP_GLU, WIDE, GATED, INNER}};
  fg_status status = FG_OK;
  for (uint32_t i = 0; !status && i < MATRICES; i++) {
    status = run_rows(l, before[i].op, before[i].from, before[i].to, before[i].width, err);
    if (!status) status = run_products(l, &matrices[i], err);
  }
  return status;
}

// What the profile says of a layer's products, and of putting their rows into their form.
static double products_by_themselves(const layer *l, double *inputs) {
  const fg_profile *p = l->t->out;
  double seconds = 0;
  *inputs = 0;
  for (uint32_t i = 0; i < MATRICES; i++) {
    const matrix *m = &matrices[i];
    seconds +=
        fg_profile_product_seconds(p, l->dtype, l->compute, m->k, (double)m->n * m->k, (double)l->rows);
    *inputs += p->input_value[l->compute] * l->rows * m->k;
  }
  return seconds;
}

static fg_status measure_kind(const fg_taker *t, uint32_t kind, uint32_t rows, double *times, fg_error *err) {
  layer l = {.t = t, .dtype = kinds[kind].dtype, .compute = kinds[kind].compute, .rows = rows};
  double takes[MOST_LAYERS], inputs;
  uint32_t count = 0;
  uint64_t spent = 0;
  fg_status status = run_layer(&l, err); // makes what is made once
  while (!status && count < MOST_LAYERS && (count < LEAST_LAYERS || spent < t->slice_ns)) {
    l.ns = 0;
    status = run_layer(&l, err);
    takes[count++] = 1e-9 * (double)l.ns;
    spent += l.ns;
  }
  if (status) return status;
  const double alone = products_by_themselves(&l, &inputs);
  *times = fmax(1, (fg_typical(takes, count) - inputs) / alone);
  return FG_OK;
}

fg_status fg_measure_layers(fg_taker *t, fg_error *err) {
  fg_status status = FG_OK;
  double product[FG_TAKER_COMPUTES][FG_PROFILE_STEP_POINTS], counts[FG_TAKER_COMPUTES] = {0};
  for (uint32_t c = 0; c < FG_TAKER_COMPUTES; c++)
    for (uint32_t i = 0; i < FG_PROFILE_STEP_POINTS; i++) product[c][i] = 1;
  for (uint32_t kind = 0; !status && kind < KINDS; kind++) {
    const fg_compute c = kinds[kind].compute;
    if (!t->devices[c]->family->choose(kinds[kind].dtype, WIDTH, WIDTH)) continue; // no weight of this device
    counts[c]++;
    status = fg_taker_tell(t, "layers", 0.5 + 0.1 * kind / KINDS, err);
    for (uint32_t i = 0; !status && i < FG_PROFILE_STEP_POINTS; i++) {
      double times = 1;
      status = measure_kind(t, kind, fg_profile_step_rows[i], &times, err);
      product[c][i] *= times;
    }
  }
  for (uint32_t c = 0; c < FG_TAKER_COMPUTES; c++)
    for (uint32_t i = 0; i < FG_PROFILE_STEP_POINTS; i++)
      t->out->in_step[c][i] = counts[c] > 0 ? pow(product[c][i], 1 / counts[c]) : 1;
  return status;
}
