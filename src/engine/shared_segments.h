// shared_segments.h: which keys a step's chunks have in common, and which of them pay to be taken together.
//
// Chunks whose page tables begin with the same page numbers attend to the same keys there. Sorted by their
// tables, such chunks stand next to each other, and their common beginnings are a tree; a node of it, as far
// as the keys are old for all and whole blocks, may become a shared segment (device/op.h). It does when
// enough passes over keys are spared, and when the path to it has fewer than FG_SHARED_LEVELS of them. What
// becomes none, and what is behind the last of them, the chunks go over each for itself. No result depends on
// any of this.
//
// Pure, and deterministic: numbers in, numbers out.
#ifndef FG_ENGINE_SHARED_SEGMENTS_H
#define FG_ENGINE_SHARED_SEGMENTS_H

#include "device/op.h"

// Segments that a row may be a member of.
enum { FG_SHARED_LEVELS = 4 };

// As in a fg_batch_view.
typedef struct fg_shared_chunks {
  const int32_t *list;   // [count, 4]: first row, rows, position of the first, row in tables
  const int32_t *tables; // [*, stride]
  uint32_t count, stride, page_tokens;
  uint32_t queries; // of a row that share a KV head
} fg_shared_chunks;

// What is found; the caller's arrays.
typedef struct fg_shared_lists {
  fg_shared_segment *segments; // [chunks]
  fg_query_row *members;       // [FG_SHARED_LEVELS * rows]
  int32_t *starts;             // [chunks]
  uint32_t segment_count, member_count;
} fg_shared_lists;

// `scratch`: fg_shared_scratch_bytes(chunks->count), aligned for pointers.
void fg_shared_segments_find(const fg_shared_chunks *chunks, void *scratch, fg_shared_lists *lists);
uint64_t fg_shared_scratch_bytes(uint32_t chunks);

#endif
