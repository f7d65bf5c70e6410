// walk_pages.h: which pages of the KV cache would be on disk, of rows that are gone through with nothing but
// lengths. Pure.
//
// As in kv_places.h: a page gets its home when it is full, in memory as long as there is room, and keeps it
// until nobody needs it. So while rows grow together all that memory has no room for is written, and when a
// row ends the next pages to become full take its places. Where rows may share, pages that a row leaves are
// kept for a while, those that were left first go first; of which of them are in memory only the share is
// known.
#ifndef FG_ENGINE_WALK_PAGES_H
#define FG_ENGINE_WALK_PAGES_H

#include <stdint.h>

typedef struct fg_walk_pages {
  uint32_t room;      // homes in memory
  uint32_t taken;     // of them, by rows under way
  uint32_t most_left; // pages that rows have left, and that are kept, at most
  double left, left_in_memory;
} fg_walk_pages;

// Full pages of a row under way.
typedef struct fg_row_homes {
  uint32_t memory, disk;
} fg_row_homes;

// The row has `full` full pages now. Returns how many of them came to the disk.
uint32_t fg_walk_pages_fill(fg_walk_pages *pages, fg_row_homes *row, uint32_t full);
// The row ends or gives way.
void fg_walk_pages_leave(fg_walk_pages *pages, fg_row_homes *row);
// No more than so many pages that were left can be kept: rows have taken the others.
void fg_walk_pages_bound(fg_walk_pages *pages, uint32_t most);

#endif
