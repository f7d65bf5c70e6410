// Quantised products in plain C, over row-major groups and over those of the layout n64.
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/kernels_internal.h"
#include "kernels/quantise.h"
#include "tensor/half.h"

enum { ALIGN = 64, GROUP_BYTES = FG_GROUP_BYTES(8, FG_Q_GROUP, true) };

uint64_t fg_q_rows_bytes(uint32_t rows, uint32_t k) {
  uint64_t groups = k / FG_GROUP_RUN + 1, scales = fg_q_groups(k);
  uint64_t row =
      groups * (sizeof(int32_t) + sizeof(float)) +
      scales * (FG_Q_GROUP + sizeof(float) + FG_Q_OUTLIERS * sizeof(fg_q_outlier) + sizeof(uint8_t));
  return rows * row + 3 + 6 * ALIGN;
}

// Hands out the next `count` elements.
static void *take(uint8_t **at, uint64_t count, uint64_t size) {
  void *p = *at;
  *at += fg_align_up(count * size, ALIGN);
  return p;
}

fg_q_rows fg_q_rows_place(void *memory, uint32_t rows, uint32_t k, fg_dtype weights) {
  const fg_dtype_info *type = fg_dtype_get(weights);
  uint64_t groups = (uint64_t)rows * (k / type->block), scales = (uint64_t)rows * fg_q_groups(k);
  uint8_t *at = memory;
  return (fg_q_rows){.rows = rows,
                     .k = k,
                     .group = type->block,
                     .zero_point = type->minimum ? 0 : 1 << (type->bits - 1),
                     .codes = take(&at, scales * FG_Q_GROUP, 1),
                     .starts = take(&at, groups, sizeof(int32_t)),
                     .sums = take(&at, groups, sizeof(float)),
                     .scales = take(&at, scales, sizeof(float)),
                     .outliers = take(&at, scales * FG_Q_OUTLIERS, sizeof(fg_q_outlier)),
                     .outlier_count = take(&at, scales + 3, sizeof(uint8_t))};
}

// ---- activations ---------------------------------------------------------------------------------------

static q_size measure(const float *x) {
  float highest = 0, sum[Q_LANES] = {0};
  for (int i = 0; i < FG_Q_GROUP; i++) {
    highest = fabsf(x[i]) > highest ? fabsf(x[i]) : highest;
    sum[i % Q_LANES] += fabsf(x[i]);
  }
  for (int half = Q_LANES / 2; half; half /= 2)
    for (int i = 0; i < half; i++) sum[i] += sum[i + half];
  return (q_size){highest, sum[0]};
}

static float highest_within(const float *x, float limit) {
  float highest = 0;
  for (int i = 0; i < FG_Q_GROUP; i++)
    if (fabsf(x[i]) <= limit && fabsf(x[i]) > highest) highest = fabsf(x[i]);
  return highest;
}

static uint32_t take_outliers(float *x, float limit, fg_q_outlier *list, uint32_t room) {
  uint32_t taken = 0;
  for (uint32_t i = 0; i < FG_Q_GROUP && taken < room; i++) {
    if (!(fabsf(x[i]) > limit)) continue;
    list[taken++] = (fg_q_outlier){i, x[i]};
    x[i] = 0;
  }
  return taken;
}

// Adding 1.5 * 2^23 leaves the nearest whole number, ties to even, in the low bits.
static int32_t rounded(float x) {
  float shifted = x + 0x1.8p23f;
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  return bits - 0x4b400000;
}

static void store_codes(const float *x, float inverse, int8_t *to, int32_t sums[Q_RUNS]) {
  memset(sums, 0, Q_RUNS * sizeof *sums);
  for (int i = 0; i < FG_Q_GROUP; i++) {
    to[i] = (int8_t)rounded(x[i] * inverse);
    sums[i / FG_GROUP_RUN] += to[i];
  }
}

static void quantise(const float *x, const fg_q_rows *out, uint32_t row) {
  q_quantise(&(q_steps){measure, highest_within, take_outliers, store_codes}, x, out, row);
}

// ---- products ------------------------------------------------------------------------------------------

// One group of an output row: w = d code + m, codes with their zero point taken off.
typedef struct q_group {
  float d, m;
  int32_t codes[FG_Q_GROUP];
} q_group;

static float load_f16(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return fg_f16_to_f32(h);
}

static int32_t code_of(const fg_dtype_info *type, const uint8_t *codes, uint32_t i) {
  if (type->bits == 8) return type->minimum ? codes[i] : (int8_t)codes[i];
  uint32_t place = i % FG_GROUP_RUN, half = FG_GROUP_RUN / 2;
  uint8_t byte = codes[i / FG_GROUP_RUN * half + place % half];
  return (place < half ? byte & 15 : byte >> 4) - (type->minimum ? 0 : 8);
}

