#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "random.h"
#include "variants.h"

// One sequence: q, k and v of all its tokens in float32 (already rounded to the cache's type), and a cache
// whose pages lie in a shuffled order. Memory of no token is NaN.
typedef struct sequence {
  fg_kv_geometry kv;
  uint32_t heads, tokens, window;
  float scale;
  float *q, *k, *v;
  uint8_t *cache;
  int32_t *pages;
} sequence;

static void put_token(sequence *s, uint32_t token) {
  const fg_kv_geometry *kv = &s->kv;
  const fg_dtype_info *info = fg_dtype_get(kv->dtype);
  uint8_t *page = s->cache + (uint64_t)s->pages[token / kv->page_tokens] * fg_kv_page_bytes(kv);
  uint32_t place = token % kv->page_tokens;
  uint8_t *values = page + (uint64_t)kv->kv_heads * kv->page_tokens * kv->k_dim * info->bytes;
  for (uint32_t h = 0; h < kv->kv_heads; h++) {
    float *k = s->k + ((uint64_t)token * kv->kv_heads + h) * kv->k_dim;
    float *v = s->v + ((uint64_t)token * kv->kv_heads + h) * kv->v_dim;
    uint8_t *to_k = page + ((uint64_t)h * kv->page_tokens + place) * kv->k_dim * info->bytes;
    uint8_t *to_v = values + ((uint64_t)h * kv->page_tokens + place) * kv->v_dim * info->bytes;
    info->from_f32(k, to_k, kv->k_dim);
    info->to_f32(to_k, k, kv->k_dim);
    info->from_f32(v, to_v, kv->v_dim);
    info->to_f32(to_v, v, kv->v_dim);
  }
}

static sequence make_sequence(fg_kv_geometry kv, uint32_t heads, uint32_t tokens, uint32_t window,
                              uint64_t seed) {
  uint64_t state = seed;
  sequence s = {.kv = kv, .heads = heads, .tokens = tokens, .window = window, .scale = 0.3f};
  s.q = random_floats(&state, (size_t)tokens * heads * kv.k_dim);
  s.k = random_floats(&state, (size_t)tokens * kv.kv_heads * kv.k_dim);
  s.v = random_floats(&state, (size_t)tokens * kv.kv_heads * kv.v_dim);
  for (size_t i = 0; i < (size_t)tokens * heads * kv.k_dim; i++) s.q[i] *= 6; // weights far from uniform
  uint32_t pages = (tokens - 1) / kv.page_tokens + 1;
  s.cache = malloc(pages * fg_kv_page_bytes(&kv));
  memset(s.cache, 0xff, pages * fg_kv_page_bytes(&kv));
  s.pages = malloc(pages * sizeof *s.pages);
  for (uint32_t i = 0; i < pages; i++) {
    uint32_t j = (uint32_t)(random_u64(&state) % (i + 1));
    s.pages[i] = s.pages[j];
    s.pages[j] = (int32_t)i;
  }
  for (uint32_t t = 0; t < tokens; t++) put_token(&s, t);
  return s;
}

static void drop_sequence(sequence *s) {
  free(s->q), free(s->k), free(s->v), free(s->cache), free(s->pages);
}

// The definition, in doubles.
static void naive(const sequence *s, uint32_t token, uint32_t head, double *out) {
  const fg_kv_geometry *kv = &s->kv;
  uint32_t kv_head = head / (s->heads / kv->kv_heads);
  uint32_t first = s->window && token + 1 > s->window ? token + 1 - s->window : 0;
  double *weights = calloc(token + 1, sizeof *weights), max = -INFINITY, sum = 0;
  const float *q = s->q + ((size_t)token * s->heads + head) * kv->k_dim;
  for (uint32_t j = first; j <= token; j++) {
    for (uint32_t c = 0; c < kv->k_dim; c++)
      weights[j] += (double)q[c] * s->k[((size_t)j * kv->kv_heads + kv_head) * kv->k_dim + c];
    weights[j] *= s->scale;
    max = fmax(max, weights[j]);
  }
  for (uint32_t j = first; j <= token; j++) sum += weights[j] = exp(weights[j] - max);
  for (uint32_t c = 0; c < kv->v_dim; c++) out[c] = 0;
  for (uint32_t j = first; j <= token; j++)
    for (uint32_t c = 0; c < kv->v_dim; c++)
      out[c] += weights[j] / sum * s->v[((size_t)j * kv->kv_heads + kv_head) * kv->v_dim + c];
  free(weights);
}

