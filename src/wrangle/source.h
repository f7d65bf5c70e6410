// source.h: between the files that read a data set's files (samples.h).
#ifndef FG_WRANGLE_SOURCE_H
#define FG_WRANGLE_SOURCE_H

#include "wrangle/samples.h"

typedef struct fg_source {
  const fg_dataset *dataset;
  const char *folder;
  fg_split split;
  const char *split_path; // of the split's own file, where the layout has one
  const fg_row_style *style;
  fg_samples *out;
  fg_text text; // of the sample being made
} fg_source;

typedef fg_status fg_source_load(fg_source *source, fg_error *err);

fg_source_load fg_load_linked_pairs, fg_load_joined_pairs, fg_load_written_pairs;      // source_pairs.c
fg_source_load fg_load_rows, fg_load_unsplit_rows, fg_load_error_rows, fg_load_schema; // source_rows.c
fg_source_load fg_load_cells, fg_load_corrected_cells;                                 // source_cells.c

// "folder/name"; free it. NULL without memory.
char *fg_source_path(const fg_source *source, const char *name);
fg_status fg_source_table(const fg_source *source, fg_table *table, const char *name, fg_cell_texts texts,
                          fg_error *err);

// The columns of a table that are shown, as fields: those that begin with `prefix`, without it, but `skip`
// and what the data set drops, under the data set's names.
typedef struct fg_columns {
  size_t *numbers;  // [count] in the table
  fg_field *fields; // [count], filled by fg_columns_fill
  size_t count;
} fg_columns;

fg_status fg_columns_choose(fg_columns *out, const fg_table *table, const fg_dataset *dataset,
                            const char *prefix, const char *const *skip, fg_error *err);
void fg_columns_free(fg_columns *columns);
fg_fields fg_columns_fill(fg_columns *columns, const fg_cell *row);
fg_slice fg_fields_text(fg_fields fields, const char *name); // as str() of it; empty if there is none

// order: [count], the numbers of the keys: equal ones side by side, in the order in which they first appear.
// So an inner join leaves its rows in the pandas of the authors' program (1.4; those from 2.2 on keep the
// left order).
fg_status fg_group_order(size_t *order, const fg_slice *keys, size_t count, fg_error *err);
int fg_slice_compare(fg_slice a, fg_slice b); // by bytes

// A pandas boolean: 1, 1.0 or True.
bool fg_cell_is_one(const fg_cell *cell);

// Takes source->text as a sample's and begins a new one.
fg_status fg_source_add(fg_source *source, fg_slice label, fg_slice group, fg_slice key, fg_error *err);

#endif
