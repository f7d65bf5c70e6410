// rows_tmpl.h: row kernels over the vectors of a vec_*.h, which is included before.
#ifndef FG_KERNELS_ROWS_TMPL_H
#define FG_KERNELS_ROWS_TMPL_H

#include <math.h>
#include <string.h>

#include "kernels/exp_tmpl.h"
#include "kernels/kernels_internal.h"
#include "kernels/kv_codes_tmpl.h"

// Lanes of the vector at i that lie in a row.
static inline uint32_t lanes_at(uint32_t i, uint32_t width) {
  return width - i < VEC ? width - i : VEC;
}

// ---- activations -----------------------------------------------------------------------------------------

static inline vec vec_relu(vec x) {
  return vec_max(vec_set(0), x);
}

static inline vec vec_relu_squared(vec x) {
  vec positive = vec_relu(x);
  return vec_mul(positive, positive);
}

// x / (1 + exp(-x))
static inline vec vec_silu(vec x) {
  return vec_div(x, vec_add(vec_set(1), vec_exp(vec_sub(vec_set(0), x))));
}

// 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
static inline vec vec_gelu_tanh(vec x) {
  vec inner = vec_fma(vec_mul(vec_mul(x, x), vec_set(0.044715f)), x, x);
  return vec_div(x, vec_add(vec_set(1), vec_exp(vec_mul(inner, vec_set(-1.59576912f)))));
}

// x Phi(x); with y = |x| / sqrt(2), Phi(-|x|) = erfc(y) / 2 = t exp(-y^2) P(t) / 2 for t = 1 / (1 + p y).
// P is the Chebyshev fit of degree 9 for p = 0.3275911 and y in [0, 11]; its relative error is 3.4e-9.
static inline vec vec_gelu_erf(vec x) {
  static const float fit[] = {0.0586420178f,  -0.327454565f, 0.650724388f, -0.589867645f, 0.52491653f,
                              -0.0622691518f, 0.209771138f,  0.164886587f, 0.185875299f,  0.184775402f};
  vec size = vec_min(vec_set(20), vec_abs(x)); // beyond it exp(-y^2) is 0
  vec t = vec_div(vec_set(1), vec_fma(size, vec_set(0.3275911f * 0.70710678f), vec_set(1)));
  vec sum = vec_set(fit[0]);
  for (int i = 1; i < 10; i++) sum = vec_fma(sum, t, vec_set(fit[i]));
  // x^2 and what its rounding lost
  vec square = vec_mul(size, size), lost = vec_fms(size, size, square);
  vec gauss = vec_exp(vec_mul(square, vec_set(-0.5f)));
  gauss = vec_fnma(vec_mul(gauss, vec_set(0.5f)), lost, gauss);
  vec tail = vec_mul(vec_mul(vec_mul(sum, t), gauss), vec_set(0.5f));
  return vec_mul(x, vec_if_negative(x, tail, vec_sub(vec_set(1), tail)));
}

static vec (*const vec_activations[FG_ACT_COUNT])(vec) = {
    [FG_ACT_RELU] = vec_relu, [FG_ACT_GELU_ERF] = vec_gelu_erf,         [FG_ACT_GELU_TANH] = vec_gelu_tanh,
    [FG_ACT_SILU] = vec_silu, [FG_ACT_RELU_SQUARED] = vec_relu_squared,
};

static void vec_act(fg_activation kind, float *x, uint32_t width) {
  vec (*f)(vec) = vec_activations[kind];
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec_store_part(x + i, f(vec_load_part(x + i, n)), n);
  }
}

static void vec_glu(fg_activation kind, const float *x, float *out, uint32_t width) {
  vec (*f)(vec) = vec_activations[kind];
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec gate = f(vec_load_part(x + i, n));
    vec_store_part(out + i, vec_mul(gate, vec_load_part(x + width + i, n)), n);
  }
}

// ---- norms ---------------------------------------------------------------------------------------------

// Four sums side by side: shorter chains, smaller errors.
static float vec_row_sum(const float *x, uint32_t width) {
  vec sums[4] = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
  for (uint32_t i = 0; i < width; i += VEC)
    sums[i / VEC % 4] = vec_add(sums[i / VEC % 4], vec_load_part(x + i, lanes_at(i, width)));
  return vec_sum(vec_add(vec_add(sums[0], sums[1]), vec_add(sums[2], sums[3])));
}

static float vec_row_squares(const float *x, float mean, uint32_t width) {
  vec sums[4] = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec d = vec_first(vec_sub(vec_load_part(x + i, n), vec_set(mean)), n);
    sums[i / VEC % 4] = vec_fma(d, d, sums[i / VEC % 4]);
  }
  return vec_sum(vec_add(vec_add(sums[0], sums[1]), vec_add(sums[2], sums[3])));
}

static void vec_norm_scale(const float *x, float mean, float factor, const float *weight, const float *bias,
                           float *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec y = vec_mul(vec_sub(vec_load_part(x + i, n), vec_set(mean)), vec_set(factor));
    if (weight) y = vec_mul(y, vec_load_part(weight + i, n));
    if (bias) y = vec_add(y, vec_load_part(bias + i, n));
    vec_store_part(out + i, y, n);
  }
}

