// order.h: in which order prompts are best computed.
//
// A beginning that several prompts have in common is computed once and kept while a prompt still needs it, so
// prompts with a common beginning belong together, and the longer it is the closer. That is a walk through
// the tree of their beginnings: its branches are whole blocks of tokens, since less than a block is not
// shared, its leaves are the prompts. Which branch of a fork comes first is free, and goes by what is wished:
// the one with the earliest prompt, or the one with the longest. Prompts that share nothing are leaves of the
// root and stand in the wished order.
//
// Pure: plain numbers in and out. The work grows with all tokens times the logarithm of the prompts.
#ifndef FG_JOB_ORDER_H
#define FG_JOB_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/engine.h"

typedef struct fg_order_item {
  const int32_t *ids; // [count]
  uint32_t count;
  uint32_t generated; // tokens of the answer, at most
} fg_order_item;

// Bytes of scratch that fg_order wants, aligned as malloc does.
size_t fg_order_scratch(uint32_t count);

// order: [count], numbers of items in their order. block: tokens that prompts must have in common to be kept
// together, at least 1.
void fg_order(const fg_order_item *items, uint32_t count, uint32_t block, fg_row_order wish, void *scratch,
              uint32_t *order);

// Tokens at the start that both have.
uint32_t fg_order_common(const fg_order_item *a, const fg_order_item *b);

#endif
