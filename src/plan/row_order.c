#include "plan/row_order.h"

#include <stdlib.h>

// Consecutive rows in the order of the tree; `longest` is one of them.
typedef struct branch {
  uint32_t begin, count;
  fg_row_length longest;
} branch;

// Places [begin, begin + count) of the order.
typedef struct range {
  uint32_t begin, count;
} range;

typedef struct sorter {
  const fg_row_length *rows;
  uint32_t *order, *shared; // shared: NULL where it is not asked for
  branch *branches;         // [rows]
  range *open;              // [rows / 2 + 1]: still in the order of the tree
  uint32_t open_count;
} sorter;

// Below 0: a comes first.
static int compare_lengths(const fg_row_length *a, const fg_row_length *b) {
  if (a->generated != b->generated) return a->generated > b->generated ? -1 : 1;
  return (a->prompt < b->prompt) - (a->prompt > b->prompt);
}

static int compare_branches(const void *x, const void *y) {
  const branch *a = x, *b = y;
  const int by_length = compare_lengths(&a->longest, &b->longest);
  return by_length ? by_length : (a->begin > b->begin) - (a->begin < b->begin);
}

// What all rows from `begin` to before `end` have in common.
static uint32_t common(const fg_row_length *rows, uint32_t begin, uint32_t end) {
  uint32_t least = UINT32_MAX;
  for (uint32_t i = begin + 1; i < end; i++)
    if (rows[i].shared < least) least = rows[i].shared;
  return least;
}

// Cut where they have no more in common than all have.
static uint32_t list_branches(branch *out, const fg_row_length *rows, uint32_t begin, uint32_t end,
                              uint32_t in_common) {
  uint32_t count = 0;
  for (uint32_t i = begin; i < end; i++) {
    if (i == begin || rows[i].shared == in_common) out[count++] = (branch){.begin = i, .longest = rows[i]};
    branch *b = &out[count - 1];
    b->count++;
    if (compare_lengths(&rows[i], &b->longest) < 0) b->longest = rows[i];
  }
  return count;
}

static void sort_range(sorter *s, range r) {
  const uint32_t first = s->order[r.begin], in_common = common(s->rows, first, first + r.count);
  const uint32_t count = list_branches(s->branches, s->rows, first, first + r.count, in_common);
  qsort(s->branches, count, sizeof *s->branches, compare_branches);
  const uint32_t before = s->shared ? s->shared[r.begin] : 0;
  uint32_t place = r.begin;
  for (uint32_t b = 0; b < count; b++) {
    const branch *one = &s->branches[b];
    for (uint32_t i = 0; i < one->count; i++) {
      s->order[place + i] = one->begin + i;
      if (s->shared) s->shared[place + i] = s->rows[one->begin + i].shared;
    }
    if (s->shared) s->shared[place] = b ? in_common : before;
    if (one->count > 1) s->open[s->open_count++] = (range){place, one->count};
    place += one->count;
  }
}

fg_status fg_row_order_find(uint32_t *order, uint32_t *shared, const fg_row_length *rows, uint32_t count,
                            fg_row_order wish, fg_error *err) {
  for (uint32_t i = 0; i < count; i++) {
    order[i] = i;
    if (shared) shared[i] = rows[i].shared;
  }
  if (wish != FG_ORDER_LONGEST || count < 2) return FG_OK;
  sorter s = {.rows = rows, .order = order, .shared = shared};
  s.branches = malloc(count * sizeof *s.branches);
  s.open = malloc((count / 2 + 1) * sizeof *s.open);
  const bool has_memory = s.branches && s.open;
  if (has_memory) s.open[s.open_count++] = (range){0, count};
  while (s.open_count) sort_range(&s, s.open[--s.open_count]);
  free(s.branches);
  free(s.open);
  return has_memory ? FG_OK : fg_fail(err, FG_NO_SPACE, "no memory to put %u rows into order", count);
}
