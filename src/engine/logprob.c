#include "engine/logprob.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { LANES = FG_LOGPROB_LANES };

// Four lanes to a register of any machine with 128-bit vectors; the compiler splits the doubles.
typedef float float4 __attribute__((vector_size(16)));
typedef int32_t int4 __attribute__((vector_size(16)));
typedef double double4 __attribute__((vector_size(32)));

static inline float4 select4(int4 mask, float4 yes, float4 no) {
  return (float4)((mask & (int4)yes) | (~mask & (int4)no));
}

// exp(x) = 2^k * exp(r), k = round(x / ln 2), |r| <= ln(2) / 2. The coefficients are the Taylor series',
// whose eighth term is below float's last place on that interval.
static inline float4 exp_negative(float4 x) {
  const float ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f; // high has 12 bits: k * high is exact
  const float shift = 0x1.8p23f;                                 // adding it rounds to an integer
  const float4 lowest = {-87.0f, -87.0f, -87.0f, -87.0f};
  int4 tiny = x < lowest;
  float4 clamped = select4(tiny, lowest, x);
  float4 k = clamped * 0x1.715476p0f + shift - shift;
  float4 r = clamped - k * ln2_high - k * ln2_low;
  float4 p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  float4 scale = (float4)((__builtin_convertvector(k, int4) + 127) << 23);
  return (float4)(~tiny & (int4)(p * scale));
}

static float exp_negative_scalar(float x) {
  return exp_negative((float4){x, x, x, x})[0];
}

void fg_exp_row(const float *values, uint32_t count, float largest, float *out) {
  uint32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    float4 x;
    memcpy(&x, values + i, sizeof x);
    x = exp_negative(x - largest);
    memcpy(out + i, &x, sizeof x);
  }
  for (; i < count; i++) out[i] = exp_negative_scalar(values[i] - largest);
}

void fg_logprob_begin(fg_logprob_state *state, int32_t token, fg_candidate *top, uint32_t count) {
  *state = (fg_logprob_state){.token = token, .top = top, .count = count, .target = -INFINITY};
  for (int lane = 0; lane < LANES; lane++) state->max[lane] = -FLT_MAX; // not -inf: inf - inf is not a number
}

static inline bool any4(int4 mask) {
  uint64_t halves[2];
  memcpy(halves, &mask, sizeof halves);
  return halves[0] | halves[1];
}

// One column to each of four lanes. The larger of the old maximum and the new logit becomes the maximum and
// the other's term is scaled down, so one exponential serves both cases. New maxima are rare: without one
// the factor is 1.
static inline void add_columns(float *max, double *sum, const float *logits) {
  float4 x, m;
  double4 s;
  memcpy(&x, logits, sizeof x);
  memcpy(&m, max, sizeof m);
  memcpy(&s, sum, sizeof s);
  int4 larger = x > m;
  if (any4(larger)) {
    const float4 one = {1, 1, 1, 1};
    float4 e = exp_negative(select4(larger, m - x, x - m));
    s = s * __builtin_convertvector(select4(larger, e, one), double4);
    s += __builtin_convertvector(select4(larger, one, e), double4);
    m = select4(larger, x, m);
    memcpy(max, &m, sizeof m);
  } else {
    s += __builtin_convertvector(exp_negative(x - m), double4);
  }
  memcpy(sum, &s, sizeof s);
}

static void add_column(fg_logprob_state *state, float x, uint32_t column) {
  uint32_t lane = column % LANES;
  float max = state->max[lane];
  bool larger = x > max;
  double e = (double)exp_negative_scalar(larger ? max - x : x - max);
  state->sum[lane] = larger ? state->sum[lane] * e + 1.0 : state->sum[lane] + e;
  state->max[lane] = larger ? x : max;
}

// ---- the most likely tokens: a heap with the least likely on top --------------------------------------

static bool less_likely(fg_candidate a, fg_candidate b) {
  return a.logprob < b.logprob || (a.logprob == b.logprob && a.token > b.token);
}

