#include "engine/shared_segments.h"

#include "kernels/attention.h"

// A chunk among those that are sorted.
typedef struct entry {
  const int32_t *pages;
  uint32_t chunk;
  uint32_t old;    // its keys that can be shared: those before its first row
  uint32_t common; // with the entry before: keys, whole blocks
} entry;

// Entries [begin, end), whose shared segments reach to key `from`.
typedef struct node {
  uint32_t begin, end, from, level;
} node;

uint64_t fg_shared_scratch_bytes(uint32_t chunks) {
  return (uint64_t)chunks * (sizeof(entry) + sizeof(node));
}

// ---- order ---------------------------------------------------------------------------------------------

static uint32_t smaller(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

// Pages that both have in their tables for old keys, up to the first in which they differ.
static uint32_t common_pages(const entry *a, const entry *b, uint32_t page_tokens) {
  const uint32_t most = (smaller(a->old, b->old) + page_tokens - 1) / page_tokens;
  uint32_t i = 0;
  while (i < most && a->pages[i] == b->pages[i]) i++;
  return i;
}

// By the tables; one that is the beginning of the other goes first, then the chunks' order decides.
static bool before(const entry *a, const entry *b, uint32_t page_tokens) {
  const uint32_t i = common_pages(a, b, page_tokens);
  const bool a_ends = (uint64_t)i * page_tokens >= a->old, b_ends = (uint64_t)i * page_tokens >= b->old;
  if (a_ends || b_ends) return a_ends && b_ends ? a->chunk < b->chunk : a_ends;
  return a->pages[i] < b->pages[i];
}

static void sift(entry *heap, uint32_t count, uint32_t i, uint32_t page_tokens) {
  const entry moved = heap[i];
  for (uint32_t child; (child = 2 * i + 1) < count; i = child) {
    if (child + 1 < count && before(&heap[child], &heap[child + 1], page_tokens)) child++;
    if (!before(&moved, &heap[child], page_tokens)) break;
    heap[i] = heap[child];
  }
  heap[i] = moved;
}

// By a heap: in place, and no worse for any order.
static void sort(entry *entries, uint32_t count, uint32_t page_tokens) {
  for (uint32_t i = count / 2; i-- > 0;) sift(entries, count, i, page_tokens);
  for (uint32_t end = count; end-- > 1;) {
    const entry last = entries[end];
    entries[end] = entries[0];
    entries[0] = last;
    sift(entries, end, 0, page_tokens);
  }
}

static void list_entries(const fg_shared_chunks *c, entry *entries) {
  for (uint32_t i = 0; i < c->count; i++) {
    const int32_t *chunk = c->list + (uint64_t)4 * i;
    entries[i] = (entry){.pages = c->tables + (uint64_t)chunk[3] * c->stride,
                         .chunk = i,
                         .old = chunk[1] ? (uint32_t)chunk[2] : 0};
  }
  sort(entries, c->count, c->page_tokens);
  for (uint32_t i = 1; i < c->count; i++) {
    const entry *a = &entries[i - 1], *b = &entries[i];
    const uint64_t keys = (uint64_t)common_pages(a, b, c->page_tokens) * c->page_tokens;
    const uint32_t old = smaller(a->old, b->old), common = keys < old ? (uint32_t)keys : old;
    entries[i].common = common - common % FG_KEY_BLOCK;
  }
}

// ---- the tree ------------------------------------------------------------------------------------------

typedef struct finder {
  const fg_shared_chunks *chunks;
  const entry *entries;
  fg_shared_lists *lists;
} finder;

// Blocks of queries are what goes over keys.
static uint32_t blocks_of(uint32_t rows, uint32_t queries) {
  const uint32_t each = queries < FG_QUERY_BLOCK ? FG_QUERY_BLOCK / queries : 1;
  return (rows - 1) / each + 1;
}

static uint32_t rows_of(const finder *f, uint32_t i) {
  return (uint32_t)f->chunks->list[(uint64_t)4 * f->entries[i].chunk + 1];
}

// Whether enough passes over blocks of keys are spared for the rows that are taken up once more. Measured on
// a Sapphire Rapids core, decode, bfloat16 and 8 bits: two rows and 128 keys 0.99 to 1.2 times as fast as by
// themselves, 64 keys 0.96 to 1.2 for 4 to 32 rows; rows that fill their blocks alone 0.99 to 1.01.
static bool is_worth_it(const finder *f, const node *n, uint32_t end) {
  uint32_t rows = 0, alone = 0;
  for (uint32_t i = n->begin; i < n->end; i++) {
    rows += rows_of(f, i);
    alone += blocks_of(rows_of(f, i), f->chunks->queries);
  }
  const uint64_t spared = alone - smaller(alone, blocks_of(rows, f->chunks->queries));
  return spared * ((end - n->from) / FG_KEY_BLOCK) >= rows;
}

static void add_segment(const finder *f, const node *n, uint32_t end) {
  fg_shared_lists *l = f->lists;
  const uint32_t first = l->member_count;
  for (uint32_t i = n->begin; i < n->end; i++) {
    const int32_t *chunk = f->chunks->list + (uint64_t)4 * f->entries[i].chunk;
    for (int32_t r = 0; r < chunk[1]; r++)
      l->members[l->member_count++] = (fg_query_row){chunk[0] + r, chunk[2] + r};
    l->starts[f->entries[i].chunk] = (int32_t)end;
  }
  l->segments[l->segment_count++] =
      (fg_shared_segment){.first_key = (int32_t)n->from,
                          .end_key = (int32_t)end,
                          .first_member = (int32_t)first,
                          .members = (int32_t)(l->member_count - first),
                          .table = f->chunks->list[(uint64_t)4 * f->entries[n->begin].chunk + 3],
                          .level = (int32_t)n->level};
}

static uint32_t common_of(const finder *f, const node *n) {
  uint32_t common = UINT32_MAX;
  for (uint32_t i = n->begin + 1; i < n->end; i++) common = smaller(common, f->entries[i].common);
  return common;
}

// Its parts, which have more in common, go behind the queue; fewer than chunks are ever in it.
static uint32_t split(const finder *f, node n, uint32_t common, node *queue, uint32_t count) {
  for (uint32_t i = n.begin + 1, begin = n.begin; i <= n.end; i++) {
    if (i < n.end && f->entries[i].common > common) continue;
    if (i - begin > 1) queue[count++] = (node){begin, i, n.from, n.level};
    begin = i;
  }
  return count;
}

void fg_shared_segments_find(const fg_shared_chunks *chunks, void *scratch, fg_shared_lists *lists) {
  entry *entries = scratch;
  node *queue = (node *)(entries + chunks->count);
  const finder f = {chunks, entries, lists};
  uint32_t count = 0;
  lists->segment_count = lists->member_count = 0;
  for (uint32_t i = 0; i < chunks->count; i++) lists->starts[i] = 0;
  list_entries(chunks, entries);
  if (chunks->count > 1) queue[count++] = (node){0, chunks->count, 0, 0};
  for (uint32_t i = 0; i < count; i++) {
    node n = queue[i];
    const uint32_t common = common_of(&f, &n);
    if (common > n.from && n.level < FG_SHARED_LEVELS && is_worth_it(&f, &n, common)) {
      add_segment(&f, &n, common);
      n.from = common;
      n.level++;
    }
    count = split(&f, n, common, queue, count);
  }
}
