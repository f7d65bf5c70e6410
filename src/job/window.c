#include "job/window.h"

#include <stdlib.h>
#include <string.h>

#include "plan/policy.h"

enum {
  LEAST_BYTES = 64 << 10,
  ROW_BYTES = 1152,       // of a row with a short prompt, its places in the tables here included
  BYTES_PER_BYTE = 2,     // of a line: its text, and ids of four bytes for four of text or more
  MOST_BYTES = 128 << 20, // 16384 rows of 2000 tokens
  SHARE = 64,             // of the host budget, one part in so many
};

uint64_t fg_window_need(uint64_t rows, uint64_t file_bytes) {
  const double filling = rows > FG_WINDOW_ROWS ? FG_WINDOW_ROWS / (double)rows : 1;
  const double bytes = filling * ((double)rows * ROW_BYTES + (double)file_bytes * BYTES_PER_BYTE);
  return bytes < MOST_BYTES ? (uint64_t)bytes : MOST_BYTES;
}

uint64_t fg_window_share(uint64_t host_budget) {
  return host_budget && host_budget / SHARE < MOST_BYTES ? host_budget / SHARE : MOST_BYTES;
}

struct fg_window {
  fg_job_memory *memory;
  uint64_t taken, room, held; // of the memory; of it for rows; by rows
  uint32_t rows, count, next; // most rows; those of this filling; those of it that left
  fg_batch_row **row;         // [rows], in the order of reading
  fg_order_item *items;       // [rows]
  uint32_t *order;            // [rows]
  void *scratch;
};

static uint64_t table_bytes(uint32_t rows) {
  return rows * (uint64_t)(sizeof(fg_batch_row *) + sizeof(fg_order_item) + sizeof(uint32_t)) +
         fg_order_scratch(rows);
}

static fg_status allocate(fg_window *w, fg_error *err) {
  w->row = calloc(w->rows, sizeof(fg_batch_row *));
  w->items = calloc(w->rows, sizeof *w->items);
  w->order = calloc(w->rows, sizeof *w->order);
  w->scratch = malloc(fg_order_scratch(w->rows));
  if (w->row && w->items && w->order && w->scratch) return FG_OK;
  return fg_fail(err, FG_NO_SPACE, "out of memory for reading %u rows ahead", w->rows);
}

fg_status fg_window_create(fg_window **out, uint32_t rows, uint64_t bytes, fg_job_memory *memory,
                           fg_error *err) {
  *out = NULL;
  fg_window *w = calloc(1, sizeof *w);
  if (!w) return fg_fail(err, FG_NO_SPACE, "out of memory for reading rows ahead");
  w->memory = memory;
  fg_status status;
  for (uint64_t wish = bytes > LEAST_BYTES ? bytes : LEAST_BYTES;; wish /= 2) {
    status = fg_job_memory_take(memory, wish, "reading rows ahead", err);
    if (status == FG_OK) w->taken = wish;
    if (status == FG_OK || wish / 2 < LEAST_BYTES) break;
  }
  // A quarter for the tables: rows are larger than what stands about them there.
  while (rows > 1 && table_bytes(rows) > w->taken / 4) rows /= 2;
  w->rows = rows ? rows : 1;
  w->room = w->taken - table_bytes(w->rows);
  if (status == FG_OK) status = allocate(w, err);
  if (status != FG_OK) {
    fg_window_destroy(w);
    return status;
  }
  *out = w;
  return FG_OK;
}

void fg_window_destroy(fg_window *w) {
  if (!w) return;
  for (uint32_t i = 0; w->row && i < w->count; i++) fg_batch_row_destroy(w->row[i]);
  fg_job_memory_give(w->memory, w->taken);
  free(w->row);
  free(w->items);
  free(w->order);
  free(w->scratch);
  free(w);
}

bool fg_window_full(const fg_window *w) {
  return w->count == w->rows || (w->count && w->held >= w->room);
}

void fg_window_add(fg_window *w, fg_batch_row *row) {
  w->items[w->count] = fg_batch_row_item(row);
  w->row[w->count] = row;
  w->order[w->count] = w->count;
  w->held += row->held;
  w->count++;
}

void fg_window_order(fg_window *w, fg_row_order wish) {
  fg_order(w->items, w->count, FG_PAGE_TOKENS, wish, w->scratch, w->order);
}

uint32_t fg_window_waiting(const fg_window *w) {
  return w->count - w->next;
}

fg_batch_row *fg_window_next(fg_window *w) {
  if (w->next == w->count) return NULL;
  const uint32_t i = w->order[w->next++];
  fg_batch_row *row = w->row[i];
  w->row[i] = NULL;
  w->held -= row->held;
  if (w->next == w->count) w->count = w->next = 0;
  return row;
}
