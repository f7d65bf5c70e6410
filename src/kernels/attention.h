// attention.h: softmax(q k^T * scale) v over pages of a KV cache.
//
// The unit of work is a block of queries: some consecutive tokens of one sequence times some query heads
// that share a KV head, so that keys and values are read once for all of them. Keys are taken in blocks of
// 64 positions that begin at multiples of 64, in order, with an online softmax in float32 (Milakov and
// Gimelshein 2018) of one update a block. What a query gets is therefore a function of its position and of
// the keys it sees: not of the chunk that it came in, of the other queries, or of the page size.
//
// The chain of a query can be cut between blocks of keys. A *segment* of it begins with the state that the
// one before left behind (the output before its division, the maximum and the sum so far) and leaves its own:
// all segments in order of position, whoever runs them and in whatever blocks of queries, give the bits of
// one run. So what several sequences share can be attended to for all of them in one block of queries.
#ifndef FG_KERNELS_ATTENTION_H
#define FG_KERNELS_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kinds.h"

enum {
  FG_KEY_BLOCK = 64,
  FG_QUERY_BLOCK = 48, // tokens times heads of a block of queries, at most
};

typedef struct fg_attention {
  fg_kv_geometry kv;
  uint32_t heads; // of queries: a multiple of kv.kv_heads
  uint32_t window;
  float scale;
  float softcap; // of scaled scores, before what a head adds; 0 = none
  fg_head_kind head_kind;
  const float *head_numbers; // [heads]; NULL for FG_HEAD_PLAIN
  const float *q;            // [rows, heads * k_dim], rows q_stride apart
  float *out;                // [rows, heads * v_dim], rows out_stride apart
  // [rows, heads, 2], rows state_stride apart: maximum and sum, in the kernel's own units, of queries whose
  // chain is not at its end; their output is not yet divided. NULL where no block resumes or pauses.
  float *state;
  uint32_t q_stride, out_stride, state_stride;
  const uint8_t *cache;
} fg_attention;

typedef struct fg_query_block {
  const int32_t *pages; // of the sequence, in order of position
  uint32_t row, rows;   // of q and out
  uint32_t position;    // of the first row; the others follow
  const fg_query_row
      *list; // [rows], instead of `row` and `position`: of sequences that share the keys; or NULL
  uint32_t head,
      heads; // query heads [head, head + heads), all of one KV head; rows * heads <= FG_QUERY_BLOCK
  // A segment: keys [first_key, end_key) alone, multiples of FG_KEY_BLOCK; end_key 0: to the end.
  uint32_t first_key, end_key;
  bool resumes, pauses; // begins with a state; leaves one
  // What the same thread attends to afterwards, so that its first keys are fetched in time; NULL: not known.
  const struct fg_query_block *next;
  bool fetched; // this block was the `next` of the one before
} fg_query_block;

typedef void fg_attend_fn(const fg_attention *a, const fg_query_block *block, void *scratch);

static inline uint32_t fg_block_row(const fg_query_block *block, uint32_t row) {
  return block->list ? (uint32_t)block->list[row].row : block->row + row;
}
static inline uint32_t fg_block_position(const fg_query_block *block, uint32_t row) {
  return block->list ? (uint32_t)block->list[row].position : block->position + row;
}

// Of the keys that a row of the block sees, and that belong to the segment: the first, and the one behind the
// last, which is not above the first where there are none.
static inline uint32_t fg_first_key(const fg_attention *a, const fg_query_block *block, uint32_t row) {
  uint32_t end = fg_block_position(block, row) + 1;
  uint32_t first = a->window && end > a->window ? end - a->window : 0;
  return first > block->first_key ? first : block->first_key;
}
static inline uint32_t fg_end_key(const fg_query_block *block, uint32_t row) {
  uint32_t end = fg_block_position(block, row) + 1;
  return block->end_key && block->end_key < end ? block->end_key : end;
}

// The same of all its rows together.
static inline uint32_t fg_block_first_key(const fg_attention *a, const fg_query_block *block) {
  uint32_t first = fg_first_key(a, block, 0);
  for (uint32_t r = 1; block->list && r < block->rows; r++) {
    uint32_t other = fg_first_key(a, block, r);
    if (other < first) first = other;
  }
  return first;
}
static inline uint32_t fg_block_end_key(const fg_query_block *block) {
  uint32_t end = fg_end_key(block, block->rows - 1);
  for (uint32_t r = 0; block->list && r + 1 < block->rows; r++) {
    uint32_t other = fg_end_key(block, r);
    if (other > end) end = other;
  }
  return end;
}

// Of the block's query i, which is head i % heads of row i / heads.
static inline const float *fg_query_vector(const fg_attention *a, const fg_query_block *block, uint32_t i) {
  uint64_t row = fg_block_row(block, i / block->heads), head = block->head + i % block->heads;
  return a->q + row * a->q_stride + head * a->kv.k_dim;
}
static inline float *fg_query_output(const fg_attention *a, const fg_query_block *block, uint32_t i) {
  uint64_t row = fg_block_row(block, i / block->heads), head = block->head + i % block->heads;
  return a->out + row * a->out_stride + head * a->kv.v_dim;
}
static inline float *fg_query_state(const fg_attention *a, const fg_query_block *block, uint32_t i) {
  uint64_t row = fg_block_row(block, i / block->heads), head = block->head + i % block->heads;
  return a->state + row * a->state_stride + 2 * head;
}

// Scratch of one thread, for caches with k_dim and v_dim up to `head_dim`.
uint64_t fg_attend_scratch_bytes(uint32_t head_dim);

#endif
