// call.h: what a kernel is told, the same structure on the host and on the device.
//
// Every kernel has the same parameters (XPU_PARAMETERS): the memory of each operand, where numbers that make
// no sense are reported, and a xpu_call with where in their memory the operands begin and the operation's
// numbers (device/op.h says what they mean). An operand that is absent has `there` 0 and some valid memory.
#ifndef FG_DEVICE_XPU_CALL_H
#define FG_DEVICE_XPU_CALL_H

#if !defined(__OPENCL_C_VERSION__) && !defined(__CUDACC__) // there the texts follow each other
#include "device/xpu/prelude.h"
#endif

// Rows and slots come from tables that other commands wrote; what does not fit is left out and reported.
#define XPU_BAD_ROW   1
#define XPU_BAD_SLOT  2
#define XPU_BAD_PAGE  3
#define XPU_BAD_COPY  4
#define XPU_BAD_CHUNK 5

// Kinds, as in kernels/kinds.h and kernels/route.h.
#define XPU_NORM_LAYER      0
#define XPU_ACT_RELU        0
#define XPU_ACT_GELU_ERF    1
#define XPU_ACT_GELU_TANH   2
#define XPU_ACT_SILU        3
#define XPU_MAP_SCALE       0
#define XPU_MAP_CLAMP       1
#define XPU_HEAD_PLAIN      0
#define XPU_HEAD_ALIBI      1
#define XPU_HEAD_ALIBI_BF16 2
#define XPU_HEAD_SINK       3
#define XPU_ROUTE_SOFTMAX   0
#define XPU_ROUTE_CHOSEN    1
#define XPU_MAX_EXPERTS     1024

#define XPU_KEY_BLOCK       64 // keys of an update of the softmax (kernels/attention.h)
#define XPU_ROW_LANES       128
#define XPU_PRODUCT_LANES   256
#define XPU_PRODUCT_COLUMNS 64

typedef struct xpu_view {
  xpu_u64 at; // bytes
  xpu_u32 stride, there;
} xpu_view;

typedef struct xpu_norm {
  xpu_u32 width, segments, apart, kind;
  float eps;
} xpu_norm;

typedef struct xpu_matmul {
  xpu_u32 n, k, accumulate;
  xpu_u64 row_bytes; // of weights
} xpu_matmul;

typedef struct xpu_rope {
  xpu_u32 heads, head_dim, rotary, interleaved, original;
  float scale, theta, growth;
} xpu_rope;

typedef struct xpu_kv {
  xpu_u64 page_bytes, pages;
  xpu_u64 value_base;   // in a page: of head 0, token 0
  xpu_u32 k_row, v_row; // bytes from a token's row to the next one's
  xpu_u32 kv_heads, k_dim, v_dim, page_tokens;
  xpu_u32 v_in_k, rotated;
} xpu_kv;

typedef struct xpu_attention {
  xpu_u64 table_entries; // that page_tables has
  xpu_u32 heads, window, head_kind, chunks;
  xpu_u32 block_heads, block_rows, parts; // queries of a group of lanes
  xpu_u32 first_key, end_key, resumes, pauses;
  float scale, softcap;
} xpu_attention;

typedef struct xpu_act {
  xpu_u32 width, kind;
  float number, alpha; // ADD's scale, MAP's number, GLU's limit
} xpu_act;

typedef struct xpu_route {
  xpu_u32 kind, experts, used, groups, top_groups, group_best, normalise;
  float scale;
} xpu_route;

typedef struct xpu_call {
  xpu_view a, b, c, out, state;
  xpu_view positions, lengths, slots, chunk_list, page_tables;
  xpu_u64 most_rows; // of the operand whose rows are listed
  xpu_u32 rows;
  xpu_norm norm;
  xpu_rope rope;
  xpu_act act;
  xpu_route route;
  xpu_matmul matmul;
  xpu_kv kv;
  xpu_attention attention;
} xpu_call;

#define XPU_PARAMETERS                                                                                       \
  GLOBAL xpu_u8 *a_memory, GLOBAL xpu_u8 *b_memory, GLOBAL xpu_u8 *c_memory, GLOBAL xpu_u8 *out_memory,      \
      GLOBAL xpu_u8 *state_memory, GLOBAL xpu_u8 *positions_memory, GLOBAL xpu_u8 *lengths_memory,           \
      GLOBAL xpu_u8 *slots_memory, GLOBAL xpu_u8 *chunks_memory, GLOBAL xpu_u8 *tables_memory,               \
      GLOBAL xpu_i32 *status, const xpu_call p

// Row `row` of an operand.
#define XPU_FLOATS(memory, view, row)                                                                        \
  ((GLOBAL float *)((memory) + (view).at) + (xpu_u64)(row) * (view).stride)
#define XPU_NUMBERS(memory, view) ((GLOBAL const xpu_i32 *)((memory) + (view).at))

#endif
