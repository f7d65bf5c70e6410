// kv_codes_tmpl.h: a row of a KV cache as codes, in plain loops that each instruction set compiles for
// itself.
//
// A row is cut into groups of the type's block; the last group takes what is left. Rows are multiples of 16
// long, so that head sizes like 80 fit. A group is its scale d and its minimum m in float16, then the codes,
// 16 values after 16 values: 8 bits a byte each; 4 bits: byte j of 8 holds value j in its low half and value
// j + 8 in the high one. A value is d code + m. Rounding makes the smallest value code 0 and the largest the
// last code, and takes the nearest code for d and m as they are stored; what is no number becomes code 0.
#ifndef FG_KERNELS_KV_CODES_TMPL_H
#define FG_KERNELS_KV_CODES_TMPL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "kernels/kinds.h"
#include "tensor/half.h"

enum { KV_RUN = FG_KV_CODE_RUN, KV_HALF = KV_RUN / 2 };

static inline float kv_load_half(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
#if defined(__F16C__)
  return _cvtsh_ss(h);
#else
  return fg_f16_to_f32(h);
#endif
}

// Rounds *value to what is stored, the nearest finite one.
static inline void kv_store_half(float *value, uint8_t *p) {
  const float most = 65504;
  uint16_t h = fg_f16_from_f32(*value < -most ? -most : *value > most ? most : *value);
  memcpy(p, &h, sizeof h);
  *value = fg_f16_to_f32(h);
}

// Smallest and largest of x; 0 and 0 if none is a number.
static inline void kv_range(const float *x, uint32_t count, float *lowest, float *highest) {
  float low[KV_RUN], high[KV_RUN];
  for (int j = 0; j < KV_RUN; j++) low[j] = INFINITY, high[j] = -INFINITY;
  for (uint32_t i = 0; i < count; i += KV_RUN)
    for (int j = 0; j < KV_RUN; j++) {
      low[j] = x[i + j] < low[j] ? x[i + j] : low[j];
      high[j] = x[i + j] > high[j] ? x[i + j] : high[j];
    }
  for (int j = 1; j < KV_RUN; j++) {
    low[0] = low[j] < low[0] ? low[j] : low[0];
    high[0] = high[j] > high[0] ? high[j] : high[0];
  }
  bool any = low[0] <= high[0];
  *lowest = any ? low[0] : 0;
  *highest = any ? high[0] : 0;
}

static inline void kv_put_group(const float *x, uint32_t count, uint32_t bits, uint8_t *out) {
  const float most = bits == 8 ? 255 : 15, big = 12582912; // 1.5 * 2^23: what is behind the point gets lost
  float m, highest;
  kv_range(x, count, &m, &highest);
  float d = highest / most - m / most; // no overflow
  kv_store_half(&d, out);
  kv_store_half(&m, out + 2);
  float inverse = d > 0 ? 1 / d : 0;
  out += 4;
  for (uint32_t i = 0; i < count; i += KV_RUN, out += KV_RUN * bits / 8) {
    uint8_t codes[KV_RUN];
    for (int j = 0; j < KV_RUN; j++) {
      float c = (x[i + j] - m) * inverse;
      c = c > 0 ? c : 0; // what is no number too
      c = c < most ? c : most;
      codes[j] = (uint8_t)(int32_t)(c + big - big);
    }
    if (bits == 8)
      memcpy(out, codes, KV_RUN);
    else
      for (int j = 0; j < KV_HALF; j++) out[j] = (uint8_t)(codes[j] | codes[j + KV_HALF] << 4);
  }
}

static inline void kv_get_group(const uint8_t *in, uint32_t count, uint32_t bits, float *out) {
  float d = kv_load_half(in), m = kv_load_half(in + 2);
  in += 4;
  if (bits == 8) {
    for (uint32_t i = 0; i < count; i++) out[i] = d * (float)in[i] + m;
    return;
  }
  for (uint32_t i = 0; i < count; i += KV_RUN, in += KV_HALF) {
    float *low = out + i,
          *high = low + KV_HALF; // straight from memory: codes put aside stay scalar with gcc 12
    for (int j = 0; j < KV_HALF; j++) low[j] = d * (float)(in[j] & 15) + m;
    for (int j = 0; j < KV_HALF; j++) high[j] = d * (float)(in[j] >> 4) + m;
  }
}

static inline void kv_put_row(const float *x, uint32_t width, uint32_t bits, uint32_t group, uint8_t *out) {
  for (uint32_t i = 0, n; i < width; i += n, out += 4 + n * bits / 8) {
    n = width - i < group ? width - i : group;
    kv_put_group(x + i, n, bits, out);
  }
}

static inline void kv_get_row(const uint8_t *in, uint32_t width, uint32_t bits, uint32_t group, float *out) {
  for (uint32_t i = 0, n; i < width; i += n, in += 4 + n * bits / 8) {
    n = width - i < group ? width - i : group;
    kv_get_group(in, n, bits, out + i);
  }
}

static inline void kv_put_i8g64m(const float *x, void *out, uint32_t width) {
  kv_put_row(x, width, 8, 64, out);
}
static inline void kv_put_i4g64m(const float *x, void *out, uint32_t width) {
  kv_put_row(x, width, 4, 64, out);
}
static inline void kv_get_i8g64m(const uint8_t *in, uint32_t width, float *out) {
  kv_get_row(in, width, 8, 64, out);
}
static inline void kv_get_i4g64m(const uint8_t *in, uint32_t width, float *out) {
  kv_get_row(in, width, 4, 64, out);
}

#endif