static void vec_norm_layer(const float *x, const float *weight, const float *bias, float *out, uint32_t width,
                           float eps) {
  float mean = vec_row_sum(x, width) / (float)width;
  float factor = (float)(1 / sqrt((double)vec_row_squares(x, mean, width) / width + eps));
  vec_norm_scale(x, mean, factor, weight, bias, out, width);
}

static void vec_norm_rms(const float *x, const float *weight, const float *bias, float *out, uint32_t width,
                         float eps) {
  float factor = (float)(1 / sqrt((double)vec_row_squares(x, 0, width) / width + eps));
  vec_norm_scale(x, 0, factor, weight, bias, out, width);
}

// ---- the rest ------------------------------------------------------------------------------------------

static void vec_add_row(const float *x, float scale, float *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec_store_part(out + i, vec_fma(vec_set(scale), vec_load_part(x + i, n), vec_load_part(out + i, n)), n);
  }
}

static inline vec vec_map_scale(vec x, vec number) {
  return vec_mul(x, number);
}
static inline vec vec_map_clamp(vec x, vec number) {
  return vec_max(vec_sub(vec_set(0), number), vec_min(number, x));
}
static inline vec vec_map_softcap(vec x, vec number) {
  return vec_mul(number, vec_tanh(vec_div(x, number)));
}

static vec (*const vec_maps[FG_MAP_COUNT])(vec, vec) = {
    [FG_MAP_SCALE] = vec_map_scale,
    [FG_MAP_CLAMP] = vec_map_clamp,
    [FG_MAP_SOFTCAP] = vec_map_softcap,
};

static void vec_map(fg_map_kind kind, float number, float *x, uint32_t width) {
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec_store_part(x + i, vec_maps[kind](vec_load_part(x + i, n), vec_set(number)), n);
  }
}

static void vec_finish(const float *sums, const float *bias, float *out, uint32_t width, bool accumulate) {
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec y = vec_load_part(sums + i, n);
    if (bias) y = vec_add(y, vec_load_part(bias + i, n));
    if (accumulate) y = vec_add(vec_load_part(out + i, n), y);
    vec_store_part(out + i, y, n);
  }
}

static void vec_rope_half(float *head, const float *cosines, const float *sines, uint32_t rotary) {
  uint32_t half = rotary / 2;
  for (uint32_t i = 0; i < half; i += VEC) {
    uint32_t n = lanes_at(i, half);
    vec a = vec_load_part(head + i, n), b = vec_load_part(head + half + i, n);
    vec c = vec_load_part(cosines + i, n), s = vec_load_part(sines + i, n);
    vec_store_part(head + i, vec_sub(vec_mul(a, c), vec_mul(b, s)), n);
    vec_store_part(head + half + i, vec_add(vec_mul(b, c), vec_mul(a, s)), n);
  }
}

static void vec_rope_interleaved(float *head, const float *cosines, const float *sines, uint32_t rotary) {
  static const float signs[] = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
  const uint32_t half = rotary / 2;
  uint32_t i = 0;
  for (; i + VEC / 2 <= half; i += VEC / 2) {
    vec pairs = vec_load(head + 2 * i), s = vec_mul(vec_load_twice(sines + i), vec_load(signs));
    vec turned = vec_mul(vec_swap_pairs(pairs), s);
    vec_store(head + 2 * i, vec_add(vec_mul(pairs, vec_load_twice(cosines + i)), turned));
  }
  for (; i < half; i++) {
    float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * cosines[i] - b * sines[i];
    head[2 * i + 1] = b * cosines[i] + a * sines[i];
  }
}

static void vec_bf16_row(const float *x, uint16_t *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec_store_bf16((uint8_t *)(out + i), vec_load_part(x + i, n), n);
  }
}

static void vec_cache_f32(const float *x, void *out, uint32_t width) {
  memcpy(out, x, (size_t)width * 4);
}
static void vec_cache_bf16(const float *x, void *out, uint32_t width) {
  vec_bf16_row(x, out, width);
}
static void vec_cache_f16(const float *x, void *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i += VEC) {
    uint32_t n = lanes_at(i, width);
    vec_store_f16((uint8_t *)out + 2 * (uint64_t)i, vec_load_part(x + i, n), n);
  }
}

static void vec_rows(fg_kernels *k) {
  k->norm[FG_NORM_LAYER] = vec_norm_layer;
  k->norm[FG_NORM_RMS] = vec_norm_rms;
  k->act = vec_act;
  k->glu = vec_glu;
  k->add = vec_add_row;
  k->map = vec_map;
  k->finish = vec_finish;
  k->rope[FG_ROPE_HALF] = vec_rope_half;
  k->rope[FG_ROPE_INTERLEAVED] = vec_rope_interleaved;
  k->to_bf16 = vec_bf16_row;
  k->to_cache[FG_F32] = vec_cache_f32;
  k->to_cache[FG_F16] = vec_cache_f16;
  k->to_cache[FG_BF16] = vec_cache_bf16;
  k->to_cache[FG_I8G64M] = kv_put_i8g64m;
  k->to_cache[FG_I4G64M] = kv_put_i4g64m;
}

#endif
