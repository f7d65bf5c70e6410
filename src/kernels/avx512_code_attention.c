// Attention over a cache of codes, by dot products of bytes. Compiled for AVX-512 with VNNI
// (src/CMakeLists.txt).
//
// Codes are multiplied as they are. Their other factors, the 64 values of a query that belong to a group of
// dimensions, or a query's weights of the 64 keys of a block times the scales of a group, become whole
// numbers of 16 bits, in parts of the largest of the 64: two bytes, of which each has a sum of its own. Such
// sums are exact, so their order is free and a row's bits do not depend on what else is in its block; scales,
// minima, sums, maxima and outputs are float32. (kv_codes_tmpl.h tells what a row is.)
#if defined(__AVX512VNNI__)

#include <string.h>

#include "kernels/attend_avx512.h"

enum {
  GROUP = 64,   // codes with a scale and a minimum; as many as keys of a block
  RANGE = 4,    // bytes of the two
  QUADS = 16,   // of codes in a group
  MOST = 32639, // 127 * 256 + 127
};

typedef __m512i ivec;

// 64 whole numbers, 256 high + low: quad i of bytes is at place_of(i).
typedef struct factors {
  uint32_t high[QUADS], low[QUADS];
} factors;

// A group's part of a block of rows.
typedef struct tile {
  uint32_t quads[QUADS][GROUP]; // of codes: four dimensions of a key each, or four keys of a dimension each
  float scales[FG_KEY_BLOCK], minima[FG_KEY_BLOCK]; // of the keys
} tile;

typedef struct attend {
  const fg_attention *a;
  const fg_query_block *block;
  uint32_t queries, bits, k_groups, v_groups;
  uint32_t k_lines, v_lines; // to ask for with every quarter of a group of a block
  softmax s;
  factors *q;              // [queries, k_groups], scaled
  float *q_units, *q_sums; // [queries, k_groups]: what 1 in q is worth; sums of what was rounded
  tile *keys;              // of the group in hand
  tile *values;            // [v_groups]
  factors *w;              // [queries]: weights times scales of the group in hand
  float *w_units, *w_sums; // [queries]: what 1 in w is worth; sums of weights times minima
  uint8_t *zeros;          // a row
} attend;

// ---- factors -------------------------------------------------------------------------------------------

// Where packing two times two vectors puts it.
static inline int place_of(int quad) {
  return quad % 4 * 4 + quad / 4;
}

// Returns what 1 in `f` is worth. What is no number is not told from numbers here: sums of x tell.
static inline float round_factors(vec_4 x, factors *f) {
  const float least = 1e-30f; // MOST / least is finite
  float largest =
      vec_highest(vec_max(vec_max(vec_abs(x.v0), vec_abs(x.v1)), vec_max(vec_abs(x.v2), vec_abs(x.v3))));
  vec inverse = vec_set(largest > least ? MOST / largest : 0);
  ivec a = _mm512_packs_epi32(_mm512_cvtps_epi32(vec_mul(x.v0, inverse)),
                              _mm512_cvtps_epi32(vec_mul(x.v1, inverse)));
  ivec b = _mm512_packs_epi32(_mm512_cvtps_epi32(vec_mul(x.v2, inverse)),
                              _mm512_cvtps_epi32(vec_mul(x.v3, inverse)));
  const ivec half = _mm512_set1_epi16(128), byte = _mm512_set1_epi16(255);
  _mm512_storeu_si512(f->high, _mm512_packs_epi16(_mm512_srai_epi16(_mm512_add_epi16(a, half), 8),
                                                  _mm512_srai_epi16(_mm512_add_epi16(b, half), 8)));
  _mm512_storeu_si512(f->low, _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(b, byte)));
  return largest * (1.0f / MOST);
}

// ---- products ------------------------------------------------------------------------------------------

// 64 sums by the high bytes and by the low ones.
typedef struct dots {
  ivec h0, h1, h2, h3, l0, l1, l2, l3;
} dots;

static inline dots no_dots(void) {
  ivec zero = _mm512_setzero_si512();
  return (dots){zero, zero, zero, zero, zero, zero, zero, zero};
}

