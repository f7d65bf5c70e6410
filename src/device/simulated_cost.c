#include "device/simulated_cost.h"

#include <math.h>

// ---- products -------------------------------------------------------------------------------------------

static double matmul_seconds(const fg_hardware *hw, const fg_call *call) {
  const double n = call->params.matmul.n, k = call->params.matmul.k, rows = call->rows;
  const fg_dtype dtype = call->params.matmul.dtype;
  const double panel =
      (double)call->params.matmul.layout->bytes(dtype, call->params.matmul.n, call->params.matmul.k);
  const double moved = panel + rows * (n + k) * sizeof(float);
  const double expanded = fg_dtype_get(dtype)->bits ? n * k * FG_EXPAND_BYTES : 0;
  return fmax(2 * n * k * rows / hw->product, moved / hw->device_memory) + expanded / hw->device_memory;
}

// ---- attention ------------------------------------------------------------------------------------------

typedef struct attention {
  double keys;        // rows of the cache that are read, each with its value
  double pairs;       // of a query and a key that it sees
  double score_pairs; // of them, those of prompts
} attention;

static double least(double a, double b) {
  return a < b ? a : b;
}

// Of the first n positions, all keys that each of them sees.
static double seen_before(double window, double n) {
  if (window <= 0 || n <= window) return n * (n + 1) / 2;
  return window * (window + 1) / 2 + (n - window) * window;
}

// Pairs of the chunk's queries with keys before `end`.
static double pairs_before(double window, double begin, double count, double end) {
  if (end <= 0) return 0;
  const double all = seen_before(window, begin + count) - seen_before(window, begin);
  if (end >= begin + count) return all;
  if (end > begin || window > 0) { // few calls: those that are cut within a chunk, or with windows
    double pairs = 0;
    for (double i = begin; i < begin + count; i++) {
      const double first = window > 0 ? fmax(0, i + 1 - window) : 0;
      pairs += fmax(0, least(i + 1, end) - first);
    }
    return pairs;
  }
  return count * end;
}

static attention attention_of(const fg_call *call, const int32_t *list) {
  const double window = call->params.attention.window;
  const fg_key_segment *s = &call->params.attention.segment;
  attention a = {0};
  for (uint32_t i = 0; list && i < call->batch.chunks; i++) {
    const double count = list[4 * i + 1], begin = list[4 * i + 2], all = begin + count;
    const double end = s->end_key ? least(s->end_key, all) : all;
    const double first = fmax(s->first_key, window > 0 ? fmax(0, begin + 1 - window) : 0);
    const double pairs =
        pairs_before(window, begin, count, end) - pairs_before(window, begin, count, s->first_key);
    a.keys += fmax(0, end - first);
    a.pairs += pairs;
    if (count > 1) a.score_pairs += pairs;
  }
  return a;
}

// Of one key with its value, all heads.
static double cached_bytes(const fg_kv_geometry *kv) {
  const double key = (double)fg_kv_row_bytes(kv->dtype, kv->k_dim);
  const double value = kv->v_in_k ? 0 : (double)fg_kv_row_bytes(kv->dtype, kv->v_dim);
  return kv->kv_heads * (key + value);
}

static double attention_seconds(const fg_hardware *hw, const fg_call *call, const int32_t *list) {
  const fg_kv_geometry *kv = &call->params.attention.kv;
  const double heads = call->params.attention.heads;
  const attention a = attention_of(call, list);
  const double moved =
      a.keys * cached_bytes(kv) + call->rows * heads * ((double)kv->k_dim + kv->v_dim) * sizeof(float);
  return fmax(2 * a.pairs * heads * ((double)kv->k_dim + kv->v_dim) / hw->product,
              moved / hw->device_memory) +
         a.score_pairs * heads * FG_SCORE_BYTES / hw->device_memory;
}

double fg_simulated_host_seconds(const fg_hardware *hw, const fg_call *call, const int32_t *list) {
  return attention_of(call, list).keys * cached_bytes(&call->params.attention.kv) / hw->host_memory;
}

// ---- all else -------------------------------------------------------------------------------------------

// Values of float32 that a row's operation reads and writes.
static double row_values(const fg_call *call) {
  const fg_op_params *p = &call->params;
  switch (call->op) {
  case FG_OP_NORM: return 2.0 * p->norm.width * p->norm.segments;
  case FG_OP_ROPE: return 2.0 * p->rope.heads * p->rope.rotary;
  case FG_OP_ACT: return 2.0 * p->act.width;
  case FG_OP_GLU: return 3.0 * p->act.width;
  case FG_OP_MAP: return 2.0 * p->map.width;
  case FG_OP_ADD: return 3.0 * p->copy.width;
  case FG_OP_SELECT: return 2.0 * p->copy.width;
  case FG_OP_SCATTER: return 3.0 * p->copy.width;
  default: return 0;
  }
}

static double store_bytes(const fg_kv_geometry *kv) {
  return cached_bytes(kv) + kv->kv_heads * ((double)kv->k_dim + kv->v_dim) * sizeof(float);
}

static double moving_seconds(const fg_hardware *hw, const fg_call *call) {
  double bytes = row_values(call) * sizeof(float);
  if (call->op == FG_OP_KV_STORE) bytes = store_bytes(&call->params.kv_store.kv);
  if (call->op == FG_OP_KV_COPY) bytes = 2 * (double)fg_kv_page_bytes(&call->params.kv_store.kv);
  return call->rows * bytes / hw->device_memory;
}

double fg_simulated_seconds(const fg_hardware *hw, const fg_call *call, const int32_t *list) {
  if (call->rows == 0) return 0;
  if (call->op == FG_OP_MATMUL) return hw->launch + matmul_seconds(hw, call);
  if (call->op == FG_OP_ATTENTION) return hw->launch + attention_seconds(hw, call, list);
  return hw->launch + moving_seconds(hw, call);
}
