// schema.h: JSON Schema as a grammar.
//
// What is written is a part of what a schema allows, in one form: objects with their properties in the order
// of the schema, one space behind each colon and comma and none elsewhere, as Python's json.dumps writes it.
// A value in that form always satisfies the schema. A keyword that is not known here, or that is not
// understood beside another one, is refused by name and place: none is passed over, but those that only
// describe.
#ifndef FG_GUIDE_SCHEMA_H
#define FG_GUIDE_SCHEMA_H

#include <jansson.h>

#include "guide/grammar.h"

// A schema (an object, true or false) that is all of the text; *start: the grammar's first node.
fg_status fg_schema_write(const json_t *schema, fg_grammar *grammar, uint32_t *start, fg_error *err);

#endif
