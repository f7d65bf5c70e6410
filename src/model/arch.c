#include "model/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const fg_arch *const archs[] = {
    &fg_arch_llama,       &fg_arch_opt,        &fg_arch_mistral,     &fg_arch_qwen2,       &fg_arch_qwen3,
    &fg_arch_gemma,       &fg_arch_gemma2,     &fg_arch_gemma3,      &fg_arch_phi,         &fg_arch_phi3,
    &fg_arch_granite,     &fg_arch_olmo2,      &fg_arch_cohere,      &fg_arch_cohere2,     &fg_arch_smollm3,
    &fg_arch_glm,         &fg_arch_glm4,       &fg_arch_chatglm,     &fg_arch_internlm2,   &fg_arch_ministral,
    &fg_arch_olmo,        &fg_arch_bloom,      &fg_arch_codegen,     &fg_arch_falcon,      &fg_arch_gpt2,
    &fg_arch_gpt_bigcode, &fg_arch_gpt_neo,    &fg_arch_gpt_neox,    &fg_arch_gptj,        &fg_arch_mpt,
    &fg_arch_stablelm,    &fg_arch_starcoder2, &fg_arch_mixtral,     &fg_arch_qwen2_moe,   &fg_arch_qwen3_moe,
    &fg_arch_olmoe,       &fg_arch_gpt_oss,    &fg_arch_deepseek_v2, &fg_arch_deepseek_v3, &fg_arch_olmo3,
    &fg_arch_arcee,       &fg_arch_nemotron,   &fg_arch_seed_oss,    &fg_arch_helium,      &fg_arch_ernie,
    &fg_arch_exaone4,
};
enum { ARCH_COUNT = sizeof archs / sizeof *archs };

const fg_arch *fg_arch_find(const char *model_type) {
  for (int i = 0; i < ARCH_COUNT; i++) {
    if (strcmp(archs[i]->name, model_type) == 0) return archs[i];
    for (int j = 0; j < 3 && archs[i]->aliases[j]; j++) {
      if (strcmp(archs[i]->aliases[j], model_type) == 0) return archs[i];
    }
  }
  return NULL;
}

const fg_arch *fg_arch_find_gguf(const char *architecture, size_t length) {
  for (int i = 0; i < ARCH_COUNT; i++) {
    const char *name = archs[i]->gguf;
    if (name && strlen(name) == length && memcmp(name, architecture, length) == 0) return archs[i];
  }
  return NULL;
}

const fg_arch *fg_arch_at(uint32_t number) {
  return number < ARCH_COUNT ? archs[number] : NULL;
}

const char *fg_arch_list(char *buffer, size_t bytes) {
  size_t used = 0;
  buffer[0] = 0;
  for (int i = 0; i < ARCH_COUNT && used < bytes; i++) {
    int n = snprintf(buffer + used, bytes - used, "%s%s", i ? ", " : "", archs[i]->name);
    used += n > 0 ? (size_t)n : 0;
  }
  return buffer;
}

const fg_names *fg_config_names(const fg_config *config) {
  if (config->names) return config->names;
  return config->gguf ? config->arch->gguf_names : config->arch->names;
}

fg_status fg_graph_build(fg_graph **out, const fg_config *config, fg_error *err) {
  *out = NULL;
  fg_graph *graph = calloc(1, sizeof *graph);
  if (!graph) return fg_fail(err, FG_NO_SPACE, "no memory for a graph");
  fg_status status = config->arch->build(graph, config, err);
  if (!status) status = fg_graph_check(graph, err);
  if (status) {
    fg_graph_destroy(graph);
    return status;
  }
  *out = graph;
  return FG_OK;
}

fg_status fg_tensor_name(char *out, size_t bytes, const char *pattern, uint32_t layer, fg_error *err) {
  const char *place = strstr(pattern, "%u");
  int n = place ? snprintf(out, bytes, "%.*s%u%s", (int)(place - pattern), pattern, layer, place + 2)
                : snprintf(out, bytes, "%s", pattern);
  if (n < 0 || (size_t)n >= bytes)
    return fg_fail(err, FG_INTERNAL, "the tensor name %s is too long", pattern);
  return FG_OK;
}

const fg_checkpoint_tensor *fg_tensor_find(const fg_checkpoint *checkpoint, const fg_names *names,
                                           const char *name) {
  const fg_checkpoint_tensor *tensor = fg_checkpoint_find(checkpoint, name);
  for (int i = 0; !tensor && i < 4 && names->prefixes[i]; i++) {
    char full[192];
    int n = snprintf(full, sizeof full, "%s%s", names->prefixes[i], name);
    if (n > 0 && (size_t)n < sizeof full) tensor = fg_checkpoint_find(checkpoint, full);
  }
  return tensor;
}
