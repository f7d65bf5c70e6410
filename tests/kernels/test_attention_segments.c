// Attention in segments of keys, and over keys that several sequences share: the bits of one run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/cpu.h"
#include "sequence.h"
#include "variants.h"

static const setting settings[] = {
    //  KV heads, k, v, page, type   heads tokens window
    {{2, 64, 64, 16, FG_F32, false, 0}, 8, 300, 0, 0, FG_HEAD_PLAIN},
    {{1, 40, 24, 7, FG_F16, false, 0}, 3, 260, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 128, 32, FG_BF16, false, 0}, 2, 270, 0, 0, FG_HEAD_PLAIN},
    {{1, 80, 33, 16, FG_BF16, false, 0}, 12, 200, 0, 0, FG_HEAD_PLAIN},
    {{1, 64, 64, 64, FG_BF16, false, 0}, 1, 300, 100, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I8G64M, false, 0}, 8, 300, 0, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_I8G64M, false, 0}, 1, 200, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 128, 16, FG_I4G64M, false, 0}, 4, 300, 0, 0, FG_HEAD_PLAIN},
    {{1, 48, 176, 9, FG_I4G64M, false, 0}, 3, 200, 150, 0, FG_HEAD_PLAIN},
    {{1, 112, 80, 5, FG_I4G64M, true, 0}, 2, 200, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_BF16, true, 0}, 16, 140, 0, 0, FG_HEAD_PLAIN},
    // what heads add
    {{2, 64, 64, 16, FG_F32, false, 0}, 4, 200, 0, 3.0f, FG_HEAD_PLAIN},
    {{1, 64, 64, 16, FG_BF16, false, 0}, 3, 260, 0, 0, FG_HEAD_ALIBI},
    {{1, 64, 64, 16, FG_I8G64M, false, 0}, 2, 200, 0, 0, FG_HEAD_ALIBI_BF16},
    {{2, 64, 64, 16, FG_F32, false, 0}, 8, 200, 70, 5.0f, FG_HEAD_SINK},
    {{2, 64, 64, 16, FG_BF16, false, 0}, 8, 300, 0, 0, FG_HEAD_SINK},
    {{2, 64, 64, 16, FG_I4G64M, false, 0}, 6, 200, 70, 5.0f, FG_HEAD_SINK},
};
enum { SETTINGS = sizeof settings / sizeof *settings, MAX_KERNELS = MAX_VARIANTS + 1 };

// Every kernel of a cache's type that this CPU has.
static int kernels_of(fg_dtype dtype, fg_attend_fn *out[MAX_KERNELS]) {
  fg_kernels tables[MAX_VARIANTS], all;
  int count = kernel_variants(tables);
  for (int v = 0; v < count; v++) out[v] = tables[v].attend[dtype];
  fg_kernels_init(&all, fg_cpu_features());
  if (all.attend_rounded[dtype]) out[count++] = all.attend_rounded[dtype];
  return count;
}

// What runs the blocks of a sequence's rows: everything of all tokens.
typedef struct runner {
  const sequence *s;
  fg_attend_fn *kernel;
  fg_attention a;
  float *out, *state;
  void *scratch;
} runner;

static size_t out_bytes(const sequence *s) {
  return (size_t)s->tokens * s->heads * s->kv.v_dim * sizeof(float);
}

static runner make_runner(fg_attend_fn *kernel, const sequence *s) {
  const uint32_t dim = s->kv.k_dim > s->kv.v_dim ? s->kv.k_dim : s->kv.v_dim;
  const size_t states = (size_t)s->tokens * s->heads * 2 * sizeof(float);
  runner r = {.s = s, .kernel = kernel, .out = malloc(out_bytes(s)), .state = malloc(states)};
  r.scratch = malloc(fg_attend_scratch_bytes(dim));
  memset(r.scratch, 0xff, fg_attend_scratch_bytes(dim)); // what is left from before must not matter
  memset(r.out, 0xff, out_bytes(s));
  memset(r.state, 0xff, states);
  r.a = attention_of(s, 0, r.out);
  r.a.state = r.state;
  r.a.state_stride = 2 * s->heads;
  return r;
}

static float *end_runner(runner *r) {
  free(r->state), free(r->scratch);
  return r->out;
}

