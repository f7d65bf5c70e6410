#include "wrangle/csv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char BYTE_ORDER_MARK[] = "\xef\xbb\xbf";
enum { MARK_BYTES = 3 };

struct fg_csv {
  FILE *file;
  const char *name;
  char delimiter;
  bool begun;        // the header was read
  size_t columns;    // of the header
  uint64_t line;     // being read
  fg_text raw, text; // of the record; `text` is its cells, one after the other
  char end[2];
  size_t end_length;
  size_t *ends; // [count] of cells, in `text`
  fg_slice *cells;
  size_t count, capacity;
};

fg_status fg_csv_create(fg_csv **out, FILE *file, const char *name, char delimiter, fg_error *err) {
  *out = calloc(1, sizeof **out);
  if (!*out) return fg_fail(err, FG_NO_SPACE, "%s: out of memory for a reader", name);
  **out = (fg_csv){.file = file, .name = name, .delimiter = delimiter, .line = 1};
  return FG_OK;
}

void fg_csv_destroy(fg_csv *c) {
  if (!c) return;
  fg_text_free(&c->raw);
  fg_text_free(&c->text);
  free(c->ends);
  free(c->cells);
  free(c);
}

static fg_status no_memory(const fg_csv *c, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "%s: line %" PRIu64 ": out of memory for a record", c->name, c->line);
}

static fg_status end_cell(fg_csv *c, fg_error *err) {
  if (c->count == FG_CSV_CELLS)
    return fg_fail(err, FG_UNSUPPORTED, "%s: line %" PRIu64 ": more than %d cells in a record", c->name,
                   c->line, FG_CSV_CELLS);
  if (c->count == c->capacity) {
    const size_t capacity = c->capacity ? 2 * c->capacity : 16;
    size_t *ends = realloc(c->ends, capacity * sizeof *ends);
    if (ends) c->ends = ends;
    fg_slice *cells = ends ? realloc(c->cells, capacity * sizeof *cells) : NULL;
    if (cells) c->cells = cells;
    if (!cells) return no_memory(c, err);
    c->capacity = capacity;
  }
  c->ends[c->count++] = c->text.length;
  return FG_OK;
}

// ---- characters ------------------------------------------------------------------------------------------

// The next byte, noted as part of the record; EOF at the end.
static int take(fg_csv *c) {
  const int byte = getc_unlocked(c->file);
  if (byte != EOF) {
    const char kept = (char)byte;
    fg_text_append(&c->raw, &kept, 1);
  }
  return byte;
}

static bool next_is(fg_csv *c, int wanted) {
  const int byte = getc_unlocked(c->file);
  if (byte == wanted) return true;
  if (byte != EOF) ungetc(byte, c->file);
  return false;
}

static void keep(fg_csv *c, int byte) {
  const char kept = (char)byte;
  fg_text_append(&c->text, &kept, 1);
}

// Takes what was last read as the end of a record off its bytes.
static void end_line(fg_csv *c, int byte) {
  c->raw.data[--c->raw.length] = 0;
  c->end[0] = (char)byte;
  c->end_length = 1;
  if (byte == '\r' && next_is(c, '\n')) c->end[c->end_length++] = '\n';
  c->line++;
}

static fg_status check_byte(const fg_csv *c, int byte, fg_error *err) {
  if (byte == 0)
    return fg_fail(err, FG_CORRUPT,
                   "%s: line %" PRIu64
                   ": a zero byte; the table must be text in UTF-8 or Latin-1 (UTF-16 can be "
                   "converted by iconv -f UTF-16 -t UTF-8)",
                   c->name, c->line);
  if (c->raw.length > FG_CSV_RECORD_BYTES)
    return fg_fail(err, FG_UNSUPPORTED,
                   "%s: line %" PRIu64 ": a record of more than %d MiB; is a quote left open?", c->name,
                   c->line, FG_CSV_RECORD_BYTES >> 20);
  return FG_OK;
}

// What stands between the quotes; the opening one was read.
static fg_status read_quoted(fg_csv *c, fg_error *err) {
  const uint64_t opened = c->line;
  for (;;) {
    const int byte = take(c);
    if (byte == EOF)
      return fg_fail(err, FG_CORRUPT, "%s: line %" PRIu64 ": a quote is opened and never closed", c->name,
                     opened);
    fg_status status = check_byte(c, byte, err);
    if (status != FG_OK) return status;
    if (byte == '"') {
      if (!next_is(c, '"')) return FG_OK;
      fg_text_append(&c->raw, "\"", 1);
    }
    keep(c, byte);
    if (byte == '\r' && next_is(c, '\n')) {
      fg_text_append(&c->raw, "\n", 1);
      keep(c, '\n');
    }
    c->line += byte == '\n' || byte == '\r';
  }
}

