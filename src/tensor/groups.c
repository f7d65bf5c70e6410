#include "tensor/groups.h"

#include <math.h>
#include <string.h>

#include "tensor/clones.h"
#include "tensor/half.h"

enum { RUN = FG_GROUP_RUN, HALF = RUN / 2, LANES = 16 };

static float load_f16(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return fg_f16_to_f32(h);
}

// Rounds *value to what is stored, the nearest finite one.
static void store_f16(float *value, uint8_t *p) {
  const float most = 65504;
  uint16_t h = fg_f16_from_f32(*value < -most ? -most : *value > most ? most : *value);
  memcpy(p, &h, 2);
  *value = fg_f16_to_f32(h);
}

FG_IN_CLONE void read_run(fg_group_form form, const uint8_t *in, float codes[RUN]) {
  if (form.bits == 8) {
    for (int j = 0; j < RUN; j++) codes[j] = form.minimum ? (float)in[j] : (float)(int8_t)in[j];
    return;
  }
  for (int j = 0; j < HALF; j++) {
    codes[j] = (float)(in[j] & 15);
    codes[j + HALF] = (float)(in[j] >> 4);
  }
}

FG_CLONES void fg_groups_to_f32(fg_group_form form, const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t done = 0; done < count; done += form.group) {
    float d = load_f16(in), m = form.minimum ? load_f16(in + 2) : form.bits == 4 ? 8 : 0;
    in += form.minimum ? 4 : 2;
    for (uint32_t i = 0; i < form.group; i += RUN, dst += RUN, in += RUN * form.bits / 8) {
      float codes[RUN];
      read_run(form, in, codes);
      if (form.minimum)
        for (int j = 0; j < RUN; j++) {
          float scaled = d * codes[j];
          dst[j] = scaled + m;
        }
      else
        for (int j = 0; j < RUN; j++) dst[j] = d * (codes[j] - m);
    }
  }
}

// ---- rounding ------------------------------------------------------------------------------------------

// The nearest integer, ties to even, of a number below 2^22: what is behind the point does not fit any more.
FG_IN_CLONE float nearest(float x) {
  const float big = 12582912; // 1.5 * 2^23
  return x + big - big;
}

FG_IN_CLONE float within(float x, float least, float most) {
  x = x > least ? x : least; // what is no number becomes the least
  return x < most ? x : most;
}

// Smallest and largest value; the comparisons pass over what is no number.
FG_CLONES static void find_range(const float *x, size_t count, float *lowest, float *highest) {
  float low[LANES], high[LANES];
  for (int j = 0; j < LANES; j++) low[j] = INFINITY, high[j] = -INFINITY;
  for (size_t i = 0; i < count; i += LANES) FG_LANES
  for (int j = 0; j < LANES; j++) {
    low[j] = x[i + j] < low[j] ? x[i + j] : low[j];
    high[j] = x[i + j] > high[j] ? x[i + j] : high[j];
  }
  for (int n = LANES / 2; n; n /= 2)
    for (int j = 0; j < n; j++) {
      low[j] = low[j + n] < low[j] ? low[j + n] : low[j];
      high[j] = high[j + n] > high[j] ? high[j + n] : high[j];
    }
  *lowest = low[0] <= high[0] ? low[0] : 0;
  *highest = low[0] <= high[0] ? high[0] : 0;
}

typedef struct scheme {
  float d, m;              // as stored
  float least, most, zero; // codes, and what the stored code of value 0 + m is
  uint8_t head[4];         // scale and minimum
} scheme;

// The range of the values is the range of the codes.
static scheme span_scheme(fg_group_form form, float low, float high) {
  scheme s = {.m = low, .most = form.bits == 8 ? 255 : 15};
  float extreme = -low > high ? low : high;
  if (form.minimum) {
    s.d = (high - low) / s.most;
  } else if (form.bits == 8) {
    s = (scheme){.d = fabsf(extreme) / 127, .least = -127, .most = 127};
  } else {
    s = (scheme){.d = extreme / -8, .most = 15, .zero = 8};
  }
  return s;
}

