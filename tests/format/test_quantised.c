// Quantised checkpoints: every format's matrices are those that the fixtures' script computed from the codes
// before they were packed; what does not fit or is not built is refused in one line.
#include "quantised_support.h"

#include <math.h>

#include "format/quantised.h"

typedef struct opened {
  fg_checkpoint *quantised, *expected;
} opened;

static fg_checkpoint *open_wrapped(const support *s, const char *path, fg_quantised_form form,
                                   fg_budget *budget) {
  fg_checkpoint *c = open_checkpoint(s, path);
  fg_assets assets;
  fg_error err = {0};
  if (fg_assets_load(&assets, path, &err) || fg_quantised_wrap(&c, &assets, form, budget, &err))
    fail_msg("%s: %s", path, err.message);
  fg_assets_free(&assets);
  return c;
}

static opened open_fixture(const support *s, const char *name, fg_quantised_form form) {
  char path[PATH_MAX], expected[PATH_MAX];
  snprintf(path, sizeof path, FIXTURES "/quantised/%s", name);
  snprintf(expected, sizeof expected, FIXTURES "/quantised/%s/expected.safetensors", name);
  return (opened){open_wrapped(s, path, form, NULL), open_checkpoint(s, expected)};
}

static void close_fixture(opened *o) {
  fg_checkpoint_destroy(o->quantised);
  fg_checkpoint_destroy(o->expected);
}

// Calls `check` for every fixture, with the type that its codes should have.
static void for_each_fixture(const support *s, fg_quantised_form form,
                             void (*check)(const char *name, const opened *o, const char *type)) {
  fg_error err = {0};
  json_t *types = fg_json_read_file(FIXTURES "/quantised/types.json", 1 << 16, &err), *type;
  const char *name;
  assert_non_null(types);
  assert_true(json_object_size(types) >= 20);
  json_object_foreach(types, name, type) {
    opened o = open_fixture(s, name, form);
    check(name, &o, json_string_value(type));
    close_fixture(&o);
  }
  json_decref(types);
}

static void assert_same(const char *name, const float *ours, const float *expected, uint64_t count) {
  for (uint64_t i = 0; i < count; i++)
    if (memcmp(&ours[i], &expected[i], 4) != 0)
      fail_msg("%s, value %llu: %.9g, expected %.9g", name, (unsigned long long)i, (double)ours[i],
               (double)expected[i]);
}

// ---- values --------------------------------------------------------------------------------------------

static void check_exact(const char *name, const opened *o, const char *type) {
  (void)type;
  // the matrices, and one vector that was never quantised
  assert_int_equal(o->quantised->count, o->expected->count + 1);
  assert_non_null(o->quantised->about);
  for (size_t i = 0; i < o->expected->count; i++) {
    const fg_checkpoint_tensor *e = &o->expected->tensors[i], *t = find_tensor(o->quantised, e->name);
    assert_int_equal(t->dims, 2);
    assert_true(t->rows == e->rows && t->columns == e->columns && t->dtype == FG_F32);
    float *expected = read_expanded(o->expected, e, e->rows);
    for (uint64_t step = 1; step <= e->rows; step += step < 3 ? 1 : e->rows) {
      float *ours = read_expanded(o->quantised, t, step);
      assert_same(name, ours, expected, e->rows * e->columns);
      free(ours);
    }
    free(expected);
  }
}

static void test_exact_values_are_those_before_packing(void **state) {
  for_each_fixture(*state, FG_QUANTISED_EXACT, check_exact);
}

