// Rotary frequencies and magnitudes of the scalings, against transformers 5.23 (ROPE_INIT_FUNCTIONS,
// float32).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/arch.h"

typedef struct scaling {
  const char *name, *json; // what follows the sizes in config.json
  bool longer;
  double magnitude;
  struct {
    uint32_t i;
    double value;
  } frequencies[4]; // the last with value 0: fewer
} scaling;

#define ROPE(dim, positions, numbers)                                                                        \
  "\"head_dim\":" #dim ",\"max_position_embeddings\":" #positions ",\"rope_parameters\":{" numbers "}"
#define LONG                                                                                                 \
  ROPE(8, 131072,                                                                                            \
       "\"rope_type\":\"longrope\",\"short_factor\":[1,1.05,1.1,1.2],\"long_factor\":[1.5,4,20,60],"         \
       "\"original_max_position_embeddings\":4096")

static const scaling scalings[] = {
    {"yarn with its defaults",
     ROPE(128, 32768,
          "\"rope_type\":\"yarn\",\"rope_theta\":1e6,\"factor\":4,"
          "\"original_max_position_embeddings\":32768"),
     false,
     1.13862944,
     {{1, 0.805842221}, {32, 0.000602941145}, {42, 2.88695483e-05}, {63, 3.10234441e-07}}},
    {"yarn with two scales",
     ROPE(64, 163840,
          "\"rope_type\":\"yarn\",\"factor\":40,\"beta_fast\":32,\"beta_slow\":1,\"mscale\":0.707,"
          "\"mscale_all_dim\":1.0,\"original_max_position_embeddings\":4096"),
     false,
     0.921042355,
     {{10, 0.0562341288}, {16, 0.00550000044}, {21, 0.000414990413}, {31, 3.33380353e-06}}},
    {"yarn between dimensions",
     ROPE(64, 131072,
          "\"rope_type\":\"yarn\",\"rope_theta\":150000,\"factor\":32,\"truncate\":false,"
          "\"original_max_position_embeddings\":4096"),
     false,
     1.34657359,
     {{10, 0.0193349998}, {16, 0.000456483918}, {21, 1.25325696e-05}, {31, 3.0235114e-07}}},
    {"yarn with a magnitude of its own",
     ROPE(64, 131072,
          "\"rope_type\":\"yarn\",\"factor\":32,\"attention_factor\":1.25,"
          "\"original_max_position_embeddings\":4096"),
     false,
     1.25,
     {{10, 0.0562341288}, {16, 0.00552884629}, {21, 0.000427531311}, {31, 4.1672547e-06}}},
    {"longrope, short", LONG, false, 1.19023807, {{1, 0.095238097}, {2, 0.0090909088}, {3, 0.000833333354}}},
    {"longrope, long", LONG, true, 1.19023807, {{1, 0.0250000004}, {2, 0.000500000024}, {3, 1.66666669e-05}}},
};

static void test_scalings_are_those_of_transformers(void **state) {
  (void)state;
  for (size_t s = 0; s < sizeof scalings / sizeof *scalings; s++) {
    char json[1024];
    fg_assets assets = {0};
    fg_config c;
    fg_error err = {FG_OK, ""};
    int length = snprintf(json, sizeof json,
                          "{\"model_type\":\"llama\",\"hidden_size\":512,\"num_hidden_layers\":1,"
                          "\"num_attention_heads\":4,\"intermediate_size\":96,\"vocab_size\":100,%s}",
                          scalings[s].json);
    assert_true(length > 0 && (size_t)length < sizeof json);
    assert_int_equal(fg_assets_add(&assets, "config.json", json, (size_t)length, &err), FG_OK);
    if (fg_config_load(&c, &assets, &err)) fail_msg("%s: %s", scalings[s].name, err.message);
    fg_assets_free(&assets);
    float out[FG_MAX_HEAD_DIM / 2];
    fg_rope_frequencies(&c.rope[0], c.rotary, scalings[s].longer, out);
    if (fabs(c.rope[0].magnitude - scalings[s].magnitude) > 1e-7)
      fail_msg("%s: magnitude %.9g, not %.9g", scalings[s].name, c.rope[0].magnitude, scalings[s].magnitude);
    for (int i = 0; i < 4 && scalings[s].frequencies[i].value > 0; i++) {
      const double want = scalings[s].frequencies[i].value, got = out[scalings[s].frequencies[i].i];
      if (fabs(got - want) > 4e-7 * want)
        fail_msg("%s: frequency %u is %.9g, not %.9g", scalings[s].name, scalings[s].frequencies[i].i, got,
                 want);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_scalings_are_those_of_transformers)};
  return cmocka_run_group_tests_name("rope", tests, NULL, NULL);
}
