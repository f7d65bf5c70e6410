// Sparse attention: which values are read, and what they are worth.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "sequence.h"
#include "variants.h"

static const setting settings[] = {
    //  KV heads, k, v, page, type   heads tokens window
    {{1, 64, 64, 16, FG_F32, false, 0}, 1, 1, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_F32, false, 0}, 2, 200, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_F16, false, 0}, 8, 150, 0, 0, FG_HEAD_PLAIN},
    {{1, 16, 16, 16, FG_BF16, false, 0}, 3, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 128, 32, FG_BF16, false, 0}, 4, 300, 40, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_F16, false, 0}, 2, 100, 1, 0, FG_HEAD_PLAIN},
    {{1, 24, 40, 64, FG_F32, false, 0}, 48, 170, 65, 0, FG_HEAD_PLAIN},
    {{3, 6, 5, 1, FG_BF16, false, 0}, 6, 167, 64, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I8G64M, false, 0}, 8, 150, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I4G64M, false, 0}, 2, 230, 150, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_I4G64M, false, 0}, 3, 100, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 96, 32, FG_I8G64M, false, 0}, 2, 129, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_F32, false, 0}, 8, 150, 0, 3.0f, FG_HEAD_PLAIN},
    {{1, 64, 64, 16, FG_BF16, false, 0}, 3, 130, 0, 0, FG_HEAD_ALIBI},
    {{1, 64, 64, 16, FG_F32, false, 0}, 2, 130, 0, 0, FG_HEAD_ALIBI_BF16},
    {{2, 64, 64, 16, FG_F32, false, 0}, 8, 250, 130, 5.0f, FG_HEAD_SINK},
    {{2, 64, 64, 16, FG_I8G64M, false, 0}, 8, 250, 130, 5.0f, FG_HEAD_SINK},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static const double shares[] = {1e-9, 0.04, 0.1, 0.5, 0.97};
enum { SHARES = sizeof shares / sizeof *shares };

// A table's kernels for a type; the rounded ones where `rounded`.
typedef struct variant {
  const char *name;
  fg_sparse_kernels kernels;
  double bound; // of a difference of outputs
  double least; // between weights, so that the kernel must tell them apart, in parts of themselves
} variant;

static int variants_of(fg_dtype dtype, variant out[MAX_VARIANTS + 1]) {
  fg_kernels tables[MAX_VARIANTS], best;
  int count = kernel_variants(tables);
  for (int i = 0; i < count; i++)
    out[i] = (variant){tables[i].name, {tables[i].score[dtype], tables[i].sparse_values}, 2e-5, 1e-4};
  fg_kernels_init(&best, fg_cpu_features());
  if (best.score_rounded[dtype])
    out[count++] = (variant){"rounded", {best.score_rounded[dtype], best.sparse_values}, 4e-3, 1e-2};
  return count;
}

// ---- the definition ------------------------------------------------------------------------------------

typedef struct heavy {
  double weight;
  uint32_t position;
} heavy;

static int by_weight(const void *a, const void *b) {
  const heavy *x = a, *y = b;
  if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
  return x->position < y->position ? -1 : 1;
}

static double weight_of(const sequence *s, uint32_t token, uint32_t head, uint32_t j) {
  const fg_kv_geometry *kv = &s->kv;
  const float *q = s->q + ((size_t)token * s->heads + head) * kv->k_dim;
  const float *k = s->k + ((size_t)j * kv->kv_heads + head / (s->heads / kv->kv_heads)) * kv->k_dim;
  double dot = 0;
  for (uint32_t c = 0; c < kv->k_dim; c++) dot += (double)q[c] * k[c];
  return exp(head_score(s, head, dot * s->scale, token, j));
}

// Marks what is read and fills out [v_dim]. Returns by how much the least weight that counts is above the
// next one, in parts of itself.
static double sparse_naive(const sequence *s, uint32_t token, uint32_t head, double share, bool *read,
                           double *out) {
  const fg_kv_geometry *kv = &s->kv;
  uint32_t kv_head = head / (s->heads / kv->kv_heads);
  uint32_t first = s->window && token + 1 > s->window ? token + 1 - s->window : 0, old = token - first;
  heavy *list = calloc(old + 1, sizeof *list);
  double sum = s->head_kind == FG_HEAD_SINK ? exp(s->numbers[head]) : 0;
  for (uint32_t j = first; j <= token; j++) {
    list[j - first] = (heavy){weight_of(s, token, head, j), j};
    sum += list[j - first].weight;
  }
  qsort(list, old, sizeof *list, by_weight); // the query's own is the last and stays it
  uint32_t kept = (uint32_t)(share * old);
  double gap = kept > 0 && kept < old ? 1 - list[kept].weight / list[kept - 1].weight : 1;
  list[kept] = list[old];
  for (uint32_t c = 0; c < kv->v_dim; c++) out[c] = 0;
  for (uint32_t i = 0; i <= kept; i++) {
    const float *v = s->v + ((size_t)list[i].position * kv->kv_heads + kv_head) * kv->v_dim;
    for (uint32_t c = 0; c < kv->v_dim; c++) out[c] += list[i].weight / sum * v[c];
    read[list[i].position] = true;
  }
  free(list);
  return gap;
}

