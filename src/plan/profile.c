#include "plan/profile.h"

#include <float.h>
#include <math.h>

#include "device/device.h"

// ---- interpolation ---------------------------------------------------------------------------------------

// Between (x0, y0) and (x1, y1), all positive: a straight line where both axes are logarithms.
static double between(double x0, double y0, double x1, double y1, double x) {
  double share = log(x / x0) / log(x1 / x0);
  return exp(log(y0) + share * log(y1 / y0));
}

const uint16_t fg_profile_rows[FG_PROFILE_ROW_POINTS] = {1,  2,  4,   8,   12,  16,   24,  32,
                                                         48, 64, 128, 256, 512, 1024, 2048};

double fg_profile_at_rows(const double *seconds, double rows) {
  const uint32_t last = FG_PROFILE_ROW_POINTS - 1;
  if (rows <= 0) return 0;
  if (rows <= fg_profile_rows[0]) return seconds[0];
  if (rows >= fg_profile_rows[last]) return seconds[last] * rows / fg_profile_rows[last];
  uint32_t i = 0;
  while (rows > fg_profile_rows[i + 1]) i++;
  if (seconds[i] <= 0 || seconds[i + 1] <= 0) return 0;
  return between(fg_profile_rows[i], seconds[i], fg_profile_rows[i + 1], seconds[i + 1], rows);
}

// ---- products --------------------------------------------------------------------------------------------

static double bytes_a_value(fg_dtype dtype) {
  const fg_dtype_info *type = fg_dtype_get(dtype);
  return (double)type->bytes / type->block;
}

// How unlike the kernels of two types are: plain ones are read in place, codes are multiplied as they are,
// other blocks are expanded first. Among alike types it is how much there is to read.
static double unlike(fg_dtype a, fg_dtype b) {
  if (a == b) return 0;
  const fg_dtype_info *x = fg_dtype_get(a), *y = fg_dtype_get(b);
  double differs = (x->block == 1) != (y->block == 1) ? 32 : 0;
  if ((x->bits == 0) != (y->bits == 0)) differs += 16;
  if (x->minimum != y->minimum) differs += 0.125;
  if (x->bits && y->bits) differs += 0.25 * fabs(log2((double)x->block / y->block)); // what a group costs
  return differs + 0.0625 + fabs(log2(bytes_a_value(a) / bytes_a_value(b)));
}

enum { OTHER_ARITHMETIC = 256 }; // worse than any other type in the same one

static double product_distance(const fg_profile_product *p, fg_dtype dtype, int compute) {
  return unlike(p->dtype, dtype) + (p->compute == compute ? 0 : OTHER_ARITHMETIC);
}

static bool same_kind(const fg_profile_product *a, const fg_profile_product *b) {
  return a->dtype == b->dtype && a->compute == b->compute;
}

// Of the nearest kind, the entries with the closest k below and above; the same twice at an end.
static bool find_product(const fg_profile *profile, fg_dtype dtype, int compute, uint32_t k,
                         const fg_profile_product *found[2]) {
  const fg_profile_product *nearest = NULL;
  double least = DBL_MAX;
  for (uint32_t i = 0; i < profile->product_count; i++) {
    double distance = product_distance(&profile->products[i], dtype, compute);
    if (distance < least) least = distance, nearest = &profile->products[i];
  }
  if (!nearest) return false;
  const fg_profile_product *below = NULL, *above = NULL;
  for (uint32_t i = 0; i < profile->product_count; i++) {
    const fg_profile_product *p = &profile->products[i];
    if (!same_kind(p, nearest)) continue;
    if (p->k <= k && (!below || p->k > below->k)) below = p;
    if (p->k >= k && (!above || p->k < above->k)) above = p;
  }
  found[0] = below ? below : above;
  found[1] = above ? above : below;
  return true;
}

double fg_profile_product_seconds(const fg_profile *profile, fg_dtype dtype, int compute, uint32_t k,
                                  double values, double rows) {
  const fg_profile_product *p[2];
  if (compute == FG_COMPUTE_INT8 && !fg_dtype_get(dtype)->bits) compute = FG_COMPUTE_BF16;
  if (rows <= 0 || values <= 0 || !find_product(profile, dtype, compute, k, p)) return 0;
  double low = fg_profile_at_rows(p[0]->seconds, rows), high = fg_profile_at_rows(p[1]->seconds, rows);
  return values * (p[0]->k == p[1]->k ? low : between(p[0]->k, low, p[1]->k, high, k));
}

