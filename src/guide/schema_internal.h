// schema_internal.h: between the files that write schemas.
//
// All functions that write take the node that comes next and return the first; what goes wrong is kept in the
// writer, with the place in the schema, and what they return then is of no use.
#ifndef FG_GUIDE_SCHEMA_INTERNAL_H
#define FG_GUIDE_SCHEMA_INTERNAL_H

#include "base/text_buffer.h"
#include "guide/schema.h"

enum { FG_NO_RULE = UINT32_MAX };

// A part of the schema that is a rule of its own: what a $ref names.
typedef struct fg_schema_part {
  const json_t *schema;
  char *place;
  uint32_t rule;
} fg_schema_part;

typedef struct fg_schema_writer {
  fg_grammar *grammar;
  const json_t *root;
  fg_text place; // in the schema, as a JSON pointer
  uint32_t depth;
  fg_schema_part *parts; // those from `written` on still have to be
  uint32_t part_count, part_capacity, written;
  uint32_t any, character; // rules: any value, a character of a string
  fg_status failed;
  fg_error *err; // never NULL
} fg_schema_writer;

uint32_t fg_schema_refuse(fg_schema_writer *w, fg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// A value that satisfies `schema`, which is found at `step` (and `detail`, unless NULL) of the place at hand.
uint32_t fg_schema_value(fg_schema_writer *w, const json_t *schema, const char *step, const char *detail,
                         uint32_t next);
uint32_t fg_schema_any(fg_schema_writer *w, uint32_t next);
uint32_t fg_schema_literal(fg_schema_writer *w, const json_t *value, uint32_t next);
// A string without conditions.
uint32_t fg_schema_free_string(fg_schema_writer *w, uint32_t next);
// A keyword's whole number; false: refused, or (not `*there`) it is not there.
bool fg_schema_count(fg_schema_writer *w, const json_t *schema, const char *keyword, uint32_t *out,
                     bool *there);

typedef uint32_t fg_schema_type(fg_schema_writer *w, const json_t *schema, uint32_t next);
fg_schema_type fg_schema_object, fg_schema_array, fg_schema_string, fg_schema_number, fg_schema_integer;

#endif