// ---- the kernels ---------------------------------------------------------------------------------------

// One token, heads [head, head + heads) of one KV head. Returns how many values were read.
static uint32_t attend_token(const variant *v, const sequence *s, uint32_t token, uint32_t head,
                             uint32_t heads, double share, float *out) {
  uint32_t dim = s->kv.k_dim > s->kv.v_dim ? s->kv.k_dim : s->kv.v_dim;
  uint32_t seen = s->window && token + 1 > s->window ? s->window : token + 1;
  uint64_t bytes = fg_sparse_scratch_bytes(dim, heads, seen);
  void *scratch = malloc(bytes);
  memset(scratch, 0xff, bytes);
  fg_attention a = attention_of(s, 0, out);
  a.out_stride = 0; // out has one row
  fg_query_block block = {
      .pages = s->pages, .row = token, .rows = 1, .position = token, .head = head, .heads = heads};
  uint32_t read = fg_attend_sparse(&v->kernels, &a, &block, share, scratch);
  free(scratch);
  return read;
}

typedef struct tally_of {
  uint32_t compared, close;
} tally_of;

static void compare_token(const variant *v, const sequence *s, uint32_t token, double share,
                          tally_of *count) {
  uint32_t group = s->heads / s->kv.kv_heads, dim = s->kv.v_dim;
  float *out = calloc((size_t)s->heads * dim, sizeof *out);
  double *want = malloc(dim * sizeof *want);
  for (uint32_t head = 0; head < s->heads; head += group) {
    bool *read = calloc(token + 1, sizeof *read), close = false;
    uint32_t got = attend_token(v, s, token, head, group, share, out), all = 0;
    for (uint32_t h = head; h < head + group; h++) {
      if (sparse_naive(s, token, h, share, read, want) < v->least) {
        close = true; // rounding may choose the other one
        count->close++;
        continue;
      }
      count->compared++;
      for (uint32_t c = 0; c < dim; c++)
        if (!(fabs(out[h * dim + c] - want[c]) < v->bound))
          fail_msg("%s, %s, share %g, token %u, head %u [%u]: %g, not %g", v->name,
                   fg_dtype_get(s->kv.dtype)->name, share, token, h, c, out[h * dim + c], want[c]);
    }
    for (uint32_t j = 0; j <= token; j++) all += read[j];
    if (!close) assert_int_equal(got, all);
    free(read);
  }
  free(want), free(out);
}

static void test_matches_its_definition(void **state) {
  (void)state;
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    variant variants[MAX_VARIANTS + 1];
    int count = variants_of(s.kv.dtype, variants);
    for (int v = 0; v < count; v++) {
      tally_of tally = {0};
      for (int f = 0; f < SHARES; f++)
        for (uint32_t token = 0; token < s.tokens; token += token + 12 < s.tokens ? 11 : 1)
          compare_token(&variants[v], &s, token, shares[f], &tally);
      if (tally.compared < 2 * tally.close)
        fail_msg("setting %d, %s: only %u compared, %u close", i, variants[v].name, tally.compared,
                 tally.close);
    }
    drop_sequence(&s);
  }
}

// Equal scores: the first positions count, each for 1 / n.
static void test_of_equal_weights_the_first_positions_count(void **state) {
  (void)state;
  static const fg_dtype caches[] = {FG_F32, FG_I8G64M};
  for (int c = 0; c < 2; c++) {
    variant variants[MAX_VARIANTS + 1];
    int count = variants_of(caches[c], variants);
    sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, caches[c], false, 0}, 1, 101, 0, 3);
    memset(s.q, 0, (size_t)101 * 16 * sizeof *s.q);
    for (int v = 0; v < count; v++) {
      float out[16];
      assert_int_equal(attend_token(&variants[v], &s, 100, 0, 1, 0.07, out), 8);
      for (int i = 0; i < 16; i++) {
        double want = s.v[100 * 16 + i];
        for (int j = 0; j < 7; j++) want += s.v[j * 16 + i];
        assert_true(fabs(out[i] - want / 101) < 1e-6);
      }
    }
    drop_sequence(&s);
  }
}

