#include "format/prefix_list.h"

#include <stdlib.h>

// ---- names: open addressing, at most half full ----------------------------------------------------------

enum { FIRST_SLOTS = 64 };

// 0 marks a free slot; one hash in 2^64 becomes another.
static uint64_t slot_value(uint64_t hash) {
  return hash ? hash : 1;
}

void fg_prefix_names_free(fg_prefix_names *n) {
  free(n->slots);
  *n = (fg_prefix_names){0};
}

size_t fg_prefix_names_bytes(const fg_prefix_names *n) {
  return n->slots ? (n->mask + 1) * sizeof *n->slots : 0;
}

// Where it is, or where it would be.
static size_t find(const fg_prefix_names *n, uint64_t value) {
  size_t i = value & n->mask;
  while (n->slots[i] && n->slots[i] != value) i = (i + 1) & n->mask;
  return i;
}

bool fg_prefix_names_has(const fg_prefix_names *n, uint64_t hash) {
  return n->slots && n->slots[find(n, slot_value(hash))] != 0;
}

static bool grow(fg_prefix_names *n) {
  const size_t slots = n->slots ? 2 * (n->mask + 1) : FIRST_SLOTS;
  fg_prefix_names more = {.slots = calloc(slots, sizeof *more.slots), .mask = slots - 1, .count = n->count};
  if (!more.slots) return false;
  for (size_t i = 0; n->slots && i <= n->mask; i++)
    if (n->slots[i]) more.slots[find(&more, n->slots[i])] = n->slots[i];
  free(n->slots);
  *n = more;
  return true;
}

bool fg_prefix_names_add(fg_prefix_names *n, uint64_t hash) {
  if (fg_prefix_names_has(n, hash)) return true;
  if ((!n->slots || 2 * (n->count + 1) > n->mask + 1) && !grow(n)) return false;
  n->slots[find(n, slot_value(hash))] = slot_value(hash);
  n->count++;
  return true;
}

// Those behind it that a search would not reach any more move up.
void fg_prefix_names_remove(fg_prefix_names *n, uint64_t hash) {
  if (!fg_prefix_names_has(n, hash)) return;
  size_t hole = find(n, slot_value(hash));
  for (size_t i = (hole + 1) & n->mask; n->slots[i]; i = (i + 1) & n->mask) {
    const size_t wished = n->slots[i] & n->mask;
    if (((i - wished) & n->mask) < ((i - hole) & n->mask)) continue;
    n->slots[hole] = n->slots[i];
    hole = i;
  }
  n->slots[hole] = 0;
  n->count--;
}

// ---- what goes first ------------------------------------------------------------------------------------

bool fg_prefix_goes_before(const fg_prefix_file *a, const fg_prefix_file *b) {
  if (a->used_ns != b->used_ns) return a->used_ns < b->used_ns;
  if (a->block != b->block) return a->block > b->block;
  return a->folder != b->folder ? a->folder < b->folder : a->hash < b->hash;
}

static void swap(fg_prefix_file *a, fg_prefix_file *b) {
  const fg_prefix_file c = *a;
  *a = *b;
  *b = c;
}

static void sink(fg_prefix_oldest *o, uint32_t i) {
  for (uint32_t child; (child = 2 * i + 1) < o->count; i = child) {
    if (child + 1 < o->count && fg_prefix_goes_before(&o->files[child], &o->files[child + 1])) child++;
    if (!fg_prefix_goes_before(&o->files[i], &o->files[child])) return;
    swap(&o->files[i], &o->files[child]);
  }
}

static void rise(fg_prefix_oldest *o, uint32_t i) {
  for (; i && fg_prefix_goes_before(&o->files[(i - 1) / 2], &o->files[i]); i = (i - 1) / 2)
    swap(&o->files[i], &o->files[(i - 1) / 2]);
}

void fg_prefix_oldest_offer(fg_prefix_oldest *o, const fg_prefix_file *file) {
  if (o->count < FG_PREFIX_OLDEST) {
    o->files[o->count] = *file;
    rise(o, o->count++);
  } else if (fg_prefix_goes_before(file, &o->files[0])) {
    o->files[0] = *file;
    sink(o, 0);
  }
}

static int in_order(const void *a, const void *b) {
  return fg_prefix_goes_before(a, b) ? -1 : fg_prefix_goes_before(b, a);
}

void fg_prefix_oldest_sort(fg_prefix_oldest *o) {
  qsort(o->files, o->count, sizeof *o->files, in_order);
}
