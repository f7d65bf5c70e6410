// column_type.h: the types that pandas.read_csv finds in a column, and how it prints their values.
#ifndef FG_WRANGLE_COLUMN_TYPE_H
#define FG_WRANGLE_COLUMN_TYPE_H

#include "wrangle/text_pool.h"

typedef enum fg_column_type {
  FG_COLUMN_WHOLE,
  FG_COLUMN_REAL,
  FG_COLUMN_BOOL,
  FG_COLUMN_TEXT
} fg_column_type;

// Whether a cell counts as missing: empty, or a word of the list of pandas 1.4, which the authors' program
// used (2.0 added "None").
bool fg_is_missing(fg_slice cell);

// What the cells of a column can be, one after the other; starts as all of them.
typedef struct fg_column_look {
  bool whole, unsigned_whole, real, boolean; // could be, so far
  bool digits;                               // all are whole numbers, however large
  bool missing, any;
} fg_column_look;

void fg_column_begin(fg_column_look *look);
void fg_column_see(fg_column_look *look, fg_slice cell, bool missing);
fg_column_type fg_column_end(const fg_column_look *look);

// A value that is not missing as str() of it: whole numbers in decimal, reals in the shortest form that reads
// back.
void fg_column_print(fg_text *out, fg_column_type type, fg_slice cell);

#endif
