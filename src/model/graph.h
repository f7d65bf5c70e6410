// graph.h: a model as data: which weights it has, where their rows come from, and which device
// operations a step runs over them.
//
// A step runs `prologue` once, then each layer's program, then `epilogue` for the rows whose logits are
// wanted, then the head product over the vocabulary. Programs work on *registers*: activations
// [rows, width] in float32, the same memory in every layer. Register 0 is the residual stream.
// Programs name weights by slot ("qkv"); in layer 3 that is the weight "layers.3.qkv", before the
// layers "prologue.qkv", after them "epilogue.qkv". The engine runs any graph; it does not know
// architectures.
//
// A layer with *experts* has a second program, which is there once for each of them: expert 17's weights are
// "layers.3.e17.gate_up". It runs behind a ROUTE of the layer's program, for each expert on the rows that
// chose it, gathered; what it leaves is added, weighted, to the rows it came from.
#ifndef FG_MODEL_GRAPH_H
#define FG_MODEL_GRAPH_H

#include "device/op.h"
#include "format/store.h"

enum {
  FG_MAX_REGISTERS = 16,
  FG_MAX_NODES = 48,
  FG_MAX_SLOTS = 40,
  FG_MAX_SOURCES = 4,
  FG_MAX_CONSTANTS = 8
};

typedef enum fg_operand_kind {
  FG_OPERAND_NONE,
  FG_OPERAND_REGISTER,
  FG_OPERAND_SLOT,
  FG_OPERAND_CONSTANT
} fg_operand_kind;

typedef struct fg_operand {
  fg_operand_kind kind;
  uint32_t index;  // register, slot of the program, or constant of the graph
  uint32_t column; // registers: first column
} fg_operand;

typedef struct fg_node {
  fg_op op;
  fg_operand a, b, c,
      out; // as op.h lists them; the KV cache, the batch and SELECT's rows are given by the engine
  fg_op_params params; // matmul.n is the whole matrix; dtype and layout come from the store
  // MATMUL with a slot of segments: columns from one's input (output) to the next one's.
  uint32_t in_step, out_step;
} fg_node;

// How source rows become ours.
typedef enum fg_transform {
  FG_TRANSFORM_NONE,
  FG_TRANSFORM_UNPERMUTE_ROPE,  // GGUF llama's q and k: interleaved pairs back to halves, per head of
                                // `head_dim` rows
  FG_TRANSFORM_TRANSPOSE,       // stored [k, n]
  FG_TRANSFORM_TRANSPOSE_HEADS, // the same head by head: each block of the slice is a [k, n of a head]
  FG_TRANSFORM_PLUS_ONE,        // a vector that is stored less one
} fg_transform;

// Which rows of a tensor are taken, where it holds more than one matrix: from `first` on `block` rows of
// every `period`. {0}: all of them.
typedef struct fg_row_slice {
  uint32_t first, block, period;
  uint32_t rows; // of the whole tensor
} fg_row_slice;

typedef struct fg_source {
  char tensor[112];   // in the checkpoint; found with or without the family's prefix
  uint32_t rows;      // it gives; sources are stacked along rows
  fg_row_slice slice; // of the tensor; without one it must have just those rows
  fg_transform transform;
  uint32_t head_dim; // for the transform
  uint32_t experts;  // whose matrices stand in the tensor one after the other; 0: this one alone
  uint64_t base;     // the tensor's row at which those of the expert begin
  float missing;     // value when an optional tensor is absent
  bool optional;
} fg_source;

typedef struct fg_slot {
  char name[24];
  fg_weight_kind kind;
  uint32_t n, k;
  // A matrix [n, k] may be so many small ones [n / segments, k], each with an input of its own (a head's,
  // say); 0 = it is one.
  uint32_t segments;
  // "%u" in a tensor's name stands for the layer, "%e" for the expert. A vector's "%h" stands for 0, 1, ...:
  // one tensor for each head.
  fg_source sources[FG_MAX_SOURCES];
  uint32_t source_count;
} fg_slot;

