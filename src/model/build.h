// build.h: the pieces from which a family's graph is put together.
//
// A piece adds the slots it needs to the program under construction and the nodes that use them, in the
// order in which they run. Pieces know nothing of each other: they meet in registers. A table of the
// graph that is full is remembered and reported once, at the end (fg_build_end).
#ifndef FG_MODEL_BUILD_H
#define FG_MODEL_BUILD_H

#include "model/arch.h"

typedef struct fg_build {
  fg_graph *graph;
  fg_program *program; // under construction
  const fg_config *config;
  const fg_names *names;
  const fg_layer_kind *kind;            // of the layers whose program it is
  uint32_t rope_constant[FG_ROPE_SETS]; // frequencies
  uint32_t slope_constant;
  uint32_t work, routes; // registers of experts
  const char *full;      // which table of the graph is
  fg_node spill;         // written, and thrown away, when the program is full
} fg_build;

// A matrix product with what belongs to it: out[t, n] = x[t, k] w[n, k] + bias, w stacked from parts.
typedef struct fg_part {
  const char *tensor; // without suffix
  uint32_t rows;
  fg_transform transform;
  fg_row_slice slice;
  uint32_t experts;        // fg_source
  bool bare;               // the name is whole, that of the bias ends with "_bias"
  const char *bias_suffix; // NULL: by `bare`
} fg_part;

typedef struct fg_linear {
  const char *slot;
  fg_part parts[FG_MAX_SOURCES]; // those with rows > 0
  uint32_t k;
  bool bias, accumulate;
  uint32_t in, out; // registers
  uint32_t column;  // of out
} fg_linear;

// A norm of `segments` runs of `width` values, of register `reg` from `column` on, in place or into `out`.
typedef struct fg_norm_spec {
  const char *slot, *tensor;
  uint32_t reg, column, out;
  uint32_t width, segments;
  bool apart; // a weight for each segment
  bool bias;
} fg_norm_spec;

// The next register; 0 is the residual stream.
uint32_t fg_build_register(fg_build *b, uint32_t width);
// Takes the malloc'd values; the constant's number.
uint32_t fg_build_constant(fg_build *b, float *values, uint32_t count);

void fg_build_table(fg_build *b, const char *slot, const char *tensor, uint32_t rows, uint32_t width,
                    const fg_input *input);
void fg_build_norm(fg_build *b, const char *slot, const char *tensor, uint32_t in, uint32_t out);
void fg_build_norm_of(fg_build *b, const fg_norm_spec *spec);
void fg_build_linear(fg_build *b, const fg_linear *linear);
void fg_build_add(fg_build *b, uint32_t in, uint32_t out, double scale);
void fg_build_map(fg_build *b, fg_map_kind kind, double number, uint32_t reg, uint32_t width);
// Norms of q and k, clamp and rotary embedding as the configuration has them, cache and attention over
// q | k | v in `qkv`.
void fg_build_attention(fg_build *b, uint32_t qkv, uint32_t out);
void fg_build_act(fg_build *b, uint32_t reg);
void fg_build_glu(fg_build *b, uint32_t in, uint32_t out);
// Of this width, clamped where the configuration says so.
void fg_build_expert_glu(fg_build *b, uint32_t in, uint32_t out, uint32_t width);

// A branch of experts, and the one that all tokens share: x += what they make of `in`.
typedef struct fg_expert_registers {
  uint32_t in, wide, gated, work, routes, sum; // routes: [2 * used]
} fg_expert_registers;
void fg_build_experts(fg_build *b, const fg_expert_registers *registers);

// A node with an operation, to be filled in; operands.
fg_node *fg_build_node(fg_build *b, fg_op op);
fg_operand fg_build_operand(uint32_t reg, uint32_t column);
fg_operand fg_build_vector(fg_build *b, const char *slot, const char *tensor, uint32_t count);
// The head's matrix, which the engine runs itself.
void fg_build_head(fg_build *b, const char *tensor, uint32_t in, uint32_t k);

fg_status fg_build_end(fg_build *b, fg_error *err);

#endif
