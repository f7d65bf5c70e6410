// Row kernels in plain C. Sums and transcendental functions are in double: this is the truth for tests.
#include <math.h>
#include <string.h>

#include "kernels/kernels_internal.h"
#include "kernels/kv_codes_tmpl.h"
#include "tensor/half.h"

static void scale_row(const float *x, double mean, double factor, const float *weight, const float *bias,
                      float *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i++) {
    float y = (float)((x[i] - mean) * factor);
    if (weight) y *= weight[i];
    out[i] = bias ? y + bias[i] : y;
  }
}

static void norm_layer(const float *x, const float *weight, const float *bias, float *out, uint32_t width,
                       float eps) {
  double sum = 0, squares = 0;
  for (uint32_t i = 0; i < width; i++) sum += x[i];
  double mean = sum / width;
  for (uint32_t i = 0; i < width; i++) squares += (x[i] - mean) * (x[i] - mean);
  scale_row(x, mean, 1 / sqrt(squares / width + eps), weight, bias, out, width);
}

static void norm_rms(const float *x, const float *weight, const float *bias, float *out, uint32_t width,
                     float eps) {
  double squares = 0;
  for (uint32_t i = 0; i < width; i++) squares += (double)x[i] * x[i];
  scale_row(x, 0, 1 / sqrt(squares / width + eps), weight, bias, out, width);
}

static double relu(double x) {
  return x > 0 ? x : x != x ? x : 0;
}
static double relu_squared(double x) {
  return relu(x) * relu(x);
}
static double gelu_erf(double x) {
  return 0.5 * x * erfc(-x * M_SQRT1_2);
}
// 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), which keeps its precision where tanh is near -1.
static double gelu_tanh(double x) {
  return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double silu(double x) {
  return x / (1 + exp(-x));
}

static double (*const activations[FG_ACT_COUNT])(double) = {
    [FG_ACT_RELU] = relu, [FG_ACT_GELU_ERF] = gelu_erf,         [FG_ACT_GELU_TANH] = gelu_tanh,
    [FG_ACT_SILU] = silu, [FG_ACT_RELU_SQUARED] = relu_squared,
};

static void act(fg_activation kind, float *x, uint32_t width) {
  for (uint32_t i = 0; i < width; i++) x[i] = (float)activations[kind](x[i]);
}

static void glu(fg_activation kind, const float *x, float *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i++) out[i] = (float)activations[kind](x[i]) * x[width + i];
}

static void add(const float *x, float scale, float *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i++) out[i] = fmaf(scale, x[i], out[i]);
}

static double map_scale(double x, double number) {
  return x * number;
}
static double map_clamp(double x, double number) {
  return x > number ? number : x < -number ? -number : x;
}
static double map_softcap(double x, double number) {
  return number * tanh(x / number);
}

static double (*const maps[FG_MAP_COUNT])(double, double) = {
    [FG_MAP_SCALE] = map_scale,
    [FG_MAP_CLAMP] = map_clamp,
    [FG_MAP_SOFTCAP] = map_softcap,
};

static void map(fg_map_kind kind, float number, float *x, uint32_t width) {
  for (uint32_t i = 0; i < width; i++) x[i] = (float)maps[kind](x[i], number);
}

static void turn(float *a, float *b, float cosine, float sine) {
  float x = *a, y = *b;
  *a = x * cosine - y * sine;
  *b = y * cosine + x * sine;
}

static void rope_half(float *head, const float *cosines, const float *sines, uint32_t rotary) {
  uint32_t half = rotary / 2;
  for (uint32_t i = 0; i < half; i++) turn(&head[i], &head[i + half], cosines[i], sines[i]);
}

static void rope_interleaved(float *head, const float *cosines, const float *sines, uint32_t rotary) {
  for (uint32_t i = 0; i < rotary / 2; i++) turn(&head[2 * i], &head[2 * i + 1], cosines[i], sines[i]);
}

static void to_bf16(const float *x, uint16_t *out, uint32_t width) {
  for (uint32_t i = 0; i < width; i++) out[i] = fg_bf16_from_f32(x[i]);
}

static void cache_f32(const float *x, void *out, uint32_t width) {
  memcpy(out, x, (size_t)width * 4);
}
static void cache_f16(const float *x, void *out, uint32_t width) {
  fg_dtype_get(FG_F16)->from_f32(x, out, width);
}
static void cache_bf16(const float *x, void *out, uint32_t width) {
  to_bf16(x, out, width);
}

void fg_rows_ref(fg_kernels *k) {
  k->norm[FG_NORM_LAYER] = norm_layer;
  k->norm[FG_NORM_RMS] = norm_rms;
  k->act = act;
  k->glu = glu;
  k->add = add;
  k->map = map;
  k->rope[FG_ROPE_HALF] = rope_half;
  k->rope[FG_ROPE_INTERLEAVED] = rope_interleaved;
  k->to_bf16 = to_bf16;
  k->to_cache[FG_F32] = cache_f32;
  k->to_cache[FG_F16] = cache_f16;
  k->to_cache[FG_BF16] = cache_bf16;
  k->to_cache[FG_I8G64M] = kv_put_i8g64m;
  k->to_cache[FG_I4G64M] = kv_put_i4g64m;
}
