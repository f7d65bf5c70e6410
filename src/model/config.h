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
#include "base/reasons.h"
#include "device/op.h"
#include "format/assets.h"
#include "format/checkpoint.h"

#define FG_ASSET_FACTS "facts.json"

enum { FG_MAX_HEAD_DIM = 1024, FG_MAX_LAYERS = 1024, FG_MAX_LAYER_KINDS = 128, FG_ROPE_SETS = 2 };

typedef enum fg_rope_scaling {
  FG_ROPE_DEFAULT,
  FG_ROPE_LINEAR,
  FG_ROPE_LLAMA3,
  FG_ROPE_YARN,    // Peng et al. 2023
  FG_ROPE_DYNAMIC, // a base that grows with the length of the text
  FG_ROPE_LONG     // Phi-3: other divisors for texts longer than the original context
} fg_rope_scaling;

typedef struct fg_rope {
  double theta;
  double partial; // share of a head that is turned
  uint32_t dims;  // that frequencies are spread over; 0 = as many as are turned
  fg_rope_scaling scaling;
  double factor, low_freq_factor, high_freq_factor, original_positions;
  double beta_fast, beta_slow;             // yarn
  bool whole_bounds;                       // yarn: its bounds are rounded to whole dimensions
  double magnitude;                        // of cosines and sines
  double mscale_all_dim;                   // of a scaling; 0 = none: fg_rope_score_factor
  float divisor[FG_MAX_HEAD_DIM / 2];      // frequency i is divided by divisor[i]
  float long_divisor[FG_MAX_HEAD_DIM / 2]; // the same of longer texts
  uint32_t divisor_count, long_count;      // 0 = by nothing
} fg_rope;

typedef struct fg_arch fg_arch;
typedef struct fg_names fg_names;

typedef enum fg_position_kind { FG_POSITION_ROPE, FG_POSITION_LEARNED, FG_POSITION_ALIBI } fg_position_kind;

// Where the norms of a branch f (attention, feed-forward) stand.
typedef enum fg_norm_place {
  FG_NORM_BEFORE, // x += f(norm(x))
  FG_NORM_SUM,    // x = norm(x + f(x))
  FG_NORM_AFTER,  // x += norm(f(x))
  FG_NORM_AROUND, // x += after(f(before(x)))
} fg_norm_place;

// What the feed-forward branch starts from.
typedef enum fg_residual {
  FG_RESIDUAL_SEQUENTIAL, // x with attention added
  FG_RESIDUAL_SHARED,     // what attention starts from: the same normed x
  FG_RESIDUAL_PARALLEL,   // the same x under a norm of its own
} fg_residual;

// Norms of queries and keys before they are turned.
typedef enum fg_qk_norm {
  FG_QK_NORM_NONE,
  FG_QK_NORM_HEAD,  // each head by itself, one weight [head_dim]
  FG_QK_NORM_APART, // each head by itself, weights [heads, head_dim]
  FG_QK_NORM_WHOLE, // all heads as one row
} fg_qk_norm;

// What tells layers apart; set 0 of the rotary embeddings is the usual one, set 1 that of local layers.
typedef enum fg_layer_rope { FG_LAYER_NO_ROPE, FG_LAYER_ROPE, FG_LAYER_ROPE_LOCAL } fg_layer_rope;
typedef struct fg_layer_kind {
  uint32_t window; // 0 = all keys
  fg_layer_rope rope;
  double score_scale; // 0 = the configuration's
  bool experts;       // the feed-forward branch is made of them
} fg_layer_kind;

// Latent attention (DeepSeek-V2's MLA): keys and values of all heads are made from one short vector, which is
// all that is kept of a token, beside a key of head_dim values that is turned and that heads share.
typedef struct fg_latent {
  uint32_t rank;   // of that vector; 0 = heads have keys and values of their own
  uint32_t q_rank; // of the one that queries are made from; 0 = they are made from x
  uint32_t nope;   // values of a head's query and key that are not turned
  uint32_t value;  // values of a head's value
  bool split;      // what makes keys and what makes values are two tensors
  double norm_eps; // of the short vectors' norms; 0 = that of the others
} fg_latent;