// Four bits leave so few codes that it pays to clip: two scales are tried, each is improved by least squares
// for the codes that it gives, and the one with the smaller squared error is taken. Gaussian values: 0.91 of
// the error of the whole range in groups of 64, 0.86 in groups of 256; twice as many scales gain 0.01 there.
// A row has more outliers and is tried with more scales.
enum { TRIES = 2 };
static const float range_steps[][TRIES] = {{15.5f, 17.5f}, {20, 24}}; // a range with a minimum has so many
static const float extreme_steps[][TRIES] = {{8, 9}, {10.5f, 12.5f}}; // the extreme value, to one side
enum { ROUNDS = 2, LARGEST_GROUP = 256 };

// Of values y, from the middle of their range, and of the codes q that each scale gives, from the middle of
// theirs.
enum { SUM_Q, SUM_QQ, SUM_YQ, SUM_Y = SUM_Q + 3 * TRIES, SUMS = 8 };
_Static_assert(SUM_Y < SUMS, "a place for each sum");

// Lanes are added up in a fixed order.
FG_IN_CLONE void add_lanes(float lanes[SUMS][LANES], float sums[SUMS]) {
  for (int s = 0; s < SUMS; s++)
    for (int j = 0; j < LANES / 2; j++) lanes[s][j] += lanes[s][j + LANES / 2];
  for (int s = 0; s < SUMS; s++) {
    const float *a = lanes[s];
    sums[s] = ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
  }
}

typedef struct trial {
  float middle, least, most, zero; // of the values; of the codes
  float inverse[TRIES];            // 1 / scale
} trial;

FG_CLONES static void sum_codes(const float *x, size_t count, const trial *t, float sums[SUMS]) {
  float lanes[SUMS][LANES] = {{0}};
  const float middle = t->middle, least = t->least, most = t->most, zero = t->zero;
  const float inverse0 = t->inverse[0], inverse1 = t->inverse[1];
  for (size_t i = 0; i < count; i += LANES) FG_LANES
  for (int j = 0; j < LANES; j++) {
    float y = x[i + j] - middle;
    float a = within(nearest(y * inverse0 + zero), least, most) - zero;
    float b = within(nearest(y * inverse1 + zero), least, most) - zero;
    lanes[SUM_Q][j] += a;
    lanes[SUM_QQ][j] += a * a;
    lanes[SUM_YQ][j] += y * a;
    lanes[SUM_Q + 3][j] += b;
    lanes[SUM_QQ + 3][j] += b * b;
    lanes[SUM_YQ + 3][j] += y * b;
    lanes[SUM_Y][j] += y;
  }
  add_lanes(lanes, sums);
}

// w = d (code - 8): the largest gain (sum y q)^2 / sum q^2 is the smallest error.
static void fit_scale(scheme *s, const float *x, size_t count) {
  trial t = {.least = 0, .most = 15, .zero = 8};
  const float extreme = 8 * s->d;
  float best = 0, sums[SUMS];
  for (int round = 0; round < (count > LARGEST_GROUP ? ROUNDS : 1); round++) {
    for (int i = 0; i < TRIES; i++) t.inverse[i] = extreme_steps[round][i] / extreme;
    sum_codes(x, count, &t, sums);
    for (const float *of = sums; of < sums + 3 * TRIES; of += 3) {
      float gain = of[SUM_YQ] * of[SUM_YQ] / of[SUM_QQ];
      if (!(gain > best) || !(gain < INFINITY)) continue;
      best = gain;
      s->d = of[SUM_YQ] / of[SUM_QQ];
    }
  }
}

