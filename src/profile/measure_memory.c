// Operations on rows, the cost of a call, and the memory's rates.
#include <string.h>

#include "base/clock.h"
#include "profile/measure_internal.h"

enum { TAKES = 9, PIECE = 1 << 20 };

// ---- rows ------------------------------------------------------------------------------------------------

enum { ROWS = 256, ROW_WIDTH = 4096, LAUNCHES = 2000, LEAST_WIDTH = 64 };

static fg_status time_calls(const fg_taker *t, const fg_call *call, uint32_t calls, double *seconds,
                            fg_error *err) {
  double takes[TAKES];
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < TAKES; i++) {
    uint64_t ns = 0;
    for (uint32_t c = 0; !status && c < calls; c++) status = fg_taker_run(t, FG_COMPUTE_F32, call, &ns, err);
    takes[i] = 1e-9 * (double)ns / calls;
  }
  *seconds = fg_typical(takes, TAKES);
  return status;
}

fg_status fg_measure_rows(fg_taker *t, fg_error *err) {
  fg_call norm = {.op = FG_OP_NORM, .rows = ROWS, .a = {t->x, 0, ROW_WIDTH}, .out = {t->y, 0, ROW_WIDTH}};
  norm.params.norm.width = ROW_WIDTH, norm.params.norm.segments = 1;
  norm.params.norm.kind = FG_NORM_RMS, norm.params.norm.eps = 1e-5f;
  fg_call add = norm, glu = norm, launch = norm;
  add.op = FG_OP_ADD;
  add.params.copy.width = ROW_WIDTH, add.params.copy.scale = 1e-3f;
  glu.op = FG_OP_GLU;
  glu.a.stride = 2 * ROW_WIDTH;
  glu.params = (fg_op_params){.act = {.width = ROW_WIDTH, .kind = FG_ACT_SILU}};
  launch.rows = 1;
  launch.params.norm.width = LEAST_WIDTH;
  const fg_call *const calls[] = {&norm, &add, &glu};
  double sum = 0, seconds;
  fg_status status = fg_taker_tell(t, "operations on rows", 0.03, err);
  for (uint32_t i = 0; !status && i < 3; i++) {
    status = time_calls(t, calls[i], 4, &seconds, err);
    sum += seconds;
  }
  t->out->row_value = sum / 3 / ((double)ROWS * ROW_WIDTH);
  return status ? status : time_calls(t, &launch, LAUNCHES, &t->out->launch, err);
}

// ---- memory ----------------------------------------------------------------------------------------------

typedef uint64_t vector __attribute__((vector_size(16)));
enum { LINE = 64, LINE_VECTORS = LINE / sizeof(vector) };
// Bytes asked for ahead of use: 22.5 GB/s by two cores, 18.1 without.
enum { AHEAD = 2048 };

typedef struct memory_job {
  const uint8_t *from;
  uint8_t *to;
  uint64_t *sums; // [threads]: so that the loads are wanted
} memory_job;

static void read_piece(void *arg, uint32_t item, uint32_t thread) {
  const memory_job *job = arg;
  const vector *p = (const vector *)(const void *)(job->from + (uint64_t)item * PIECE);
  vector sums[LINE_VECTORS] = {{0}};
  for (uint32_t i = 0; i < PIECE / LINE; i++) {
    __builtin_prefetch((const uint8_t *)p + AHEAD);
    for (uint32_t v = 0; v < LINE_VECTORS; v++) sums[v] |= *p++;
  }
  for (uint32_t v = 0; v < LINE_VECTORS; v++) job->sums[thread] |= sums[v][0] | sums[v][1];
}

static void copy_piece(void *arg, uint32_t item, uint32_t thread) {
  const memory_job *job = arg;
  (void)thread;
  memcpy(job->to + (uint64_t)item * PIECE, job->from + (uint64_t)item * PIECE, PIECE);
}

// Bytes a second over the whole pool.
static double rate_of(const fg_taker *t, fg_thread_fn *fn, memory_job *job, uint64_t bytes) {
  double takes[TAKES];
  for (uint32_t i = 0; i < TAKES; i++) {
    uint64_t begin = fg_now_ns();
    fg_threads_run(t->threads, (uint32_t)(bytes / PIECE), fn, job);
    takes[i] = 1e-9 * (double)(fg_now_ns() - begin);
  }
  return (double)bytes / fg_typical(takes, TAKES);
}

fg_status fg_measure_memory(fg_taker *t, fg_error *err) {
  fg_status status = fg_taker_tell(t, "memory", 0, err);
  void *sums = NULL;
  if (!status)
    status =
        fg_budget_alloc(t->budget, fg_threads_count(t->threads) * sizeof(uint64_t), "measuring", &sums, err);
  if (status) return status;
  const uint64_t half = t->pool_bytes / 2 / PIECE * PIECE;
  memory_job job = {.from = t->pool_host, .to = t->pool_host + half, .sums = sums};
  t->out->memory_read = rate_of(t, read_piece, &job, t->pool_bytes / PIECE * PIECE);
  // The second half gets the bytes of the first, which are as good.
  t->out->memory_copy = rate_of(t, copy_piece, &job, half);
  fg_budget_free(t->budget, sums);
  return FG_OK;
}
