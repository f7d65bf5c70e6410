#include "engine/page_pool.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct page_entry {
  uint32_t owners;
  uint32_t earlier, later; // of cached pages: the list in which they were left
  bool is_dropped;
} page_entry;

struct fg_page_pool {
  fg_page_pool_limits limits;
  fg_prefix_index *index; // NULL: nothing is shared
  page_entry *entries;    // [pages]
  uint32_t *free;         // stack
  uint32_t *dropped;      // [pages]
  uint32_t free_count, dropped_count, cached_count;
  uint32_t first, last; // cached
};

uint64_t fg_page_pool_bytes(const fg_page_pool_limits *l) {
  return sizeof(fg_page_pool) + l->pages * (sizeof(page_entry) + 2 * sizeof(uint32_t)) +
         (l->shares ? fg_prefix_index_bytes(l->pages, l->page_tokens) : 0);
}

fg_status fg_page_pool_create(fg_page_pool **out, const fg_page_pool_limits *limits, fg_error *err) {
  *out = NULL;
  fg_page_pool *p = calloc(1, sizeof *p);
  if (!p) return fg_fail(err, FG_NO_SPACE, "no memory for the pages of the KV cache");
  p->limits = *limits;
  p->first = p->last = FG_NO_PAGE;
  p->entries = calloc(limits->pages, sizeof *p->entries);
  p->free = malloc(limits->pages * sizeof *p->free);
  p->dropped = malloc(limits->pages * sizeof *p->dropped);
  const bool lists = p->entries && p->free && p->dropped;
  if (!lists || (limits->shares &&
                 fg_prefix_index_create(&p->index, limits->pages, limits->page_tokens, NULL) != FG_OK)) {
    fg_page_pool_destroy(p);
    return fg_fail(err, FG_NO_SPACE, "no memory for a list of %" PRIu32 " pages", limits->pages);
  }
  for (uint32_t i = 0; i < limits->pages; i++) p->free[i] = limits->pages - 1 - i;
  p->free_count = limits->pages;
  *out = p;
  return FG_OK;
}

void fg_page_pool_destroy(fg_page_pool *p) {
  if (!p) return;
  fg_prefix_index_destroy(p->index);
  free(p->entries);
  free(p->free);
  free(p->dropped);
  free(p);
}

uint32_t fg_page_pool_available(const fg_page_pool *p) {
  return p->free_count + p->cached_count;
}

// ---- cached pages ----------------------------------------------------------------------------------------

static void keep(fg_page_pool *p, uint32_t page) {
  page_entry *e = &p->entries[page];
  e->earlier = p->last;
  e->later = FG_NO_PAGE;
  *(p->last == FG_NO_PAGE ? &p->first : &p->entries[p->last].later) = page;
  p->last = page;
  p->cached_count++;
}

static void unkeep(fg_page_pool *p, uint32_t page) {
  const page_entry *e = &p->entries[page];
  *(e->earlier == FG_NO_PAGE ? &p->first : &p->entries[e->earlier].later) = e->later;
  *(e->later == FG_NO_PAGE ? &p->last : &p->entries[e->later].earlier) = e->earlier;
  p->cached_count--;
}

static void make_free(fg_page_pool *p, uint32_t page) {
  p->free[p->free_count++] = page;
  if (p->entries[page].is_dropped) return;
  p->entries[page].is_dropped = true;
  p->dropped[p->dropped_count++] = page;
}

static void forget_first(fg_page_pool *p) {
  const uint32_t page = p->first;
  unkeep(p, page);
  fg_prefix_index_remove(p->index, page);
  make_free(p, page);
}

// ---- owners ----------------------------------------------------------------------------------------------

uint32_t fg_page_pool_take(fg_page_pool *p) {
  if (!p->free_count && p->cached_count) forget_first(p);
  if (!p->free_count) return FG_NO_PAGE;
  const uint32_t page = p->free[--p->free_count];
  p->entries[page].owners = 1;
  return page;
}

void fg_page_pool_leave(fg_page_pool *p, uint32_t page) {
  if (--p->entries[page].owners) return;
  if (!p->index || !fg_prefix_index_has(p->index, page)) {
    make_free(p, page);
    return;
  }
  keep(p, page);
  if (p->cached_count > p->limits.cached) forget_first(p);
}

uint32_t fg_page_pool_find(const fg_page_pool *p, const fg_prefix_block *block) {
  return p->index ? fg_prefix_index_find(p->index, block) : FG_NO_PAGE;
}

uint32_t fg_page_pool_find_part(const fg_page_pool *p, uint32_t before, const int32_t *tokens, uint32_t count,
                                uint32_t *page) {
  return p->index ? fg_prefix_index_find_part(p->index, before, tokens, count, page) : 0;
}

uint32_t fg_page_pool_owners(const fg_page_pool *p, uint32_t page) {
  return p->entries[page].owners;
}

void fg_page_pool_share(fg_page_pool *p, uint32_t page) {
  if (!p->entries[page].owners++) unkeep(p, page);
}

bool fg_page_pool_publish(fg_page_pool *p, uint32_t page, const fg_prefix_block *block) {
  if (!p->index || fg_prefix_index_find(p->index, block) != FG_NO_PAGE) return false;
  fg_prefix_index_put(p->index, page, block);
  return true;
}

uint32_t fg_page_pool_text(const fg_page_pool *p, uint32_t page, int32_t *tokens, uint32_t room,
                           uint64_t *kind) {
  if (!p->index || !fg_prefix_index_has(p->index, page)) return 0;
  return fg_prefix_index_text(p->index, page, tokens, room, kind);
}

const uint32_t *fg_page_pool_dropped(const fg_page_pool *p, uint32_t *count) {
  *count = p->dropped_count;
  return p->dropped;
}

void fg_page_pool_forget_dropped(fg_page_pool *p) {
  while (p->dropped_count) p->entries[p->dropped[--p->dropped_count]].is_dropped = false;
}