// Scale and minimum of a group are rounded to 11 bits: below the group's largest value / 1024.
static void check_stored(const char *name, const opened *o, const char *type) {
  for (size_t i = 0; i < o->expected->count; i++) {
    const fg_checkpoint_tensor *e = &o->expected->tensors[i], *t = find_tensor(o->quantised, e->name);
    if (strcmp(fg_dtype_get(t->dtype)->name, type) != 0)
      fail_msg("%s: %s, expected %s", name, fg_dtype_get(t->dtype)->name, type);
    float *ours = read_expanded(o->quantised, t, 5), *expected = read_expanded(o->expected, e, e->rows),
          *exact;
    const float share = t->dtype == FG_BF16 ? 0x1p-8f : 0x1p-9f;
    exact = malloc(e->rows * e->columns * sizeof *exact);
    assert_non_null(exact);
    assert_int_equal(fg_checkpoint_read_f32(o->quantised, t, 0, t->rows, exact, NULL), FG_OK);
    assert_same(name, exact, expected, e->rows * e->columns);
    for (uint64_t row = 0; row < e->rows; row++) {
      float largest = 0;
      for (uint64_t j = 0; j < e->columns; j++)
        largest = fmaxf(largest, fabsf(expected[row * e->columns + j]));
      for (uint64_t j = row * e->columns; j < (row + 1) * e->columns; j++)
        if (!(fabsf(ours[j] - expected[j]) <= share * largest))
          fail_msg("%s: %g is too far from %g", name, (double)ours[j], (double)expected[j]);
    }
    free(ours);
    free(exact);
    free(expected);
  }
}

static void test_codes_are_held_as_they_are_where_a_type_does(void **state) {
  for_each_fixture(*state, FG_QUANTISED_AS_STORED, check_stored);
}

static void test_unquantised_tensors_go_through_with_their_place(void **state) {
  opened o = open_fixture(*state, "gptq-4", FG_QUANTISED_AS_STORED);
  fg_checkpoint_place place;
  const fg_checkpoint_tensor *norm = find_tensor(o.quantised, "norm.weight");
  const fg_checkpoint_tensor *matrix = find_tensor(o.quantised, "layers.0.a.weight");
  uint16_t values[16];
  assert_int_equal(norm->dtype, FG_BF16);
  assert_int_equal(fg_checkpoint_read_rows(o.quantised, norm, 0, 1, values, NULL), FG_OK);
  assert_true(o.quantised->ops->place(o.quantised, norm, 0, 1, &place));
  assert_int_equal(place.bytes, sizeof values);
  assert_false(o.quantised->ops->place(o.quantised, matrix, 0, 1, &place));
  assert_null(fg_checkpoint_find(o.quantised, "layers.0.a.qweight"));
  assert_null(fg_checkpoint_find(o.quantised, "layers.0.a.scales"));
  close_fixture(&o);
}

// ---- strips --------------------------------------------------------------------------------------------

// The words of a module do not fit into a small budget's share: they come in strips.
static void compare_strips(const support *s, const char *config, const spec *tensors, size_t count) {
  char path[PATH_MAX];
  fg_budget *small;
  uint64_t left;
  assert_int_equal(fg_budget_create(&small, "host memory", "--host-memory", 1 << 20, NULL), FG_OK);
  support_path(s, "strips", path);
  write_specs(s, "strips/model.safetensors", tensors, count);
  support_write(s, "strips/config.json", config, strlen(config));
  left = fg_budget_left(small);
  fg_checkpoint *whole = open_wrapped(s, path, FG_QUANTISED_EXACT, s->rig.budget),
                *strips = open_wrapped(s, path, FG_QUANTISED_EXACT, small);
  assert_true(fg_budget_left(small) < left);
  const fg_checkpoint_tensor *a = find_tensor(whole, "x.weight"), *b = find_tensor(strips, "x.weight");
  float *one = read_expanded(whole, a, a->rows), *other = read_expanded(strips, b, 100);
  assert_same("strips", other, one, a->rows * a->columns);
  free(one);
  free(other);
  fg_checkpoint_destroy(whole);
  fg_checkpoint_destroy(strips);
  assert_int_equal(fg_budget_left(small), left);
  fg_budget_destroy(small);
}

static void test_strips_do_not_change_rows(void **state) {
  enum { IN = 512, OUT = 1000, GROUPS = 4 };
  static char words[IN * OUT / 2], scales[2 * GROUPS * OUT];
  support *s = *state;
  for (size_t i = 0; i < sizeof words; i++) words[i] = (char)(i * 2654435761u >> 13);
  for (size_t i = 0; i < sizeof scales; i++) scales[i] = (char)(i % 2 ? 0x2c : i * 7);
  const spec gptq[] = {{"x.qweight", "I32", IN / 8, OUT, 0, words},
                       {"x.qzeros", "I32", GROUPS, OUT / 8, 0, words},
                       {"x.scales", "F16", GROUPS, OUT, 0, scales}};
  const spec awq[] = {{"x.qweight", "I32", IN, OUT / 8, 0, words},
                      {"x.qzeros", "I32", GROUPS, OUT / 8, 0, words},
                      {"x.scales", "F16", GROUPS, OUT, 0, scales}};
  support_mkdir(s, "strips");
  compare_strips(s, "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128}}",
                 gptq, 3);
  compare_strips(s, "{\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128}}", awq,
                 3);
}

