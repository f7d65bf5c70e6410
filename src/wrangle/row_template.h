// row_template.h: "Is {name_left} the same as {name_right}?" with the cells of a row in it.
//
// {name} is the cell of the column of that name, {{ and }} are braces. Read once against a table's header.
#ifndef FG_WRANGLE_ROW_TEMPLATE_H
#define FG_WRANGLE_ROW_TEMPLATE_H

#include "flexgen/error.h"
#include "text/unicode.h"

typedef struct fg_row_template fg_row_template;

// names: [count] of the columns, UTF-8. The text is kept.
fg_status fg_row_template_read(fg_row_template **out, const char *text, const fg_slice *names, size_t count,
                               fg_error *err);
void fg_row_template_destroy(fg_row_template *template);
// cells: [count], UTF-8.
void fg_row_template_put(fg_text *out, const fg_row_template *template, const fg_slice *cells);

// The number of the one column of this name; an error lists what there is.
fg_status fg_column_number(const char *name, size_t length, const fg_slice *names, size_t count,
                           size_t *number, fg_error *err);

#endif
