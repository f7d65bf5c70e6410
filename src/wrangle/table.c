#include "wrangle/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/system.h"
#include "wrangle/column_type.h"
#include "wrangle/csv.h"

bool fg_slice_is(fg_slice slice, const char *text) {
  return strlen(text) == slice.length && (!slice.length || memcmp(slice.data, text, slice.length) == 0);
}

static fg_status no_memory(const fg_table *t, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "%s: out of memory for the table", t->name);
}

// ---- reading ---------------------------------------------------------------------------------------------

typedef struct reading {
  fg_table *table;
  size_t capacity; // rows
  bool valid;      // UTF-8 so far
  fg_cell_texts texts;
} reading;

static bool take_cells(fg_table *t, const fg_csv_record *record, fg_slice *out, size_t stride) {
  for (size_t i = 0; i < record->count; i++) {
    out[i * stride] = fg_pool_copy(&t->pool, record->cells[i].data, record->cells[i].length);
    if (!out[i * stride].data) return false;
  }
  return true;
}

static fg_status take_header(reading *r, const fg_csv_record *record, fg_error *err) {
  fg_table *t = r->table;
  t->names = calloc(record->count, sizeof *t->names);
  if (!t->names || !take_cells(t, record, t->names, 1)) return no_memory(t, err);
  t->columns = record->count;
  return FG_OK;
}

static fg_status take_row(reading *r, const fg_csv_record *record, fg_error *err) {
  fg_table *t = r->table;
  if (t->rows == r->capacity) {
    const size_t capacity = r->capacity ? 2 * r->capacity : 64;
    fg_cell *cells = fg_grow(t->cells, capacity, t->columns * sizeof *cells);
    if (!cells) return no_memory(t, err);
    t->cells = cells;
    r->capacity = capacity;
  }
  fg_cell *row = t->cells + t->rows * t->columns;
  for (size_t i = 0; i < record->count; i++) {
    row[i] = (fg_cell){.text = fg_pool_copy(&t->pool, record->cells[i].data, record->cells[i].length)};
    if (!row[i].text.data) return no_memory(t, err);
  }
  t->rows++;
  return FG_OK;
}

static fg_status take_record(void *user, const fg_csv_record *record, fg_error *err) {
  reading *r = user;
  r->valid = r->valid && fg_utf8_valid(record->raw.data, record->raw.length);
  if (record->header) return take_header(r, record, err);
  return record->count ? take_row(r, record, err) : FG_OK;
}

// ---- texts -----------------------------------------------------------------------------------------------

static bool replace(fg_table *t, fg_slice *slice, const fg_text *text) {
  *slice = fg_pool_copy(&t->pool, text->data ? text->data : "", text->length);
  return slice->data && !fg_text_failed(text);
}

static bool decode(fg_table *t, fg_slice *slice, fg_text *scratch) {
  fg_text_clear(scratch);
  fg_decode(scratch, FG_LATIN_1, slice->data, slice->length);
  return replace(t, slice, scratch);
}

static bool decode_all(fg_table *t, fg_text *scratch) {
  for (size_t i = 0; i < t->columns; i++)
    if (!decode(t, &t->names[i], scratch)) return false;
  for (size_t i = 0; i < t->rows * t->columns; i++)
    if (!decode(t, &t->cells[i].text, scratch)) return false;
  return true;
}

// The texts of a column as pandas prints its values.
static bool print_column(fg_table *t, size_t column, fg_cell_texts texts, fg_text *scratch) {
  fg_column_look look;
  fg_column_begin(&look);
  for (size_t row = 0; row < t->rows; row++) {
    fg_cell *cell = &t->cells[row * t->columns + column];
    cell->missing = fg_is_missing(cell->text);
    fg_column_see(&look, cell->text, cell->missing);
  }
  const fg_column_type type = texts == FG_CELLS_AS_PANDAS ? fg_column_end(&look) : FG_COLUMN_TEXT;
  for (size_t row = 0; row < t->rows; row++) {
    fg_cell *cell = &t->cells[row * t->columns + column];
    fg_text_clear(scratch);
    if (cell->missing)
      cell->text = (fg_slice){"nan", 3};
    else if (type != FG_COLUMN_TEXT) {
      fg_column_print(scratch, type, cell->text);
      if (!replace(t, &cell->text, scratch)) return false;
    }
  }
  return true;
}

