#include "engine/walk_pages.h"

#include <stdbool.h>

uint32_t fg_walk_pages_fill(fg_walk_pages *p, fg_row_homes *row, uint32_t full) {
  const uint32_t before = row->disk;
  while (row->memory + row->disk < full) {
    const bool room = p->taken + p->left_in_memory < p->room;
    p->taken += room;
    *(room ? &row->memory : &row->disk) += 1;
  }
  return row->disk - before;
}

void fg_walk_pages_bound(fg_walk_pages *p, uint32_t most) {
  if (p->left <= most) return;
  p->left_in_memory *= most / p->left;
  p->left = most;
}

void fg_walk_pages_leave(fg_walk_pages *p, fg_row_homes *row) {
  p->taken -= row->memory;
  p->left += row->memory + row->disk;
  p->left_in_memory += row->memory;
  fg_walk_pages_bound(p, p->most_left);
  *row = (fg_row_homes){0};
}