// ---- what is refused -----------------------------------------------------------------------------------

enum { MOST_SPECS = 8 };

typedef struct refusal {
  const char *config; // inside of "quantization_config"
  spec tensors[MOST_SPECS];
  fg_status status;
  const char *message;
  bool when_read;
} refusal;

#define GPTQ "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32"
#define AWQ  "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32"
#define CT   "\"quant_method\":\"compressed-tensors\","
#define PACK                                                                                                 \
  CT "\"format\":\"pack-quantized\",\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":4,\"group_size\":"   \
     "32}}}"
#define FP8 "\"quant_method\":\"fp8\",\"weight_block_size\":[16,32]"
#define BNB "\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true"
#define QWEIGHT                                                                                              \
  { "x.qweight", "I32", 8, 16, 0, NULL }
#define QZEROS                                                                                               \
  { "x.qzeros", "I32", 2, 2, 0, NULL }
#define SCALES                                                                                               \
  { "x.scales", "F16", 2, 16, 0, NULL }
#define PACKED                                                                                               \
  { "x.weight_packed", "I32", 16, 8, 0, NULL }
#define SCALE                                                                                                \
  { "x.weight_scale", "BF16", 16, 2, 0, NULL }
#define SHAPE                                                                                                \
  { "x.weight_shape", "I64", 0, 2, 0, "\x10\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0" }
#define BNB_WEIGHT                                                                                           \
  { "x.weight", "U8", 512, 1, 0, NULL }
#define BNB_ABSMAX                                                                                           \
  { "x.weight.absmax", "F32", 0, 16, 0, NULL }
#define BNB_MAP                                                                                              \
  { "x.weight.quant_map", "F32", 0, 16, 0, NULL }
#define STATE(text)                                                                                          \
  { "x.weight.quant_state.bitsandbytes__nf4", "U8", 0, sizeof(text) - 1, 0, text }

