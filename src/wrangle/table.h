// table.h: a small table in memory, with its cells as pandas would print them.
//
// pandas.read_csv decides a type for each column, and its texts follow from that: "007" in a column of whole
// numbers is 7, "2003" beside a missing cell is 2003.0. The prompts of the paper were made so, and the same
// texts come out here. What counts as missing (empty, NA, nan, NULL, ...) is pandas' list too. For tables of
// train and test sets, which are kept until prompts are made; a user's own table is streamed (csv.h).
#ifndef FG_WRANGLE_TABLE_H
#define FG_WRANGLE_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "flexgen/error.h"
#include "wrangle/encoding.h"
#include "wrangle/text_pool.h"

typedef struct fg_cell {
  fg_slice text; // UTF-8; where missing: "nan"
  bool missing;
} fg_cell;

typedef struct fg_table {
  const char *name; // for messages
  fg_slice *names;  // [columns]
  fg_cell *cells;   // [rows, columns]
  size_t columns, rows;
  fg_text_pool pool;
} fg_table;

typedef enum fg_cell_texts { FG_CELLS_AS_PANDAS, FG_CELLS_AS_THEY_STAND } fg_cell_texts;

// Two columns of one name are refused.
fg_status fg_table_read(fg_table *out, const char *path, fg_cell_texts texts, fg_error *err);
// The same for an open file; `name` is kept.
fg_status fg_table_read_stream(fg_table *out, FILE *file, const char *name, fg_cell_texts texts,
                               fg_error *err);
void fg_table_free(fg_table *table);

static inline const fg_cell *fg_table_row(const fg_table *table, size_t row) {
  return table->cells + row * table->columns;
}

enum { FG_NO_COLUMN = -1 };
int64_t fg_table_find(const fg_table *table, const char *name); // a column's number or FG_NO_COLUMN
// The same, and an error that lists what there is.
fg_status fg_table_need(const fg_table *table, const char *name, size_t *column, fg_error *err);

bool fg_slice_is(fg_slice slice, const char *text);

#endif
