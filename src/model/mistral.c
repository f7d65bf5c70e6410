// mistral.c: Mistral: Llama under a window. Ministral: Llama some of whose layers are.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),    FG_CONTEXT_KEY(131072), FG_RMS_KEY(1e-6), FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_TIED_KEY(false),
};
static const char *const reads[] = {"sliding_window", NULL};
static const char *const mixed_reads[] = {"sliding_window", "layer_types", NULL};

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  uint32_t window;
  fg_status status = fg_config_window(root, 4096, &window, err);
  if (!status) fg_config_all_local(config, window);
  return status;
}

static bool is_local(const fg_config *config, uint32_t layer) {
  (void)config, (void)layer;
  return true;
}

static fg_status refine_mixed(fg_config *config, const json_t *root, fg_error *err) {
  uint32_t window;
  fg_status status = fg_config_window(root, 4096, &window, err);
  return status ? status : fg_config_some_local(config, root, window, is_local, err);
}

#define MISTRAL_ROW                                                                                          \
  .names = &names, .keys = keys, .key_count = sizeof keys / sizeof *keys, .norm = FG_NORM_RMS,               \
  .position = FG_POSITION_ROPE, .mlp = FG_MLP_GATED, .bos = 1, .eos = 2, .build = fg_decoder_build

const fg_arch fg_arch_mistral = {MISTRAL_ROW, .name = "mistral", .reads = reads, .refine = refine};
const fg_arch fg_arch_ministral = {MISTRAL_ROW, .name = "ministral", .reads = mixed_reads,
                                   .refine = refine_mixed};
