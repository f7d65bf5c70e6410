// user_table.h: a table of any size, row by row, as text.
//
// It is read twice. First whole, so that what is wrong with it is said before a model runs, and because only
// the whole tells its encoding; then row by row, each with its cells in UTF-8.
#ifndef FG_WRANGLE_USER_TABLE_H
#define FG_WRANGLE_USER_TABLE_H

#include <stdint.h>

#include "wrangle/csv.h"
#include "wrangle/encoding.h"
#include "wrangle/text_pool.h"

typedef struct fg_table_head {
  fg_slice *names; // [columns], UTF-8
  size_t columns;
  uint64_t rows;
  fg_encoding encoding;
  char delimiter;
  fg_text_pool pool;
} fg_table_head;

// The file is at its beginning, and is there again afterwards.
fg_status fg_table_look_over(fg_table_head *out, FILE *file, const char *name, char delimiter, fg_error *err);
void fg_table_head_free(fg_table_head *head);

// The rows of a table that was looked over; the file is at its beginning.
typedef struct fg_row_reader fg_row_reader;

fg_status fg_row_reader_create(fg_row_reader **out, const fg_table_head *head, FILE *file, const char *name,
                               fg_error *err);
void fg_row_reader_destroy(fg_row_reader *reader);
// The next row's cells, [columns] in UTF-8, valid until the next call; NULL at the end.
fg_status fg_row_reader_next(fg_row_reader *reader, const fg_slice **cells, fg_error *err);

#endif