static inline dots add_quads(dots s, const uint32_t *quads, const factors *f, int i) {
  ivec high = _mm512_set1_epi32((int)f->high[place_of(i)]), low = _mm512_set1_epi32((int)f->low[place_of(i)]);
  ivec c0 = _mm512_loadu_si512(quads), c1 = _mm512_loadu_si512(quads + VEC);
  ivec c2 = _mm512_loadu_si512(quads + 2 * VEC), c3 = _mm512_loadu_si512(quads + 3 * VEC);
  return (dots){_mm512_dpbusd_epi32(s.h0, c0, high), _mm512_dpbusd_epi32(s.h1, c1, high),
                _mm512_dpbusd_epi32(s.h2, c2, high), _mm512_dpbusd_epi32(s.h3, c3, high),
                _mm512_dpbusd_epi32(s.l0, c0, low),  _mm512_dpbusd_epi32(s.l1, c1, low),
                _mm512_dpbusd_epi32(s.l2, c2, low),  _mm512_dpbusd_epi32(s.l3, c3, low)};
}

// At most 64 * 255 * MOST < 2^31.
static inline vec whole_sum(ivec high, ivec low) {
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low));
}
static inline vec_4 whole_sums(dots s) {
  return (vec_4){whole_sum(s.h0, s.l0), whole_sum(s.h1, s.l1), whole_sum(s.h2, s.l2), whole_sum(s.h3, s.l3)};
}

static inline vec_4 multiply(const tile *t, const factors *f) {
  dots s = no_dots();
#pragma GCC unroll 16
  for (int i = 0; i < QUADS; i++) s = add_quads(s, t->quads[i], f, i);
  return whole_sums(s);
}

// Two queries share the loads of codes.
static inline void multiply_2(const tile *t, const factors *f, const factors *g, vec_4 out[2]) {
  dots s = no_dots(), r = s;
#pragma GCC unroll 16
  for (int i = 0; i < QUADS; i++) {
    s = add_quads(s, t->quads[i], f, i);
    r = add_quads(r, t->quads[i], g, i);
  }
  out[0] = whole_sums(s);
  out[1] = whole_sums(r);
}

// ---- tiles ---------------------------------------------------------------------------------------------

typedef struct group {
  uint64_t at;    // bytes before it in a row
  uint32_t count; // of codes
} group;

static inline group group_of(const attend *t, uint32_t dim, uint32_t index) {
  uint32_t left = dim - index * GROUP;
  return (group){(uint64_t)index * (RANGE + GROUP * t->bits / 8), left < GROUP ? left : GROUP};
}

static inline void load_ranges(const uint8_t *const *rows, group g, tile *out) {
  uint32_t both[FG_KEY_BLOCK];
#pragma GCC unroll 16
  for (int i = 0; i < FG_KEY_BLOCK; i++) memcpy(&both[i], rows[i] + g.at, sizeof *both);
  for (int i = 0; i < FG_KEY_BLOCK; i += VEC) {
    ivec pairs = _mm512_loadu_si512(both + i);
    vec_store(out->scales + i, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs)));
    vec_store(out->minima + i, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16))));
  }
}

static inline __mmask64 bytes_of(uint32_t count) {
  return count < 64 ? (1ull << count) - 1 : ~0ull;
}

static inline ivec low_halves(ivec bytes) {
  return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}

// Of 16 keys; quads: [16], GROUP apart.
static void tile_keys_8(const uint8_t *const *rows, group g, uint32_t *quads) {
  __mmask64 mask = bytes_of(g.count);
  vec in[VEC], out[VEC];
  if (g.count == GROUP)
    for (int i = 0; i < VEC; i++) in[i] = _mm512_loadu_ps(rows[i] + g.at + RANGE);
  else
    for (int i = 0; i < VEC; i++)
      in[i] = _mm512_castsi512_ps(_mm512_maskz_loadu_epi8(mask, rows[i] + g.at + RANGE));
  vec_transpose_16(in, out);
  for (int i = 0; i < VEC; i++) vec_store((float *)(quads + (size_t)i * GROUP), out[i]);
}

