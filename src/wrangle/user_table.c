#include "wrangle/user_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static fg_status no_memory(const char *name, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "%s: out of memory for a row", name);
}

// ---- the whole -------------------------------------------------------------------------------------------

static fg_status keep_names(fg_table_head *head, const fg_csv_record *record, const char *name,
                            fg_error *err) {
  head->names = calloc(record->count, sizeof *head->names);
  if (!head->names) return no_memory(name, err);
  head->columns = record->count;
  for (size_t i = 0; i < record->count; i++) {
    head->names[i] = fg_pool_copy(&head->pool, record->cells[i].data, record->cells[i].length);
    if (!head->names[i].data) return no_memory(name, err);
  }
  return FG_OK;
}

static fg_status decode_names(fg_table_head *head, const char *name, fg_error *err) {
  fg_text text = {0};
  fg_status status = FG_OK;
  for (size_t i = 0; i < head->columns && status == FG_OK; i++) {
    fg_text_clear(&text);
    fg_decode(&text, head->encoding, head->names[i].data, head->names[i].length);
    head->names[i] = fg_pool_copy(&head->pool, text.data ? text.data : "", text.length);
    if (!head->names[i].data || fg_text_failed(&text)) status = no_memory(name, err);
  }
  fg_text_free(&text);
  return status;
}

typedef struct look {
  fg_table_head *head;
  const char *name;
  bool valid; // UTF-8 so far
} look;

static fg_status look_at_record(void *user, const fg_csv_record *record, fg_error *err) {
  look *l = user;
  l->valid = l->valid && fg_utf8_valid(record->raw.data, record->raw.length);
  if (record->header) return keep_names(l->head, record, l->name, err);
  if (record->count) l->head->rows++;
  return FG_OK;
}

fg_status fg_table_look_over(fg_table_head *head, FILE *file, const char *name, char delimiter,
                             fg_error *err) {
  *head = (fg_table_head){.delimiter = delimiter};
  look l = {.head = head, .name = name, .valid = true};
  fg_status status = fg_csv_visit(file, name, delimiter, look_at_record, &l, err);
  head->encoding = l.valid ? FG_UTF_8 : FG_LATIN_1;
  if (status == FG_OK) status = decode_names(head, name, err);
  if (status == FG_OK && fseeko(file, 0, SEEK_SET) != 0)
    status = fg_fail(err, FG_IO, "%s: cannot be read twice: %s", name, strerror(errno));
  if (status != FG_OK) fg_table_head_free(head);
  return status;
}

void fg_table_head_free(fg_table_head *head) {
  free(head->names);
  fg_pool_free(&head->pool);
  *head = (fg_table_head){0};
}

// ---- rows ------------------------------------------------------------------------------------------------

struct fg_row_reader {
  const fg_table_head *head;
  const char *name;
  fg_csv *csv;
  fg_text text;
  size_t *ends;    // [columns] in `text`
  fg_slice *cells; // [columns]
};

fg_status fg_row_reader_create(fg_row_reader **out, const fg_table_head *head, FILE *file, const char *name,
                               fg_error *err) {
  *out = NULL;
  fg_row_reader *r = calloc(1, sizeof *r);
  if (!r) return no_memory(name, err);
  *r = (fg_row_reader){.head = head,
                       .name = name,
                       .ends = calloc(head->columns, sizeof *r->ends),
                       .cells = calloc(head->columns, sizeof *r->cells)};
  fg_status status =
      r->ends && r->cells ? fg_csv_create(&r->csv, file, name, head->delimiter, err) : no_memory(name, err);
  if (status != FG_OK) {
    fg_row_reader_destroy(r);
    return status;
  }
  *out = r;
  return FG_OK;
}

void fg_row_reader_destroy(fg_row_reader *r) {
  if (!r) return;
  fg_csv_destroy(r->csv);
  fg_text_free(&r->text);
  free(r->ends);
  free(r->cells);
  free(r);
}

static fg_status decode_cells(fg_row_reader *r, const fg_csv_record *record, fg_error *err) {
  fg_text_clear(&r->text);
  if (record->count != r->head->columns)
    return fg_fail(err, FG_CORRUPT, "%s: it has changed under way", r->name);
  for (size_t i = 0; i < record->count; i++) {
    // Bytes that the first pass did not see would not be text; read as Latin-1 they are, whatever they mean.
    const bool valid = fg_utf8_valid(record->cells[i].data, record->cells[i].length);
    fg_decode(&r->text, valid ? r->head->encoding : FG_LATIN_1, record->cells[i].data,
              record->cells[i].length);
    r->ends[i] = r->text.length;
  }
  if (fg_text_failed(&r->text)) return no_memory(r->name, err);
  size_t from = 0;
  for (size_t i = 0; i < record->count; i++) {
    r->cells[i] = (fg_slice){(r->text.data ? r->text.data : "") + from, r->ends[i] - from};
    from = r->ends[i];
  }
  return FG_OK;
}

fg_status fg_row_reader_next(fg_row_reader *r, const fg_slice **cells, fg_error *err) {
  *cells = NULL;
  for (;;) {
    fg_csv_record record;
    bool end;
    fg_status status = fg_csv_next(r->csv, &record, &end, err);
    if (status != FG_OK || end) return status;
    if (!record.count || record.header) continue;
    *cells = r->cells;
    return decode_cells(r, &record, err);
  }
}
