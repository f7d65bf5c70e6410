// Which experts a row takes and with what weights, against a definition in doubles that sorts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "kernels/clamped_glu.h"
#include "kernels/route.h"
#include "random.h"

enum { MOST = 96 };

// Numbers of the `count` largest, the lower number first among equals.
static void largest(const double *x, const bool *out, int n, int count, int *found) {
  for (int i = 0; i < count; i++) {
    int best = -1;
    for (int j = 0; j < n; j++) {
      bool taken = out && out[j];
      for (int k = 0; k < i; k++) taken |= found[k] == j;
      if (!taken && (best < 0 || x[j] > x[best])) best = j;
    }
    found[i] = best;
  }
}

static void define(const fg_route_form *f, const float *logits, const float *bias, int *chosen,
                   double *weights) {
  int n = (int)f->experts;
  double score[MOST], rank[MOST], group[MOST], all = 0, sum = 0;
  bool out[MOST] = {false};
  for (int i = 0; i < n; i++) all += exp(logits[i]);
  for (int i = 0; i < n; i++) {
    score[i] = f->kind == FG_ROUTE_SOFTMAX  ? exp(logits[i]) / all
               : f->kind == FG_ROUTE_CHOSEN ? logits[i]
                                            : 1 / (1 + exp(-(double)logits[i]));
    rank[i] = score[i] + (bias ? bias[i] : 0);
  }
  if (f->groups > 1) {
    int size = n / (int)f->groups, best[MOST], kept[MOST];
    for (int g = 0; g < (int)f->groups; g++) {
      largest(rank + g * size, NULL, size, (int)f->group_best, best);
      group[g] = 0;
      for (int i = 0; i < (int)f->group_best; i++) group[g] += rank[g * size + best[i]];
    }
    largest(group, NULL, (int)f->groups, (int)f->top_groups, kept);
    for (int i = 0; i < n; i++) {
      out[i] = true;
      for (int k = 0; k < (int)f->top_groups; k++) out[i] &= kept[k] != i / size;
    }
  }
  largest(rank, out, n, (int)f->used, chosen);
  for (int i = 0; i < (int)f->used; i++) {
    weights[i] = f->kind == FG_ROUTE_CHOSEN ? exp(logits[chosen[i]]) : score[chosen[i]];
    sum += weights[i];
  }
  for (int i = 0; i < (int)f->used; i++) {
    if (f->normalise || f->kind == FG_ROUTE_CHOSEN) weights[i] /= sum;
    weights[i] *= f->scale;
  }
}

static void check_form(const fg_route_form *f, bool with_bias) {
  assert_true(fg_route_form_ok(f));
  for (uint64_t seed = 1; seed <= 200; seed++) {
    uint64_t state = seed;
    float *logits = random_floats(&state, f->experts), *bias = random_floats(&state, f->experts);
    float weights[MOST];
    int32_t chosen[MOST];
    double want_weights[MOST];
    int want[MOST];
    for (uint32_t i = 0; i < f->experts; i++) logits[i] *= 8;
    fg_route(f, logits, with_bias ? bias : NULL, chosen, weights);
    define(f, logits, with_bias ? bias : NULL, want, want_weights);
    for (uint32_t i = 0; i < f->used; i++) {
      if (chosen[i] != want[i]) fail_msg("seed %d: expert %d, not %d", (int)seed, chosen[i], want[i]);
      if (!(fabs(weights[i] - want_weights[i]) <= 1e-6 * fabs(want_weights[i]) + 1e-12))
        fail_msg("seed %d: weight %.9g, not %.9g", (int)seed, (double)weights[i], want_weights[i]);
    }
    free(logits), free(bias);
  }
}

static void test_choice_and_weights_of_every_kind(void **state) {
  (void)state;
  for (int kind = 0; kind < FG_ROUTE_COUNT; kind++)
    for (int normalise = 0; normalise < 2; normalise++)
      for (uint32_t used = 1; used <= 17; used += 4)
        check_form(&(fg_route_form){.kind = (fg_route_kind)kind,
                                    .experts = 17,
                                    .used = used,
                                    .normalise = normalise,
                                    .scale = 1.5f},
                   false);
}