static const refusal refusals[] = {
    // configurations
    {"\"bits\":4", {QWEIGHT}, FG_UNSUPPORTED, "(missing)", false},
    {"\"quant_method\":7", {QWEIGHT}, FG_INVALID, "quant_method", false},
    {"\"quant_method\":\"exl2\"", {QWEIGHT}, FG_UNSUPPORTED, "exl2", false},
    {"\"quant_method\":\"hqq\"", {QWEIGHT}, FG_UNSUPPORTED, "hqq", false},
    {"\"quant_method\":\"gptq\",\"bits\":3", {QWEIGHT}, FG_UNSUPPORTED, "3 bits", false},
    {"\"quant_method\":\"gptq\",\"bits\":\"4\"", {QWEIGHT}, FG_INVALID, "bits", false},
    {"\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":0", {QWEIGHT}, FG_INVALID, "group_size", false},
    {"\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":-2", {QWEIGHT}, FG_INVALID, "group_size", false},
    {GPTQ ",\"checkpoint_format\":\"marlin\"", {QWEIGHT}, FG_UNSUPPORTED, "marlin", false},
    {GPTQ ",\"format\":\"bitblas\"", {QWEIGHT}, FG_UNSUPPORTED, "bitblas", false},
    {GPTQ ",\"is_marlin_format\":true", {QWEIGHT}, FG_UNSUPPORTED, "marlin", false},
    {GPTQ ",\"pack_dtype\":\"int64\"", {QWEIGHT}, FG_UNSUPPORTED, "int64", false},
    {"\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemv\"", {QWEIGHT}, FG_UNSUPPORTED, "gemv", false},
    {"\"quant_method\":\"awq\",\"bits\":8", {QWEIGHT}, FG_UNSUPPORTED, "8 bits", false},
    {CT "\"format\":\"mxfp6-pack-quantized\",\"config_groups\":{\"g\":{\"weights\":{}}}",
     {PACKED},
     FG_UNSUPPORTED,
     "mxfp6",
     false},
    {CT "\"format\":\"pack-quantized\",\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":3}}}",
     {PACKED},
     FG_UNSUPPORTED,
     "3 bits",
     false},
    {CT "\"format\":\"mixed-precision\",\"config_groups\":{\"g\":{\"format\":\"marlin-24\",\"weights\":{}}}",
     {PACKED},
     FG_UNSUPPORTED,
     "marlin-24",
     false},
    {PACK ",\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}",
     {PACKED},
     FG_UNSUPPORTED,
     "sparse",
     false},
    {PACK ",\"transform_config\":{\"config_groups\":{\"u\":{}}}", {PACKED}, FG_UNSUPPORTED, "rotated", false},
    {"\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"", {QWEIGHT}, FG_UNSUPPORTED, "e5m2", false},
    {"\"quant_method\":\"fp8\",\"weight_block_size\":[0,32]",
     {QWEIGHT},
     FG_INVALID,
     "weight_block_size",
     false},
    {"\"quant_method\":\"fp8\",\"weight_block_size\":[16]",
     {QWEIGHT},
     FG_INVALID,
     "weight_block_size",
     false},
    {BNB ",\"bnb_4bit_quant_storage\":\"bfloat16\"", {BNB_WEIGHT}, FG_UNSUPPORTED, "bfloat16", false},
    // GPTQ and AWQ
    {GPTQ, {QWEIGHT, QZEROS}, FG_NOT_FOUND, "x.scales is missing", false},
    {GPTQ, {QWEIGHT, SCALES}, FG_NOT_FOUND, "x.qzeros is missing", false},
    {GPTQ, {QWEIGHT, {"x.qzeros", "I32", 2, 3, 0, NULL}, SCALES}, FG_UNSUPPORTED, "x.qzeros: 3 words", false},
    {GPTQ, {QWEIGHT, {"x.qzeros", "I32", 3, 2, 0, NULL}, SCALES}, FG_CORRUPT, "x.qzeros", false},
    {GPTQ, {QWEIGHT, QZEROS, {"x.scales", "F16", 2, 8, 0, NULL}}, FG_CORRUPT, "x.scales", false},
    {GPTQ, {QWEIGHT, QZEROS, {"x.scales", "I32", 2, 16, 0, NULL}}, FG_UNSUPPORTED, "type i32", false},
    {GPTQ, {QWEIGHT, {"x.qzeros", "F32", 2, 2, 0, NULL}, SCALES}, FG_UNSUPPORTED, "type f32", false},
    {GPTQ,
     {QWEIGHT, {"x.qzeros", "I32", 5, 2, 0, NULL}, {"x.scales", "F16", 5, 16, 0, NULL}},
     FG_CORRUPT,
     "no groups",
     false},
    {GPTQ, {{"x.qweight", "I32", 0, 16, 0, NULL}, QZEROS, SCALES}, FG_CORRUPT, "no matrix", false},
    {GPTQ,
     {{"x.qweight", "I32", 8, 0, 0, NULL},
      {"x.qzeros", "I32", 2, 0, 0, NULL},
      {"x.scales", "F16", 2, 0, 0, NULL}},
     FG_CORRUPT,
     "empty",
     false},
    {GPTQ, {QWEIGHT, QZEROS, SCALES, {"x.g_idx", "I32", 0, 63, 0, NULL}}, FG_CORRUPT, "x.g_idx", false},
    {GPTQ, {QWEIGHT, QZEROS, SCALES, {"x.g_idx", "I64", 0, 64, 0, NULL}}, FG_UNSUPPORTED, "x.g_idx", false},
    {GPTQ,
     {QWEIGHT, QZEROS, SCALES, {"x.g_idx", "I32", 0, 64, 1, NULL}},
     FG_CORRUPT,
     "is of group 16843009",
     true},
    {GPTQ,
     {QWEIGHT, QZEROS, SCALES, {"x.g_idx", "I32", 0, 64, 0xff, NULL}},
     FG_CORRUPT,
     "is of group -1",
     true},
    {GPTQ, {QWEIGHT, QZEROS, SCALES, {"x.weight", "F16", 16, 64, 0, NULL}}, FG_CORRUPT, "twice", false},
    {AWQ, {{"x.qweight", "I32", 64, 2, 0, NULL}, QZEROS}, FG_NOT_FOUND, "x.scales is missing", false},
    {AWQ, {{"x.qweight", "I32", 64, 3, 0, NULL}, QZEROS, SCALES}, FG_CORRUPT, "x.scales", false},
    {AWQ,
     {{"x.qweight", "I32", 64, 2, 0, NULL}, {"x.qzeros", "I32", 1, 2, 0, NULL}, SCALES},
     FG_CORRUPT,
     "x.qzeros",
     false},
    // compressed-tensors
    {PACK, {PACKED, SHAPE}, FG_NOT_FOUND, "x.weight_scale is missing", false},
    {PACK, {PACKED, SCALE}, FG_NOT_FOUND, "x.weight_shape is missing", false},
    {PACK,
     {PACKED, SCALE, {"x.weight_shape", "I64", 0, 2, 0, NULL}},
     FG_CORRUPT,
     "[0, 0] does not fit",
     false},
    {PACK, {PACKED, SCALE, {"x.weight_shape", "I64", 0, 2, 0xff, NULL}}, FG_CORRUPT, "does not fit", false},
    {PACK, {PACKED, SCALE, {"x.weight_shape", "I64", 0, 3, 0, NULL}}, FG_CORRUPT, "x.weight_shape", false},
    {PACK, {PACKED, {"x.weight_scale", "BF16", 15, 2, 0, NULL}, SHAPE}, FG_CORRUPT, "x.weight_scale", false},
    {PACK, {PACKED, {"x.weight_scale", "BF16", 16, 3, 0, NULL}, SHAPE}, FG_CORRUPT, "no groups", false},
    {PACK,
     {PACKED, SCALE, SHAPE, {"x.weight_zero_point", "I32", 16, 2, 0, NULL}},
     FG_CORRUPT,
     "x.weight_zero_point",
     false},
    {PACK,
     {PACKED, SCALE, SHAPE, {"x.weight_g_idx", "I32", 0, 64, 2, NULL}},
     FG_CORRUPT,
     "is of group",
     true},
    {CT "\"format\":\"int-quantized\"",
     {{"x.weight", "I8", 16, 64, 0, NULL}},
     FG_NOT_FOUND,
     "x.weight_scale is missing",
     false},
    {CT "\"format\":\"int-quantized\"",
     {{"x.weight", "I8", 16, 64, 0, NULL}, {"x.weight_scale", "F32", 3, 1, 0, NULL}},
     FG_CORRUPT,
     "x.weight_scale has 3 by 1 scales",
     false},
    {CT "\"format\":\"int-quantized\"",
     {{"x.weight", "I8", 16, 64, 0, NULL}, {"x.weight_scale", "I64", 16, 1, 0, NULL}},
     FG_UNSUPPORTED,
     "type i64",
     false},
    {CT "\"format\":\"int-quantized\"",
     {{"x.weight", "I8", 0, 64, 0, NULL}, {"x.weight_scale", "F32", 0, 1, 0, NULL}},
     FG_UNSUPPORTED,
     "only matrices",
     false},
    {CT "\"format\":\"mxfp4-pack-quantized\"",
     {{"x.weight_packed", "U8", 4, 33, 0, NULL}, {"x.weight_scale", "U8", 4, 2, 0, NULL}},
     FG_UNSUPPORTED,
     "runs of 32",
     false},
    {CT "\"format\":\"mxfp4-pack-quantized\"",
     {{"x.weight_packed", "U8", 4, 32, 0, NULL}, {"x.weight_scale", "U8", 4, 3, 0, NULL}},
     FG_CORRUPT,
     "x.weight_scale",
     false},
    {CT "\"format\":\"nvfp4-pack-quantized\"",
     {{"x.weight_packed", "U8", 4, 32, 0, NULL}, {"x.weight_scale", "F8_E4M3", 4, 4, 0, NULL}},
     FG_NOT_FOUND,
     "no weight_global_scale",
     false},
    {CT "\"format\":\"nvfp4-pack-quantized\"",
     {{"x.weight_packed", "U8", 4, 32, 0, NULL},
      {"x.weight_scale", "F8_E4M3", 4, 4, 0, NULL},
      {"x.weight_global_scale", "F32", 0, 1, 0, NULL}},
     FG_CORRUPT,
     "x.weight_global_scale is 0",
     false},
    {CT "\"format\":\"nvfp4-pack-quantized\"",
     {{"x.weight_packed", "U8", 4, 32, 0, NULL}, {"x.weight_scale", "F8_E4M3", 4, 2, 0, NULL}},
     FG_CORRUPT,
     "x.weight_scale",
     false},
    // FP8
    {FP8, {{"x.weight", "F8_E4M3", 20, 40, 0, NULL}}, FG_NOT_FOUND, "neither a weight_scale nor", false},
    {FP8,
     {{"x.weight", "F8_E4M3", 20, 40, 0, NULL}, {"x.weight_scale_inv", "F32", 2, 1, 0, NULL}},
     FG_CORRUPT,
     "blocks of 16 by 32",
     false},
    {FP8,
     {{"x.weight", "F8_E4M3", 20, 40, 0, NULL}, {"x.weight_scale_inv", "U8", 2, 2, 0, NULL}},
     FG_UNSUPPORTED,
     "type u8",
     false},
    // bitsandbytes
    {BNB, {BNB_WEIGHT, BNB_ABSMAX}, FG_NOT_FOUND, "x.weight.quant_map is missing", false},
    {BNB, {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP}, FG_NOT_FOUND, "no quant_state", false},
    {BNB, {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP, STATE("{\"blocksize\":64")}, FG_CORRUPT, "quant_state", false},
    {BNB, {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP, STATE("[]")}, FG_INVALID, "shape", false},
    {BNB,
     {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP, STATE("{\"blocksize\":0,\"shape\":[16,64]}")},
     FG_INVALID,
     "blocksize",
     false},
    {BNB,
     {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP, STATE("{\"blocksize\":64,\"shape\":[16]}")},
     FG_INVALID,
     "shape",
     false},
    {BNB,
     {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP, STATE("{\"blocksize\":64,\"shape\":[16,-64]}")},
     FG_INVALID,
     "shape",
     false},
    {BNB,
     {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP, STATE("{\"blocksize\":64,\"shape\":[16,65]}")},
     FG_CORRUPT,
     "x.weight has 512 values",
     false},
    {BNB,
     {BNB_WEIGHT, BNB_ABSMAX, BNB_MAP, STATE("{\"blocksize\":32,\"shape\":[16,64]}")},
     FG_CORRUPT,
     "x.weight.absmax has 16 values",
     false},
    {BNB,
     {BNB_WEIGHT,
      {"x.weight.absmax", "U8", 0, 16, 0, NULL},
      BNB_MAP,
      STATE("{\"blocksize\":64,\"shape\":[16,64]}")},
     FG_CORRUPT,
     "x.weight.absmax",
     false},
    {"\"quant_method\":\"bitsandbytes\"",
     {{"x.weight", "I8", 16, 64, 0, NULL}},
     FG_NOT_FOUND,
     "x.SCB is missing",
     false},
    {"\"quant_method\":\"bitsandbytes\"",
     {{"x.weight", "I8", 16, 64, 0, NULL}, {"x.SCB", "F32", 0, 15, 0, NULL}},
     FG_CORRUPT,
     "x.SCB has 15 values",
     false},
    {"\"quant_method\":\"bitsandbytes\"",
     {{"x.weight", "I8", 16, 64, 0, NULL},
      {"x.SCB", "F32", 0, 16, 0, NULL},
      {"x.weight_format", "U8", 0, 1, 1, NULL}},
     FG_UNSUPPORTED,
     "not stored row by row",
     false},
    {"\"quant_method\":\"mxfp4\"",
     {{"x_blocks", "U8", 16, 16, 0, NULL}},
     FG_NOT_FOUND,
     "x_scales is missing",
     false},
    {"\"quant_method\":\"mxfp4\"",
     {{"x_blocks", "U8", 16, 16, 0, NULL}, {"x_scales", "U8", 16, 1, 0, NULL}},
     FG_UNSUPPORTED,
     "x_blocks is not [",
     false},
};

