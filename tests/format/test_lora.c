// Adapters: what is merged is what PEFT merges, also into quantised weights; what does not fit or would
// change the result is refused in one line.
#include "quantised_support.h"

#include <math.h>

#include "format/lora.h"
#include "format/quantised.h"

static fg_status wrap(const support *s, fg_checkpoint **c, const char *folder, bool exact, fg_error *err) {
  const fg_lora_options options = {
      .folder = folder, .exact = exact, .io = s->rig.io, .budget = s->rig.budget};
  return fg_lora_wrap(c, &options, err);
}

static fg_checkpoint *open_merged(const support *s, const char *base, const char *adapter, bool exact) {
  fg_checkpoint *c = open_checkpoint(s, base);
  fg_error err = {0};
  if (wrap(s, &c, adapter, exact, &err)) fail_msg("%s: %s", adapter, err.message);
  return c;
}

static void assert_near(const char *name, const float *ours, const float *expected, uint64_t count,
                        float share) {
  for (uint64_t i = 0; i < count; i++)
    if (!(fabsf(ours[i] - expected[i]) <= share * (1 + fabsf(expected[i]))))
      fail_msg("%s, value %llu: %.9g, expected %.9g", name, (unsigned long long)i, (double)ours[i],
               (double)expected[i]);
}

// ---- as PEFT -------------------------------------------------------------------------------------------

static void assert_merged_as_peft(const support *s, const char *name, size_t least_changed) {
  char path[PATH_MAX], expected_path[PATH_MAX];
  snprintf(path, sizeof path, FIXTURES "/lora/%s", name);
  snprintf(expected_path, sizeof expected_path, FIXTURES "/lora/%s/expected.safetensors", name);
  fg_checkpoint *merged = open_merged(s, path, path, false), *base = open_checkpoint(s, path),
                *expected = open_checkpoint(s, expected_path);
  size_t changed = 0;
  assert_int_equal(merged->count, expected->count);
  for (size_t i = 0; i < expected->count; i++) {
    const fg_checkpoint_tensor *e = &expected->tensors[i], *t = find_tensor(merged, e->name);
    const uint64_t count = e->rows * e->columns;
    assert_true(t->rows == e->rows && t->columns == e->columns && t->dtype == FG_F32);
    float *wanted = read_expanded(expected, e, e->rows),
          *before = read_expanded(base, find_tensor(base, e->name), 9);
    for (uint64_t step = 1; step < 8; step += 3) {
      float *ours = read_expanded(merged, t, step);
      assert_near(e->name, ours, wanted, count, 1e-6f);
      free(ours);
    }
    changed += memcmp(before, wanted, count * sizeof *wanted) != 0;
    free(before);
    free(wanted);
  }
  assert_true(changed >= least_changed);
  fg_checkpoint_destroy(merged);
  fg_checkpoint_destroy(expected);
  fg_checkpoint_destroy(base);
}

static void test_plain_adapter(void **state) {
  assert_merged_as_peft(*state, "plain", 2);
}
static void test_rank_stabilised_factor_and_patterns(void **state) {
  assert_merged_as_peft(*state, "stabilised-patterns", 2);
}
static void test_embedding(void **state) {
  assert_merged_as_peft(*state, "embedding", 2);
}
static void test_modules_trained_whole(void **state) {
  assert_merged_as_peft(*state, "whole", 4);
}
static void test_dora_scales_rows_to_their_norm(void **state) {
  assert_merged_as_peft(*state, "dora", 2);
}
static void test_matrices_stored_by_inputs(void **state) {
  assert_merged_as_peft(*state, "turned", 1);
}

// ---- made-up adapters ----------------------------------------------------------------------------------

enum { MOST_SPECS = 6 };

static const char *write_adapter(const support *s, const char *config, const spec *tensors,
                                 char path[static PATH_MAX]) {
  support_path(s, "adapter", path);
  mkdir(path, 0700);
  write_specs(s, "adapter/adapter_model.safetensors", tensors, MOST_SPECS);
  support_write(s, "adapter/adapter_config.json", config, strlen(config));
  return path;
}

#define PREFIX "base_model.model."

