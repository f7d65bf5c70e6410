// json_span.h: large JSON files taken apart without building a tree of them.
//
// A tokenizer.json may have a million strings; as a tree it would take twenty times its size. Here a
// file is cut into spans of its text, of which the small ones become trees and the large ones are
// walked. Everything is checked while cutting (RFC 8259, depth, UTF-8).
#ifndef FG_TEXT_JSON_SPAN_H
#define FG_TEXT_JSON_SPAN_H

#include <jansson.h>
#include <stddef.h>

#include "flexgen/error.h"
#include "format/json_scan.h"

typedef struct fg_json_span {
  const char *text; // NULL = not there
  size_t length;
} fg_json_span;

// key: NULL in an array. value: a part of the text that was given.
typedef fg_status fg_json_visit(void *user, const char *key, fg_json_span value, fg_error *err);

// Every member of an object or element of an array, in order.
fg_status fg_json_each(fg_json_span json, const char *where, fg_json_visit *visit, void *user, fg_error *err);
// The values of the listed keys of an object; of a key that comes twice, the later one.
fg_status fg_json_pick(fg_json_span json, const char *where, const char *const *keys, size_t count,
                       fg_json_span *out, fg_error *err);
// A small span as a tree (at most 512 KiB); an absent one gives NULL and FG_OK.
fg_status fg_json_tree(fg_json_span json, const char *where, json_t **out, fg_error *err);

// A scan over a copy of the span, for values that are streams. Free with fg_json_stream_close.
fg_status fg_json_stream_open(fg_json_scan *scan, fg_json_span json, const char *where, fg_error *err);
void fg_json_stream_close(fg_json_scan *scan);

#endif
