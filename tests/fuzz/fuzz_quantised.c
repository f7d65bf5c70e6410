// Quantised checkpoints: a file that holds its configuration as one of its tensors, with types, shapes, parts
// and the configuration changed, so that the parts of a module do not fit each other.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/quantised.h"
#include "fuzz_driver.h"

enum { MOST_PARTS = 7, MOST_CONFIG = 512 };

typedef struct part {
  const char *name, *dtype;
  uint64_t rows, columns; // rows 0: a list
  const char *text;       // what it begins with; NULL: noise
  uint64_t text_bytes;
} part;

typedef struct input {
  char config[MOST_CONFIG];
  part parts[MOST_PARTS];
} input;

#define ZERO8  "\0\0\0\0\1\0\0\0"
#define G_IDX8 ZERO8 ZERO8 ZERO8 ZERO8
#define G_IDX  G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8 G_IDX8
#define SHAPE  "\x10\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0"
#define STATE  "{\"blocksize\":64,\"shape\":[16,64],\"nested_blocksize\":4,\"nested_offset\":0.5}"

static const input bases[] = {
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
enum { BASES = sizeof bases / sizeof *bases };

static const struct {
  const char *name;
  unsigned bytes;
} dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2},    {"F64", 8},     {"I8", 1},
              {"I32", 4}, {"I64", 8}, {"F8_E4M3", 1}, {"F8_E8M0", 1}, {"U8", 1}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static uint64_t bytes_of(const part *p) {
  for (int i = 0; i < DTYPES; i++)
    if (strcmp(dtypes[i].name, p->dtype) == 0) return dtypes[i].bytes * (p->rows ? p->rows : 1) * p->columns;
  return 0;
}

static void change_digit(fuzz_random *r, char *text) {
  size_t digits[MOST_CONFIG], count = 0;
  for (size_t i = 0; text[i]; i++)
    if (text[i] >= '0' && text[i] <= '9') digits[count++] = i;
  if (count) text[digits[fuzz_below(r, count)]] = "0123456789-x"[fuzz_below(r, 12)];
}

static void mutate(fuzz_random *r, input *in) {
  size_t count = 0;
  while (count < MOST_PARTS && in->parts[count].name) count++;
  if (count == 0) return;
  part *p = &in->parts[fuzz_below(r, count)];
  switch (fuzz_below(r, 8)) {
  case 0: p->dtype = dtypes[fuzz_below(r, DTYPES)].name; break;
  case 1: p->rows = fuzz_number(r, p->rows) & 0xff; break;
  case 2: p->columns = fuzz_number(r, p->columns) & 0xff; break;
  case 3: *p = in->parts[count - 1], in->parts[count - 1].name = NULL; break;
  case 4: p->text = NULL; break;
  case 5: change_digit(r, in->config); break;
  case 6: strcpy(in->config, bases[fuzz_below(r, BASES)].config); break;
  default: in->config[fuzz_below(r, strlen(in->config))] = "{}[],:\"0"[fuzz_below(r, 8)]; break;
  }
}

static void put_entry(fuzz_bytes *out, const char *separator, const part *p, uint64_t begin) {
  fuzz_put_format(out, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", separator, p->name, p->dtype);
  if (p->rows) fuzz_put_format(out, "%" PRIu64 ",", p->rows);
  fuzz_put_format(out, "%" PRIu64 "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", p->columns, begin,
                  begin + bytes_of(p));
}

static void put_data(fuzz_random *r, fuzz_bytes *out, const part *p) {
  uint64_t bytes = bytes_of(p);
  for (uint64_t i = 0; i < bytes; i++) {
    bool given = p->text && i < p->text_bytes;
    fuzz_put_number(out, given ? (uint8_t)p->text[i] : fuzz_next(r), 1);
  }
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  input in = bases[fuzz_below(r, BASES)];
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) mutate(r, &in);
  const part config = {.name = "config",
                       .dtype = "U8",
                       .columns = strlen(in.config),
                       .text = in.config,
                       .text_bytes = MOST_CONFIG};
  uint64_t at = config.columns;
  fuzz_put_number(out, 0, 8);
  put_entry(out, "{", &config, 0);
  for (int i = 0; i < MOST_PARTS && in.parts[i].name; i++) {
    put_entry(out, ",", &in.parts[i], at);
    at += bytes_of(&in.parts[i]);
  }
  fuzz_put_text(out, "}");
  fuzz_set_number(out, 0, out->count - 8, 8);
  put_data(r, out, &config);
  for (int i = 0; i < MOST_PARTS && in.parts[i].name; i++) put_data(r, out, &in.parts[i]);
}

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
  const fg_checkpoint_tensor *t = fg_checkpoint_find(c, "config");
  char inner[MOST_CONFIG + 1] = "", text[MOST_CONFIG + 64];
  if (!t || t->rows != 1 || t->columns > MOST_CONFIG || fg_checkpoint_read_rows(c, t, 0, 1, inner, NULL))
    return false;
  int n = snprintf(text, sizeof text, "{\"quantization_config\":{%s}}", inner);
  return fg_assets_add(assets, "config.json", text, (size_t)n, NULL) == FG_OK;
}

static void read_all(fg_checkpoint *c) {
  for (size_t i = 0; i < c->count; i++) {
    const fg_checkpoint_tensor *t = &c->tensors[i];
    uint64_t row_bytes;
    fg_error err = {0};
    if (!fg_dtype_bytes(t->dtype, t->columns, &row_bytes))
      fuzz_broken("rows of %s are no whole blocks", t->name);
    char *data = malloc(t->rows * row_bytes + 1);
    if (data && fg_checkpoint_read_rows(c, t, 0, t->rows, data, &err) && err.message[0] == 0)
      fuzz_broken("%s cannot be read, without a reason", t->name);
    free(data);
  }
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
      read_all(c);
    } else if (err.message[0] == 0) {
      fuzz_broken("refused without a reason");
    }
  }
  fg_assets_free(&assets);
  fg_checkpoint_destroy(c);
  return outcome;
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
