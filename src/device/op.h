// op.h: what devices can compute, as plain data.
//
// A call names an operation, its operands (views into device memory) and its numbers. Calls are
// copied into a device's queue, so the sender may reuse them at once. Activations are float32 on
// every device; products are done in the device's compute type. A row of an activation is a token;
// no operation's result for one row depends on the other rows of the call.
//
// | op        | a             | b            | c           | out |
// | --------- | ------------- | ------------ | ----------- | ------------------------------------------ |
// | NORM      | x [r, s*w]    | weight [w]   | bias [w]    | [r, s*w]; b, c may be absent; out may be a |
// | MATMUL    | x [r, k]      | panel        | bias [n]    | [r, n] (= or +=); c may be absent |
// | ROPE      | inv_freq *    |              |             | [r, heads, dim] in place *** |
// | KV_STORE  | k [r, h*dk]   | v [r, h*dv]  |             | cache of the layer; b absent: V is in K |
// | KV_COPY   |               | copies [r]   |             | cache of the layer: fg_page_copy |
// | ATTENTION | q [r, H*dk] **** | cache        | numbers [H] | [r, H*dv]; c where heads have numbers |
// | ACT       |               |              |             | [r, w] in place |
// | GLU       | x [r, 2f]     |              |             | [r, f] = act(x[:, :f]) * x[:, f:] |
// | ADD       | x [r, w]      |              |             | [r, w] += scale * x |
// | MAP       |               |              |             | [r, w] in place |
// | SELECT    | x [*, w]      | rows [r] i32 |             | [r, w] = x[rows]; out is not a |
// | ROUTE     | logits [r, E] |              | bias [E]    | [r, 2k]: k experts as i32, their weights |
// | SCATTER   | x [r, w]      | rows [r] i32 | weights [r] | [*, w][rows] += weights * x ** |
//
// *  [rotary / 2], twice where texts longer than some length take others
// ** the rows differ; absent, they are 0, 1, ...
// *** of the last head there need be no more than what is turned
// **** in a call to a rotated cache, turned in place; not again where it resumes (fg_key_segment)
#ifndef FG_DEVICE_OP_H
#define FG_DEVICE_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kinds.h"
#include "kernels/layout.h"
#include "kernels/route.h"
#include "tensor/dtype.h"

typedef struct fg_memory fg_memory; // a block of one device's memory

// `stride` is the distance of two rows in elements; offset is in bytes. memory NULL = absent.
typedef struct fg_view {
  fg_memory *memory;
  uint64_t offset;
  uint32_t stride;
} fg_view;

typedef enum fg_op {
  FG_OP_NORM,
  FG_OP_MATMUL,
  FG_OP_ROPE,
  FG_OP_KV_STORE,
  FG_OP_KV_COPY,
  FG_OP_ATTENTION,
  FG_OP_ACT,
  FG_OP_GLU,
  FG_OP_ADD,
  FG_OP_MAP,
  FG_OP_SELECT,
  FG_OP_ROUTE,
  FG_OP_SCATTER,
  FG_OP_COUNT
} fg_op;

// Where the tokens of a step stand: arrays in device memory, the same for all layers of one KV group.
// A chunk is a run of consecutive tokens of one sequence.
typedef struct fg_batch_view {
  uint32_t tokens, chunks;
  uint32_t max_context; // largest number of keys any token sees
  fg_view positions;    // [tokens] i32
  fg_view lengths;      // [tokens] i32: length of the text by which rotary embeddings that depend on it go
  fg_view slots;        // [tokens] i32: page * page_tokens + place in the page, of the token's K and V
  fg_view chunk_list;   // [chunks, 4] i32: first row, rows, position of the first, row in page_tables
  fg_view page_tables;  // [sequences, stride] i32: page of positions [i * page_tokens, ...)
  fg_view prompts;      // [chunks] i32: tokens of each chunk's prompt; may be absent without sparse attention
  // ATTENTION: what chunks share, and what each has for itself; absent where there is none
  // (fg_shared_segment).
  uint32_t shared, members;
  fg_view shared_list; // [shared] fg_shared_segment
  fg_view member_list; // [members] fg_query_row
  fg_view starts;      // [chunks] i32: the first key of which no shared segment takes care
} fg_batch_view;

