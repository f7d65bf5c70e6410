// Tables as people write them, then as nobody does. What is read is the file's own bytes, record by record;
// its cells written again read the same; texts of a table are valid UTF-8 whatever its bytes are.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_driver.h"
#include "wrangle/csv.h"
#include "wrangle/table.h"

static const char *const cells[] = {
    "",        "x",         "7",        "007",          "1e400",    "nan",          "\"a,b\"",
    "\"\"",    "\"q\"\"\"", "5\" disk", "\"one\ntwo\"", "\"\r\n\"", "\xc3\xa9",     "\xe9",
    "  pad  ", "True",      "NULL",     "-0.0",         "{left}",   "\xef\xbb\xbf", "\"open"};
static const char *const ends[] = {"\n", "\r\n", "\r", ""};

static void put_record(fuzz_random *r, fuzz_bytes *out, size_t columns) {
  for (size_t i = 0; i < columns; i++) {
    if (i) fuzz_put_text(out, ",");
    fuzz_put_text(out, cells[fuzz_below(r, sizeof cells / sizeof *cells - !fuzz_chance(r, 1))]);
  }
  fuzz_put_text(out, ends[fuzz_chance(r, 95) ? fuzz_below(r, 3) : 3]);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  const size_t columns = 1 + fuzz_below(r, 6), rows = fuzz_below(r, 30);
  if (fuzz_chance(r, 20)) fuzz_put_text(out, "\xef\xbb\xbf");
  for (size_t i = 0; i < columns; i++) fuzz_put_format(out, "%sc%zu", i ? "," : "", i);
  fuzz_put_text(out, "\n");
  for (size_t row = 0; row < rows; row++) {
    if (fuzz_chance(r, 5)) fuzz_put_text(out, "\n");
    put_record(r, out, fuzz_chance(r, 2) ? columns + 1 : columns);
  }
  if (fuzz_chance(r, 30)) fuzz_noise(r, out);
}

// ---- what must hold --------------------------------------------------------------------------------------

static FILE *open_bytes(const void *bytes, size_t count) {
  FILE *file = fmemopen((void *)(uintptr_t)bytes, count, "rb");
  if (!file) fuzz_broken("no stream of %zu bytes", count);
  return file;
}

static void check_cells(const fg_csv_record *a, const fg_csv_record *b) {
  if (a->count != b->count) fuzz_broken("%zu cells became %zu", a->count, b->count);
  for (size_t i = 0; i < a->count; i++)
    if (a->cells[i].length != b->cells[i].length ||
        memcmp(a->cells[i].data, b->cells[i].data, a->cells[i].length) != 0)
      fuzz_broken("cell %zu reads differently when it is written again", i);
}

static void write_again(const fg_csv_record *record) {
  fg_text line = {0};
  fg_csv *csv;
  fg_csv_record again;
  fg_error err;
  bool end;
  for (size_t i = 0; i < record->count; i++) {
    if (i) fg_text_append(&line, ",", 1);
    fg_csv_put(&line, record->cells[i].data, record->cells[i].length, ',');
  }
  if (record->count == 1 && !line.length)
    fg_text_append_string(&line, "\"\""); // alone it would be a blank line
  FILE *file = open_bytes(line.data, line.length);
  // A first cell that begins with a mark would lose it at the front of a file.
  const bool marked = line.length >= 3 && memcmp(line.data, "\xef\xbb\xbf", 3) == 0;
  if (!marked && fg_csv_create(&csv, file, "again", ',', &err) == FG_OK) {
    if (fg_csv_next(csv, &again, &end, &err) != FG_OK || end)
      fuzz_broken("what was written is refused: %s", err.message);
    check_cells(record, &again);
    fg_csv_destroy(csv);
  }
  fclose(file);
  fg_text_free(&line);
}

static fuzz_outcome read_records(FILE *file, const fuzz_bytes *input) {
  fg_csv *csv;
  fg_error err = {0};
  size_t at = 0, columns = 0;
  if (fg_csv_create(&csv, file, "t", ',', &err) != FG_OK) fuzz_broken("no reader");
  fuzz_outcome outcome = FUZZ_REFUSED;
  for (;;) {
    fg_csv_record record;
    bool end;
    if (fg_csv_next(csv, &record, &end, &err) != FG_OK) {
      if (err.message[0] == 0) fuzz_broken("refused without a reason");
      break;
    }
    if (end) {
      outcome = FUZZ_ACCEPTED;
      break;
    }
    const size_t length = record.raw.length + record.end.length;
    if (length > input->count - at || memcmp(input->data + at, record.raw.data, record.raw.length) != 0)
      fuzz_broken("a record is not what stands in the file at byte %zu", at);
    at += length;
    if (record.count && !columns) {
      columns = record.count;
      outcome = FUZZ_PAST_HEADER;
    }
    if (record.count && record.count != columns)
      fuzz_broken("%zu cells in %zu columns", record.count, columns);
    if (record.count) write_again(&record);
  }
  if (outcome == FUZZ_ACCEPTED && at != input->count)
    fuzz_broken("%zu bytes of %zu were read", at, input->count);
  fg_csv_destroy(csv);
  return outcome;
}

static void read_table(FILE *file, fg_cell_texts texts) {
  fg_table table;
  fg_error err = {0};
  if (fg_table_read_stream(&table, file, "t", texts, &err) != FG_OK) {
    if (err.message[0] == 0) fuzz_broken("refused without a reason");
    return;
  }
  for (size_t i = 0; i < table.rows * table.columns; i++)
    if (!fg_utf8_valid(table.cells[i].text.data, table.cells[i].text.length))
      fuzz_broken("cell %zu is no text", i);
  fg_table_free(&table);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  if (!input->count) return FUZZ_REFUSED;
  FILE *file = open_bytes(input->data, input->count);
  const fuzz_outcome outcome = read_records(file, input);
  for (fg_cell_texts texts = FG_CELLS_AS_PANDAS; texts <= FG_CELLS_AS_THEY_STAND; texts++) {
    rewind(file);
    read_table(file, texts);
  }
  fclose(file);
  return outcome;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {.name = "csv", .file_name = "t.csv", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
