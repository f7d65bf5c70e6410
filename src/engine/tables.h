// tables.h: token and position tables, of which a step needs single rows.
//
// Rows are gathered on the host and expanded to float32. A table is either kept in host memory or its rows
// are read from the store each time: a step needs few of them, and most are never needed.
//
// Threads: one owner; `io` is used by nobody else, so that rows do not queue behind weights.
#ifndef FG_ENGINE_TABLES_H
#define FG_ENGINE_TABLES_H

#include "base/budget.h"
#include "format/store.h"
#include "io/io.h"

enum { FG_SMALL_TABLE = 8 * 1024 * 1024 }; // tables up to this size, positions mostly, are always kept

typedef struct fg_table fg_table;

// weight: an index of store->weights, kind TABLE. resident: read whole now (and compared with its hash).
fg_status fg_table_create(fg_table **out, fg_store *store, uint32_t weight, bool resident, fg_io *io,
                          fg_budget *budget, fg_error *err);
void fg_table_destroy(fg_table *table); // NULL is allowed

// Host memory that create charges.
uint64_t fg_table_bytes(const fg_weight *weight, bool resident);

// out[i, :k] = scale * row rows[i]; `stride` in floats. out: [count, k] f32. rows[i] < n.
fg_status fg_table_gather(fg_table *table, const int32_t *rows, uint32_t count, float scale, float *out,
                          uint32_t stride, fg_error *err);

#endif
