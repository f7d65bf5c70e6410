// shapes.c: public models by their numbers.
#include <string.h>

#include "model/synthetic.h"

// hidden, layers, heads, width of the embedding, norms before. Feed-forward is 4 times hidden.
#define OPT(hidden, layers, heads, ffn, embed, before)                                                       \
  "{\"model_type\":\"opt\",\"vocab_size\":50272,\"max_position_embeddings\":2048,\"hidden_size\":" #hidden   \
  ",\"num_hidden_layers\":" #layers ",\"num_attention_heads\":" #heads ",\"ffn_dim\":" #ffn                  \
  ",\"word_embed_proj_dim\":" #embed ",\"do_layer_norm_before\":" #before "}"

#define LLAMA(hidden, layers, heads, kv_heads, ffn, vocab, context, theta, tied)                             \
  "{\"model_type\":\"llama\",\"hidden_size\":" #hidden ",\"num_hidden_layers\":" #layers                     \
  ",\"num_attention_heads\":" #heads ",\"num_key_value_heads\":" #kv_heads ",\"intermediate_size\":" #ffn    \
  ",\"vocab_size\":" #vocab ",\"max_position_embeddings\":" #context ",\"rope_theta\":" #theta               \
  ",\"rms_norm_eps\":1e-05,\"tie_word_embeddings\":" #tied "}"

static const struct {
  const char *name, *config;
} shapes[] = {
    {"opt-125m", OPT(768, 12, 12, 3072, 768, true)},
    {"opt-350m", OPT(1024, 24, 16, 4096, 512, false)},
    {"opt-1.3b", OPT(2048, 24, 32, 8192, 2048, true)},
    {"opt-2.7b", OPT(2560, 32, 32, 10240, 2560, true)},
    {"opt-6.7b", OPT(4096, 32, 32, 16384, 4096, true)},
    {"opt-13b", OPT(5120, 40, 40, 20480, 5120, true)},
    {"opt-30b", OPT(7168, 48, 56, 28672, 7168, true)},
    {"opt-66b", OPT(9216, 64, 72, 36864, 9216, true)},
    {"opt-175b", OPT(12288, 96, 96, 49152, 12288, true)},
    {"tinyllama-1.1b", LLAMA(2048, 22, 32, 4, 5632, 32000, 2048, 10000, false)},
    {"llama-2-7b", LLAMA(4096, 32, 32, 32, 11008, 32000, 4096, 10000, false)},
    {"llama-2-13b", LLAMA(5120, 40, 40, 40, 13824, 32000, 4096, 10000, false)},
    {"llama-2-70b", LLAMA(8192, 80, 64, 8, 28672, 32000, 4096, 10000, false)},
    {"llama-3-8b", LLAMA(4096, 32, 32, 8, 14336, 128256, 8192, 500000, false)},
    {"llama-3-70b", LLAMA(8192, 80, 64, 8, 28672, 128256, 8192, 500000, false)},
    {"smollm2-135m", LLAMA(576, 30, 9, 3, 1536, 49152, 8192, 100000, true)},
    {"smollm2-1.7b", LLAMA(2048, 24, 32, 32, 8192, 49152, 8192, 130000, true)},
};
enum { SHAPE_COUNT = sizeof shapes / sizeof *shapes };

const char *fg_shape_config(const char *name) {
  for (int i = 0; i < SHAPE_COUNT; i++) {
    if (strcmp(shapes[i].name, name) == 0) return shapes[i].config;
  }
  return NULL;
}

const char *fg_shape_name(uint32_t i) {
  return i < SHAPE_COUNT ? shapes[i].name : NULL;
}