typedef struct fg_experts {
  uint32_t count; // 0 = the layer has none
  uint32_t used;  // by each row
  uint32_t after; // node of the layer's program, a ROUTE, behind which they run
  uint32_t in;    // register whose rows they take, [hidden]
  uint32_t work,
      sum; // registers: the rows that chose an expert, and what it makes of them; what that is added to
} fg_experts;

typedef struct fg_program {
  fg_slot slots[FG_MAX_SLOTS];
  uint32_t slot_count;
  fg_node nodes[FG_MAX_NODES];
  uint32_t node_count;
  fg_experts experts;
} fg_program;

// Rows of a table that the engine gathers on the host and puts into a register before the prologue.
typedef enum fg_input_index { FG_INPUT_TOKEN, FG_INPUT_POSITION } fg_input_index;
typedef struct fg_input {
  fg_input_index index;
  int32_t index_offset; // OPT: position + 2
  uint32_t slot;        // of the prologue, kind TABLE
  uint32_t reg;
  float scale; // on the gathered values
} fg_input;

typedef struct fg_graph {
  uint32_t hidden, vocab, layers, max_positions; // max_positions 0 = no limit of its own
  uint32_t register_width[FG_MAX_REGISTERS];
  uint32_t register_count;
  fg_input inputs[4];
  uint32_t input_count;
  fg_program prologue, epilogue; // the epilogue reads register epilogue_in [selected rows]
  fg_program *programs;          // variants of a layer
  uint32_t program_count;
  fg_program *expert_programs; // [program_count] of one expert, where a program has them; NULL = none has
  uint8_t *program_of_layer;   // [layers]
  uint32_t rope_original;      // length up to which the usual rotary frequencies hold; 0 = always
  bool rope_restarts;          // a text that grows beyond it takes the others from its first token on
  fg_kv_geometry kv;           // dtype and page_tokens are set by the engine
  uint32_t selected_reg;       // the engine SELECTs rows of register 0 into this one before the epilogue
  uint32_t head_reg;           // what the head multiplies, after the epilogue
  uint32_t head_slot;          // of the epilogue: MATRIX [vocab, k]; the engine runs it itself
  int32_t head_bias_slot;      // of the epilogue: VECTOR [vocab]; -1 = none
  float logit_softcap;         // FG_MAP_SOFTCAP on the head's results; 0 = none
  float *constants[FG_MAX_CONSTANTS]; // float32 vectors: rotary frequencies
  uint32_t constant_count_of[FG_MAX_CONSTANTS];
  uint32_t constant_count;
} fg_graph;

void fg_graph_destroy(fg_graph *graph);

// layer < 0 the prologue, layer >= graph->layers the epilogue.
const fg_program *fg_graph_program(const fg_graph *graph, int32_t layer);

// What each expert of the layer runs; NULL if it has none.
const fg_program *fg_graph_expert_program(const fg_graph *graph, int32_t layer);

// The weight that a slot names: layer < 0 prologue, layer >= graph->layers epilogue.
void fg_graph_weight_name(const fg_graph *graph, int32_t layer, const fg_slot *slot, char out[static 64]);

// The same of an expert.
void fg_graph_expert_weight_name(uint32_t layer, uint32_t expert, const fg_slot *slot, char out[static 64]);
// An expert's own slot: its tensors' names, and where in them it begins.
fg_status fg_graph_expert_slot(const fg_slot *slot, uint32_t expert, fg_slot *out, fg_error *err);

// Whether our rows are columns of the tensor.
bool fg_source_is_turned(const fg_slot *slot, const fg_source *source);
// The row of the tensor that the source's row comes from, of the expert's part if there are several; where it
// is turned, the column.
uint64_t fg_source_row(const fg_source *source, uint64_t row);
// Where it is turned, the tensor's row at which the matrix begins of which the source's row is a column.
uint64_t fg_source_turned_base(const fg_source *source, uint64_t row);
// The shape that a tensor of a matrix or a table must have, all experts' together.
void fg_source_shape(const fg_slot *slot, const fg_source *source, uint64_t *rows, uint64_t *columns);
// Rows that the tensor must have, for each expert.
uint32_t fg_source_tensor_rows(const fg_source *source);

// Structural checks: operands exist, widths fit, each slot is used. FG_INTERNAL names the node.
fg_status fg_graph_check(const fg_graph *graph, fg_error *err);

#endif