// Every value of A and B is v (the bytes 3c3c3c3c): the product adds the same everywhere.
static void test_quantised_base_is_merged_from_its_exact_values(void **state) {
  const spec tensors[MOST_SPECS] = {{PREFIX "layers.0.a.lora_A.weight", "F32", 1, 96, 0x3c, NULL},
                                    {PREFIX "layers.0.a.lora_B.weight", "F32", 24, 1, 0x3c, NULL}};
  const support *s = *state;
  const uint32_t bits = 0x3c3c3c3c;
  float v;
  char path[PATH_MAX];
  memcpy(&v, &bits, sizeof v);
  write_adapter(s, "{\"peft_type\":\"LORA\",\"lora_alpha\":2,\"r\":1}", tensors, path);
  for (int exact = 0; exact < 2; exact++) {
    fg_checkpoint *c = open_checkpoint(s, FIXTURES "/quantised/gptq-4");
    fg_assets assets;
    fg_error err = {0};
    assert_int_equal(fg_assets_load(&assets, FIXTURES "/quantised/gptq-4", &err), FG_OK);
    assert_int_equal(
        fg_quantised_wrap(&c, &assets, exact ? FG_QUANTISED_EXACT : FG_QUANTISED_AS_STORED, NULL, &err),
        FG_OK);
    fg_assets_free(&assets);
    assert_int_equal(wrap(s, &c, path, exact, &err), FG_OK);
    fg_checkpoint *before = open_checkpoint(s, FIXTURES "/quantised/gptq-4/expected.safetensors");
    const fg_checkpoint_tensor *a = find_tensor(c, "layers.0.a.weight"),
                               *b = find_tensor(c, "layers.0.b.weight");
    assert_int_equal(a->dtype, exact ? FG_F32 : FG_BF16);
    assert_int_equal(b->dtype, exact ? FG_F32 : FG_Q4_1); // the adapter leaves it alone: its codes stay
    float *ours = read_expanded(c, a, 5), *base = read_expanded(before, find_tensor(before, a->name), 24);
    for (int i = 0; i < 24 * 96; i++) {
      float wanted = base[i] + 2 * v * v;
      if (!(fabsf(ours[i] - wanted) <= fabsf(wanted) * (exact ? 1e-6f : 0x1p-8f)))
        fail_msg("value %d: %g, expected %g", i, (double)ours[i], (double)wanted);
    }
    assert_string_equal(c->about, "GPTQ 4-bit");
    free(ours);
    free(base);
    fg_checkpoint_destroy(before);
    fg_checkpoint_destroy(c);
  }
}

static void test_base_of_16_bits_keeps_its_type(void **state) {
  const spec base[] = {{"model.q.weight", "BF16", 4, 8, 0x3c, NULL},
                       {"model.norm.weight", "F16", 0, 8, 0x3c, NULL}};
  const spec tensors[MOST_SPECS] = {{PREFIX "model.q.lora_A.weight", "F32", 2, 8, 0, NULL},
                                    {PREFIX "model.q.lora_B.weight", "F32", 4, 2, 0, NULL}};
  const support *s = *state;
  char path[PATH_MAX], base_path[PATH_MAX];
  write_specs(s, "model.safetensors", base, 2);
  write_adapter(s, "{\"lora_alpha\":1}", tensors, path);
  fg_checkpoint *c = open_merged(s, support_path(s, "model.safetensors", base_path), path, false);
  uint16_t rows[4 * 8];
  fg_checkpoint_place place;
  const fg_checkpoint_tensor *q = find_tensor(c, "model.q.weight"),
                             *norm = find_tensor(c, "model.norm.weight");
  assert_int_equal(q->dtype, FG_BF16);
  assert_int_equal(fg_checkpoint_read_rows(c, q, 0, 4, rows, NULL), FG_OK);
  for (int i = 0; i < 4 * 8; i++) assert_int_equal(rows[i], 0x3c3c);
  assert_false(c->ops->place(c, q, 0, 1, &place));
  assert_true(c->ops->place(c, norm, 0, 1, &place));
  fg_checkpoint_destroy(c);
}

static void test_names_with_and_without_the_models_prefix(void **state) {
  static const char *const bases[] = {"model.q.weight", "q.weight"};
  static const char *const adapters[][2] = {{PREFIX "model.q.lora_A.weight", PREFIX "model.q.lora_B.weight"},
                                            {PREFIX "q.lora_A.weight", PREFIX "q.lora_B.weight"}};
  const support *s = *state;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) {
      const spec base[] = {{bases[i], "F32", 4, 8, 0, NULL}};
      const spec tensors[MOST_SPECS] = {{adapters[j][0], "F32", 2, 8, 0x3c, NULL},
                                        {adapters[j][1], "F32", 4, 2, 0x3c, NULL}};
      char path[PATH_MAX], base_path[PATH_MAX];
      write_specs(s, "named.safetensors", base, 1);
      write_adapter(s, "{\"lora_alpha\":1}", tensors, path);
      fg_checkpoint *c = open_merged(s, support_path(s, "named.safetensors", base_path), path, true);
      float *ours = read_expanded(c, find_tensor(c, bases[i]), 4);
      assert_true(ours[0] > 0);
      free(ours);
      fg_checkpoint_destroy(c);
    }
}

