// Quantised checkpoints: types, shapes, parts and the configuration changed, so that the parts of a module do
// not fit each other.
#include <string.h>

#include "format/quantised.h"
#include "fuzz_parts.h"

#define ZERO8  "\0\0\0\0\1\0\0\0"
#define G_IDX8 ZERO8 ZERO8 ZERO8 ZERO8
#define G_IDX  G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8
#define SHAPE  "\x10\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0"
#define STATE  "{\"blocksize\":64,\"shape\":[16,64],\"nested_blocksize\":4,\"nested_offset\":0.5}"

static const fuzz_parts bases[] = {
    {"\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":true",
     {{"x.qweight", "I32", 8, 16, NULL, 0},
      {"x.qzeros", "I32", 2, 2, NULL, 0},
      {"x.scales", "F16", 2, 16, NULL, 0},
      {"x.g_idx", "I32", 0, 64, G_IDX, sizeof G_IDX - 1}}},
    {"\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":-1,\"checkpoint_format\":\"gptq_v2\"",
     {{"x.qweight", "I32", 16, 16, NULL, 0},
      {"x.qzeros", "I32", 1, 4, NULL, 0},
      {"x.scales", "BF16", 1, 16, NULL, 0}}},
    {"\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32",
     {{"x.qweight", "I32", 64, 2, NULL, 0},
      {"x.qzeros", "I32", 2, 2, NULL, 0},
      {"x.scales", "F16", 2, 16, NULL, 0}}},
    {"\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":{\"g\":{"
     "\"weights\":{"
     "\"num_bits\":4,\"group_size\":32}}}",
     {{"x.weight_packed", "I32", 16, 8, NULL, 0},
      {"x.weight_scale", "BF16", 16, 2, NULL, 0},
      {"x.weight_shape", "I64", 0, 2, SHAPE, 16},
      {"x.weight_zero_point", "I32", 2, 2, NULL, 0}}},
    {"\"quant_method\":\"compressed-tensors\",\"format\":\"int-quantized\"",
     {{"x.weight", "I8", 16, 64, NULL, 0},
      {"x.weight_scale", "F32", 16, 1, NULL, 0},
      {"x.weight_zero_point", "I8", 16, 1, NULL, 0}}},
    {"\"quant_method\":\"compressed-tensors\",\"format\":\"mxfp4-pack-quantized\"",
     {{"x.weight_packed", "U8", 16, 32, NULL, 0}, {"x.weight_scale", "U8", 16, 2, NULL, 0}}},
    {"\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\"",
     {{"x.weight_packed", "U8", 16, 32, NULL, 0},
      {"x.weight_scale", "F8_E4M3", 16, 4, NULL, 0},
      {"x.weight_global_scale", "F32", 0, 1, "\0\0\x80\x3f", 4}}},
    {"\"quant_method\":\"fp8\",\"weight_block_size\":[16,32]",
     {{"x.weight", "F8_E4M3", 20, 40, NULL, 0}, {"x.weight_scale_inv", "F32", 2, 2, NULL, 0}}},
    {"\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true",
     {{"x.weight", "U8", 512, 1, NULL, 0},
      {"x.weight.absmax", "U8", 0, 16, NULL, 0},
      {"x.weight.quant_map", "F32", 0, 16, NULL, 0},
      {"x.weight.nested_absmax", "F32", 0, 4, NULL, 0},
      {"x.weight.nested_quant_map", "F32", 0, 256, NULL, 0},
      {"x.weight.quant_state.bitsandbytes__nf4", "U8", 0, sizeof STATE - 1, STATE, sizeof STATE - 1}}},
    {"\"quant_method\":\"bitsandbytes\"",
     {{"x.weight", "I8", 16, 64, NULL, 0},
      {"x.SCB", "F32", 0, 16, NULL, 0},
      {"x.weight_format", "U8", 0, 1, "\0", 1}}},
};

// ---- running -------------------------------------------------------------------------------------------

static fg_budget *budget, *all; // a small one makes narrow strips
static fg_io *io;

static bool setup(void) {
  fg_error err = {0};
  return !fg_budget_create(&budget, "host memory", "--host-memory", 1 << 20, &err) &&
         !fg_budget_create(&all, "host memory", "--host-memory", 0, &err) &&
         !fg_io_create(&io, &(fg_io_options){.budget = all, .backend = FG_IO_THREADS}, &err);
}

static void teardown(void) {
  fg_io_destroy(io);
  fg_budget_destroy(budget);
  fg_budget_destroy(all);
}

static bool read_config(fg_assets *assets, fg_checkpoint *c) {
  char text[FUZZ_CONFIG + 64];
  if (!fuzz_parts_config(c, "config", "{\"quantization_config\":", text)) return false;
  strcat(text, "}");
  return fg_assets_add(assets, "config.json", text, strlen(text), NULL) == FG_OK;
}

static fuzz_outcome run(const char *path, const fuzz_bytes *bytes) {
  fg_checkpoint *c;
  fg_assets assets = {0};
  fg_error err = {0};
  if (fg_checkpoint_open(&c, path, io, &err)) return FUZZ_REFUSED;
  fuzz_outcome outcome = FUZZ_REFUSED;
  if (read_config(&assets, c)) {
    fg_quantised_form form = bytes->count % 2 ? FG_QUANTISED_EXACT : FG_QUANTISED_AS_STORED;
    outcome = fg_quantised_wrap(&c, &assets, form, budget, &err) ? FUZZ_PAST_HEADER : FUZZ_ACCEPTED;
    if (outcome == FUZZ_ACCEPTED) {
      fuzz_parts_read_all(c);
    } else if (err.message[0] == 0) {
      fuzz_broken("refused without a reason");
    }
  }
  fg_assets_free(&assets);
  fg_checkpoint_destroy(c);
  return outcome;
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  fuzz_parts_make(r, bases, sizeof bases / sizeof *bases, "config", out);
}

int main(int argc, char **argv) {
  static const fuzz_target target = {.name = "quantised",
                                     .file_name = "x.safetensors",
                                     .setup = setup,
                                     .make = make,
                                     .run = run,
                                     .teardown = teardown};
  return fuzz_main(argc, argv, &target);
}