// w = d code + m. Codes are counted from 7.5, the middle, so that both sums of squares are small.
static void fit_range(scheme *s, const float *x, size_t count, float low, float high) {
  trial t = {.middle = low + (high - low) / 2, .least = 0, .most = 15, .zero = 7.5f};
  const float n = (float)count;
  float best = 0, sums[SUMS];
  for (int round = 0; round < (count > LARGEST_GROUP ? ROUNDS : 1); round++) {
    for (int i = 0; i < TRIES; i++) t.inverse[i] = range_steps[round][i] / (high - low);
    sum_codes(x, count, &t, sums);
    for (const float *of = sums; of < sums + 3 * TRIES; of += 3) {
      float d = (n * of[SUM_YQ] - sums[SUM_Y] * of[SUM_Q]) / (n * of[SUM_QQ] - of[SUM_Q] * of[SUM_Q]);
      float m = (sums[SUM_Y] - d * of[SUM_Q]) / n, gain = d * of[SUM_YQ] + m * sums[SUM_Y];
      if (!(gain > best) || !(gain < INFINITY)) continue;
      best = gain;
      s->d = d;
      s->m = t.middle + m - t.zero * d;
    }
  }
}

// ---- errors that do not count the same -----------------------------------------------------------------

// Starts of the search: the whole range in so many steps. From each, codes and the scheme that is best for
// them take turns: the sum of weighted squares falls or stays with every turn, and hardly falls behind the
// second.
static const float weighted_steps[] = {14, 15, 16, 17.5f, 19, 21};
enum { WEIGHTED_STEPS = sizeof weighted_steps / sizeof *weighted_steps, TURNS = 2 };

// Of values y from `middle`, codes q from the middle of theirs, importance w.
enum { SUM_W, SUM_WQ, SUM_WQQ, SUM_WY, SUM_WYQ, SUM_ERROR, WEIGHTED_SUMS = SUMS };
_Static_assert(SUM_ERROR < WEIGHTED_SUMS, "a place for each sum");

typedef struct weighing {
  const float *x, *importance; // [count]
  size_t count;
  float middle, centre; // of the values; of the codes: 0 where there is no minimum, and code 8
} weighing;

FG_CLONES static void weigh(const weighing *g, const scheme *given, float sums[SUMS]) {
  float lanes[SUMS][LANES] = {{0}};
  const scheme s = *given;
  const float inverse = s.d != 0 ? 1 / s.d : 0, middle = g->middle, centre = g->centre;
  for (size_t i = 0; i < g->count; i += LANES) FG_LANES
  for (int j = 0; j < LANES; j++) {
    float x = g->x[i + j], w = g->importance[i + j], y = x - middle;
    float code = nearest(within((x - s.m) * inverse + s.zero, s.least, s.most));
    float scaled = s.d * (code - s.zero), q = code - centre;
    float error = x - (scaled + s.m);
    lanes[SUM_W][j] += w;
    lanes[SUM_WQ][j] += w * q;
    lanes[SUM_WQQ][j] += w * q * q;
    lanes[SUM_WY][j] += w * y;
    lanes[SUM_WYQ][j] += w * y * q;
    lanes[SUM_ERROR][j] += w * error * error;
  }
  add_lanes(lanes, sums);
}

// The best scale (and minimum) for the codes that were weighed; what cannot be solved leaves the scheme.
static void solve(const weighing *g, bool minimum, const float sums[SUMS], scheme *s) {
  const double w = sums[SUM_W], q = sums[SUM_WQ], qq = sums[SUM_WQQ], y = sums[SUM_WY], yq = sums[SUM_WYQ];
  if (minimum) {
    const double d = (w * yq - y * q) / (w * qq - q * q), m = g->middle + (y - d * q) / w - g->centre * d;
    if (!isfinite(d) || !isfinite(m)) return;
    s->d = (float)d;
    s->m = (float)m;
  } else if (isfinite(yq / qq)) {
    s->d = (float)(yq / qq);
  }
}