// A segment of the keys for the tokens [begin, begin + count), or for those listed, in blocks of `rows`.
typedef struct part {
  uint32_t begin, count, rows;
  const fg_query_row *list;
  uint32_t first_key, end_key;
  bool resumes, pauses;
} part;

static void run_part(const runner *r, part p) {
  const uint32_t group = r->s->heads / r->s->kv.kv_heads;
  for (uint32_t first = 0; first < p.count; first += p.rows)
    for (uint32_t head = 0; head < r->s->heads; head += group)
      r->kernel(&r->a,
                &(fg_query_block){.pages = r->s->pages,
                                  .row = p.begin + first,
                                  .rows = p.count - first < p.rows ? p.count - first : p.rows,
                                  .position = p.begin + first,
                                  .list = p.list ? p.list + first : NULL,
                                  .head = head,
                                  .heads = group,
                                  .first_key = p.first_key,
                                  .end_key = p.end_key,
                                  .resumes = p.resumes,
                                  .pauses = p.pauses},
                r->scratch);
}

// The tokens' keys in segments that end at `cuts`; a token takes part in all of them, sees it keys or not.
static float *attend_in_segments(fg_attend_fn *kernel, const sequence *s, const uint32_t *cuts,
                                 uint32_t rows) {
  runner r = make_runner(kernel, s);
  uint32_t first = 0;
  for (; *cuts; first = *cuts++)
    run_part(&r, (part){0, s->tokens, rows, NULL, first, *cuts, first > 0, true});
  run_part(&r, (part){0, s->tokens, rows, NULL, first, 0, true, false});
  return end_runner(&r);
}

static void test_any_cut_gives_the_bits_of_one_run(void **state) {
  (void)state;
  static const uint32_t cuts[][6] = {{64}, {64, 128, 192, 256}, {192}, {448}};
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    fg_attend_fn *kernels[MAX_KERNELS];
    int count = kernels_of(s.kv.dtype, kernels);
    for (int k = 0; k < count; k++) {
      float *whole = attend(kernels[k], &s, s.tokens, most_rows(&settings[i]));
      for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        float *cut = attend_in_segments(kernels[k], &s, cuts[c], c % 2 ? most_rows(&settings[i]) : 1);
        if (memcmp(whole, cut, out_bytes(&s))) fail_msg("setting %d, kernel %d, cuts %zu", i, k, c);
        free(cut);
      }
      free(whole);
    }
    drop_sequence(&s);
  }
}

// The keys [0, end) and [end, end + 64) of the tokens behind them in shuffled blocks, as many sequences would
// stand, the rest of each one alone.
static float *attend_together(fg_attend_fn *kernel, const sequence *s, uint32_t end, uint32_t rows) {
  runner r = make_runner(kernel, s);
  uint32_t own = end + FG_KEY_BLOCK, count = s->tokens - own;
  fg_query_row *list = malloc(count * sizeof *list);
  uint64_t random = 7;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t j = (uint32_t)(random_u64(&random) % (i + 1));
    list[i] = list[j];
    list[j] = (fg_query_row){(int32_t)(own + i), (int32_t)(own + i)};
  }
  run_part(&r, (part){0, count, rows, list, 0, end, false, true});
  run_part(&r, (part){0, count, rows / 2 + 1, list, end, own, true, true});
  run_part(&r, (part){own, count, 1, NULL, own, 0, true, false});
  run_part(&r, (part){0, own, rows, NULL, 0, 0, false, false});
  free(list);
  return end_runner(&r);
}

static void test_keys_in_common_change_no_bit(void **state) {
  (void)state;
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    fg_attend_fn *kernels[MAX_KERNELS];
    int count = kernels_of(s.kv.dtype, kernels);
    for (int k = 0; k < count; k++) {
      float *whole = attend(kernels[k], &s, s.tokens, most_rows(&settings[i]));
      for (uint32_t end = 64; end <= 128 && end + FG_KEY_BLOCK < s.tokens; end += 64) {
        float *together = attend_together(kernels[k], &s, end, most_rows(&settings[i]));
        if (memcmp(whole, together, out_bytes(&s))) fail_msg("setting %d, kernel %d, end %u", i, k, end);
        free(together);
      }
      free(whole);
    }
    drop_sequence(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_any_cut_gives_the_bits_of_one_run),
      cmocka_unit_test(test_keys_in_common_change_no_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
