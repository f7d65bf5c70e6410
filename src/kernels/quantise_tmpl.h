// quantise_tmpl.h: activations to int8 (qproduct.h), in loops that compilers turn into vectors; included by
// the files of an instruction set. Sums run in 16 lanes on every one of them.
#ifndef FG_KERNELS_QUANTISE_TMPL_H
#define FG_KERNELS_QUANTISE_TMPL_H

#include <math.h>
#include <string.h>

#include "kernels/qproduct.h"
#include "tensor/groups.h"

enum { Q_LANES = 16 };

// Values below take no part: their inverse may be no number, and no weight lifts them to a visible size.
#define Q_TINY 0x1p-100f

typedef struct q_size {
  float highest, sum; // of the magnitudes
} q_size;

static inline q_size q_measure(const float *x) {
  float highest[Q_LANES] = {0}, sum[Q_LANES] = {0};
  for (int i = 0; i < FG_Q_GROUP; i += Q_LANES)
    for (int j = 0; j < Q_LANES; j++) {
      float size = fabsf(x[i + j]);
      highest[j] = size > highest[j] ? size : highest[j];
      sum[j] += size;
    }
  for (int half = Q_LANES / 2; half; half /= 2)
    for (int j = 0; j < half; j++) {
      highest[j] = highest[j + half] > highest[j] ? highest[j + half] : highest[j];
      sum[j] += sum[j + half];
    }
  return (q_size){highest[0], sum[0]};
}

// Takes values above the limit out of x [256]; returns how many.
static inline uint32_t q_take_outliers(float *x, float limit, fg_q_outlier *list) {
  uint32_t taken = 0;
  for (uint32_t i = 0; i < FG_Q_GROUP; i++) {
    if (!(fabsf(x[i]) > limit)) continue;
    list[taken++] = (fg_q_outlier){i, x[i]};
    x[i] = 0;
  }
  return taken;
}

// Adding 1.5 * 2^23 leaves the nearest whole number, ties to even, in the low bits.
static inline void q_round(const float *x, float inverse, int32_t *codes) {
  const float magic = 0x1.8p23f;
  for (int i = 0; i < FG_Q_GROUP; i++) {
    float shifted = x[i] * inverse + magic;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    codes[i] = bits - 0x4b400000;
  }
}

// Stores the codes of activation group `a` and the sums of its first `count`.
static inline void q_store_codes(const int32_t *codes, uint32_t count, const fg_q_rows *out, uint32_t row,
                                 uint32_t a) {
  int8_t *to = out->codes + ((uint64_t)a * out->rows + row) * FG_Q_GROUP;
  uint64_t at = (uint64_t)a * (FG_Q_GROUP / out->group) * out->rows + row;
  for (uint32_t i = 0; i < FG_Q_GROUP; i++) to[i] = (int8_t)codes[i];
  for (uint32_t i = 0; i < count; i += out->group, at += out->rows) {
    int32_t sum = 0;
    for (uint32_t j = i; j < i + out->group; j += FG_GROUP_RUN)
      for (uint32_t n = 0; n < FG_GROUP_RUN; n++) sum += codes[j + n];
    out->starts[at] = -out->zero_point * sum;
    out->sums[at] = (float)sum;
  }
}

static void q_quantise(const float *x, const fg_q_rows *out, uint32_t row) {
  const uint32_t k = out->k;
  for (uint32_t a = 0; a < fg_q_groups(k); a++) {
    const uint32_t column = a * FG_Q_GROUP, count = k - column < FG_Q_GROUP ? k - column : FG_Q_GROUP;
    const uint64_t at = (uint64_t)a * out->rows + row;
    float group[FG_Q_GROUP];
    int32_t codes[FG_Q_GROUP];
    memcpy(group, x + column, count * sizeof *group);
    memset(group + count, 0, (FG_Q_GROUP - count) * sizeof *group);
    q_size size = q_measure(group);
    float limit = size.sum * ((float)FG_Q_OUTLIER / (float)count), scale = 0, inverse = 0;
    bool finite = size.sum <= 0x1.fffffep127f;
    out->outlier_count[at] = 0;
    if (finite && size.highest > limit && size.highest > Q_TINY) {
      out->outlier_count[at] = q_take_outliers(group, limit, out->outliers + at * FG_Q_OUTLIERS);
      size = q_measure(group);
    }
    if (!finite) {
      scale = NAN; // of infinities and numbers that are none, nothing better can be said
      memset(group, 0, sizeof group);
    } else if (size.highest > Q_TINY) {
      scale = size.highest / 127;
      inverse = 127 / size.highest;
    }
    out->scales[at] = scale;
    q_round(group, inverse, codes);
    q_store_codes(codes, count, out, row, a);
  }
}

#endif
