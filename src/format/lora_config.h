// lora_config.h: what an adapter's adapter_config.json says about merging it.
//
// Read once; everything that would change the result and is not built is refused by its name. The factor of
// a module's product B A follows from its path, since patterns may give some modules a factor of their own.
#ifndef FG_FORMAT_LORA_CONFIG_H
#define FG_FORMAT_LORA_CONFIG_H

#include "base/json.h"

typedef struct fg_lora_config {
  json_t *root;
  double alpha;
  bool rank_stabilised; // alpha / sqrt(r); else alpha / r
  bool magnitudes;      // DoRA: rows keep a trained norm
  bool turned;          // matrices are stored [inputs, outputs]
} fg_lora_config;

fg_status fg_lora_config_read(fg_lora_config *out, const char *path, fg_error *err);
void fg_lora_config_free(fg_lora_config *config);

// The factor for the module at `path` ("model.layers.0.self_attn.q_proj") whose matrices have this rank.
fg_status fg_lora_config_factor(const fg_lora_config *config, const char *path, uint64_t rank, float *out,
                                fg_error *err);

#endif