// Rows that do not count may hold anything.
static void test_other_values_are_not_read(void **state) {
  (void)state;
  variant variants[MAX_VARIANTS + 1];
  int count = variants_of(FG_F32, variants);
  sequence s = make_sequence((fg_kv_geometry){2, 32, 16, 16, FG_F32, false, 0}, 8, 150, 100, 21);
  for (int v = 0; v < count; v++) {
    bool read[150] = {0};
    double want[16];
    float before[8 * 16], after[8 * 16];
    for (uint32_t h = 0; h < 4; h++) assert_true(sparse_naive(&s, 149, h, 0.1, read, want) > 1e-4);
    attend_token(&variants[v], &s, 149, 0, 4, 0.1, before);
    for (int i = 0; i < 4 * 16; i++) assert_false(isnan(before[i]));
    uint32_t others = 0;
    for (uint32_t p = 0; p < 150; p++) {
      uint8_t *page = s.cache + (uint64_t)s.pages[p / 16] * fg_kv_page_bytes(&s.kv);
      if (!read[p]) memset(page + fg_kv_value_offset(&s.kv, 0, p % 16), 0xff, 16 * sizeof(float));
      others += !read[p];
    }
    assert_true(others > 100);
    attend_token(&variants[v], &s, 149, 0, 4, 0.1, after);
    assert_memory_equal(before, after, 4 * 16 * sizeof(float));
  }
  drop_sequence(&s);
}

// A head's bits do not depend on which heads are with it, nor on the size of pages.
static void test_company_and_pages_change_no_bit(void **state) {
  (void)state;
  static const uint32_t sizes[] = {1, 5, 16, 64, 200};
  static const fg_dtype caches[] = {FG_F16, FG_I8G64M, FG_I4G64M};
  for (int c = 0; c < 3; c++) {
    variant variants[MAX_VARIANTS + 1];
    int count = variants_of(caches[c], variants);
    for (int v = 0; v < count; v++) {
      float first[6 * 32], out[6 * 32], one[6 * 32];
      for (int i = 0; i < 5; i++) {
        sequence s =
            make_sequence((fg_kv_geometry){1, 32, 32, sizes[i], caches[c], false, 0}, 6, 180, 130, 5);
        attend_token(&variants[v], &s, 179, 0, 6, 0.2, out);
        for (uint32_t h = 0; h < 6; h++) attend_token(&variants[v], &s, 179, h, 1, 0.2, one);
        assert_memory_equal(out, one, sizeof out);
        if (i) assert_memory_equal(out, first, sizeof out);
        memcpy(first, out, sizeof first);
        drop_sequence(&s);
      }
    }
  }
}

// What is no number spoils its own query and no memory.
static void test_nan_stays_in_its_query(void **state) {
  (void)state;
  const float odd[] = {NAN, INFINITY, -INFINITY};
  static const fg_dtype caches[] = {FG_F32, FG_I8G64M};
  for (int c = 0; c < 2; c++) {
    variant variants[MAX_VARIANTS + 1];
    int count = variants_of(caches[c], variants);
    for (int v = 0; v < count; v++)
      for (int i = 0; i < 3; i++) {
        sequence s = make_sequence((fg_kv_geometry){1, 64, 64, 16, caches[c], false, 0}, 2, 140, 0, 17);
        float without[2 * 64], with[2 * 64];
        attend_token(&variants[v], &s, 139, 0, 2, 0.1, without);
        s.q[(139 * 2 + 1) * 64 + 5] = odd[i];
        attend_token(&variants[v], &s, 139, 0, 2, 0.1, with);
        assert_memory_equal(with, without, 64 * sizeof *with);
        for (int j = 64; j < 128; j++) assert_true(isnan(with[j]));
        drop_sequence(&s);
      }
  }
}

// Python's int(share * old).
static void test_how_many_count(void **state) {
  (void)state;
  assert_int_equal(fg_sparse_kept(0.1, 30), 3);
  assert_int_equal(fg_sparse_kept(0.29, 100), 28);
  assert_int_equal(fg_sparse_kept(0.1, 9), 0);
  assert_int_equal(fg_sparse_kept(1.0, 7), 7);
  assert_int_equal(fg_sparse_kept(0.5, 0), 0);
  assert_int_equal(fg_sparse_kept(0.999999999, UINT32_MAX), 4294967290u);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matches_its_definition),
      cmocka_unit_test(test_of_equal_weights_the_first_positions_count),
      cmocka_unit_test(test_other_values_are_not_read),
      cmocka_unit_test(test_company_and_pages_change_no_bit),
      cmocka_unit_test(test_nan_stays_in_its_query),
      cmocka_unit_test(test_how_many_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
