// shape.h: a model as the cost model sees it: how much there is to read and to compute.
#ifndef FG_PLAN_SHAPE_H
#define FG_PLAN_SHAPE_H

#include <stdint.h>

typedef struct fg_plan_shape {
  uint32_t layers, hidden, heads, vocab;
  double attention_values; // weights of a layer's attention: its four matrices
  double mlp_values;       // and of its feed-forward branch
  double head_values;      // of the product with the vocabulary
  double kv_values;        // keys and values of one token in one layer
} fg_plan_shape;

// Of an OPT or another model whose heads all have keys of their own and whose feed-forward branch has two
// matrices.
static inline fg_plan_shape fg_plan_shape_plain(uint32_t layers, uint32_t hidden, uint32_t heads,
                                                uint32_t ffn, uint32_t vocab) {
  const double h = hidden;
  return (fg_plan_shape){.layers = layers,
                         .hidden = hidden,
                         .heads = heads,
                         .vocab = vocab,
                         .attention_values = 4 * h * h,
                         .mlp_values = 2 * h * ffn,
                         .head_values = h * vocab,
                         .kv_values = 2 * h};
}

#endif
