// csv.h: a table as people write it, one record at a time.
//
// RFC 4180 and what is found beside it: LF, CRLF or CR ends a record, a byte-order mark may stand in front, a
// last record needs no end, quoted cells hold delimiters, line ends and doubled quotes, a quote inside an
// unquoted cell is a character, blank lines are passed over (and handed out, for who copies the table). Bytes
// are not looked into: a record is handed out as it stands and as its cells. The first record is the header;
// every other one must have as many cells. Whoever writes answers beside a table copies `raw`, adds cells,
// and ends the record with `end`, so that all else stays as it was, byte for byte.
#ifndef FG_WRANGLE_CSV_H
#define FG_WRANGLE_CSV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "text/unicode.h"

enum { FG_CSV_RECORD_BYTES = 16 << 20, FG_CSV_CELLS = 1 << 16 };

typedef struct fg_csv_record {
  uint64_t line;     // on which it begins, 1 = first
  fg_slice raw, end; // its bytes; the end of its line: LF, CRLF, CR or, at the end of the file, nothing
  const fg_slice *cells;
  size_t count; // 0: a blank line
  bool header;  // the first that is none
} fg_csv_record;

typedef struct fg_csv fg_csv;

// Reads from `file`, which stays the caller's; `name` stands in messages.
fg_status fg_csv_create(fg_csv **out, FILE *file, const char *name, char delimiter, fg_error *err);
void fg_csv_destroy(fg_csv *csv);
// The next record, valid until the next call; *end instead when there is none.
fg_status fg_csv_next(fg_csv *csv, fg_csv_record *record, bool *end, fg_error *err);

// All records from where `file` is to its end, in order, blank lines too; a visit that fails ends it.
typedef fg_status fg_csv_visitor(void *user, const fg_csv_record *record, fg_error *err);
fg_status fg_csv_visit(FILE *file, const char *name, char delimiter, fg_csv_visitor *visit, void *user,
                       fg_error *err);

// A cell as it is written: quoted where a reader would otherwise see something else.
void fg_csv_put(fg_text *out, const char *bytes, size_t length, char delimiter);

#endif
