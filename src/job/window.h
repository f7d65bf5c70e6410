// window.h: rows that were read ahead and wait for the engine, in a planned order (order.h).
//
// It is filled, put into order, and emptied: every row of one filling leaves before any of the next, so none
// waits longer than two of them, however the order goes. What it may hold is taken from the job's memory at
// the start, so that rows under way find what they would find without it.
#ifndef FG_JOB_WINDOW_H
#define FG_JOB_WINDOW_H

#include "job/batch_row.h"

enum { FG_WINDOW_ROWS = 16384 }; // at most: enough for some hundred rows of each of some dozen beginnings

typedef struct fg_window fg_window;

// Bytes that the rows of a file take at most, about: to ask for more would be waste.
uint64_t fg_window_need(uint64_t rows, uint64_t file_bytes);
// Bytes that a plan should leave for it, of a host budget; 0 = unlimited. More is taken where it is left.
uint64_t fg_window_share(uint64_t host_budget);

// bytes: what it takes if it is there; otherwise half of it, and so on.
fg_status fg_window_create(fg_window **out, uint32_t rows, uint64_t bytes, fg_job_memory *memory,
                           fg_error *err);
void fg_window_destroy(fg_window *window); // with the rows in it

bool fg_window_full(const fg_window *window); // by rows or bytes; an empty one takes a row of any size
// Takes over a row that has not failed. Not while one that was put into order is left.
void fg_window_add(fg_window *window, fg_batch_row *row);
void fg_window_order(fg_window *window, fg_row_order wish);
uint32_t fg_window_waiting(const fg_window *window);
// The next row in order, now the caller's; NULL: none is left.
fg_batch_row *fg_window_next(fg_window *window);

#endif
