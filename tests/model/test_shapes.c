// Synthetic models: the sizes are the published ones, the values a function of their place.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/arch.h"
#include "model/model.h"
#include "model/synthetic.h"
#include "tensor/half.h"

// Published numbers of parameters, in billions, as many digits as are published.
typedef struct published {
  const char *name;
  double billions, unit;
} published;

static const published sizes[] = {
    {"opt-125m", 0.125, 0.001},       {"opt-350m", 0.331, 0.001},     {"opt-1.3b", 1.316, 0.001},
    {"opt-2.7b", 2.652, 0.001},       {"opt-6.7b", 6.658, 0.001},     {"opt-13b", 12.85, 0.01},
    {"opt-30b", 29.97, 0.01},         {"opt-66b", 65.72, 0.01},       {"opt-175b", 174.6, 0.1},
    {"tinyllama-1.1b", 1.100, 0.001}, {"llama-2-7b", 6.738, 0.001},   {"llama-2-13b", 13.02, 0.01},
    {"llama-2-70b", 68.98, 0.01},     {"llama-3-8b", 8.030, 0.001},   {"llama-3-70b", 70.55, 0.01},
    {"smollm2-135m", 0.135, 0.001},   {"smollm2-1.7b", 1.711, 0.001},
};

static void test_every_shape_has_the_published_size(void **state) {
  (void)state;
  uint32_t known = 0;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    fg_model_options options = {.model = sizes[i].name, .synthetic = true};
    fg_model *model;
    fg_error err = {FG_OK, ""};
    if (fg_model_inspect(&model, &options, &err)) fail_msg("%s", err.message);
    double billions = (double)model->parameters * 1e-9;
    if (fabs(billions - sizes[i].billions) > sizes[i].unit / 2)
      fail_msg("%s: %g billion", sizes[i].name, billions);
    assert_true(fg_model_weight_bytes(model, &options) >= 2 * model->parameters); // bfloat16
    fg_model_close(model);
  }
  while (fg_shape_name(known)) known++;
  assert_int_equal(known, sizeof sizes / sizeof *sizes);
}

static void test_unknown_shape_names_those_there_are(void **state) {
  (void)state;
  fg_model_options options = {.model = "opt-1m", .synthetic = true};
  fg_model *model;
  fg_error err = {FG_OK, ""};
  assert_int_equal(fg_model_inspect(&model, &options, &err), FG_NOT_FOUND);
  assert_non_null(strstr(err.message, "smollm2-1.7b"));
}

static fg_checkpoint *synthetic(const char *name) {
  fg_assets assets = {0};
  fg_config config;
  fg_graph *graph;
  fg_checkpoint *checkpoint;
  fg_error err = {FG_OK, ""};
  const char *json = fg_shape_config(name);
  assert_non_null(json);
  assert_int_equal(fg_assets_add(&assets, "config.json", json, strlen(json), &err), FG_OK);
  assert_int_equal(fg_config_load(&config, &assets, &err), FG_OK);
  assert_int_equal(fg_graph_build(&graph, &config, &err), FG_OK);
  assert_int_equal(fg_synthetic_create(&checkpoint, graph, name, &err), FG_OK);
  fg_graph_destroy(graph);
  fg_assets_free(&assets);
  return checkpoint;
}

static void test_rows_are_the_same_however_they_are_read(void **state) {
  (void)state;
  enum { WIDTH = 768, ROWS = 9 };
  static uint16_t whole[ROWS * WIDTH], row[WIDTH];
  fg_checkpoint *c = synthetic("opt-125m");
  const fg_checkpoint_tensor *t = fg_checkpoint_find(c, "layers.3.fc1.weight");
  assert_non_null(t);
  assert_int_equal(t->columns, WIDTH);
  assert_int_equal(fg_checkpoint_read_rows(c, t, 100, ROWS, whole, NULL), FG_OK);
  for (int i = ROWS - 1; i >= 0; i--) {
    assert_int_equal(fg_checkpoint_read_rows(c, t, 100 + (uint64_t)i, 1, row, NULL), FG_OK);
    assert_memory_equal(row, whole + i * WIDTH, sizeof row);
  }
  assert_memory_not_equal(whole, whole + WIDTH, sizeof row);
  fg_checkpoint_destroy(c);
}

static void moments(fg_checkpoint *c, const char *name, uint64_t rows, double *mean, double *deviation) {
  const fg_checkpoint_tensor *t = fg_checkpoint_find(c, name);
  assert_non_null(t);
  uint64_t n = rows * t->columns;
  uint16_t *values = malloc(n * sizeof *values);
  assert_int_equal(fg_checkpoint_read_rows(c, t, 0, rows, values, NULL), FG_OK);
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < n; i++) {
    double v = fg_bf16_to_f32(values[i]);
    sum += v;
    squares += v * v;
  }
  *mean = sum / (double)n;
  *deviation = sqrt(squares / (double)n - *mean * *mean);
  free(values);
}

static void test_values_have_a_sane_scale(void **state) {
  (void)state;
  double mean, deviation;
  fg_checkpoint *c = synthetic("opt-125m");
  moments(c, "layers.0.fc1.weight", 1000, &mean, &deviation);
  assert_true(fabs(mean) < 2e-4);
  assert_true(fabs(deviation - 0.02) < 5e-4);
  moments(c, "layers.0.self_attn_layer_norm.weight", 1, &mean, &deviation);
  assert_true(fabs(mean - 1) < 0.02);
  moments(c, "layers.0.fc1.bias", 1, &mean, &deviation);
  assert_true(fabs(mean) < 0.002 && deviation < 0.02);
  fg_checkpoint_destroy(c);
}

static void test_tied_head_is_one_tensor(void **state) {
  (void)state;
  fg_checkpoint *tied = synthetic("smollm2-135m"), *untied = synthetic("tinyllama-1.1b");
  assert_null(fg_checkpoint_find(tied, "lm_head.weight"));
  assert_non_null(fg_checkpoint_find(tied, "embed_tokens.weight"));
  assert_non_null(fg_checkpoint_find(untied, "lm_head.weight"));
  for (size_t i = 1; i < tied->count; i++)
    assert_true(strcmp(tied->tensors[i - 1].name, tied->tensors[i].name) < 0);
  fg_checkpoint_destroy(tied);
  fg_checkpoint_destroy(untied);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_shape_has_the_published_size),
      cmocka_unit_test(test_unknown_shape_names_those_there_are),
      cmocka_unit_test(test_rows_are_the_same_however_they_are_read),
      cmocka_unit_test(test_values_have_a_sane_scale),
      cmocka_unit_test(test_tied_head_is_one_tensor),
  };
  return cmocka_run_group_tests_name("shapes", tests, NULL, NULL);
}
