// quantise.h: how a row of activations becomes codes (qproduct.h), but for three steps that an instruction
// set has in its own way.
#ifndef FG_KERNELS_QUANTISE_H
#define FG_KERNELS_QUANTISE_H

#include <math.h>
#include <string.h>

#include "kernels/qproduct.h"
#include "tensor/groups.h"

enum {
  Q_LANES = 32, // that a sum of magnitudes runs in; in the end the higher half is added to the lower
  Q_RUNS = FG_Q_GROUP / FG_GROUP_RUN,
  Q_PASSES = 3
};

// Values below take no part: their inverse may be no number, and no weight lifts them to a visible size.
#define Q_TINY 0x1p-100f

typedef struct q_size {
  float highest, sum; // of the magnitudes
} q_size;

// Each of an activation group, x [256].
typedef struct q_steps {
  q_size (*measure)(const float *x);
  float (*highest_within)(const float *x, float limit); // of the magnitudes that are not above the limit
  // Lists the values above the limit, the first `room` of them, and makes them 0; returns how many.
  uint32_t (*take_outliers)(float *x, float limit, fg_q_outlier *list, uint32_t room);
  // to [256] = x * inverse, rounded to nearest even; sums: of the codes of each run
  void (*store_codes)(const float *x, float inverse, int8_t *to, int32_t sums[Q_RUNS]);
} q_steps;

// The sums of weight groups from those of runs, for the first `count` values of activation group `a`.
static inline void q_store_sums(const int32_t *runs, uint32_t count, const fg_q_rows *out, uint32_t row,
                                uint32_t a) {
  uint64_t at = (uint64_t)a * (FG_Q_GROUP / out->group) * out->rows + row;
  for (uint32_t i = 0; i < count / FG_GROUP_RUN; at += out->rows) {
    int32_t sum = 0;
    for (uint32_t end = i + out->group / FG_GROUP_RUN; i < end; i++) sum += runs[i];
    if (out->zero_point)
      out->starts[at] = -out->zero_point * sum;
    else
      out->sums[at] = (float)sum;
  }
}

static inline __attribute__((always_inline)) void q_quantise(const q_steps *steps, const float *x,
                                                             const fg_q_rows *out, uint32_t row) {
  for (uint32_t a = 0; a < fg_q_groups(out->k); a++, x += FG_Q_GROUP) {
    const uint32_t left = out->k - a * FG_Q_GROUP, count = left < FG_Q_GROUP ? left : FG_Q_GROUP;
    const uint64_t at = (uint64_t)a * out->rows + row;
    const float *group = x;
    float own[FG_Q_GROUP];
    if (count < FG_Q_GROUP) {
      memcpy(own, x, count * sizeof *own);
      memset(own + count, 0, (FG_Q_GROUP - count) * sizeof *own);
      group = own;
    }
    q_size size = steps->measure(group);
    const bool finite = size.sum <= 0x1.fffffep127f;
    uint32_t taken = 0;
    // Outliers lift the mean by which they are told: without the first ones others show.
    for (int pass = 0; pass < Q_PASSES && finite && taken < FG_Q_OUTLIERS; pass++) {
      const float limit = size.sum * ((float)FG_Q_OUTLIER / (float)count);
      if (!(size.highest > limit && size.highest > Q_TINY)) break;
      if (steps->highest_within(group, limit) * FG_Q_GAIN > size.highest) break;
      if (group != own) memcpy(own, group, sizeof own);
      group = own;
      taken +=
          steps->take_outliers(own, limit, out->outliers + at * FG_Q_OUTLIERS + taken, FG_Q_OUTLIERS - taken);
      size = steps->measure(own);
    }
    out->outlier_count[at] = (uint8_t)taken;
    float scale = 0, inverse = 0;
    if (!finite) {
      scale = NAN; // of infinities and numbers that are none, nothing better can be said
      memset(own, 0, sizeof own);
      group = own;
    } else if (size.highest > Q_TINY) {
      scale = size.highest / 127;
      inverse = 127 / size.highest;
    }
    int32_t sums[Q_RUNS];
    out->scales[at] = scale;
    steps->store_codes(group, inverse, out->codes + at * FG_Q_GROUP, sums);
    q_store_sums(sums, count, out, row, a);
  }
}

#endif
