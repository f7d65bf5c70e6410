// Adapters: types, shapes, parts and adapter_config.json changed, merged into a checkpoint that is as it
// should be.
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format/lora.h"
#include "fuzz_parts.h"

#define BASE FG_TEST_DIR "/format/fixtures/lora/plain/model.safetensors"
#define P    "base_model.model."
#define Q    P "model.q_proj."
#define D    P "model.down_proj."
#define E    P "model.embed_tokens."

static const fuzz_parts bases[] = {
    {"\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6",
     {{Q "lora_A.weight", "F32", 4, 12, NULL, 0},
      {Q "lora_B.weight", "F32", 20, 4, NULL, 0},
      {D "lora_A.weight", "BF16", 2, 20, NULL, 0},
      {D "lora_B.weight", "BF16", 12, 2, NULL, 0}}},
    {"\"use_rslora\":true,\"rank_pattern\":{\"down_.*\":2},\"alpha_pattern\":{\"q_proj\":3}",
     {{D "lora_A.weight", "F16", 2, 20, NULL, 0}, {D "lora_B.weight", "F16", 12, 2, NULL, 0}}},
    {"\"use_dora\":true",
     {{Q "lora_A.weight", "F32", 3, 12, NULL, 0},
      {Q "lora_B.weight", "F32", 20, 3, NULL, 0},
      {Q "lora_magnitude_vector", "F32", 0, 20, NULL, 0}}},
    {"\"modules_to_save\":[\"lm_head\"]",
     {{E "lora_embedding_A", "F32", 3, 11, NULL, 0},
      {E "lora_embedding_B", "F32", 12, 3, NULL, 0},
      {E "base_layer.weight", "F32", 11, 12, NULL, 0},
      {P "lm_head.weight", "F16", 11, 12, NULL, 0},
      {P "model.norm.modules_to_save.bias", "F32", 0, 12, NULL, 0}}},
};

static fg_budget *budget;
static fg_io *io;

static bool setup(void) {
  fg_error err = {0};
  return !fg_budget_create(&budget, "host memory", "--host-memory", 0, &err) &&
         !fg_io_create(&io, &(fg_io_options){.budget = budget, .backend = FG_IO_THREADS}, &err);
}

static void teardown(void) {
  fg_io_destroy(io);
  fg_budget_destroy(budget);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  fuzz_parts_make(r, bases, sizeof bases / sizeof *bases, P "config", out);
}

// The configuration goes into a file beside the adapter.
static bool write_config(const char *path, const char *name) {
  char text[FUZZ_CONFIG + 64];
  fg_checkpoint *c;
  if (fg_checkpoint_open(&c, path, io, NULL)) return false;
  bool there = fuzz_parts_config(c, P "config", "", text);
  fg_checkpoint_destroy(c);
  FILE *file = there ? fopen(name, "w") : NULL;
  if (!file) return false;
  fputs(text, file);
  return fclose(file) == 0;
}

static fuzz_outcome run(const char *path, const fuzz_bytes *bytes) {
  char folder[PATH_MAX], config[PATH_MAX];
  fg_checkpoint *c;
  fg_error err = {0};
  snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
  snprintf(config, sizeof config, "%.*s/adapter_config.json", (int)(strrchr(path, '/') - path), path);
  if (!write_config(path, config)) return FUZZ_REFUSED;
  if (fg_checkpoint_open(&c, BASE, io, &err)) fuzz_broken("%s", err.message);
  const fg_lora_options options = {.folder = folder, .exact = bytes->count % 2, .io = io, .budget = budget};
  fuzz_outcome outcome = fg_lora_wrap(&c, &options, &err) ? FUZZ_PAST_HEADER : FUZZ_ACCEPTED;
  if (outcome == FUZZ_ACCEPTED) {
    fuzz_parts_read_all(c);
  } else if (err.message[0] == 0) {
    fuzz_broken("refused without a reason");
  }
  fg_checkpoint_destroy(c);
  unlink(config); // the folder goes when all is done
  return outcome;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {.name = "lora",
                                     .file_name = "adapter_model.safetensors",
                                     .setup = setup,
                                     .make = make,
                                     .run = run,
                                     .teardown = teardown};
  return fuzz_main(argc, argv, &target);
}