// The status of wrapping, or of reading the one matrix.
static fg_status try_refusal(const support *s, const refusal *r, fg_error *err) {
  char path[PATH_MAX], config[1024];
  support_path(s, "refused", path);
  int n = snprintf(config, sizeof config, "{\"quantization_config\":{%s}}", r->config);
  write_specs(s, "refused/model.safetensors", r->tensors, MOST_SPECS);
  support_write(s, "refused/config.json", config, (size_t)n);
  fg_checkpoint *c = open_checkpoint(s, path);
  fg_assets assets;
  assert_int_equal(fg_assets_load(&assets, path, err), FG_OK);
  fg_status status = fg_quantised_wrap(&c, &assets, FG_QUANTISED_AS_STORED, NULL, err);
  fg_assets_free(&assets);
  if (!status && r->when_read) {
    const fg_checkpoint_tensor *t = find_tensor(c, "x.weight");
    float *out = malloc(t->rows * t->columns * sizeof *out);
    assert_non_null(out);
    status = fg_checkpoint_read_rows(c, t, 0, t->rows, out, err);
    free(out);
  }
  fg_checkpoint_destroy(c);
  return status;
}

static void test_what_does_not_fit_or_is_not_built_is_refused_in_one_line(void **state) {
  support_mkdir(*state, "refused");
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    fg_error err = {0};
    fg_status status = try_refusal(*state, &refusals[i], &err);
    if (status != refusals[i].status || !strstr(err.message, refusals[i].message))
      fail_msg("%s: status %d (%s), expected %d: %s", refusals[i].config, (int)status, err.message,
               (int)refusals[i].status, refusals[i].message);
  }
}

