// When attention may be sparse, and what is said where it may not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/sparsity.h"

static void refuses(double share, const fg_graph *graph, uint32_t max_len, bool on_disk, fg_status status,
                    const char *said) {
  fg_error err;
  assert_int_equal(fg_sparsity_check(share, graph, max_len, on_disk, &err), status);
  assert_non_null(strstr(err.message, said));
}

static void test_what_is_refused(void **state) {
  (void)state;
  fg_graph graph = {.kv = {.kv_heads = 2, .k_dim = 64, .v_dim = 64}};
  refuses(1.01, &graph, 100, false, FG_INVALID, "--attn-sparsity 1.01");
  refuses(-0.1, &graph, 100, false, FG_INVALID, "at most 1");
  refuses(NAN, &graph, 100, false, FG_INVALID, "at most 1");
  refuses(0.1, &graph, 100, true, FG_UNSUPPORTED, "KV cache on disk");
  refuses(0.1, &graph, 0, false, FG_INVALID, "--max-model-len");
  assert_int_equal(fg_sparsity_check(0.1, &graph, 100, false, NULL), FG_OK);
  graph.kv.v_in_k = true;
  refuses(0.1, &graph, 100, false, FG_UNSUPPORTED, "part of its keys");
}

// Attention that is not sparse goes with everything.
static void test_all_values_are_always_allowed(void **state) {
  (void)state;
  const fg_graph graph = {.kv = {.kv_heads = 1, .k_dim = 64, .v_dim = 64, .v_in_k = true}};
  for (int one = 0; one < 2; one++) {
    assert_int_equal(fg_sparsity_check(one, &graph, 0, true, NULL), FG_OK);
    assert_true(fg_sparsity_of(one) == 0);
  }
  assert_true(fg_sparsity_of(0.25) == 0.25);
}

// Of all variants of a layer.
static void test_the_largest_group_of_heads_counts(void **state) {
  (void)state;
  static fg_program programs[2]; // large
  programs[0].nodes[0].op = programs[1].nodes[1].op = FG_OP_ATTENTION;
  programs[1].nodes[0].op = FG_OP_ADD;
  programs[0].nodes[0].params.attention.heads = 4;
  programs[1].nodes[1].params.attention.heads = 12;
  programs[0].node_count = 1;
  programs[1].node_count = 2;
  const fg_graph graph = {.kv = {.kv_heads = 2}, .programs = programs, .program_count = 2};
  assert_int_equal(fg_sparsity_heads(&graph), 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_refused),
      cmocka_unit_test(test_all_values_are_always_allowed),
      cmocka_unit_test(test_the_largest_group_of_heads_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
