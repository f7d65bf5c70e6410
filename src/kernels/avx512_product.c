// Products of bfloat16 rows and tiles (kernels.h: product_bf16). Compiled for AVX-512 BF16
// (src/CMakeLists.txt).
//
// Sums of at most 6 rows and all 64 columns are in registers while they pass over a step of the tile along k.
// All rows pass over one step before the next: it comes from memory once and stays in the first-level cache,
// while the next step is asked for. Between steps the sums wait in `out`, float32 as in the registers, so
// neither the rows at hand nor the steps change what is added to a sum, or when.
//
// Sums are variables of their own: gcc 12 keeps an array of them in memory when it unrolls late.
#if defined(__AVX512BF16__)

#include <immintrin.h>

#include "kernels/kernels_internal.h"

enum {
  MOST_ROWS = 6,  // with 4 vectors of weights and one of activations they leave 3 of 32 registers
  FEW_ROWS = 16,  // from here on the cache holds the longer step with no loss
  FEW_PAIRS = 64, // of k in a step: 16 KiB of the tile
  MANY_PAIRS = 128,
  PAIR_BYTES = 4 * FG_TILE_ROWS,
  LINE = 64,
};

// A step of the tile and the rows that pass over it.
typedef struct pass {
  const uint16_t *x; // [rows, 2 * pairs], rows `stride` apart
  uint64_t stride;
  const uint8_t *tile; // [pairs, 64, 2]
  uint32_t pairs;
  bool first;                // the sums begin here
  const uint8_t *next, *end; // to ask for meanwhile
  float *out;                // [rows, 64]
} pass;

// The instruction itself, and a pair of activations in all places of a register, from which four instructions
// take it: read by each from memory, a CPU of two such units (Zen 5) waits for its two loads a cycle.
typedef int32_t pair_word __attribute__((may_alias));
static inline __m512i spread(const uint16_t *x) {
  __m512i y;
  __asm__("vpbroadcastd %1, %0" : "=v"(y) : "m"(*(const pair_word *)(const void *)x));
  return y;
}
static inline __m512 dot(__m512 sum, __m512i w, __m512i y) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(y));
  return sum;
}

#define ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define START(r)                                                                                             \
  __m512 a##r, b##r, c##r, d##r;                                                                             \
  a##r = b##r = c##r = d##r = _mm512_setzero_ps();                                                           \
  if ((r) < rows && !p->first) {                                                                             \
    const float *sums = p->out + (r)*FG_TILE_ROWS;                                                           \
    a##r = _mm512_loadu_ps(sums), b##r = _mm512_loadu_ps(sums + 16);                                         \
    c##r = _mm512_loadu_ps(sums + 32), d##r = _mm512_loadu_ps(sums + 48);                                    \
  }
#define DOT(r)                                                                                               \
  if ((r) < rows) {                                                                                          \
    const __m512i y = spread(x + (r)*p->stride);                                                             \
    a##r = dot(a##r, w0, y), b##r = dot(b##r, w1, y), c##r = dot(c##r, w2, y), d##r = dot(d##r, w3, y);      \
  }
#define STORE(r)                                                                                             \
  if ((r) < rows) {                                                                                          \
    float *sums = p->out + (r)*FG_TILE_ROWS;                                                                 \
    _mm512_storeu_ps(sums, a##r), _mm512_storeu_ps(sums + 16, b##r);                                         \
    _mm512_storeu_ps(sums + 32, c##r), _mm512_storeu_ps(sums + 48, d##r);                                    \
  }

static inline __attribute__((always_inline)) void pass_rows(const int rows, const pass *p) {
  const uint16_t *x = p->x;
  const uint8_t *w = p->tile, *next = p->next, *const end = p->end;
  ROWS(START)
  for (uint32_t left = p->pairs; left; left--, x += 2, w += PAIR_BYTES) {
    if (next < end) { // half of a pair's lines: the step has two blocks or more
      __builtin_prefetch(next, 0, 2);
      __builtin_prefetch(next + LINE, 0, 2);
      next += 2 * LINE;
    }
    __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + LINE);
    __m512i w2 = _mm512_loadu_si512(w + 2 * LINE), w3 = _mm512_loadu_si512(w + 3 * LINE);
    ROWS(DOT)
  }
  ROWS(STORE)
}

typedef void pass_fn(const pass *p);

#define PASS(r)                                                                                              \
  static __attribute__((noinline)) void pass_to_##r(const pass *p) {                                         \
    pass_rows((r) + 1, p);                                                                                   \
  }
#define PASS_NAME(r) pass_to_##r,
ROWS(PASS)
static pass_fn *const passes[MOST_ROWS] = {ROWS(PASS_NAME)}; // by the last row

// All rows over one step, in blocks of as many as fit, evenly; each asks for its share of `next`.
static void step(const uint16_t *x, uint32_t rows, pass p, const uint8_t *next) {
  const uint32_t blocks = (rows - 1) / MOST_ROWS + 1;
  // One block is done before memory is: the CPU's own reading ahead of one stream is all that memory gives,
  // and more requests only stand in its way.
  const uint64_t ahead = next && blocks > 1 ? (uint64_t)p.pairs * PAIR_BYTES : 0;
  for (uint32_t block = 0; block < blocks; block++) {
    const uint32_t count = rows / blocks + (block < rows % blocks);
    p.x = x;
    if (ahead) {
      p.next = next + ahead * block / blocks / LINE * LINE;
      p.end = next + ahead * (block + 1) / blocks / LINE * LINE;
    }
    passes[count - 1](&p);
    x += count * p.stride;
    p.out += count * FG_TILE_ROWS;
  }
}

static void product_bf16(const uint16_t *x, uint32_t rows, uint32_t k, const void *tile, const void *next,
                         float *out) {
  const uint32_t longest = rows < FEW_ROWS ? FEW_PAIRS : MANY_PAIRS;
  pass p = {.stride = k, .tile = tile, .first = true, .out = out};
  for (uint32_t left = rows ? k / 2 : 0; left; left -= p.pairs, p.first = false) {
    p.pairs = left < longest ? left : longest;
    const uint8_t *after = p.tile + (uint64_t)p.pairs * PAIR_BYTES;
    step(x, rows, p, p.pairs < left ? after : next);
    x += 2 * p.pairs;
    p.tile = after;
  }
}

void fg_product_avx512_bf16(fg_kernels *k) {
  k->product_bf16 = product_bf16;
}

#else
typedef int fg_product_avx512_bf16_is_not_of_this_cpu;
#endif