static void store_scheme(scheme *s, bool minimum) {
  store_f16(&s->d, s->head);
  if (minimum) store_f16(&s->m, s->head + 2);
}

static scheme start_from(fg_group_form form, float low, float high, float steps) {
  scheme s = span_scheme(form, low, high);
  if (form.minimum) {
    s.d = (high - low) / steps;
    s.m = low + (high - low) / 2 - 7.5f * s.d;
  } else {
    s.d *= 16 / steps;
  }
  return s;
}

// *best: the scheme of the unweighted rounding.
static void fit_weighted(fg_group_form form, const weighing *given, scheme *best) {
  float low, high, sums[SUMS];
  find_range(given->x, given->count, &low, &high);
  weighing g = *given;
  g.middle = form.minimum ? low + (high - low) / 2 : 0;
  g.centre = form.minimum ? 7.5f : 8;
  weigh(&g, best, sums);
  float least = sums[SUM_ERROR];
  for (int i = 0; i <= WEIGHTED_STEPS; i++) {
    scheme s = i < WEIGHTED_STEPS ? start_from(form, low, high, weighted_steps[i]) : *best;
    for (int turn = 0; turn <= TURNS; turn++) {
      if (turn) solve(&g, form.minimum, sums, &s);
      store_scheme(&s, form.minimum);
      weigh(&g, &s, sums);
      if (!(sums[SUM_ERROR] < least)) continue;
      least = sums[SUM_ERROR];
      *best = s;
    }
  }
}

// ---- the scheme, and the codes -------------------------------------------------------------------------

static scheme choose_scheme(fg_group_form form, const float *x, size_t count) {
  float low, high;
  find_range(x, count, &low, &high);
  scheme s = span_scheme(form, low, high);
  if (form.bits == 4 && form.minimum && high > low) fit_range(&s, x, count, low, high);
  if (form.bits == 4 && !form.minimum && s.d != 0) fit_scale(&s, x, count);
  store_scheme(&s, form.minimum);
  return s;
}

FG_IN_CLONE int32_t code_of(const scheme *s, float inverse, float x) {
  return (int32_t)nearest(within((x - s->m) * inverse + s->zero, s->least, s->most));
}

FG_CLONES static void write_codes(uint32_t bits, const scheme *given, const float *x, size_t count,
                                  uint8_t *out) {
  const scheme s = *given;
  const float inverse = s.d != 0 ? 1 / s.d : 0;
  if (bits == 8) {
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)code_of(&s, inverse, x[i]);
    return;
  }
  for (size_t i = 0; i < count; i += RUN, out += HALF)
    for (int j = 0; j < HALF; j++)
      out[j] = (uint8_t)(code_of(&s, inverse, x[i + j]) | code_of(&s, inverse, x[i + j + HALF]) << 4);
}

// importance: NULL: all errors count the same
static void round_spans(fg_group_form form, size_t span, const float *importance, const float *src,
                        uint8_t *out, size_t count) {
  const size_t head = form.minimum ? 4 : 2;
  for (size_t i = 0; i < count; i += span) {
    scheme s = choose_scheme(form, src + i, span);
    const weighing g = {.x = src + i, .importance = importance ? importance + i : NULL, .count = span};
    if (importance && form.bits == 4) fit_weighted(form, &g, &s);
    for (size_t group = 0; group < span; group += form.group) {
      memcpy(out, s.head, head);
      write_codes(form.bits, &s, src + i + group, form.group, out + head);
      out += head + form.group * form.bits / 8;
    }
  }
}

void fg_groups_from_f32(fg_group_form form, size_t span, const float *src, void *dst, size_t count) {
  round_spans(form, span, NULL, src, dst, count);
}

void fg_groups_from_f32_weighted(fg_group_form form, size_t span, const float *importance, const float *src,
                                 void *dst, size_t count) {
  round_spans(form, span, importance, src, dst, count);
}
