// serialise.h: a row of a table as text, and the question behind it.
//
// "name: value" of each column, joined by ". "; a task puts words around one or two such rows. The text ends
// with a space, to which an example appends its label and which a question loses when it is stripped.
#ifndef FG_WRANGLE_SERIALISE_H
#define FG_WRANGLE_SERIALISE_H

#include "wrangle/dataset.h"
#include "wrangle/table.h"

// A named value of a row.
typedef struct fg_field {
  fg_slice name;
  fg_cell cell;
} fg_field;

typedef struct fg_fields {
  const fg_field *items;
  size_t count;
} fg_fields;

typedef struct fg_row_style {
  const char *separator; // between fields: "." is joined without a space in front
  const char *missing;   // in place of a missing value
} fg_row_style;

void fg_serialise_row(fg_text *out, fg_fields row, const fg_row_style *style);

void fg_serialise_pair(fg_text *out, const fg_dataset *dataset, fg_fields a, fg_fields b,
                       const fg_row_style *style);
void fg_serialise_imputation(fg_text *out, const fg_dataset *dataset, fg_fields row,
                             const fg_row_style *style);
void fg_serialise_spelling(fg_text *out, const fg_dataset *dataset, fg_field cell, const fg_row_style *style);
void fg_serialise_error(fg_text *out, const fg_dataset *dataset, fg_fields row, fg_field cell,
                        const fg_row_style *style);
void fg_serialise_schema(fg_text *out, const fg_dataset *dataset, fg_slice left, fg_slice right);

// What the model is asked: [instruction, a space,] prefix, a newline and the text, stripped. instruction may
// be NULL.
void fg_put_query(fg_text *out, const char *instruction, fg_slice prefix, fg_slice text);

#endif