const uint16_t fg_profile_step_rows[FG_PROFILE_STEP_POINTS] = {16, 256};

double fg_profile_in_step(const fg_profile *profile, int compute, double rows) {
  const double *times = profile->in_step[compute], few = fg_profile_step_rows[0],
               many = fg_profile_step_rows[1];
  if (times[0] <= 0 || times[1] <= 0) return 1;
  return rows <= few ? times[0] : rows >= many ? times[1] : between(few, times[0], many, times[1], rows);
}

// ---- attention -------------------------------------------------------------------------------------------

// Entries of one type of cache around a head size and a group.
typedef struct corner {
  uint32_t low, high;
} corner;

static void widen(corner *c, uint32_t measured, uint32_t wanted) {
  if (measured <= wanted && measured > c->low) c->low = measured;
  if (measured >= wanted && (!c->high || measured < c->high)) c->high = measured;
}

static void settle(corner *c) {
  if (!c->low) c->low = c->high;
  if (!c->high) c->high = c->low;
}

static bool nearest_cache(const fg_profile *profile, fg_dtype wanted, fg_dtype *found) {
  double least = DBL_MAX;
  for (uint32_t i = 0; i < profile->attention_count; i++) {
    double distance = unlike(profile->attentions[i].cache, wanted);
    if (distance < least) least = distance, *found = profile->attentions[i].cache;
  }
  return profile->attention_count > 0;
}

static const fg_profile_attention *entry_of(const fg_profile *profile, fg_dtype cache, uint32_t dim,
                                            uint32_t group) {
  const fg_profile_attention *other = NULL; // of the same size at least, if the table has a hole
  for (uint32_t i = 0; i < profile->attention_count; i++) {
    const fg_profile_attention *a = &profile->attentions[i];
    if (a->cache != cache || a->k_dim != dim) continue;
    if (a->group == group) return a;
    other = a;
  }
  return other;
}

typedef double attention_time(const fg_profile_attention *a);

static double decode_of(const fg_profile_attention *a) {
  return a->decode;
}
static double prefill_of(const fg_profile_attention *a) {
  return a->prefill;
}

// In the direction of groups, at one head size. What a head of queries costs stays as it is beyond the last
// measured group: `grows` says whether the time is that of all of the group.
static double at_group(const fg_profile *profile, fg_dtype cache, uint32_t dim, uint32_t group,
                       attention_time *time, bool grows) {
  corner c = {0, 0};
  for (uint32_t i = 0; i < profile->attention_count; i++)
    if (profile->attentions[i].cache == cache && profile->attentions[i].k_dim == dim)
      widen(&c, profile->attentions[i].group, group);
  settle(&c);
  double low = time(entry_of(profile, cache, dim, c.low)), high = time(entry_of(profile, cache, dim, c.high));
  if (c.low != c.high) return between(c.low, low, c.high, high, group);
  return grows && group > c.high ? high * group / c.high : high;
}

static double attention_seconds(const fg_profile *profile, const fg_kv_geometry *kv, uint32_t heads,
                                attention_time *time, bool grows) {
  fg_dtype cache = kv->dtype;
  if (!kv->kv_heads || !kv->k_dim || !nearest_cache(profile, kv->dtype, &cache)) return 0;
  uint32_t group = heads / kv->kv_heads;
  if (!group) group = 1;
  corner c = {0, 0};
  for (uint32_t i = 0; i < profile->attention_count; i++)
    if (profile->attentions[i].cache == cache) widen(&c, profile->attentions[i].k_dim, kv->k_dim);
  settle(&c);
  double low = at_group(profile, cache, c.low, group, time, grows);
  double size = ((double)kv->k_dim + kv->v_dim) / 2; // measured with values as wide as keys
  if (c.low == c.high) return low * size / c.low;
  double high = at_group(profile, cache, c.high, group, time, grows);
  return between(c.low, low, c.high, high, kv->k_dim) * size / kv->k_dim;
}

double fg_profile_decode_seconds(const fg_profile *profile, const fg_kv_geometry *kv, uint32_t heads,
                                 double keys) {
  return keys > 0 ? keys * kv->kv_heads * attention_seconds(profile, kv, heads, decode_of, true) : 0;
}

double fg_profile_prefill_seconds(const fg_profile *profile, const fg_kv_geometry *kv, uint32_t heads,
                                  double pairs) {
  return pairs > 0 ? pairs * heads * attention_seconds(profile, kv, heads, prefill_of, false) : 0;
}