// A column without a name gets pandas' name for it.
static bool name_columns(fg_table *t, fg_text *scratch) {
  for (size_t i = 0; i < t->columns; i++) {
    if (t->names[i].length) continue;
    fg_text_clear(scratch);
    fg_text_printf(scratch, "Unnamed: %zu", i);
    if (!replace(t, &t->names[i], scratch)) return false;
  }
  return true;
}

static fg_status make_texts(reading *r, fg_error *err) {
  fg_table *t = r->table;
  fg_text scratch = {0};
  bool good = (r->valid || decode_all(t, &scratch)) && name_columns(t, &scratch);
  for (size_t i = 0; good && i < t->columns; i++) good = print_column(t, i, r->texts, &scratch);
  fg_text_free(&scratch);
  return good ? FG_OK : no_memory(t, err);
}

static int by_name(const void *a, const void *b) {
  const fg_slice *x = a, *y = b;
  const int order = memcmp(x->data, y->data, x->length < y->length ? x->length : y->length);
  return order ? order : (x->length > y->length) - (x->length < y->length);
}

static fg_status check_names(const fg_table *t, fg_error *err) {
  fg_slice *sorted = malloc(t->columns * sizeof *sorted + 1);
  if (!sorted) return no_memory(t, err);
  memcpy(sorted, t->names, t->columns * sizeof *sorted);
  qsort(sorted, t->columns, sizeof *sorted, by_name);
  fg_status status = FG_OK;
  for (size_t i = 1; i < t->columns && status == FG_OK; i++)
    if (by_name(&sorted[i - 1], &sorted[i]) == 0)
      status = fg_fail(err, FG_CORRUPT, "%s: two columns are named '%.*s'", t->name,
                       sorted[i].length < 64 ? (int)sorted[i].length : 64, sorted[i].data);
  free(sorted);
  return status;
}

fg_status fg_table_read_stream(fg_table *t, FILE *file, const char *name, fg_cell_texts texts,
                               fg_error *err) {
  *t = (fg_table){.name = name};
  reading r = {.table = t, .valid = true, .texts = texts};
  fg_status status = fg_csv_visit(file, name, ',', take_record, &r, err);
  if (status == FG_OK) status = make_texts(&r, err);
  if (status == FG_OK) status = check_names(t, err);
  if (status != FG_OK) fg_table_free(t);
  return status;
}

fg_status fg_table_read(fg_table *t, const char *path, fg_cell_texts texts, fg_error *err) {
  *t = (fg_table){0};
  FILE *file = fopen(path, "rbe");
  if (!file)
    return fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "%s: cannot open: %s", path, strerror(errno));
  fg_status status = fg_table_read_stream(t, file, path, texts, err);
  fclose(file);
  return status;
}

void fg_table_free(fg_table *t) {
  free(t->names);
  free(t->cells);
  fg_pool_free(&t->pool);
  *t = (fg_table){0};
}

// ---- columns ---------------------------------------------------------------------------------------------

int64_t fg_table_find(const fg_table *t, const char *name) {
  for (size_t i = 0; i < t->columns; i++)
    if (fg_slice_is(t->names[i], name)) return (int64_t)i;
  return FG_NO_COLUMN;
}

fg_status fg_table_need(const fg_table *t, const char *name, size_t *column, fg_error *err) {
  const int64_t found = fg_table_find(t, name);
  if (found != FG_NO_COLUMN) {
    *column = (size_t)found;
    return FG_OK;
  }
  fg_text names = {0};
  for (size_t i = 0; i < t->columns && names.length < 200; i++)
    fg_text_printf(&names, "%s%.*s", i ? ", " : "", (int)t->names[i].length, t->names[i].data);
  fg_status status = fg_fail(err, FG_INVALID, "%s: there is no column '%.64s'; its columns are %.200s",
                             t->name, name, names.data ? names.data : "");
  fg_text_free(&names);
  return status;
}
