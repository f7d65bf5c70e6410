// The operations that take each row by itself.
#include <math.h>
#include <string.h>

#include "device/execute_internal.h"
#include "kernels/clamped_glu.h"

enum { ITEM_ROWS = 8 };

typedef struct row_job {
  fg_cpu_executor *e;
  const fg_call *call;
  const float *a, *b, *c;
  float *out;
  const int32_t *numbers; // [rows]: SELECT's rows, ROPE's positions
  const int32_t *lengths; // [rows]: ROPE's, if it depends on them
  void (*row)(const struct row_job *j, uint32_t row, uint32_t thread);
} row_job;

static const float *row_a(const row_job *j, uint32_t row) {
  return j->a + (uint64_t)row * j->call->a.stride;
}
static float *row_out(const row_job *j, uint32_t row) {
  return j->out + (uint64_t)row * j->call->out.stride;
}

static void run_item(void *arg, uint32_t item, uint32_t thread) {
  const row_job *j = arg;
  uint32_t begin = item * ITEM_ROWS, left = j->call->rows - begin, rows = left < ITEM_ROWS ? left : ITEM_ROWS;
  for (uint32_t r = begin; r < begin + rows; r++) j->row(j, r, thread);
}

static void run_rows(row_job *j, uint64_t width) {
  fg_execute_items(j->e, (j->call->rows - 1) / ITEM_ROWS + 1, width * j->call->rows, run_item, j);
}

static fg_status floats(const fg_view *view, const char *name, uint64_t rows, uint64_t width,
                        const float **out, fg_error *err) {
  void *p;
  fg_status status = fg_view_resolve(view, name, rows, width, sizeof(float), &p, err);
  *out = p;
  return status;
}

static fg_status output(row_job *j, uint64_t width, fg_error *err) {
  void *p;
  fg_status status = fg_view_resolve(&j->call->out, "out", j->call->rows, width, sizeof(float), &p, err);
  j->out = p;
  return status;
}

static void norm_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  const uint32_t width = j->call->params.norm.width, segments = j->call->params.norm.segments;
  for (uint32_t s = 0; s < segments; s++) {
    uint64_t at = (uint64_t)s * width, own = j->call->params.norm.apart ? at : 0;
    j->e->kernels.norm[j->call->params.norm.kind](row_a(j, row) + at, j->b ? j->b + own : NULL,
                                                  j->c ? j->c + own : NULL, row_out(j, row) + at, width,
                                                  j->call->params.norm.eps);
  }
}

fg_status fg_execute_norm(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = norm_row};
  uint64_t width = (uint64_t)call->params.norm.width * call->params.norm.segments;
  uint64_t weights = call->params.norm.apart ? width : call->params.norm.width;
  fg_status status = floats(&call->a, "a", call->rows, width, &j.a, err);
  if (!status && call->b.memory) status = floats(&call->b, "b", 1, weights, &j.b, err);
  if (!status && call->c.memory) status = floats(&call->c, "c", 1, weights, &j.c, err);
  if (!status) status = output(&j, width, err);
  if (!status) run_rows(&j, width);
  return status;
}

static void act_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  j->e->kernels.act(j->call->params.act.kind, row_out(j, row), j->call->params.act.width);
}

fg_status fg_execute_act(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = act_row};
  fg_status status = output(&j, call->params.act.width, err);
  if (!status) run_rows(&j, call->params.act.width);
  return status;
}

static void glu_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  if (j->call->params.act.limit > 0) {
    fg_clamped_glu(row_a(j, row), row_out(j, row), j->call->params.act.width, j->call->params.act.limit,
                   j->call->params.act.alpha);
    return;
  }
  j->e->kernels.glu(j->call->params.act.kind, row_a(j, row), row_out(j, row), j->call->params.act.width);
}

fg_status fg_execute_glu(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = glu_row};
  uint32_t width = call->params.act.width;
  fg_status status = floats(&call->a, "a", call->rows, 2 * (uint64_t)width, &j.a, err);
  if (!status) status = output(&j, width, err);
  if (!status) run_rows(&j, width);
  return status;
}

static void add_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  j->e->kernels.add(row_a(j, row), j->call->params.copy.scale, row_out(j, row), j->call->params.copy.width);
}

fg_status fg_execute_add(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = add_row};
  uint32_t width = call->params.copy.width;
  fg_status status = floats(&call->a, "a", call->rows, width, &j.a, err);
  if (!status) status = output(&j, width, err);
  if (!status) run_rows(&j, width);
  return status;
}

static void map_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  j->e->kernels.map(j->call->params.map.kind, j->call->params.map.number, row_out(j, row),
                    j->call->params.map.width);
}

fg_status fg_execute_map(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = map_row};
  fg_status status = output(&j, call->params.map.width, err);
  if (!status) run_rows(&j, call->params.map.width);
  return status;
}

static void select_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  memcpy(row_out(j, row), row_a(j, (uint32_t)j->numbers[row]),
         (uint64_t)j->call->params.copy.width * sizeof(float));
}

fg_status fg_execute_select(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = select_row};
  uint32_t width = call->params.copy.width;
  void *p;
  fg_status status = fg_view_resolve(&call->b, "b", 1, call->rows, sizeof(int32_t), &p, err);
  if (status) return status;
  j.numbers = p;
  int32_t last = 0;
  for (uint32_t i = 0; i < call->rows; i++) {
    if (j.numbers[i] < 0) return fg_fail(err, FG_INTERNAL, "row %d is selected", (int)j.numbers[i]);
    if (j.numbers[i] > last) last = j.numbers[i];
  }
  status = floats(&call->a, "a", (uint64_t)last + 1, width, &j.a, err);
  if (!status) status = output(&j, width, err);
  if (!status) run_rows(&j, width);
  return status;
}

