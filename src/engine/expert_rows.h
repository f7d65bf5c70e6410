// expert_rows.h: which rows of a step each expert takes.
//
// The routes of a layer come back to the host, are sorted by expert, in each expert by row, and go to the
// device again as lists: an expert's rows and their weights are one run of both. A row's experts are thus
// visited in the order of their numbers, which depends on the row alone.
//
// Threads: one owner.
#ifndef FG_ENGINE_EXPERT_ROWS_H
#define FG_ENGINE_EXPERT_ROWS_H

#include "device/device.h"

typedef struct fg_expert_rows fg_expert_rows;

typedef struct fg_expert_run {
  uint32_t expert, rows;
  fg_view list, weights; // [rows] i32, [rows] f32
} fg_expert_run;

// What each row of a step costs, on the device and in host memory.
uint64_t fg_expert_rows_device_bytes(uint32_t used);
uint64_t fg_expert_rows_host_bytes(uint32_t used);

fg_status fg_expert_rows_create(fg_expert_rows **out, fg_device *device, fg_budget *host, uint32_t max_rows,
                                uint32_t used, fg_error *err);
void fg_expert_rows_destroy(fg_expert_rows *rows); // NULL is allowed

// Waits for the compute queue and sorts. routes: [rows, 2 * used] as ROUTE leaves them. FG_INTERNAL when the
// device gives an expert that does not exist.
fg_status fg_expert_rows_sort(fg_expert_rows *rows, fg_view routes, uint32_t count, const fg_route_form *form,
                              fg_error *err);
// The experts that have rows, by number; good until the next sort.
const fg_expert_run *fg_expert_rows_runs(const fg_expert_rows *rows, uint32_t *count);

#endif
