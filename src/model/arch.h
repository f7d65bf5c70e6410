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

// Tensor names without ".weight" and ".bias"; "%u" stands for the layer. NULL = the family has none.
typedef struct fg_names {
  const char *prefixes[4]; // a tensor is looked for by its name, then behind each of these
  const char *embed, *positions, *project_in, *project_out, *final_norm, *head;
  const char *attn_norm, *q, *k, *v, *attn_out;
  const char *mlp_norm, *gate, *up, *down;
} fg_names;

typedef enum fg_position_kind { FG_POSITION_ROPE, FG_POSITION_LEARNED } fg_position_kind;
typedef enum fg_mlp_kind { FG_MLP_PLAIN, FG_MLP_GATED } fg_mlp_kind;

struct fg_arch {
  const char *name;      // "model_type" of config.json
  const char *gguf;      // "general.architecture", NULL = no such files
  const fg_names *names; // in Hugging Face checkpoints
  const fg_names *gguf_names;
  const fg_config_key *keys;
  uint32_t key_count;
  fg_norm_kind norm;
  fg_position_kind position;
  int32_t position_offset; // of learned positions: row = position + offset
  fg_mlp_kind mlp;
  fg_transform gguf_qk; // what a GGUF's q and k rows need
  int32_t bos, eos;     // when no file says
  fg_status (*build)(fg_graph *graph, const fg_config *config, fg_error *err);
};

extern const fg_arch fg_arch_llama, fg_arch_opt;

const fg_arch *fg_arch_find(const char *model_type);
const fg_arch *fg_arch_find_gguf(const char *architecture, size_t length);
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