static void test_bad_json_is_refused_also_where_no_weights_are(void **state) {
  (void)state;
  fg_assets assets = {0};
  fg_checkpoint *none = NULL;
  fg_error err = {0};
  static const char broken[] = "{\"bits\":4,",
                    exl[] = "{\"quantization_config\":{\"quant_method\":\"exl3\"}}";
  assert_int_equal(fg_assets_add(&assets, "quantize_config.json", broken, strlen(broken), &err), FG_OK);
  assert_int_equal(fg_quantised_wrap(&none, &assets, FG_QUANTISED_EXACT, NULL, &err), FG_CORRUPT);
  assert_message(&err, "quantize_config.json");
  assert_int_equal(fg_assets_add(&assets, "config.json", exl, strlen(exl), &err), FG_OK);
  assert_int_equal(fg_quantised_wrap(&none, &assets, FG_QUANTISED_EXACT, NULL, &err), FG_UNSUPPORTED);
  assert_message(&err, "config.json");
  assert_message(&err, "exl3");
  fg_assets_free(&assets);
}

static void test_checkpoint_that_is_not_quantised_stays_itself(void **state) {
  static const char *const configs[] = {"{\"quantization_config\":null}", "{}",
                                        "{\"quantization_config\":{" GPTQ "}}"};
  const spec plain[] = {{"x.weight", "F16", 4, 4, 0, NULL}, {"x.scales", "F16", 4, 4, 0, NULL}};
  support *s = *state;
  char path[PATH_MAX];
  write_specs(s, "plain.safetensors", plain, 2);
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    fg_assets assets = {0};
    fg_checkpoint *c = open_checkpoint(s, support_path(s, "plain.safetensors", path)), *before = c;
    assert_int_equal(fg_assets_add(&assets, "config.json", configs[i], strlen(configs[i]), NULL), FG_OK);
    assert_int_equal(fg_quantised_wrap(&c, &assets, FG_QUANTISED_EXACT, s->rig.budget, NULL), FG_OK);
    assert_ptr_equal(c, before);
    assert_int_equal(c->count, 2);
    fg_assets_free(&assets);
    fg_checkpoint_destroy(c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exact_values_are_those_before_packing),
      cmocka_unit_test(test_codes_are_held_as_they_are_where_a_type_does),
      cmocka_unit_test(test_unquantised_tensors_go_through_with_their_place),
      cmocka_unit_test(test_strips_do_not_change_rows),
      cmocka_unit_test(test_what_does_not_fit_or_is_not_built_is_refused_in_one_line),
      cmocka_unit_test(test_bad_json_is_refused_also_where_no_weights_are),
      cmocka_unit_test(test_checkpoint_that_is_not_quantised_stays_itself),
  };
  return cmocka_run_group_tests_name("quantised", tests, support_setup, support_teardown);
}