static void sift_down(fg_candidate *heap, uint32_t count, uint32_t at) {
  for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && less_likely(heap[child + 1], heap[child])) child++;
    if (!less_likely(heap[child], heap[at])) return;
    fg_candidate swap = heap[at];
    heap[at] = heap[child];
    heap[child] = swap;
  }
}

static void offer(fg_logprob_state *state, int32_t token, float logit) {
  fg_candidate candidate = {token, logit};
  fg_candidate *heap = state->top;
  if (state->top_count == state->count) {
    if (!less_likely(heap[0], candidate)) return;
    heap[0] = candidate;
    sift_down(heap, state->count, 0);
    return;
  }
  uint32_t at = state->top_count++;
  for (; at && less_likely(candidate, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = candidate;
}

static bool any_above(const float *x, uint32_t count, float threshold) {
  bool any = false;
  for (uint32_t i = 0; i < count; i++) any |= x[i] > threshold;
  return any;
}

// Groups whose largest logit cannot enter are passed over; a later tie with the last one has a higher id.
static void offer_block(fg_logprob_state *state, const float *logits, uint32_t first, uint32_t columns) {
  for (uint32_t begin = 0; begin < columns; begin += LANES) {
    uint32_t count = columns - begin < LANES ? columns - begin : LANES;
    if (state->top_count == state->count && !any_above(logits + begin, count, state->top[0].logprob))
      continue;
    for (uint32_t i = begin; i < begin + count; i++) offer(state, (int32_t)(first + i), logits[i]);
  }
}

void fg_logprob_block(fg_logprob_state *state, const float *logits, uint32_t first, uint32_t columns) {
  uint32_t i = 0;
  for (; i < columns && (first + i) % LANES; i++) add_column(state, logits[i], first + i);
  for (; i + LANES <= columns; i += LANES)
    for (uint32_t lane = 0; lane < LANES; lane += 4)
      add_columns(state->max + lane, state->sum + lane, logits + i + lane);
  for (; i < columns; i++) add_column(state, logits[i], first + i);
  if (state->token >= 0 && (uint32_t)state->token >= first && (uint32_t)state->token - first < columns)
    state->target = logits[(uint32_t)state->token - first];
  if (state->count) offer_block(state, logits, first, columns);
}

// log of the sum of all exponentials.
static double log_normalizer(const fg_logprob_state *state) {
  double max = -DBL_MAX, sum = 0;
  for (int i = 0; i < LANES; i++)
    if (state->sum[i] != 0 && (double)state->max[i] > max) max = (double)state->max[i];
  for (int i = 0; i < LANES; i++)
    if (state->sum[i] != 0) sum += state->sum[i] * exp((double)state->max[i] - max);
  return max + log(sum);
}

float fg_logprob_end(fg_logprob_state *state) {
  double normalizer = log_normalizer(state);
  fg_candidate *heap = state->top;
  for (uint32_t left = state->top_count; left > 1; left--) { // the least likely goes to the end
    fg_candidate least = heap[0];
    heap[0] = heap[left - 1];
    heap[left - 1] = least;
    sift_down(heap, left - 1, 0);
  }
  for (uint32_t i = 0; i < state->top_count; i++)
    heap[i].logprob = (float)((double)heap[i].logprob - normalizer);
  return (float)((double)state->target - normalizer);
}

uint32_t fg_logprob_at_least(const float *logits, uint32_t columns, float target) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < columns; i++) count += logits[i] >= target;
  return count;
}

float fg_logprob(const float *logits, uint32_t vocab, int32_t token, uint32_t *rank, fg_candidate *top,
                 uint32_t count) {
  fg_logprob_state state;
  fg_logprob_begin(&state, token, top, top ? count : 0);
  fg_logprob_block(&state, logits, 0, vocab);
  if (rank) *rank = token >= 0 ? fg_logprob_at_least(logits, vocab, logits[token]) : 0;
  return fg_logprob_end(&state);
}