// All tokens, in chunks of `chunk` rows, each cut into blocks of `rows` queries; out [tokens, heads, v_dim].
static float *attend(const fg_kernels *k, const sequence *s, uint32_t chunk, uint32_t rows) {
  uint32_t group = s->heads / s->kv.kv_heads, q_width = s->heads * s->kv.k_dim,
           width = s->heads * s->kv.v_dim;
  uint32_t dim = s->kv.k_dim > s->kv.v_dim ? s->kv.k_dim : s->kv.v_dim;
  float *out = malloc((size_t)s->tokens * width * sizeof *out);
  void *scratch = malloc(fg_attend_scratch_bytes(dim));
  memset(scratch, 0xff, fg_attend_scratch_bytes(dim)); // what is left from earlier work must not matter
  for (uint32_t begin = 0; begin < s->tokens; begin += chunk) {
    uint32_t count = s->tokens - begin < chunk ? s->tokens - begin : chunk;
    fg_attention a = {
        s->kv,   s->heads, s->window, s->scale, s->q + (size_t)begin * q_width, out + (size_t)begin * width,
        q_width, width,    s->cache};
    for (uint32_t first = 0; first < count; first += rows)
      for (uint32_t h = 0; h < s->kv.kv_heads; h++) {
        fg_query_block block = {.pages = s->pages,
                                .row = first,
                                .rows = count - first < rows ? count - first : rows,
                                .position = begin + first,
                                .head = h * group,
                                .heads = group};
        k->attend[s->kv.dtype](&a, &block, scratch);
      }
  }
  free(scratch);
  return out;
}

static void compare_with_naive(const char *name, const sequence *s, const float *out) {
  double *want = malloc(s->kv.v_dim * sizeof *want);
  for (uint32_t t = 0; t < s->tokens; t++)
    for (uint32_t h = 0; h < s->heads; h++) {
      naive(s, t, h, want);
      for (uint32_t c = 0; c < s->kv.v_dim; c++) {
        float got = out[((size_t)t * s->heads + h) * s->kv.v_dim + c];
        if (!(fabs(got - want[c]) < 2e-5)) // scores of 20 are rounded to 1e-6 of themselves
          fail_msg("%s, %s, window %u, pages of %u: token %u head %u [%u] is %g, not %g", name,
                   fg_dtype_get(s->kv.dtype)->name, s->window, s->kv.page_tokens, t, h, c, got, want[c]);
      }
    }
  free(want);
}

typedef struct setting {
  fg_kv_geometry kv;
  uint32_t heads, tokens, window;
} setting;

static const setting settings[] = {
    //  KV heads, k, v, page, type   heads tokens window
    {{1, 64, 64, 16, FG_F32}, 1, 1, 0},       {{2, 64, 64, 16, FG_F32}, 2, 200, 0},
    {{2, 64, 64, 16, FG_F16}, 8, 150, 0},     {{1, 16, 16, 16, FG_BF16}, 3, 130, 0},
    {{2, 128, 128, 32, FG_BF16}, 4, 129, 40}, {{1, 80, 80, 7, FG_F16}, 2, 100, 1},
    {{1, 24, 40, 64, FG_F32}, 48, 70, 65},    {{3, 6, 5, 1, FG_BF16}, 6, 67, 64},
    {{1, 256, 64, 48, FG_F32}, 5, 90, 0},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static sequence sequence_of(const setting *s) {
  return make_sequence(s->kv, s->heads, s->tokens, s->window, s->tokens * 31 + s->heads);
}

static uint32_t most_rows(const setting *s) {
  return FG_QUERY_BLOCK / (s->heads / s->kv.kv_heads);
}

static void test_attention_matches_its_definition(void **state) {
  (void)state;
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    for (int v = 0; v < variants; v++) {
      float *out = attend(&tables[v], &s, s.tokens, most_rows(&settings[i]));
      compare_with_naive(tables[v].name, &s, out);
      free(out);
    }
    drop_sequence(&s);
  }
}

