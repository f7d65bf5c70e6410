#include "engine/prefix_index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

typedef struct node {
  uint64_t hash, kind;
  uint32_t before, next;    // next: of the same bucket
  uint32_t followers, last; // last: of those in the index the one that was put last, or FG_NO_PAGE
  bool here;
} node;

struct fg_prefix_index {
  uint32_t page_tokens, count, bucket_mask;
  node *nodes;       // [pages]
  int32_t *tokens;   // [pages, page_tokens]
  uint32_t *buckets; // [bucket_mask + 1] first page
};

static uint32_t bucket_count(uint32_t pages) {
  uint32_t count = 1;
  while (count < pages && count < 1u << 31) count *= 2;
  return count;
}

uint64_t fg_prefix_index_bytes(uint32_t pages, uint32_t page_tokens) {
  return sizeof(fg_prefix_index) + (uint64_t)pages * (sizeof(node) + page_tokens * sizeof(int32_t)) +
         bucket_count(pages) * sizeof(uint32_t);
}

fg_status fg_prefix_index_create(fg_prefix_index **out, uint32_t pages, uint32_t page_tokens, fg_error *err) {
  *out = NULL;
  fg_prefix_index *x = calloc(1, sizeof *x);
  if (!x) return fg_fail(err, FG_NO_SPACE, "no memory for an index of prefixes");
  const uint32_t buckets = bucket_count(pages);
  x->page_tokens = page_tokens;
  x->bucket_mask = buckets - 1;
  x->nodes = calloc(pages, sizeof *x->nodes);
  x->tokens = calloc((size_t)pages * page_tokens, sizeof *x->tokens);
  x->buckets = malloc(buckets * sizeof *x->buckets);
  if (!x->nodes || !x->tokens || !x->buckets) {
    fg_prefix_index_destroy(x);
    return fg_fail(err, FG_NO_SPACE, "no memory for an index of %" PRIu32 " pages", pages);
  }
  for (uint32_t i = 0; i < buckets; i++) x->buckets[i] = FG_NO_PAGE;
  *out = x;
  return FG_OK;
}

void fg_prefix_index_destroy(fg_prefix_index *x) {
  if (!x) return;
  free(x->nodes);
  free(x->tokens);
  free(x->buckets);
  free(x);
}

static size_t block_bytes(const fg_prefix_index *x) {
  return x->page_tokens * sizeof(int32_t);
}

static int32_t *tokens_of(const fg_prefix_index *x, uint32_t page) {
  return x->tokens + (size_t)page * x->page_tokens;
}

static uint64_t hash_of(const fg_prefix_index *x, const fg_prefix_block *b) {
  return fg_hash_more(b->before == FG_NO_PAGE ? b->kind : x->nodes[b->before].hash, b->tokens,
                      block_bytes(x));
}

static bool holds(const fg_prefix_index *x, uint32_t page, const fg_prefix_block *b) {
  const node *n = &x->nodes[page];
  return n->before == b->before && (b->before != FG_NO_PAGE || n->kind == b->kind) &&
         memcmp(tokens_of(x, page), b->tokens, block_bytes(x)) == 0;
}

uint32_t fg_prefix_index_find(const fg_prefix_index *x, const fg_prefix_block *block) {
  const uint64_t hash = hash_of(x, block);
  for (uint32_t page = x->buckets[hash & x->bucket_mask]; page != FG_NO_PAGE; page = x->nodes[page].next)
    if (holds(x, page, block)) return page;
  return FG_NO_PAGE;
}

uint32_t fg_prefix_index_find_part(const fg_prefix_index *x, uint32_t before, const int32_t *tokens,
                                   uint32_t count, uint32_t *page) {
  const uint32_t last = x->nodes[before].last;
  if (last == FG_NO_PAGE) return 0;
  const int32_t *there = tokens_of(x, last);
  uint32_t same = 0;
  while (same < count && same < x->page_tokens && there[same] == tokens[same]) same++;
  if (same) *page = last;
  return same;
}

void fg_prefix_index_put(fg_prefix_index *x, uint32_t page, const fg_prefix_block *block) {
  const uint64_t hash = hash_of(x, block);
  uint32_t *bucket = &x->buckets[hash & x->bucket_mask];
  x->nodes[page] = (node){.hash = hash,
                          .kind = block->kind,
                          .before = block->before,
                          .next = *bucket,
                          .last = FG_NO_PAGE,
                          .here = true};
  memcpy(tokens_of(x, page), block->tokens, block_bytes(x));
  *bucket = page;
  x->count++;
  if (block->before == FG_NO_PAGE) return;
  x->nodes[block->before].followers++;
  x->nodes[block->before].last = page;
}

void fg_prefix_index_remove(fg_prefix_index *x, uint32_t page) {
  node *n = &x->nodes[page];
  uint32_t *link = &x->buckets[n->hash & x->bucket_mask];
  while (*link != page) link = &x->nodes[*link].next;
  *link = n->next;
  n->here = false;
  x->count--;
  if (n->before == FG_NO_PAGE) return;
  node *before = &x->nodes[n->before];
  before->followers--;
  if (before->last == page) before->last = FG_NO_PAGE;
}

uint32_t fg_prefix_index_text(const fg_prefix_index *x, uint32_t page, int32_t *tokens, uint32_t room,
                              uint64_t *kind) {
  uint32_t blocks = 0;
  for (uint32_t p = page; p != FG_NO_PAGE; p = x->nodes[p].before) {
    blocks++;
    *kind = x->nodes[p].kind;
  }
  for (uint32_t p = page, i = blocks; blocks <= room && p != FG_NO_PAGE; p = x->nodes[p].before)
    memcpy(tokens + (size_t)--i * x->page_tokens, tokens_of(x, p), block_bytes(x));
  return blocks;
}

bool fg_prefix_index_has(const fg_prefix_index *x, uint32_t page) {
  return x->nodes[page].here;
}
uint32_t fg_prefix_index_followers(const fg_prefix_index *x, uint32_t page) {
  return x->nodes[page].followers;
}
uint32_t fg_prefix_index_count(const fg_prefix_index *x) {
  return x->count;
}