// ---- what is refused -----------------------------------------------------------------------------------

#define A                                                                                                    \
  { PREFIX "model.q.lora_A.weight", "F32", 2, 8, 0, NULL }
#define B                                                                                                    \
  { PREFIX "model.q.lora_B.weight", "F32", 4, 2, 0, NULL }
#define PLAIN "{\"peft_type\":\"LORA\",\"lora_alpha\":2,\"r\":2"

static const struct {
  const char *config;
  spec tensors[MOST_SPECS];
  fg_status status;
  const char *message;
} refusals[] = {
    {"{", {A, B}, FG_CORRUPT, "adapter_config.json"},
    {"[]", {A, B}, FG_CORRUPT, "no object"},
    {"{\"peft_type\":\"IA3\"}", {A, B}, FG_UNSUPPORTED, "IA3"},
    {PLAIN ",\"bias\":\"all\"}", {A, B}, FG_UNSUPPORTED, "bias"},
    {PLAIN ",\"target_parameters\":[\"x\"]}", {A, B}, FG_UNSUPPORTED, "target_parameters"},
    {PLAIN ",\"layer_replication\":[[0,4]]}", {A, B}, FG_UNSUPPORTED, "layer_replication"},
    {PLAIN ",\"use_qalora\":true}", {A, B}, FG_UNSUPPORTED, "use_qalora"},
    {PLAIN ",\"alora_invocation_tokens\":[1]}", {A, B}, FG_UNSUPPORTED, "alora_invocation_tokens"},
    {PLAIN ",\"trainable_token_indices\":[1]}", {A, B}, FG_UNSUPPORTED, "trainable_token_indices"},
    {PLAIN ",\"lora_bias\":true}", {A, B}, FG_UNSUPPORTED, "lora_bias"},
    {PLAIN ",\"init_lora_weights\":\"pissa\"}", {A, B}, FG_UNSUPPORTED, "pissa"},
    {PLAIN ",\"lora_alpha\":\"2\"}", {A, B}, FG_CORRUPT, "adapter_config.json"}, // twice
    {"{\"lora_alpha\":\"2\"}", {A, B}, FG_INVALID, "lora_alpha"},
    {"{\"lora_alpha\":1e300}", {A, B}, FG_INVALID, "factor that is no number"},
    {PLAIN ",\"alpha_pattern\":{\"(\":3}}", {A, B}, FG_INVALID, "no regular expression"},
    {PLAIN ",\"alpha_pattern\":{\"q\":\"3\"}}", {A, B}, FG_INVALID, "has no number"},
    {PLAIN ",\"rank_pattern\":{\"q\":3}}", {A, B}, FG_CORRUPT, "rank 3"},
    {PLAIN "}", {A}, FG_NOT_FOUND, "lora_B"},
    {PLAIN "}", {B}, FG_NOT_FOUND, "lora_A"},
    {PLAIN "}", {A, {PREFIX "model.q.lora_B.weight", "F32", 5, 2, 0, NULL}}, FG_CORRUPT, "does not fit"},
    {PLAIN "}", {A, {PREFIX "model.q.lora_B.weight", "F32", 4, 3, 0, NULL}}, FG_CORRUPT, "does not fit"},
    {PLAIN "}", {{PREFIX "model.q.lora_A.weight", "F32", 2, 9, 0, NULL}, B}, FG_CORRUPT, "does not fit"},
    {PLAIN "}", {{PREFIX "model.q.lora_A.weight", "I8", 2, 8, 0, NULL}, B}, FG_CORRUPT, "does not fit"},
    {PLAIN "}", {{PREFIX "model.q.lora_A.weight", "F32", 0, 8, 0, NULL}, B}, FG_CORRUPT, "does not fit"},
    {PLAIN "}",
     {{PREFIX "model.q.lora_A.weight", "F32", 0, 0, 0, NULL},
      {PREFIX "model.q.lora_B.weight", "F32", 4, 0, 0, NULL}},
     FG_CORRUPT,
     "does not fit"},
    {PLAIN "}", {A, {PREFIX "model.q.lora_embedding_B", "F32", 4, 2, 0, NULL}}, FG_CORRUPT, "does not fit"},
    {PLAIN "}",
     {A, B, {PREFIX "model.q.lora_magnitude_vector", "F32", 0, 4, 0, NULL}},
     FG_UNSUPPORTED,
     "use_dora"},
    {PLAIN ",\"use_dora\":true}", {A, B}, FG_UNSUPPORTED, "use_dora"},
    {PLAIN ",\"use_dora\":true}",
     {A, B, {PREFIX "model.q.lora_magnitude_vector", "F32", 0, 5, 0, NULL}},
     FG_CORRUPT,
     "4 rows"},
    {PLAIN "}", {A, B, {PREFIX "model.q.lora_B.bias", "F32", 0, 4, 0, NULL}}, FG_UNSUPPORTED, "lora_B.bias"},
    {PLAIN "}",
     {{PREFIX "model.x.lora_A.weight", "F32", 2, 8, 0, NULL},
      {PREFIX "model.x.lora_B.weight", "F32", 4, 2, 0, NULL}},
     FG_NOT_FOUND,
     "model.x.weight"},
    {PLAIN "}", {{"model.q.lora_A.weight", "F32", 2, 8, 0, NULL}, B}, FG_UNSUPPORTED, "does not begin with"},
    {PLAIN "}",
     {A,
      B,
      {PREFIX "model.q.weight", "F32", 4, 8, 0, NULL},
      {PREFIX "model.q.modules_to_save.weight", "F32", 4, 8, 0, NULL}},
     FG_CORRUPT,
     "twice"},
};

