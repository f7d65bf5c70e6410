// json.h: reading JSON that others wrote, by jansson, with the checks and messages that this project
// wants: bounded depth, no duplicate keys lost silently, the place of an error in the message.
#ifndef FG_BASE_JSON_H
#define FG_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

// Parses exactly one value of any type. `where` names the text in messages ("model/config.json").
// Integers beyond 64 bits become reals. NULL on failure.
json_t *fg_json_parse(const char *text, size_t length, const char *where, fg_error *err);
// An upper bound of the bytes that a parsed text takes: a value, its place in a list or object, heap
// overhead; and its strings once more, in the parser's buffer and as token ids.
uint64_t fg_json_parse_cost(const char *text, size_t length);
// Reads a whole file first (at most max_bytes).
json_t *fg_json_read_file(const char *path, size_t max_bytes, fg_error *err);

// Typed access with a default: missing or null gives `fallback`; a value of another type or out of
// range is an error that names the key.
fg_status fg_json_u32(const json_t *object, const char *key, uint32_t fallback, uint32_t *out, fg_error *err);
fg_status fg_json_f64(const json_t *object, const char *key, double fallback, double *out, fg_error *err);
fg_status fg_json_bool(const json_t *object, const char *key, bool fallback, bool *out, fg_error *err);
fg_status fg_json_string(const json_t *object, const char *key, const char *fallback, const char **out,
                         fg_error *err);

#endif
