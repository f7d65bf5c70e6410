// kinds.h: the variants in which operations come, and the shape of a KV cache: what kernels and the
// devices that call them both speak of.
#ifndef FG_KERNELS_KINDS_H
#define FG_KERNELS_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/dtype.h"

typedef enum fg_norm_kind { FG_NORM_LAYER, FG_NORM_RMS, FG_NORM_COUNT } fg_norm_kind;

typedef enum fg_activation {
  FG_ACT_RELU,
  FG_ACT_GELU_ERF,
  FG_ACT_GELU_TANH,
  FG_ACT_SILU,
  FG_ACT_RELU_SQUARED,
  FG_ACT_COUNT
} fg_activation;

typedef enum fg_rope_kind {
  FG_ROPE_HALF,        // pairs (i, i + rotary / 2)
  FG_ROPE_INTERLEAVED, // pairs (2i, 2i + 1)
  FG_ROPE_COUNT
} fg_rope_kind;

// What a head of queries adds to its scores; of its number:
typedef enum fg_head_kind {
  FG_HEAD_PLAIN,      // nothing, it has none
  FG_HEAD_ALIBI,      // number * (j - i) to the scaled score of query i and key j
  FG_HEAD_ALIBI_BF16, // scale * bf16(number * j), all in bfloat16, which does depend on where the text begins
  FG_HEAD_SINK,       // one more score: its share of the softmax goes nowhere
  FG_HEAD_COUNT
} fg_head_kind;

// Functions of one value and one number.
typedef enum fg_map_kind {
  FG_MAP_SCALE,   // x * number
  FG_MAP_CLAMP,   // to [-number, number]
  FG_MAP_SOFTCAP, // number * tanh(x / number)
  FG_MAP_COUNT
} fg_map_kind;

// The cache of one layer: pages of `page_tokens` tokens, page p at p * page_bytes; in a page first K as
// [kv_heads, page_tokens] rows of k_dim values, then V as [kv_heads, page_tokens] rows of v_dim. A row is in
// `dtype`, or codes in its number of bits with a scale and a minimum a group (kv_codes_tmpl.h). Where V is
// `v_in_k`, the values of a token are the first v_dim of its key, and the page ends behind K.
typedef struct fg_kv_geometry {
  uint32_t kv_heads, k_dim, v_dim, page_tokens;
  fg_dtype dtype; // f32, f16, bf16; i8g64m, i4g64m: dimensions are multiples of FG_KV_CODE_RUN
  bool v_in_k;    // v_dim <= k_dim
  // A page's bytes are padded to a multiple of it, a power of two (pages on disk: of a block); 0 = none.
  uint32_t page_align;
} fg_kv_geometry;

enum { FG_KV_CODE_RUN = 16 };

// A row of queries of attention, and its position.
typedef struct fg_query_row {
  int32_t row, position;
} fg_query_row;

uint64_t fg_kv_page_bytes(const fg_kv_geometry *geometry);
// Whether rows of a cache can be turned (rotate.h): they are whole runs, and values that are part of keys
// whole groups.
bool fg_kv_can_rotate(const fg_kv_geometry *geometry);
// 0 if a row cannot have this type.
uint64_t fg_kv_row_bytes(fg_dtype dtype, uint32_t dim);
// Where in a page the row of a head and of a token of the page begins.
uint64_t fg_kv_key_offset(const fg_kv_geometry *geometry, uint32_t kv_head, uint32_t token);
uint64_t fg_kv_value_offset(const fg_kv_geometry *geometry, uint32_t kv_head, uint32_t token);
// From a token's values to the next one's in the page.
uint64_t fg_kv_value_step(const fg_kv_geometry *geometry);

#endif
