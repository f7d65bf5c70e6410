// prefix_index.h: full pages of the KV cache, found again by the text that they hold. Pure.
//
// What a page holds is a function of its own tokens and of all before them. So a page is known by the page of
// the block before it and its own tokens: a tree, whose roots are told apart by a *kind* (texts of different
// kinds share nothing). A hash, chained from block to block, finds it; tokens and the page before decide, so
// equal hashes never make two texts one.
//
// A page stays in the index until it is removed, which must not be before those that follow it.
#ifndef FG_ENGINE_PREFIX_INDEX_H
#define FG_ENGINE_PREFIX_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"

enum { FG_NO_PAGE = UINT32_MAX };

typedef struct fg_prefix_index fg_prefix_index;

// One block of a text: its tokens [page_tokens], the page of the block before or FG_NO_PAGE, and the kind,
// which counts for first blocks only.
typedef struct fg_prefix_block {
  uint32_t before;
  uint64_t kind;
  const int32_t *tokens;
} fg_prefix_block;

fg_status fg_prefix_index_create(fg_prefix_index **out, uint32_t pages, uint32_t page_tokens, fg_error *err);
void fg_prefix_index_destroy(fg_prefix_index *index);                 // NULL is allowed
uint64_t fg_prefix_index_bytes(uint32_t pages, uint32_t page_tokens); // what create allocates

// The page that holds the block, or FG_NO_PAGE. `before` is in the index.
uint32_t fg_prefix_index_find(const fg_prefix_index *index, const fg_prefix_block *block);
// Of the page whose block was put last behind `before`, a page in the index: how many of its first tokens, at
// most `count`, are these. *page is that page; untouched if they are none.
uint32_t fg_prefix_index_find_part(const fg_prefix_index *index, uint32_t before, const int32_t *tokens,
                                   uint32_t count, uint32_t *page);
// The page is not in the index, and no page there holds the block. Tokens are copied.
void fg_prefix_index_put(fg_prefix_index *index, uint32_t page, const fg_prefix_block *block);
// The page is in the index and has no followers.
void fg_prefix_index_remove(fg_prefix_index *index, uint32_t page);

// The text that a page of the index ends, from its first token: writes its blocks to `tokens`, which has room
// for so many, and returns how many it has. More than there is room for: nothing is written.
uint32_t fg_prefix_index_text(const fg_prefix_index *index, uint32_t page, int32_t *tokens, uint32_t room,
                              uint64_t *kind);

bool fg_prefix_index_has(const fg_prefix_index *index, uint32_t page);
uint32_t fg_prefix_index_followers(const fg_prefix_index *index, uint32_t page); // in the index
uint32_t fg_prefix_index_count(const fg_prefix_index *index);

#endif