// Keys that stand in the same pages for several chunks, which attend to them together: keys and values are
// read once for the queries of all. Each chunk then goes on from its `start` by itself. Such segments are a
// tree, prefixes of prefixes: those of a row follow each other, in the list too, from key 0 to the chunk's
// start, one a level; neighbours in the list that are of one level are taken at once. All bits are what they
// are without. The call has a state; not for sparse attention.
typedef struct fg_shared_segment {
  int32_t first_key, end_key;    // multiples of FG_KEY_BLOCK
  int32_t first_member, members; // all rows of its chunks
  int32_t table;                 // row in page_tables, of any of the chunks
  int32_t level;                 // neighbours of one level have no row in common
} fg_shared_segment;

// The first tokens of a page, which another page gets too. Copies are made in their order.
typedef struct fg_page_copy {
  int32_t from, to, tokens;
} fg_page_copy;

// A part of ATTENTION: calls of rising segments, with the same a, out and state, give the bits of one call.
// Each row takes of it what it sees, perhaps nothing, so rows of all lengths may be in all of them. Until the
// last, out holds no output, and `state` of the call [r, 2 * H] the rest of what the next one begins with.
// Page tables are read where the segment is. Not for sparse attention.
typedef struct fg_key_segment {
  uint32_t first_key, end_key; // multiples of FG_KEY_BLOCK; end_key 0: to the end
  bool resumes, pauses;        // false, false: all keys in one call, and no state
} fg_key_segment;

typedef union fg_op_params {
  struct {
    uint32_t width;    // of a segment
    uint32_t segments; // of a row, each normed by itself
    bool apart;        // each segment has weights and biases of its own: [s, w]
    fg_norm_kind kind;
    float eps;
  } norm;
  struct {
    uint32_t n, k; // of this panel
    fg_dtype dtype;
    const fg_layout *layout;
    bool accumulate; // out += instead of out =
    bool same_a; // a and rows are those of the MATMUL before, and so are the values: panels of one matrix,
                 // or matrices that follow each other
  } matmul;
  struct {
    uint32_t heads, head_dim, rotary; // the first `rotary` of head_dim are turned
    bool interleaved;                 // pairs (2i, 2i+1) instead of (i, i + rotary/2)
    float scale;                      // on cos and sin
    // Tokens of texts longer than this (0: none) take the second frequencies; or, with a growth, those of the
    // base theta * (growth * length / original - (growth - 1))^(rotary / (rotary - 2)).
    uint32_t original;
    float theta, growth;
  } rope;
  struct {
    fg_kv_geometry kv;
    bool rotated; // rows are turned before they are rounded (rotate.h)
  } kv_store;     // KV_COPY, where nothing is turned
  struct {
    fg_kv_geometry kv;
    uint32_t heads;
    float scale;
    uint32_t window; // key j is visible to query i iff j <= i and (window == 0 or i - j < window)
    float softcap;   // fg_attention
    fg_head_kind head_kind;
    bool rotated; // the cache's rows are
    // Share of the old keys whose values a generated token reads (sparse_attention.h); 0 = all.
    double sparsity;
    fg_key_segment segment;
  } attention;
  struct {
    uint32_t width; // GLU: of the output
    fg_activation kind;
    float limit, alpha; // GLU, limit > 0: fg_clamped_glu, whatever the kind
  } act;
  struct {
    uint32_t width;
    fg_map_kind kind;
    float number;
  } map;
  struct {
    uint32_t width;
    float scale; // ADD
  } copy;        // ADD, SELECT, SCATTER
  fg_route_form route;
} fg_op_params;

typedef struct fg_call {
  fg_op op;
  uint32_t rows;
  fg_view a, b, c, out;
  fg_view state; // ATTENTION in segments: [r, 2 * H]
  fg_op_params params;
  fg_batch_view batch; // ROPE, KV_STORE, ATTENTION
  int32_t layer;       // for the trace
} fg_call;

const char *fg_op_name(fg_op op);

#endif
