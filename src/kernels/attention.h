// attention.h: softmax(q k^T * scale) v over pages of a KV cache.
//
// The unit of work is a block of queries: some consecutive tokens of one sequence times some query heads
// that share a KV head, so that keys and values are read once for all of them. Keys are taken in blocks of
// 64 positions that begin at multiples of 64, in order, with an online softmax in float32 (Milakov and
// Gimelshein 2018) of one update a block. What a query gets is therefore a function of its position and of
// the keys it sees: not of the chunk that it came in, of the other queries, or of the page size.
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
  uint32_t q_stride, out_stride;
  const uint8_t *cache;
} fg_attention;

typedef struct fg_query_block {
  const int32_t *pages; // of the sequence, in order of position
  uint32_t row, rows;   // of q and out
  uint32_t position;    // of the first row; the others follow
  uint32_t head,
      heads; // query heads [head, head + heads), all of one KV head; rows * heads <= FG_QUERY_BLOCK
  // What the same thread attends to afterwards, so that its first keys are fetched in time; NULL: not known.
  const struct fg_query_block *next;
  bool fetched; // this block was the `next` of the one before
} fg_query_block;

typedef void fg_attend_fn(const fg_attention *a, const fg_query_block *block, void *scratch);

// The first key that a row of the block sees.
static inline uint32_t fg_first_key(const fg_attention *a, const fg_query_block *block, uint32_t row) {
  uint32_t end = block->position + row + 1;
  return a->window && end > a->window ? end - a->window : 0;
}

// Scratch of one thread, for caches with k_dim and v_dim up to `head_dim`.
uint64_t fg_attend_scratch_bytes(uint32_t head_dim);

#endif
