// page_pool.h: who owns the pages of the KV cache. Pure: numbers in, numbers out, no allocation after create.
//
// A page is *free*; or *owned* by one sequence, or by several whose texts begin alike; or *cached*: its last
// owner has left, but what it holds is known and it may be owned again. A page that is taken for something
// new is a free one as long as there are any, then of the cached ones that which was left first. Who leaves
// pages leaves those behind first, so the end of a text goes before its beginning, and none goes before those
// that follow it: whoever owns a published page owns all before it.
//
// What a page holds is published by its owner (prefix_index.h), once, before or after it is computed.
#ifndef FG_ENGINE_PAGE_POOL_H
#define FG_ENGINE_PAGE_POOL_H

#include "engine/prefix_index.h"

typedef struct fg_page_pool fg_page_pool;

typedef struct fg_page_pool_limits {
  uint32_t pages, page_tokens;
  bool shares;     // otherwise nothing can be published
  uint32_t cached; // pages without owner that are kept at most
} fg_page_pool_limits;

fg_status fg_page_pool_create(fg_page_pool **out, const fg_page_pool_limits *limits, fg_error *err);
void fg_page_pool_destroy(fg_page_pool *pool);                  // NULL is allowed
uint64_t fg_page_pool_bytes(const fg_page_pool_limits *limits); // what create allocates

uint32_t fg_page_pool_available(const fg_page_pool *pool); // free or cached
uint32_t fg_page_pool_take(fg_page_pool *pool); // a new page with one owner; FG_NO_PAGE: there is none
void fg_page_pool_leave(fg_page_pool *pool, uint32_t page);

// The page of a text's block, or FG_NO_PAGE.
uint32_t fg_page_pool_find(const fg_page_pool *pool, const fg_prefix_block *block);
// The same of the first tokens of a block behind a published page (fg_prefix_index_find_part).
uint32_t fg_page_pool_find_part(const fg_page_pool *pool, uint32_t before, const int32_t *tokens,
                                uint32_t count, uint32_t *page);
uint32_t fg_page_pool_owners(const fg_page_pool *pool, uint32_t page);
// One owner more of a page that was found.
void fg_page_pool_share(fg_page_pool *pool, uint32_t page);
// Says what an owned page holds, or will after this step. False: another page does already, and this one
// stays its owner's alone.
bool fg_page_pool_publish(fg_page_pool *pool, uint32_t page, const fg_prefix_block *block);

// The text that a published page ends (fg_prefix_index_text); 0: it is not published.
uint32_t fg_page_pool_text(const fg_page_pool *pool, uint32_t page, int32_t *tokens, uint32_t room,
                           uint64_t *kind);

// Each page whose content nobody needs any more, once, since they were forgotten last. It may have a new
// owner already.
const uint32_t *fg_page_pool_dropped(const fg_page_pool *pool, uint32_t *count);
void fg_page_pool_forget_dropped(fg_page_pool *pool);

#endif