static void test_bias_counts_for_the_choice_alone(void **state) {
  (void)state;
  check_form(
      &(fg_route_form){.kind = FG_ROUTE_SIGMOID, .experts = 24, .used = 5, .normalise = true, .scale = 2.5f},
      true);
}

static void test_only_the_best_groups_are_eligible(void **state) {
  (void)state;
  for (uint32_t best = 1; best <= 2; best++)
    for (int bias = 0; bias < 2; bias++)
      check_form(&(fg_route_form){.kind = best == 1 ? FG_ROUTE_SOFTMAX : FG_ROUTE_SIGMOID,
                                  .experts = 96,
                                  .used = 6,
                                  .groups = 8,
                                  .top_groups = 3,
                                  .group_best = best,
                                  .scale = 1},
                 bias);
}

static void test_lower_numbers_win_ties(void **state) {
  (void)state;
  const float logits[] = {1, 3, 3, -INFINITY, 3, 1};
  float weights[3];
  int32_t chosen[3];
  fg_route(&(fg_route_form){.experts = 6, .used = 3, .scale = 1, .normalise = true}, logits, NULL, chosen,
           weights);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(chosen[i], i == 2 ? 4 : i + 1);
    assert_true(fabs(weights[i] - 1.0 / 3) < 1e-7);
  }
}

static void test_values_that_are_no_numbers_still_choose_different_experts(void **state) {
  (void)state;
  float logits[8], weights[4];
  int32_t chosen[4];
  for (int i = 0; i < 8; i++) logits[i] = i % 2 ? NAN : INFINITY;
  for (int kind = 0; kind < FG_ROUTE_COUNT; kind++) {
    fg_route(&(fg_route_form){.kind = (fg_route_kind)kind, .experts = 8, .used = 4, .scale = 1}, logits, NULL,
             chosen, weights);
    for (int i = 0; i < 4; i++) {
      assert_in_range(chosen[i], 0, 7);
      for (int j = 0; j < i; j++) assert_int_not_equal(chosen[i], chosen[j]);
    }
  }
}

static void test_forms_that_make_no_sense_are_refused(void **state) {
  (void)state;
  static const fg_route_form wrong[] = {
      {.experts = 0, .used = 0},
      {.experts = 4, .used = 0},
      {.experts = 4, .used = 5},
      {.experts = FG_MAX_EXPERTS + 1, .used = 1},
      {.kind = FG_ROUTE_COUNT, .experts = 4, .used = 1},
      {.experts = 8, .used = 2, .groups = 3, .top_groups = 1, .group_best = 1},
      {.experts = 8, .used = 2, .groups = 4, .top_groups = 0, .group_best = 1},
      {.experts = 8, .used = 2, .groups = 4, .top_groups = 5, .group_best = 1},
      {.experts = 8, .used = 2, .groups = 4, .top_groups = 2, .group_best = 3},
      {.experts = 8, .used = 5, .groups = 4, .top_groups = 2, .group_best = 1},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    if (fg_route_form_ok(&wrong[i])) fail_msg("form %zu", i);
}

static void test_clamped_gate(void **state) {
  (void)state;
  enum { WIDTH = 50 };
  uint64_t seed = 3;
  float *x = random_floats(&seed, 2 * WIDTH), out[WIDTH];
  for (int i = 0; i < 2 * WIDTH; i++) x[i] *= 20;
  fg_clamped_glu(x, out, WIDTH, 7, 1.702f);
  for (int i = 0; i < WIDTH; i++) {
    double g = fmin(x[i], 7), u = fmax(-7, fmin(x[WIDTH + i], 7));
    double want = (u + 1) * g / (1 + exp(-(double)1.702f * g));
    assert_true(fabs(out[i] - want) <= 2e-6 * fabs(want) + 1e-9);
  }
  free(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_choice_and_weights_of_every_kind),
      cmocka_unit_test(test_bias_counts_for_the_choice_alone),
      cmocka_unit_test(test_only_the_best_groups_are_eligible),
      cmocka_unit_test(test_lower_numbers_win_ties),
      cmocka_unit_test(test_values_that_are_no_numbers_still_choose_different_experts),
      cmocka_unit_test(test_forms_that_make_no_sense_are_refused),
      cmocka_unit_test(test_clamped_gate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