typedef struct fg_config {
  const fg_arch *arch;
  const fg_names *names; // where one family has two sets of them; NULL = the family's
  bool gguf;             // from a GGUF header: its tensor names, its order of rows
  uint32_t hidden, layers, heads, kv_heads, head_dim, ffn, vocab;
  uint32_t embed; // width of the embedding's rows; projected when it is not hidden
  uint32_t max_positions;
  double norm_eps;
  fg_activation activation;
  bool qkv_bias, out_bias, mlp_bias, head_bias;
  bool norm_affine, norm_bias; // norms have weights at all; and biases
  bool norms_before;           // false: FG_NORM_SUM whatever the family has
  bool no_final_norm;
  bool tied; // what the configuration says
  bool embed_stored, head_stored;
  fg_residual residual;
  bool residual_normed; // with FG_NORM_BEFORE: x = norm(x), x += f(x)
  fg_position_kind position;
  uint32_t rotary; // values of a head that are turned; 0 = rope's share of them
  bool rope_interleaved;
  fg_rope rope[FG_ROPE_SETS];
  fg_head_kind head_kind;
  fg_qk_norm qk_norm;
  bool qk_norm_bias;
  fg_latent latent;
  // q, k and v in one tensor: so many groups of rows of q, of k and of v; 0 = three tensors.
  uint32_t qkv_groups;
  bool v_before_k;                    // in a group
  double clip_qkv;                    // 0 = not
  double score_scale, score_softcap;  // of attention; 0 = 1 / sqrt(head_dim), none
  double embed_scale, residual_scale; // on the embedding; on what a branch adds
  double logit_scale, logit_softcap;  // 1, 0 = none
  uint32_t window, window_pattern;    // sliding_window and its period, for who makes the kinds
  uint32_t kind_count;                // of layers; a kind is a program of the graph
  fg_layer_kind kinds[FG_MAX_LAYER_KINDS];
  uint8_t kind_of_layer[FG_MAX_LAYERS];
  fg_route_form route;         // experts; 0 of them = none anywhere. Its scale is route_scale
  double route_scale;          // on what experts give
  uint32_t expert_ffn;         // width of each; 0 = ffn
  uint32_t shared_ffn;         // of the one that all tokens share; 0 = none
  bool shared_switch;          // which counts by a sigmoid
  bool route_bias;             // the router has biases
  bool route_correction;       // and others that count for the choice alone
  bool experts_fused;          // a fact: the checkpoint has all experts of a layer in one tensor
  uint32_t apart;              // a fact: bits of the stacks that are (stacks.h)
  double glu_limit, glu_alpha; // of experts: fg_clamped_glu; 0 = not
} fg_config;

typedef enum fg_key_kind { FG_KEY_U32, FG_KEY_F64, FG_KEY_BOOL, FG_KEY_ACTIVATION } fg_key_kind;

#define FG_REQUIRED (-1.0e308) // as fallback: the key must be there
#define FG_KEEP     (-1.1e308) // as fallback: another name of a member that has its value already

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
// The same for who wants all that is not built or makes no sense (reasons.h): with FG_OK and more reasons
// than before *out is not to be used.
fg_status fg_config_load_all(fg_config *out, const fg_assets *assets, fg_reasons *reasons, fg_error *err);

// Adds the facts of a checkpoint to its assets.
fg_status fg_facts_gather(fg_assets *assets, fg_checkpoint *checkpoint, const fg_log *log, fg_error *err);

// Ends and begin of a text: generation_config.json over config.json over the family's default, or the
// GGUF header's. *bos = -1: none.
fg_status fg_config_token_ids(const fg_config *config, const fg_assets *assets, int32_t *eos,
                              uint32_t eos_max, uint32_t *eos_count, int32_t *bos, fg_error *err);

// The number of the kind, which is added if it is new. FG_INTERNAL when there are too many.
fg_status fg_config_kind(fg_config *config, const fg_layer_kind *kind, uint8_t *number, fg_error *err);
// Gives layers with `local` set the second kind, all others the first. // local: [layers]
fg_status fg_config_two_kinds(fg_config *config, const bool *local, const fg_layer_kind *global_kind,
                              const fg_layer_kind *local_kind, fg_error *err);
// "layer_types" of a config.json: which layers are "sliding_attention". *present: the key is there.
typedef struct json_t json_t;
fg_status fg_config_layer_types(const fg_config *config, const json_t *root, bool *local, bool *present,
                                fg_error *err);

// Gives the layers with `sparse` set experts, NULL: all of them. // sparse: [layers]
fg_status fg_config_sparse(fg_config *config, const bool *sparse, fg_error *err);
uint32_t fg_config_expert_ffn(const fg_config *config);
// Whether the numbers of experts make sense.
fg_status fg_config_check_experts(const fg_config *config, fg_error *err);

// ALiBi's slopes (Press et al. 2022), as BLOOM has them. // out: [heads]
void fg_alibi_slopes(uint32_t heads, float *out);

// inv_freq of rotary / 2 pairs; `longer`: of texts longer than the original context. // out: [rotary / 2]
void fg_rope_frequencies(const fg_rope *rope, uint32_t rotary, bool longer, float *out);
// What a scaling does to scores where the family lets it (DeepSeek's mscale_all_dim).
double fg_rope_score_factor(const fg_rope *rope);
// The base and rope_scaling, or the newer rope_parameters, of a config.json.
fg_status fg_rope_from_object(fg_rope *out, const fg_arch *arch, const json_t *object, uint32_t max_positions,
                              fg_error *err);
fg_status fg_rope_from_json(fg_rope *out, const fg_arch *arch, const json_t *config, uint32_t max_positions,
                            fg_error *err);
typedef struct fg_gguf fg_gguf;
// Whether a GGUF has the tensor, for what only its tensors tell.
bool fg_config_gguf_holds(const fg_gguf *gguf, const char *tensor);
fg_status fg_rope_from_gguf(fg_rope *out, const fg_gguf *gguf, const char *architecture, fg_error *err);

#endif
