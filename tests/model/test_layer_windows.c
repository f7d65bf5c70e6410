// Which layers of a GGUF see a window, by a list, a period or the family's habit, and how they are turned.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "gguf_header.h"

// Two layers with a window of 24 keys, and no pattern of layers.
#define BEGIN(arch)                                                                                          \
  header h = gguf_header(arch);                                                                              \
  put_u32(&h, arch ".embedding_length", 48);                                                                 \
  put_u32(&h, arch ".block_count", 2);                                                                       \
  put_u32(&h, arch ".attention.head_count", 6);                                                              \
  put_u32(&h, arch ".feed_forward_length", 96);                                                              \
  put_u32(&h, arch ".vocab_size", 100);                                                                      \
  put_f32(&h, arch ".attention.layer_norm_rms_epsilon", 1e-5f);                                              \
  put_u32(&h, arch ".attention.sliding_window", 24)

static header olmo(void) {
  BEGIN("olmo2");
  return h;
}

static header exaone(void) {
  BEGIN("exaone4");
  return h;
}

static fg_config load(const header *h) {
  fg_config config;
  fg_error err = {FG_OK, ""};
  if (load_gguf(h, &config, &err)) fail_msg("%s", err.message);
  return config;
}

static const fg_layer_kind *kind_of(const fg_config *c, uint32_t layer) {
  return &c->kinds[c->kind_of_layer[layer]];
}

static const bool second[] = {false, true};

#define OLMO_PATTERN   "olmo2.attention.sliding_window_pattern"
#define EXAONE_PATTERN "exaone4.attention.sliding_window_pattern"

static void test_a_list_or_a_period_says_which_layers_have_a_window(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    const header usual = i ? olmo() : exaone();
    const char *pattern = i ? OLMO_PATTERN : EXAONE_PATTERN;
    header list = usual, period = usual;
    put_bools(&list, pattern, second, 2);
    put_u32(&period, pattern, 2);
    fg_config c = load(&usual);
    assert_true(kind_of(&c, 0)->window == 24 && kind_of(&c, 1)->window == 24); // every fourth has none
    c = load(&list);
    assert_true(kind_of(&c, 0)->window == 0 && kind_of(&c, 1)->window == 24);
    c = load(&period);
    assert_true(kind_of(&c, 0)->window == 24 && kind_of(&c, 1)->window == 0);
  }
}

static void assert_refused(const header *h, fg_status status, const char *named) {
  fg_config config;
  fg_error err = {FG_OK, ""};
  assert_int_equal(load_gguf(h, &config, &err), status);
  if (!strstr(err.message, named)) fail_msg("%s", err.message);
}

static void test_a_pattern_or_a_base_that_makes_no_sense_is_refused(void **state) {
  (void)state;
  const bool three[] = {true, true, false};
  header longer = olmo(), none = longer, still = longer;
  put_bools(&longer, OLMO_PATTERN, three, 3);
  assert_refused(&longer, FG_CORRUPT, "3 elements, expected 2");
  put_u32(&none, OLMO_PATTERN, 0);
  assert_refused(&none, FG_INVALID, OLMO_PATTERN);
  put_f32(&still, "olmo2.rope.freq_base_swa", 0);
  assert_refused(&still, FG_INVALID, "freq_base_swa");
}

static void test_layers_without_a_window_are_not_turned_by_exaone_and_scaled_by_olmo(void **state) {
  (void)state;
  header h = exaone();
  put_bools(&h, EXAONE_PATTERN, second, 2);
  fg_config c = load(&h);
  assert_true(kind_of(&c, 0)->rope == FG_LAYER_NO_ROPE && kind_of(&c, 1)->rope == FG_LAYER_ROPE);
  h = olmo();
  put_bools(&h, OLMO_PATTERN, second, 2);
  put_f32(&h, "olmo2.rope.scaling.factor", 4);
  put_f32(&h, "olmo2.rope.scaling.attn_factor", 1.25f);
  c = load(&h);
  assert_true(kind_of(&c, 0)->rope == FG_LAYER_ROPE && kind_of(&c, 1)->rope == FG_LAYER_ROPE_LOCAL);
  assert_true(c.rope[0].factor == 4 && c.rope[0].magnitude == 1.25);
  assert_true(c.rope[1].factor == 1 && c.rope[1].magnitude == 1 && c.rope[1].theta == c.rope[0].theta);
  h = olmo();
  put_f32(&h, "olmo2.rope.freq_base_swa", 500);
  c = load(&h);
  assert_true(c.rope[1].theta == 500 && c.rope[0].theta == 10000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_list_or_a_period_says_which_layers_have_a_window),
      cmocka_unit_test(test_a_pattern_or_a_base_that_makes_no_sense_is_refused),
      cmocka_unit_test(test_layers_without_a_window_are_not_turned_by_exaone_and_scaled_by_olmo),
  };
  return cmocka_run_group_tests_name("layer_windows", tests, NULL, NULL);
}
