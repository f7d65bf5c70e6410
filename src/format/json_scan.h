// json_scan.h: JSON read in one pass, without a tree.
//
// A safetensors header may be 100 MB of hostile text; as a tree it would take twenty times that. This
// scanner walks the text once and allocates nothing: strings are unescaped where they stand and ended
// with a NUL over their closing quote, so the text must be writable and must outlive them. What is
// accepted is RFC 8259, in valid UTF-8, without U+0000 in strings and at most 64 levels deep.
#ifndef FG_FORMAT_JSON_SCAN_H
#define FG_FORMAT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_json_scan {
  char *text;
  size_t length, at;
  const char *where; // names the text in messages
} fg_json_scan;

// The next character that is no white space, without taking it; 0 at the end.
char fg_scan_peek(fg_json_scan *scan);
fg_status fg_scan_take(fg_json_scan *scan, char expected, fg_error *err);
// Inside an object or array whose opening bracket was taken: whether another item follows. `index`
// counts the items taken so far; takes the comma before the next item or the closing bracket.
fg_status fg_scan_next(fg_json_scan *scan, size_t index, char close, bool *more, fg_error *err);
// A string, and the same followed by a colon.
fg_status fg_scan_string(fg_json_scan *scan, char **out, fg_error *err);
fg_status fg_scan_key(fg_json_scan *scan, char **out, fg_error *err);
// A number that is a plain non-negative integer of at most 64 bits.
fg_status fg_scan_u64(fg_json_scan *scan, uint64_t *out, fg_error *err);
// Any value, checked and forgotten.
fg_status fg_scan_skip(fg_json_scan *scan, fg_error *err);
// FG_OK if only white space is left.
fg_status fg_scan_end(fg_json_scan *scan, fg_error *err);

#endif