static void read_group(const fg_dtype_info *type, const uint8_t *bytes, q_group *out) {
  out->d = load_f16(bytes);
  out->m = type->minimum ? load_f16(bytes + 2) : 0;
  for (uint32_t i = 0; i < type->block; i++)
    out->codes[i] = code_of(type, bytes + (type->minimum ? 4 : 2), i);
}

// The bytes of group g of output row n.
typedef void fetch_fn(fg_dtype dtype, const void *block, uint32_t k, uint32_t n, uint32_t g, uint8_t *out);

static void fetch_plain(fg_dtype dtype, const void *block, uint32_t k, uint32_t n, uint32_t g, uint8_t *out) {
  const fg_dtype_info *type = fg_dtype_get(dtype);
  uint64_t index = (uint64_t)n * (k / type->block) + g;
  memcpy(out, (const uint8_t *)block + index * type->bytes, type->bytes);
}
static void fetch_n64(fg_dtype dtype, const void *block, uint32_t k, uint32_t n, uint32_t g, uint8_t *out) {
  uint32_t group = fg_dtype_get(dtype)->block;
  (void)k;
  fg_n64_row_bytes(dtype, block, n, g * group, group, out);
}

typedef struct q_weights {
  fg_dtype dtype;
  fetch_fn *fetch;
  const void *block;
} q_weights;

// out += the products of row `row`'s outliers in activation group `a`.
static float dot_outliers(const fg_q_rows *x, uint32_t row, uint32_t a, const q_weights *w, uint32_t n,
                          float out) {
  const uint64_t at = (uint64_t)a * x->rows + row;
  const fg_q_outlier *o = x->outliers + at * FG_Q_OUTLIERS;
  uint8_t bytes[GROUP_BYTES];
  float values[FG_Q_GROUP];
  for (uint32_t i = 0; i < x->outlier_count[at]; i++) {
    w->fetch(w->dtype, w->block, x->k, n, (a * FG_Q_GROUP + o[i].column) / x->group, bytes);
    fg_dtype_get(w->dtype)->to_f32(bytes, values, x->group);
    out = fmaf(o[i].value, values[o[i].column % x->group], out);
  }
  return out;
}

static float dot(const fg_q_rows *x, uint32_t row, const q_weights *w, uint32_t n) {
  const fg_dtype_info *type = fg_dtype_get(w->dtype);
  const uint32_t groups = x->k / x->group;
  uint8_t bytes[GROUP_BYTES];
  float out = 0;
  for (uint32_t a = 0, g = 0; a < fg_q_groups(x->k); a++) {
    const uint64_t at = (uint64_t)a * x->rows + row;
    const int8_t *codes = x->codes + at * FG_Q_GROUP;
    float s = 0;
    for (uint32_t i = 0; i < FG_Q_GROUP && g < groups; i += x->group, g++, codes += x->group) {
      q_group group;
      int32_t sum = 0;
      w->fetch(w->dtype, w->block, x->k, n, g, bytes);
      read_group(type, bytes, &group);
      for (uint32_t j = 0; j < x->group; j++) sum += group.codes[j] * codes[j];
      s = fmaf((float)sum, group.d, s);
      if (type->minimum) s = fmaf(group.m, x->sums[(uint64_t)g * x->rows + row], s);
    }
    out = dot_outliers(x, row, a, w, n, fmaf(s, x->scales[at], out));
  }
  return out;
}

static void multiply(const fg_q_rows *x, uint32_t first, uint32_t rows, const q_weights *w, uint32_t columns,
                     float *out) {
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t n = 0; n < FG_TILE_ROWS; n++)
      out[r * FG_TILE_ROWS + n] = n < columns ? dot(x, first + r, w, n) : 0;
}

static void plain(const fg_q_rows *x, uint32_t first, uint32_t rows, fg_dtype dtype, const void *block,
                  uint32_t columns, float *out) {
  multiply(x, first, rows, &(q_weights){dtype, fetch_plain, block}, columns, out);
}
static void n64(const fg_q_rows *x, uint32_t first, uint32_t rows, fg_dtype dtype, const void *block,
                uint32_t columns, float *out) {
  multiply(x, first, rows, &(q_weights){dtype, fetch_n64, block}, columns, out);
}

void fg_q_product_ref(fg_kernels *k) {
  k->quantise = quantise;
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    if (!fg_dtype_get(dtype)->bits) continue;
    k->q_product[FG_LAYOUT_PLAIN][dtype] = plain;
    k->q_product[FG_LAYOUT_N64][dtype] = n64;
  }
}