// One cell; *last: it ends the record, and *eof the file.
static fg_status read_cell(fg_csv *c, bool *last, bool *eof, fg_error *err) {
  bool begun = !c->count && c->text.length, quoted = false; // begun: skip_mark found something else
  for (;;) {
    const int byte = take(c);
    fg_status status = byte == EOF ? FG_OK : check_byte(c, byte, err);
    if (status != FG_OK) return status;
    *eof = byte == EOF;
    *last = *eof || byte == '\n' || byte == '\r';
    if (*last || byte == (unsigned char)c->delimiter) {
      status = end_cell(c, err);
      if (*last && !*eof) end_line(c, byte);
      return status;
    }
    if (byte == '"' && !begun) {
      status = read_quoted(c, err);
      if (status != FG_OK) return status;
      begun = quoted = true;
      continue;
    }
    if (quoted)
      return fg_fail(err, FG_CORRUPT,
                     "%s: line %" PRIu64 ": text behind a closing quote; a quote inside a quoted cell "
                     "is written twice",
                     c->name, c->line);
    begun = true;
    keep(c, byte);
  }
}

// ---- records ---------------------------------------------------------------------------------------------

static void skip_mark(fg_csv *c) {
  for (size_t i = 0; i < MARK_BYTES; i++) {
    const int byte = take(c);
    if (byte == (unsigned char)BYTE_ORDER_MARK[i]) continue;
    // No mark: what was read goes back. ungetc promises one byte, so a mark's beginning alone stays in the
    // cell.
    if (byte != EOF) {
      c->raw.data[--c->raw.length] = 0;
      ungetc(byte, c->file);
    }
    fg_text_append(&c->text, c->raw.data ? c->raw.data : "", c->raw.length);
    return;
  }
}

static void make_cells(fg_csv *c) {
  size_t from = 0;
  for (size_t i = 0; i < c->count; i++) {
    c->cells[i] = (fg_slice){(c->text.data ? c->text.data : "") + from, c->ends[i] - from};
    from = c->ends[i];
  }
}

// A header decides how many cells a record has; a blank line, perhaps behind a mark of so many bytes, has
// none.
static fg_status check_count(fg_csv *c, uint64_t line, size_t mark, fg_error *err) {
  if (c->count == 1 && c->raw.length == mark) {
    c->count = 0;
    return FG_OK;
  }
  if (!c->begun) {
    c->begun = true;
    c->columns = c->count;
  }
  if (c->count == c->columns) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "%s: line %" PRIu64 ": %zu cells, the header has %zu columns", c->name,
                 line, c->count, c->columns);
}

static fg_status read_record(fg_csv *c, bool *eof, fg_error *err) {
  bool last = false;
  *eof = false;
  while (!last) {
    fg_status status = read_cell(c, &last, eof, err);
    if (status != FG_OK) return status;
  }
  if (fg_text_failed(&c->raw) || fg_text_failed(&c->text)) return no_memory(c, err);
  if (*eof && ferror(c->file)) return fg_fail(err, FG_IO, "%s: cannot read: %s", c->name, strerror(errno));
  return FG_OK;
}

fg_status fg_csv_next(fg_csv *c, fg_csv_record *record, bool *end, fg_error *err) {
  const uint64_t line = c->line;
  const bool begun = c->begun;
  bool eof;
  *end = false;
  fg_text_clear(&c->raw);
  fg_text_clear(&c->text);
  c->count = c->end_length = 0;
  if (line == 1 && !begun) skip_mark(c);
  const size_t mark = c->text.length ? 0 : c->raw.length;
  fg_status status = read_record(c, &eof, err);
  if (status != FG_OK) return status;
  *end = eof && c->raw.length == mark;
  if (*end && !begun)
    return fg_fail(err, FG_CORRUPT, "%s: it is empty, not even a header stands in it", c->name);
  if (*end) return FG_OK;
  status = check_count(c, line, mark, err);
  make_cells(c);
  *record = (fg_csv_record){.line = line,
                            .raw = {c->raw.data ? c->raw.data : "", c->raw.length},
                            .end = {c->end, c->end_length},
                            .cells = c->cells,
                            .count = c->count,
                            .header = c->begun && !begun};
  return status;
}

fg_status fg_csv_visit(FILE *file, const char *name, char delimiter, fg_csv_visitor *visit, void *user,
                       fg_error *err) {
  fg_csv *csv;
  fg_csv_record record;
  bool end = false;
  fg_status status = fg_csv_create(&csv, file, name, delimiter, err);
  while (status == FG_OK && !end) {
    status = fg_csv_next(csv, &record, &end, err);
    if (status == FG_OK && !end) status = visit(user, &record, err);
  }
  fg_csv_destroy(csv);
  return status;
}

// ---- writing ---------------------------------------------------------------------------------------------

void fg_csv_put(fg_text *out, const char *bytes, size_t length, char delimiter) {
  bool quote = length && (bytes[0] == ' ' || bytes[length - 1] == ' ');
  for (size_t i = 0; i < length && !quote; i++)
    quote = bytes[i] == delimiter || bytes[i] == '"' || bytes[i] == '\n' || bytes[i] == '\r';
  if (!quote) {
    fg_text_append(out, bytes, length);
    return;
  }
  fg_text_append(out, "\"", 1);
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] == '"') fg_text_append(out, "\"", 1);
    fg_text_append(out, bytes + i, 1);
  }
  fg_text_append(out, "\"", 1);
}
