// arch.h: the families of models, as rows of one table.
//
// A row says how a family is recognised, what its tensors and configuration keys are called, and what
// its layers are made of. decoder.c turns a row and a configuration into a graph; a family whose layers
// are built otherwise brings its own `build`, from the pieces of build.h. Nothing outside src/model
// knows the name of an architecture.
#ifndef FG_MODEL_ARCH_H
#define FG_MODEL_ARCH_H

#include "model/config.h"
#include "model/graph.h"

// Tensors of experts; "%e" stands for the expert. Gate and up are two tensors or one.
typedef struct fg_expert_names {
  const char *router, *correction; // without ".weight" and ".bias"; the correction whole
  const char *gate, *up, *gate_up, *down;
  bool together;           // all experts in one tensor, one after the other
  bool bare;               // names are whole; those of biases end with "_bias"
  const char *bias_suffix; // NULL: by `bare`
  bool transposed;         // matrices are stored [k, n]
  bool interleaved;        // rows of gate and up alternate
} fg_expert_names;

// Tensor names without ".weight" and ".bias"; "%u" stands for the layer. NULL = the family has none.
struct fg_names {
  const char *prefixes[4]; // a tensor is looked for by its name, then behind each of these
  bool transposed;         // the layers' matrices are stored [k, n]
  const char *embed, *positions, *embed_norm, *project_in, *project_out, *final_norm, *head;
  const char *attn_norm, *q, *k, *v, *qkv, *q_norm, *k_norm, *attn_out;
  // Of latent attention (fg_latent): queries go through q_a, its norm and q_b, or through q; keys and values
  // through kv_a, its norm and kv_b, which is in two tensors, the first one turned, in some files.
  const char *q_a, *q_a_norm, *q_b, *kv_a, *kv_a_norm, *kv_b, *k_b, *v_b;
  const char *attn_after; // the norm behind attention
  const char *mlp_norm, *gate, *up, *gate_up, *down;
  const char *mlp_after;
  const char *sinks; // whole
  const char *shared_gate, *shared_up, *shared_down, *shared_switch;
  const fg_expert_names *experts, *experts_fused; // the second where the checkpoint has all in one tensor
};

typedef enum fg_mlp_kind { FG_MLP_PLAIN, FG_MLP_GATED } fg_mlp_kind;

#define FG_QKV_KV_HEADS UINT32_MAX

struct fg_arch {
  const char *name;       // "model_type" of config.json
  const char *aliases[3]; // other values of it
  const char *gguf;       // "general.architecture", NULL = no such files
  const fg_names *names;  // in Hugging Face checkpoints
  const fg_names *gguf_names;
  const fg_config_key *keys;
  uint32_t key_count;
  const char *const *reads; // keys that change results, which `refine` takes care of; ends with NULL
  fg_norm_kind norm;
  fg_norm_place norm_place;
  uint32_t ffn_times;  // width of the feed-forward in hidden sizes where the file is silent
  bool tensors_decide; // whether there are biases and weights of norms, whatever the configuration says
  bool norm_unbiased, norm_less_one; // of norms: no biases; weights are stored less one
  fg_position_kind position;
  double theta;   // where the file is silent; 0 = 10000
  double partial; // share of a head that is turned where the file is silent; 0 = all, whatever it says
  const char *theta_key, *partial_key; // NULL = rope_theta, partial_rotary_factor
  bool rope_interleaved;
  fg_residual residual;
  fg_qk_norm qk_norm;
  uint32_t qkv_groups;     // fg_config; FG_QKV_KV_HEADS = one for each head of keys
  int32_t position_offset; // of learned positions: row = position + offset
  fg_mlp_kind mlp;
  fg_transform gguf_qk;                       // what a GGUF's q and k rows need
  int32_t bos, eos;                           // when no file says
  void (*slopes)(uint32_t heads, float *out); // of ALiBi // out: [heads]
  // What tables cannot say: kinds of layers, keys that decide together. Both may be NULL.
  fg_status (*refine)(fg_config *config, const json_t *root, fg_error *err);
  fg_status (*refine_gguf)(fg_config *config, const fg_gguf *gguf, fg_error *err);
  fg_status (*build)(fg_graph *graph, const fg_config *config, fg_error *err);
};

extern const fg_arch fg_arch_llama, fg_arch_opt, fg_arch_mistral, fg_arch_qwen2, fg_arch_qwen3, fg_arch_gemma,
    fg_arch_gemma2, fg_arch_gemma3, fg_arch_phi, fg_arch_phi3, fg_arch_granite, fg_arch_olmo2, fg_arch_cohere,
    fg_arch_cohere2, fg_arch_smollm3, fg_arch_glm, fg_arch_glm4, fg_arch_chatglm, fg_arch_internlm2,
    fg_arch_ministral, fg_arch_olmo, fg_arch_olmo3, fg_arch_arcee, fg_arch_nemotron, fg_arch_seed_oss,
    fg_arch_helium, fg_arch_ernie, fg_arch_exaone4;
extern const fg_arch fg_arch_bloom, fg_arch_codegen, fg_arch_falcon, fg_arch_gpt2, fg_arch_gpt_bigcode,
    fg_arch_gpt_neo, fg_arch_gpt_neox, fg_arch_gptj, fg_arch_mpt, fg_arch_stablelm, fg_arch_starcoder2;
extern const fg_arch fg_arch_mixtral, fg_arch_qwen2_moe, fg_arch_qwen3_moe, fg_arch_olmoe, fg_arch_gpt_oss,
    fg_arch_deepseek_v2, fg_arch_deepseek_v3;

const fg_arch *fg_arch_find(const char *model_type);
const fg_arch *fg_arch_find_gguf(const char *architecture, size_t length);
// The rows of the table, NULL behind the last.
const fg_arch *fg_arch_at(uint32_t number);
// "llama, opt": for messages.
const char *fg_arch_list(char *buffer, size_t bytes);

// The names by which a configuration's tensors go.
const fg_names *fg_config_names(const fg_config *config);

// Builds and checks the graph of a configuration.
fg_status fg_graph_build(fg_graph **out, const fg_config *config, fg_error *err);

// `pattern` with "%u" replaced by the layer. FG_INTERNAL if it does not fit.
fg_status fg_tensor_name(char *out, size_t bytes, const char *pattern, uint32_t layer, fg_error *err);
// By its name, or behind one of the prefixes; NULL if the checkpoint lacks it.
const fg_checkpoint_tensor *fg_tensor_find(const fg_checkpoint *checkpoint, const fg_names *names,
                                           const char *name);

#endif
