#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "sequence.h"
#include "variants.h"

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

static const setting settings[] = {
    //  KV heads, k, v, page, type   heads tokens window
    {{1, 64, 64, 16, FG_F32, false, 0}, 1, 1, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_F32, false, 0}, 2, 200, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_F16, false, 0}, 8, 150, 0, 0, FG_HEAD_PLAIN},
    {{1, 16, 16, 16, FG_BF16, false, 0}, 3, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 128, 32, FG_BF16, false, 0}, 4, 129, 40, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_F16, false, 0}, 2, 100, 1, 0, FG_HEAD_PLAIN},
    {{1, 24, 40, 64, FG_F32, false, 0}, 48, 70, 65, 0, FG_HEAD_PLAIN},
    {{3, 6, 5, 1, FG_BF16, false, 0}, 6, 67, 64, 0, FG_HEAD_PLAIN},
    {{1, 256, 64, 48, FG_F32, false, 0}, 5, 90, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I8G64M, false, 0}, 8, 150, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I4G64M, false, 0}, 2, 130, 50, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_I4G64M, false, 0}, 3, 100, 0, 0, FG_HEAD_PLAIN},
    {{1, 16, 16, 16, FG_I8G64M, false, 0}, 48, 70, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 96, 32, FG_I8G64M, false, 0}, 2, 129, 0, 0, FG_HEAD_PLAIN},
    {{1, 144, 256, 5, FG_I4G64M, false, 0}, 1, 90, 3, 0, FG_HEAD_PLAIN},
    // values that are the beginning of the keys
    {{1, 576, 512, 16, FG_F32, true, 0}, 4, 70, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_BF16, true, 0}, 16, 130, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_I8G64M, true, 0}, 2, 130, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_I4G64M, true, 0}, 3, 70, 0, 0, FG_HEAD_PLAIN},
    {{2, 48, 32, 7, FG_F16, true, 0}, 4, 100, 40, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 7, FG_F32, true, 0}, 4, 100, 0, 0, FG_HEAD_PLAIN},
    {{1, 112, 80, 5, FG_I4G64M, true, 0}, 2, 90, 0, 0, FG_HEAD_PLAIN},
    // what heads add
    {{2, 64, 64, 16, FG_F32, false, 0}, 8, 150, 0, 3.0f, FG_HEAD_PLAIN},
    {{1, 64, 64, 16, FG_BF16, false, 0}, 3, 130, 0, 0, FG_HEAD_ALIBI},
    {{2, 32, 32, 16, FG_F16, false, 0}, 4, 140, 50, 0, FG_HEAD_ALIBI},
    {{1, 64, 64, 16, FG_F32, false, 0}, 2, 130, 0, 0, FG_HEAD_ALIBI_BF16},
    {{2, 64, 64, 16, FG_F32, false, 0}, 8, 150, 30, 5.0f, FG_HEAD_SINK},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void test_attention_matches_its_definition(void **state) {
  (void)state;
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    for (int v = 0; v < variants; v++) {
      float *out = attend(tables[v].attend[s.kv.dtype], &s, s.tokens, most_rows(&settings[i]));
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
      float *whole = attend(tables[v].attend[s.kv.dtype], &s, s.tokens, most_rows(&settings[i]));
      for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        uint32_t rows = most_rows(&settings[i]);
        float *cut = attend(tables[v].attend[s.kv.dtype], &s, chunks[c], c % 2 ? rows : rows / 2 + 1);
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
      fg_kv_geometry kv = {2, 32, 32, sizes[i], FG_F16, false, 0};
      sequence s = make_sequence(kv, 4, 180, 100, 5);
      float *out = attend(tables[v].attend[s.kv.dtype], &s, 64, 24);
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
    sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, FG_F32, false, 0}, 1, 200, 20, 9);
    float *want = attend(tables[v].attend[s.kv.dtype], &s, 10, 10);
    for (int page = 0; page < 10; page++) s.pages[page] = INT32_MAX; // the window of 190 begins at 171
    fg_attention a = {.kv = s.kv,
                      .heads = 1,
                      .window = 20,
                      .scale = s.scale,
                      .q = s.q + 190 * 16,
                      .q_stride = 16,
                      .out_stride = 16,
                      .cache = s.cache};
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
      sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, FG_F32, false, 0}, 1, 150, 0, 3);
      for (size_t i = 0; i < 150 * 16; i++) s.q[i] *= sharp ? 1e4f : 0;
      float *out = attend(tables[v].attend[s.kv.dtype], &s, 150, 48);
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

// An argument, such as "test_attention_*", names what is run alone: an emulated CPU takes long for all of it.
int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_attention_matches_its_definition),
      cmocka_unit_test(test_chunks_change_no_bit),
      cmocka_unit_test(test_page_size_changes_no_bit),
      cmocka_unit_test(test_extreme_scores),
      cmocka_unit_test(test_pages_before_the_window_are_not_read),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