// Words of 8 codes are put in place before their halves are taken apart.
static void tile_keys_4(const uint8_t *const *rows, group g, uint32_t *quads) {
  __mmask32 mask = (__mmask32)bytes_of(g.count / 2);
  ivec r[8], s[8];
  for (int i = 0; i < 8; i++) {
    const uint8_t *const *row = rows + i / 4 * 8 + i % 4;
    __m256i a = _mm256_maskz_loadu_epi8(mask, row[0] + g.at + RANGE);
    __m256i b = _mm256_maskz_loadu_epi8(mask, row[4] + g.at + RANGE);
    r[i] = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
  }
  for (int i = 0; i < 8; i += 2) {
    s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    s[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    s[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
  }
  for (int i = 0; i < 8; i++) {
    int low =
        i / 2 * 4 + i % 2; // a run's 16 values are in the low halves of two words, then in the high ones
    _mm512_storeu_si512(quads + (size_t)low * GROUP, low_halves(s[i]));
    _mm512_storeu_si512(quads + (size_t)(low + 2) * GROUP, low_halves(_mm512_srli_epi16(s[i], 4)));
  }
}

static inline ivec load_codes(const uint8_t *row, group g, uint32_t bits) {
  const uint8_t *p = row + g.at + RANGE;
  if (bits == 8)
    return g.count == GROUP ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(bytes_of(g.count), p);
  __m256i both = g.count == GROUP ? _mm256_loadu_si256((const __m256i *)p)
                                  : _mm256_maskz_loadu_epi8((__mmask32)bytes_of(g.count / 2), p);
  const ivec shifts = _mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0);
  return low_halves(_mm512_srlv_epi64(_mm512_broadcast_i64x4(both), shifts));
}

// Quad i of positions. Its vector v has in each quarter four bytes of that quarter, [4 v, 4 v + 4):
// store_group puts that, and halves of bytes, into the order of dimensions.
static inline void tile_quad(const uint8_t *const *rows, group g, uint32_t bits, tile *out, uint32_t i) {
  const uint8_t *const *row = rows + (size_t)4 * i;
  ivec r0 = load_codes(row[0], g, bits), r1 = load_codes(row[1], g, bits);
  ivec r2 = load_codes(row[2], g, bits), r3 = load_codes(row[3], g, bits);
  ivec a = _mm512_unpacklo_epi8(r0, r1), b = _mm512_unpackhi_epi8(r0, r1);
  ivec c = _mm512_unpacklo_epi8(r2, r3), d = _mm512_unpackhi_epi8(r2, r3);
  _mm512_storeu_si512(out->quads[i], _mm512_unpacklo_epi16(a, c));
  _mm512_storeu_si512(out->quads[i] + VEC, _mm512_unpackhi_epi16(a, c));
  _mm512_storeu_si512(out->quads[i] + 2 * VEC, _mm512_unpacklo_epi16(b, d));
  _mm512_storeu_si512(out->quads[i] + 3 * VEC, _mm512_unpackhi_epi16(b, d));
}

// Of a whole group the compiler knows how many codes it has.
static inline void tile_values(const uint8_t *const *rows, group g, uint32_t bits, tile *out, uint32_t i) {
  if (g.count == GROUP)
    tile_quad(rows, (group){g.at, GROUP}, bits, out, i);
  else
    tile_quad(rows, g, bits, out, i);
}

// ---- a block of keys -----------------------------------------------------------------------------------

// scores (+)= what a group of dimensions brings
static inline void add_scores(const attend *t, uint32_t query, uint32_t index, vec_4 whole) {
  uint64_t i = (uint64_t)query * t->k_groups + index;
  float *scores = t->s.scores + (uint64_t)query * FG_KEY_BLOCK;
  vec unit = vec_set(t->q_units[i]), sum = vec_set(t->q_sums[i]);
  vec_4 s = index ? load_4(scores) : (vec_4){vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
  vec_4 d = load_4(t->keys->scales), m = load_4(t->keys->minima);
  s.v0 = vec_fma(whole.v0, vec_mul(d.v0, unit), vec_fma(m.v0, sum, s.v0));
  s.v1 = vec_fma(whole.v1, vec_mul(d.v1, unit), vec_fma(m.v1, sum, s.v1));
  s.v2 = vec_fma(whole.v2, vec_mul(d.v2, unit), vec_fma(m.v2, sum, s.v2));
  s.v3 = vec_fma(whole.v3, vec_mul(d.v3, unit), vec_fma(m.v3, sum, s.v3));
  store_4(scores, s);
}

static void score(const attend *t, const uint8_t *const *rows, fetcher ahead) {
  for (uint32_t index = 0; index < t->k_groups; index++) {
    const factors *q = t->q + index;
    group g = group_of(t, t->a->kv.k_dim, index);
    load_ranges(rows, g, t->keys);
    for (uint32_t j = 0; j < FG_KEY_BLOCK; j += VEC) {
      fetch_lines(&ahead, t->k_lines);
      (t->bits == 8 ? tile_keys_8 : tile_keys_4)(rows + j, g, t->keys->quads[0] + j);
    }
    uint32_t i = 0;
    for (; i + 2 <= t->queries; i += 2) {
      vec_4 whole[2];
      multiply_2(t->keys, q + (uint64_t)i * t->k_groups, q + (uint64_t)(i + 1) * t->k_groups, whole);
      add_scores(t, i, index, whole[0]);
      add_scores(t, i + 1, index, whole[1]);
    }
    if (i < t->queries) add_scores(t, i, index, multiply(t->keys, q + (uint64_t)i * t->k_groups));
  }
}

static void load_values(const attend *t, const uint8_t *const *rows, fetcher ahead) {
  for (uint32_t index = 0; index < t->v_groups; index++) {
    group g = group_of(t, t->a->kv.v_dim, index);
    load_ranges(rows, g, &t->values[index]);
    for (uint32_t i = 0; i < QUADS; i++) {
      fetch_lines(&ahead, t->v_lines / 4 + 1);
      if (t->bits == 8)
        tile_values(rows, g, 8, &t->values[index], i);
      else
        tile_values(rows, g, 4, &t->values[index], i);
    }
  }
}

static inline void weigh(const attend *t, uint32_t query, const tile *values) {
  vec_4 w = load_4(t->s.scores + (uint64_t)query * FG_KEY_BLOCK), d = load_4(values->scales);
  vec_4 m = load_4(values->minima);
  d = (vec_4){vec_mul(w.v0, d.v0), vec_mul(w.v1, d.v1), vec_mul(w.v2, d.v2), vec_mul(w.v3, d.v3)};
  t->w_units[query] = round_factors(d, &t->w[query]);
  t->w_sums[query] =
      vec_sum(vec_add(vec_fma(w.v0, m.v0, vec_mul(w.v1, m.v1)), vec_fma(w.v2, m.v2, vec_mul(w.v3, m.v3))));
}

static inline void add_outputs(const attend *t, uint32_t query, uint32_t index, vec_4 whole) {
  float *out = t->s.out + query * t->s.stride + (uint64_t)index * GROUP;
  vec unit = vec_set(t->w_units[query]), minimum = vec_set(t->w_sums[query]);
  vec_4 s = load_4(out);
  s.v0 = vec_fma(whole.v0, unit, vec_add(s.v0, minimum));
  s.v1 = vec_fma(whole.v1, unit, vec_add(s.v1, minimum));
  s.v2 = vec_fma(whole.v2, unit, vec_add(s.v2, minimum));
  s.v3 = vec_fma(whole.v3, unit, vec_add(s.v3, minimum));
  store_4(out, s);
}

static void add_values(const attend *t) {
  for (uint32_t index = 0; index < t->v_groups; index++) {
    const tile *values = &t->values[index];
    uint32_t i = 0;
    for (uint32_t k = 0; k < t->queries; k++) weigh(t, k, values);
    for (; i + 2 <= t->queries; i += 2) {
      vec_4 whole[2];
      multiply_2(values, &t->w[i], &t->w[i + 1], whole);
      add_outputs(t, i, index, whole[0]);
      add_outputs(t, i + 1, index, whole[1]);
    }
    if (i < t->queries) add_outputs(t, i, index, multiply(values, &t->w[i]));
  }
}

// Values are made ready while the CPU waits for scores, of which they are free.
static void attend_keys(const void *context, uint32_t first, const key_block *keys, const fetcher ahead[2]) {
  const attend *t = context;
  score(t, keys->rows[KEYS], ahead[KEYS]);
  load_values(t, keys->rows[VALUES], ahead[VALUES]);
  for (uint32_t i = 0; i < t->queries; i++) {
    float *scores = t->s.scores + (uint64_t)i * FG_KEY_BLOCK;
    if (has_head_scores(t->a)) vec_head_scores(t->a, t->block, i, first, POWERS_OF_TWO, scores);
    store_4(scores, soften(&t->s, i, seen_of(t->a, t->block, i / t->block->heads, first)));
  }
  add_values(t);
}

// ---- a block of queries --------------------------------------------------------------------------------

static vec_4 load_part(const float *p, uint32_t count, vec scale) {
  float part[GROUP] = {0};
  memcpy(part, p, count * sizeof *part);
  vec_4 x = load_4(part);
  return (vec_4){vec_mul(x.v0, scale), vec_mul(x.v1, scale), vec_mul(x.v2, scale), vec_mul(x.v3, scale)};
}

static void load_queries(const attend *t) {
  const fg_attention *a = t->a;
  const vec scale = vec_set(a->scale * POWERS_OF_TWO);
  for (uint32_t i = 0; i < t->queries; i++) {
    const float *q = fg_query_vector(a, t->block, i);
    for (uint32_t g = 0; g < t->k_groups; g++) {
      uint64_t at = (uint64_t)i * t->k_groups + g;
      vec_4 x = load_part(q + (uint64_t)g * GROUP, group_of(t, a->kv.k_dim, g).count, scale);
      t->q_units[at] = round_factors(x, &t->q[at]);
      t->q_sums[at] = vec_sum(vec_add(vec_add(x.v0, x.v1), vec_add(x.v2, x.v3)));
    }
    begin_softmax(a, t->block, i, POWERS_OF_TWO, &t->s.max[i], &t->s.sums[i]);
  }
}

// Quarter j of vector i becomes quarter i of vector j.
static inline vec_4 turn_quarters(vec_4 s) {
  vec a = _mm512_shuffle_f32x4(s.v0, s.v1, 0x44), b = _mm512_shuffle_f32x4(s.v0, s.v1, 0xee);
  vec c = _mm512_shuffle_f32x4(s.v2, s.v3, 0x44), d = _mm512_shuffle_f32x4(s.v2, s.v3, 0xee);
  return (vec_4){_mm512_shuffle_f32x4(a, c, 0x88), _mm512_shuffle_f32x4(a, c, 0xdd),
                 _mm512_shuffle_f32x4(b, d, 0x88), _mm512_shuffle_f32x4(b, d, 0xdd)};
}

// from: [64], as tile_quad orders them; out: [count], divided by `by`.
static void store_group(uint32_t bits, const float *from, vec by, uint32_t count, float *out) {
  float bytes[GROUP];
  vec_4 s = load_4(from);
  s = (vec_4){vec_div(s.v0, by), vec_div(s.v1, by), vec_div(s.v2, by), vec_div(s.v3, by)};
  store_4(bytes, turn_quarters(s));
  if (bits == 8) {
    memcpy(out, bytes, count * sizeof *out);
    return;
  }
  for (uint32_t i = 0; i < count; i += VEC) {
    memcpy(out + i, bytes + i / 2, VEC / 2 * sizeof *out);
    memcpy(out + i + VEC / 2, bytes + GROUP / 2 + i / 2, VEC / 2 * sizeof *out);
  }
}

// The other way.
static void load_group(uint32_t bits, const float *from, uint32_t count, float *out) {
  float bytes[GROUP] = {0};
  if (bits == 8)
    memcpy(bytes, from, count * sizeof *from);
  else
    for (uint32_t i = 0; i < count; i += VEC) {
      memcpy(bytes + i / 2, from + i, VEC / 2 * sizeof *from);
      memcpy(bytes + GROUP / 2 + i / 2, from + i + VEC / 2, VEC / 2 * sizeof *from);
    }
  store_4(out, turn_quarters(load_4(bytes)));
}

static void load_outputs(const attend *t) {
  const fg_attention *a = t->a;
  if (!t->block->resumes) {
    memset(t->s.out, 0, t->queries * t->s.stride * sizeof(float));
    return;
  }
  for (uint32_t i = 0; i < t->queries; i++)
    for (uint32_t g = 0; g < t->v_groups; g++)
      load_group(t->bits, fg_query_output(a, t->block, i) + (uint64_t)g * GROUP,
                 group_of(t, a->kv.v_dim, g).count, t->s.out + i * t->s.stride + (uint64_t)g * GROUP);
}

static void store_outputs(const attend *t) {
  const fg_attention *a = t->a;
  const bool pauses = t->block->pauses;
  for (uint32_t i = 0; i < t->queries; i++) {
    float *out = fg_query_output(a, t->block, i);
    for (uint32_t g = 0; g < t->v_groups; g++)
      store_group(t->bits, t->s.out + i * t->s.stride + (uint64_t)g * GROUP,
                  vec_set(pauses ? 1 : t->s.sums[i]), group_of(t, a->kv.v_dim, g).count,
                  out + (uint64_t)g * GROUP);
    if (pauses) leave_softmax(a, t->block, i, t->s.max[i], t->s.sums[i]);
  }
}

static uint32_t lines_a_quarter(const fg_attention *a, uint32_t dim, uint32_t groups) {
  return (uint32_t)(fg_kv_row_bytes(a->kv.dtype, dim) * FG_KEY_BLOCK / LINE / 4 / groups) + 2;
}

static attend attend_of(const fg_attention *a, const fg_query_block *block, void *scratch) {
  attend t = {.a = a, .block = block, .queries = block->rows * block->heads};
  t.bits = fg_dtype_get(a->kv.dtype)->bits;
  t.k_groups = (a->kv.k_dim - 1) / GROUP + 1;
  t.v_groups = (a->kv.v_dim - 1) / GROUP + 1;
  t.k_lines = lines_a_quarter(a, a->kv.k_dim, t.k_groups);
  t.v_lines = lines_a_quarter(a, a->kv.v_dim, t.v_groups);
  t.s.stride = (uint64_t)t.v_groups * GROUP;
  t.keys = scratch;
  t.values = t.keys + 1;
  t.w = (factors *)(t.values + t.v_groups);
  t.q = t.w + FG_QUERY_BLOCK;
  t.s.scores = (float *)(t.q + (uint64_t)FG_QUERY_BLOCK * t.k_groups);
  t.s.out = t.s.scores + (uint64_t)FG_KEY_BLOCK * FG_QUERY_BLOCK;
  t.s.max = t.s.out + t.s.stride * FG_QUERY_BLOCK;
  t.s.sums = t.s.max + FG_QUERY_BLOCK;
  t.w_units = t.s.sums + FG_QUERY_BLOCK;
  t.w_sums = t.w_units + FG_QUERY_BLOCK;
  t.q_units = t.w_sums + FG_QUERY_BLOCK;
  t.q_sums = t.q_units + (uint64_t)FG_QUERY_BLOCK * t.k_groups;
  t.zeros = (uint8_t *)(t.q_sums + (uint64_t)FG_QUERY_BLOCK * t.k_groups);
  uint32_t groups = t.k_groups > t.v_groups ? t.k_groups : t.v_groups;
  memset(t.zeros, 0, (uint64_t)groups * (RANGE + GROUP));
  return t;
}

static void attention(const fg_attention *a, const fg_query_block *block, void *scratch) {
  const attend t = attend_of(a, block, scratch);
  load_queries(&t);
  load_outputs(&t);
  walk_keys(a, block, t.zeros, attend_keys, &t);
  store_outputs(&t);
}

// ---- scores alone --------------------------------------------------------------------------------------

typedef struct scoring {
  const attend *t;
  float *scores; // [queries, stride], from key `origin` on
  uint64_t stride;
  uint32_t origin;
} scoring;

static void score_keys(const void *context, uint32_t first, const key_block *keys, const fetcher ahead[2]) {
  const scoring *s = context;
  const attend *t = s->t;
  score(t, keys->rows[KEYS], keys_ahead(t->a, ahead));
  for (uint32_t i = 0; i < t->queries; i++) {
    float *scores = t->s.scores + (uint64_t)i * FG_KEY_BLOCK,
          *out = s->scores + i * s->stride + (first - s->origin);
    if (has_head_scores(t->a)) vec_head_scores(t->a, t->block, i, first, POWERS_OF_TWO, scores);
    vec unit = vec_set(1 / POWERS_OF_TWO);
    for (uint32_t j = 0; j < FG_KEY_BLOCK; j += VEC) vec_store(out + j, vec_mul(vec_load(scores + j), unit));
  }
}

static void score_block(const fg_attention *a, const fg_query_block *block, float *scores, uint64_t stride,
                        void *scratch) {
  const attend t = attend_of(a, block, scratch);
  load_queries(&t);
  walk_keys(a, block, t.zeros, score_keys, &(scoring){&t, scores, stride, first_block(a, block)});
}

void fg_attention_avx512_codes(fg_kernels *k) {
  k->attend_rounded[FG_I8G64M] = attention;
  k->attend_rounded[FG_I4G64M] = attention;
  k->score_rounded[FG_I8G64M] = score_block;
  k->score_rounded[FG_I4G64M] = score_block;
}

#else
typedef int fg_avx512_vnni_is_not_of_this_cpu;
#endif