static void route_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  const fg_route_form *form = &j->call->params.route;
  float *out = row_out(j, row);
  fg_route(form, row_a(j, row), j->c, (int32_t *)(void *)out, out + form->used);
}

fg_status fg_execute_route(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = route_row};
  const fg_route_form *form = &call->params.route;
  if (!fg_route_form_ok(form))
    return fg_fail(err, FG_INTERNAL, "%u of %u experts in %u groups", form->used, form->experts,
                   form->groups);
  fg_status status = floats(&call->a, "a", call->rows, form->experts, &j.a, err);
  if (!status && call->c.memory) status = floats(&call->c, "c", 1, form->experts, &j.c, err);
  if (!status) status = output(&j, 2 * (uint64_t)form->used, err);
  // An exponential and a few comparisons with each of the chosen.
  if (!status) run_rows(&j, (uint64_t)form->experts * (8 + form->used));
  return status;
}

static void scatter_row(const row_job *j, uint32_t row, uint32_t thread) {
  (void)thread;
  j->e->kernels.add(row_a(j, row), j->c[(uint64_t)row * j->call->c.stride],
                    row_out(j, j->numbers ? (uint32_t)j->numbers[row] : row), j->call->params.copy.width);
}

fg_status fg_execute_scatter(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = scatter_row};
  uint32_t width = call->params.copy.width;
  uint64_t rows = call->rows;
  fg_status status = FG_OK;
  if (call->b.memory) {
    void *p;
    status = fg_view_resolve(&call->b, "b", 1, call->rows, sizeof(int32_t), &p, err);
    if (status) return status;
    j.numbers = p;
    rows = 0;
    for (uint32_t i = 0; i < call->rows; i++) {
      if (j.numbers[i] < 0) return fg_fail(err, FG_INTERNAL, "row %d is added to", (int)j.numbers[i]);
      if ((uint64_t)j.numbers[i] >= rows) rows = (uint64_t)j.numbers[i] + 1;
    }
  }
  void *out;
  status = floats(&call->a, "a", call->rows, width, &j.a, err);
  if (!status) status = floats(&call->c, "c", call->rows, 1, &j.c, err);
  if (!status) status = fg_view_resolve(&call->out, "out", rows, width, sizeof(float), &out, err);
  if (status) return status;
  j.out = out;
  run_rows(&j, width);
  return FG_OK;
}

// Those of the row's text. // scratch: [rotary / 2]
static const float *frequencies_of(const row_job *j, uint32_t row, float *scratch) {
  const uint32_t rotary = j->call->params.rope.rotary, original = j->call->params.rope.original;
  const float growth = j->call->params.rope.growth;
  if (!original || (uint32_t)j->lengths[row] <= original) return j->a;
  if (growth == 0) return j->a + rotary / 2;
  float longer = growth * (float)j->lengths[row] / (float)original - (growth - 1);
  float base = j->call->params.rope.theta * powf(longer, (float)rotary / ((float)rotary - 2));
  for (uint32_t i = 0; i < rotary / 2; i++) scratch[i] = 1 / powf(base, (float)(2 * i) / (float)rotary);
  return scratch;
}

// Angles as transformers computes them: position times frequency in float32.
static void rope_row(const row_job *j, uint32_t row, uint32_t thread) {
  fg_cpu_executor *e = j->e;
  uint32_t rotary = j->call->params.rope.rotary, half = rotary / 2;
  float scale = j->call->params.rope.scale, position = (float)j->numbers[row];
  float *cosines = (float *)(e->scratch + thread * e->thread_bytes), *sines = cosines + half;
  const float *frequencies = frequencies_of(j, row, sines + half);
  for (uint32_t i = 0; i < half; i++) {
    float angle = position * frequencies[i];
    cosines[i] = cosf(angle) * scale;
    sines[i] = sinf(angle) * scale;
  }
  fg_rope_kind kind = j->call->params.rope.interleaved ? FG_ROPE_INTERLEAVED : FG_ROPE_HALF;
  for (uint32_t h = 0; h < j->call->params.rope.heads; h++)
    e->kernels.rope[kind](row_out(j, row) + (uint64_t)h * j->call->params.rope.head_dim, cosines, sines,
                          rotary);
}

fg_status fg_execute_rope(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  row_job j = {.e = e, .call = call, .row = rope_row};
  uint32_t rotary = call->params.rope.rotary, dim = call->params.rope.head_dim;
  if (rotary % 2 || rotary > dim || dim > e->head_dim)
    return fg_fail(err, FG_INTERNAL, "%u of %u dimensions of a head cannot be turned (at most %u)", rotary,
                   dim, e->head_dim);
  const uint32_t heads = call->params.rope.heads;
  const uint64_t width = heads ? (uint64_t)(heads - 1) * dim + rotary : 0;
  void *p;
  const bool depends = call->params.rope.original > 0, switches = depends && call->params.rope.growth == 0;
  fg_status status = floats(&call->a, "a", 1, switches ? rotary : rotary / 2, &j.a, err);
  if (!status && depends)
    status = fg_view_resolve(&call->batch.lengths, "lengths", 1, call->rows, sizeof(int32_t), &p, err);
  if (status) return status;
  if (depends) j.lengths = p;
  if (!status)
    status = fg_view_resolve(&call->batch.positions, "positions", 1, call->rows, sizeof(int32_t), &p, err);
  if (!status) status = output(&j, width, err);
  if (status) return status;
  j.numbers = p;
  run_rows(&j, width);
  return FG_OK;
}
