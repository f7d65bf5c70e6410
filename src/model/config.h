// config.h: a model's numbers, from whichever file they come.
//
// A family lists its keys in a table: member of fg_config, name in config.json, name in a GGUF header,
// value when it is missing. What a checkpoint says beyond its configuration (which tensors are there at
// all, Llama-3's rotary factors in a GGUF) are its *facts*: they are gathered once, kept as an asset
// beside the others and so stand in packed stores too. Hence a configuration, and the graph built from
// it, are functions of the assets alone.
#ifndef FG_MODEL_CONFIG_H
#define FG_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "device/op.h"
#include "format/assets.h"
#include "format/checkpoint.h"

#define FG_ASSET_FACTS "facts.json"

enum { FG_MAX_HEAD_DIM = 1024 };

typedef enum fg_rope_scaling { FG_ROPE_DEFAULT, FG_ROPE_LINEAR, FG_ROPE_LLAMA3 } fg_rope_scaling;

typedef struct fg_rope {
  double theta;
  fg_rope_scaling scaling;
  double factor, low_freq_factor, high_freq_factor, original_positions;
  float divisor[FG_MAX_HEAD_DIM / 2]; // frequency i is divided by divisor[i]
  uint32_t divisor_count;             // 0 = by nothing
} fg_rope;

typedef struct fg_arch fg_arch;

typedef struct fg_config {
  const fg_arch *arch;
  bool gguf; // from a GGUF header: its tensor names, its order of rows
  uint32_t hidden, layers, heads, kv_heads, head_dim, ffn, vocab;
  uint32_t embed; // width of the embedding's rows; projected when it is not hidden
  uint32_t max_positions;
  double norm_eps;
  fg_activation activation;
  bool qkv_bias, out_bias, mlp_bias;
  bool norm_affine; // norms have weights at all
  bool pre_norm;    // x += f(norm(x)); else x = norm(x + f(x))
  bool no_final_norm;
  bool tied; // what the configuration says
  bool embed_stored, head_stored;
  fg_rope rope;
} fg_config;

typedef enum fg_key_kind { FG_KEY_U32, FG_KEY_F64, FG_KEY_BOOL, FG_KEY_ACTIVATION } fg_key_kind;

#define FG_REQUIRED (-1.0e308) // as fallback: the key must be there

typedef struct fg_config_key {
  size_t member;
  fg_key_kind kind;
  const char *json; // in config.json; NULL = takes the fallback
  const char *gguf; // behind "<architecture>."; NULL = takes the fallback
  double fallback;
} fg_config_key;

// Finds the architecture and reads the numbers. FG_NOT_FOUND: no configuration at all; FG_UNSUPPORTED
// names what is not built; FG_INVALID what makes no sense.
fg_status fg_config_load(fg_config *out, const fg_assets *assets, fg_error *err);

// Adds the facts of a checkpoint to its assets.
fg_status fg_facts_gather(fg_assets *assets, fg_checkpoint *checkpoint, const fg_log *log, fg_error *err);

// Ends and begin of a text: generation_config.json over config.json over the family's default, or the
// GGUF header's. *bos = -1: none.
fg_status fg_config_token_ids(const fg_config *config, const fg_assets *assets, int32_t *eos,
                              uint32_t eos_max, uint32_t *eos_count, int32_t *bos, fg_error *err);

// inv_freq of head_dim / 2 rotary pairs. // [head_dim / 2]
void fg_rope_frequencies(const fg_rope *rope, uint32_t head_dim, float *out);
// rope_theta and rope_scaling, or the newer rope_parameters, of a config.json.
typedef struct json_t json_t;
fg_status fg_rope_from_json(fg_rope *out, const json_t *config, uint32_t max_positions, fg_error *err);
typedef struct fg_gguf fg_gguf;
fg_status fg_rope_from_gguf(fg_rope *out, const fg_gguf *gguf, const char *architecture, fg_error *err);

#endif