static void test_what_does_not_fit_or_is_not_built_is_refused_in_one_line(void **state) {
  const spec base[] = {{"model.q.weight", "F32", 4, 8, 0, NULL}, {"norm.weight", "F32", 0, 8, 0, NULL}};
  const support *s = *state;
  char path[PATH_MAX], base_path[PATH_MAX];
  write_specs(s, "small.safetensors", base, 2);
  support_path(s, "small.safetensors", base_path);
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    fg_error err = {0};
    fg_checkpoint *c = open_checkpoint(s, base_path), *before = c;
    write_adapter(s, refusals[i].config, refusals[i].tensors, path);
    fg_status status = wrap(s, &c, path, false, &err);
    if (status != refusals[i].status || !strstr(err.message, refusals[i].message))
      fail_msg("%s: status %d (%s), expected %d: %s", refusals[i].config, (int)status, err.message,
               (int)refusals[i].status, refusals[i].message);
    assert_ptr_equal(c, before);
    fg_checkpoint_destroy(c);
  }
}

static void test_folder_without_an_adapter_is_refused(void **state) {
  const spec base[] = {{"model.q.weight", "F32", 4, 8, 0, NULL}};
  const support *s = *state;
  char path[PATH_MAX];
  fg_error err = {0};
  write_specs(s, "lone.safetensors", base, 1);
  fg_checkpoint *c = open_checkpoint(s, support_path(s, "lone.safetensors", path));
  support_mkdir(s, "nothing");
  assert_int_equal(wrap(s, &c, support_path(s, "nothing", path), false, &err), FG_NOT_FOUND);
  assert_message(&err, "adapter_config.json");
  support_write(s, "nothing/adapter_config.json", "{}", 2);
  assert_int_equal(wrap(s, &c, path, false, &err), FG_NOT_FOUND);
  assert_message(&err, "holds no adapter");
  fg_checkpoint_destroy(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain_adapter),
      cmocka_unit_test(test_rank_stabilised_factor_and_patterns),
      cmocka_unit_test(test_embedding),
      cmocka_unit_test(test_modules_trained_whole),
      cmocka_unit_test(test_dora_scales_rows_to_their_norm),
      cmocka_unit_test(test_matrices_stored_by_inputs),
      cmocka_unit_test(test_quantised_base_is_merged_from_its_exact_values),
      cmocka_unit_test(test_base_of_16_bits_keeps_its_type),
      cmocka_unit_test(test_names_with_and_without_the_models_prefix),
      cmocka_unit_test(test_what_does_not_fit_or_is_not_built_is_refused_in_one_line),
      cmocka_unit_test(test_folder_without_an_adapter_is_refused),
  };
  return cmocka_run_group_tests_name("lora", tests, support_setup, support_teardown);
}