// However a prompt is cut into chunks and blocks, and token by token, the bits are the same.
static void test_chunks_change_no_bit(void **state) {
  (void)state;
  static const uint32_t chunks[] = {1, 2, 7, 16, 33, 64, 100};
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    for (int v = 0; v < variants; v++) {
      float *whole = attend(&tables[v], &s, s.tokens, most_rows(&settings[i]));
      for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        uint32_t rows = most_rows(&settings[i]);
        float *cut = attend(&tables[v], &s, chunks[c], c % 2 ? rows : rows / 2 + 1);
        assert_memory_equal(whole, cut, (size_t)s.tokens * s.heads * s.kv.v_dim * sizeof *cut);
        free(cut);
      }
      free(whole);
    }
    drop_sequence(&s);
  }
}

// The same tokens on pages of other sizes: the same bits.
static void test_page_size_changes_no_bit(void **state) {
  (void)state;
  static const uint32_t sizes[] = {1, 5, 16, 64, 200};
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int v = 0; v < variants; v++) {
    float *first = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      fg_kv_geometry kv = {2, 32, 32, sizes[i], FG_F16};
      sequence s = make_sequence(kv, 4, 180, 100, 5);
      float *out = attend(&tables[v], &s, 64, 24);
      if (first) assert_memory_equal(first, out, (size_t)s.tokens * s.heads * kv.v_dim * sizeof *out);
      free(first);
      first = out;
      drop_sequence(&s);
    }
    free(first);
  }
}

// Pages that lie wholly before the window are not read: their numbers may be stale.
static void test_pages_before_the_window_are_not_read(void **state) {
  (void)state;
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int v = 0; v < variants; v++) {
    sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, FG_F32}, 1, 200, 20, 9);
    float *want = attend(&tables[v], &s, 10, 10);
    for (int page = 0; page < 10; page++) s.pages[page] = INT32_MAX; // the window of 190 begins at 171
    fg_attention a = {s.kv, 1, 20, s.scale, s.q + 190 * 16, want, 16, 16, s.cache};
    fg_query_block block = {.pages = s.pages, .rows = 10, .position = 190, .heads = 1};
    float got[160];
    a.out = got;
    void *scratch = malloc(fg_attend_scratch_bytes(16));
    tables[v].attend[FG_F32](&a, &block, scratch);
    assert_memory_equal(got, want + 190 * 16, sizeof got);
    free(scratch), free(want);
    drop_sequence(&s);
  }
}

// Scores of +-1e4 and equal scores: softmax becomes a choice, or a mean, and nothing overflows.
static void test_extreme_scores(void **state) {
  (void)state;
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int v = 0; v < variants; v++)
    for (int sharp = 0; sharp < 2; sharp++) {
      sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, FG_F32}, 1, 150, 0, 3);
      for (size_t i = 0; i < 150 * 16; i++) s.q[i] *= sharp ? 1e4f : 0;
      float *out = attend(&tables[v], &s, 150, 48);
      double want[16];
      for (uint32_t t = 0; t < 150; t++) {
        naive(&s, t, 0, want);
        for (int c = 0; c < 16; c++)
          assert_true(fabs(out[t * 16 + c] - want[c]) < 2e-2); // 1e4 has 1e-3 of rounding
      }
      free(out);
      drop_sequence(&s);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_attention_matches_its_definition),
      cmocka_unit_test(test_chunks_change_no_bit),
      cmocka_unit_test(test_page_size_changes_no_bit),
      cmocka_unit_test(test_extreme_scores),
      cmocka_unit_test(test_pages_before_the_window_are_not_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
