#include "guide/schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guide/number_range.h"
#include "guide/schema_internal.h"

enum { DEPTH_MAX = 64, PARTS_MAX = 2000 };

uint32_t fg_schema_refuse(fg_schema_writer *w, fg_status status, const char *format, ...) {
  if (w->failed) return FG_RETURN; // the first one counts
  char message[320];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  const bool named = w->place.length > 0;
  w->failed = fg_fail(w->err, status, "%s%.120s%s%s", named ? "at " : "", named ? w->place.data : "",
                      named ? ": " : "", message);
  return FG_RETURN;
}

// ---- keywords ------------------------------------------------------------------------------------------

typedef enum role {
  DESCRIBES, // changes nothing
  CHOOSES,   // decides alone what the value is: $ref, const, enum, anyOf, allOf
  TYPE,
  OBJECT,
  ARRAY,
  STRING,
  NUMBER,
} role;

static const struct keyword {
  const char *name;
  role role;
} keywords[] = {
    {"title", DESCRIBES},
    {"description", DESCRIBES},
    {"default", DESCRIBES},
    {"examples", DESCRIBES},
    {"example", DESCRIBES},
    {"deprecated", DESCRIBES},
    {"readOnly", DESCRIBES},
    {"writeOnly", DESCRIBES},
    {"$comment", DESCRIBES},
    {"$schema", DESCRIBES},
    {"$defs", DESCRIBES},
    {"definitions", DESCRIBES},
    {"discriminator", DESCRIBES},
    {"contentEncoding", DESCRIBES},
    {"contentMediaType", DESCRIBES},
    {"$ref", CHOOSES},
    {"const", CHOOSES},
    {"enum", CHOOSES},
    {"anyOf", CHOOSES},
    {"allOf", CHOOSES},
    {"type", TYPE},
    {"properties", OBJECT},
    {"required", OBJECT},
    {"additionalProperties", OBJECT},
    {"items", ARRAY},
    {"prefixItems", ARRAY},
    {"minItems", ARRAY},
    {"maxItems", ARRAY},
    {"pattern", STRING},
    {"format", STRING},
    {"minLength", STRING},
    {"maxLength", STRING},
    {"minimum", NUMBER},
    {"maximum", NUMBER},
    {"exclusiveMinimum", NUMBER},
    {"exclusiveMaximum", NUMBER},
};

static const struct keyword *find_keyword(const char *name) {
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
    if (strcmp(keywords[i].name, name) == 0) return &keywords[i];
  return NULL;
}

// What a schema says, by the roles of its keywords.
typedef struct outline {
  unsigned roles;      // bits
  const char *chooses; // the keyword that does
} outline;

static bool outline_of(fg_schema_writer *w, const json_t *schema, outline *out) {
  const char *name;
  json_t *value;
  *out = (outline){0};
  json_object_foreach((json_t *)(uintptr_t)schema, name, value) {
    const struct keyword *k = find_keyword(name);
    if (!k) {
      fg_schema_refuse(w, FG_UNSUPPORTED, "the keyword \"%.60s\" is not supported", name);
      return false;
    }
    if (k->role == CHOOSES && out->chooses) {
      fg_schema_refuse(w, FG_UNSUPPORTED, "\"%s\" beside \"%s\" is not supported", name, out->chooses);
      return false;
    }
    if (k->role == CHOOSES) out->chooses = k->name;
    out->roles |= 1u << k->role;
  }
  const unsigned beside = out->roles & ~(1u << DESCRIBES | 1u << CHOOSES | 1u << TYPE);
  if (!out->chooses || !beside) return true;
  json_object_foreach((json_t *)(uintptr_t)schema, name, value) {
    const struct keyword *k = find_keyword(name);
    if (!(beside & 1u << k->role)) continue;
    fg_schema_refuse(w, FG_UNSUPPORTED, "\"%s\" beside \"%s\" is not supported", name, out->chooses);
    return false;
  }
  return true;
}

// ---- types ---------------------------------------------------------------------------------------------

static uint32_t write_boolean(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  (void)schema;
  return fg_grammar_split(w->grammar, fg_grammar_text(w->grammar, "true", next),
                          fg_grammar_text(w->grammar, "false", next));
}

static uint32_t write_null(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  (void)schema;
  return fg_grammar_text(w->grammar, "null", next);
}

static bool is_object(const json_t *v) {
  return json_is_object(v);
}
static bool is_array(const json_t *v) {
  return json_is_array(v);
}
static bool is_string(const json_t *v) {
  return json_is_string(v);
}
static bool is_number(const json_t *v) {
  return json_is_number(v);
}
static bool is_integer(const json_t *v) {
  return json_is_integer(v) || (json_is_real(v) && json_real_value(v) == rint(json_real_value(v)));
}
static bool is_boolean(const json_t *v) {
  return json_is_boolean(v);
}
static bool is_null(const json_t *v) {
  return json_is_null(v);
}

static const struct type {
  const char *name;
  role keywords; // that say more about it, and imply it where no type is named; DESCRIBES: none
  fg_schema_type *write;
  bool (*holds)(const json_t *value);
} types[] = {
    {"object", OBJECT, fg_schema_object, is_object},
    {"array", ARRAY, fg_schema_array, is_array},
    {"string", STRING, fg_schema_string, is_string},
    {"number", NUMBER, fg_schema_number, is_number},
    {"integer", DESCRIBES, fg_schema_integer, is_integer},
    {"boolean", DESCRIBES, write_boolean, is_boolean},
    {"null", DESCRIBES, write_null, is_null},
};

enum { TYPE_COUNT = sizeof types / sizeof *types };

// Bits of `types`; 0 = refused.
static unsigned named_types(fg_schema_writer *w, const json_t *type) {
  unsigned found = 0;
  const size_t count = json_is_array(type) ? json_array_size(type) : 1;
  for (size_t i = 0; i < count; i++) {
    const char *name = json_string_value(json_is_array(type) ? json_array_get(type, i) : type);
    unsigned bit = 0;
    for (size_t t = 0; name && t < TYPE_COUNT; t++)
      if (strcmp(types[t].name, name) == 0) bit = 1u << t;
    if (!bit) {
      fg_schema_refuse(w, FG_INVALID, "\"type\" names \"%.60s\", which is no type",
                       name ? name : "something else");
      return 0;
    }
    found |= bit;
  }
  if (!found) fg_schema_refuse(w, FG_INVALID, "\"type\" names no type");
  return found;
}

static unsigned implied_types(unsigned roles) {
  unsigned found = 0;
  for (size_t t = 0; t < TYPE_COUNT; t++)
    if (types[t].keywords != DESCRIBES && roles & 1u << types[t].keywords) found |= 1u << t;
  return found;
}

static uint32_t write_types(fg_schema_writer *w, const json_t *schema, const outline *o, uint32_t next) {
  const json_t *type = json_object_get(schema, "type");
  const unsigned named = type ? named_types(w, type) : implied_types(o->roles);
  if (!named) return w->failed ? FG_RETURN : fg_schema_any(w, next);
  uint32_t first = UINT32_MAX;
  for (size_t t = 0; t < TYPE_COUNT && !w->failed; t++) {
    // An integer is a number: with both it is one of these.
    const bool twice = types[t].write == fg_schema_integer && named & 1u << (t - 1);
    if (!(named & 1u << t) || twice) continue;
    const uint32_t way = types[t].write(w, schema, next);
    first = first == UINT32_MAX ? way : fg_grammar_split(w->grammar, first, way);
  }
  return first;
}

// ---- values that are named
// ---------------------------------------------------------------------------------

uint32_t fg_schema_literal(fg_schema_writer *w, const json_t *value, uint32_t next) {
  enum { PLAIN_DIGITS = 15, ALL_DIGITS = 17 };
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(PLAIN_DIGITS));
  json_t *again = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
  if (text && !json_equal(again, value)) { // 15 digits are not enough
    free(text);
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(ALL_DIGITS));
  }
  json_decref(again);
  if (!text) return fg_schema_refuse(w, FG_NO_SPACE, "out of memory for a value");
  next = fg_grammar_text(w->grammar, text, next);
  free(text);
  return next;
}

static bool has_type(const json_t *value, unsigned allowed) {
  for (size_t t = 0; t < TYPE_COUNT; t++)
    if (allowed & 1u << t && types[t].holds(value)) return true;
  return false;
}

// const is an enum of one.
static uint32_t write_listed(fg_schema_writer *w, const json_t *schema, const char *keyword, uint32_t next) {
  const json_t *list = json_object_get(schema, keyword), *type = json_object_get(schema, "type");
  const bool many = strcmp(keyword, "enum") == 0;
  if (many && !json_is_array(list)) return fg_schema_refuse(w, FG_INVALID, "\"enum\" must be a list");
  const unsigned allowed = type ? named_types(w, type) : ~0u;
  uint32_t first = UINT32_MAX;
  for (size_t i = 0; i < (many ? json_array_size(list) : 1) && !w->failed; i++) {
    const json_t *value = many ? json_array_get(list, i) : list;
    if (!has_type(value, allowed)) continue;
    const uint32_t way = fg_schema_literal(w, value, next);
    first = first == UINT32_MAX ? way : fg_grammar_split(w->grammar, first, way);
  }
  if (first != UINT32_MAX) return first;
  return fg_schema_refuse(w, FG_INVALID, "\"%s\" holds no value%s", keyword, type ? " of the type" : "");
}

// ---- references ----------------------------------------------------------------------------------------

// Follows a JSON pointer ("" or "/a/b") from the root; NULL: it leads nowhere.
static const json_t *follow(const json_t *root, const char *pointer) {
  const json_t *at = root;
  while (at && *pointer == '/') {
    char name[256];
    size_t length = 0;
    for (pointer++; *pointer && *pointer != '/'; pointer++) {
      char c = *pointer;
      if (c == '~') c = *++pointer == '0' ? '~' : *pointer == '1' ? '/' : 0;
      if (!c || length + 1 == sizeof name) return NULL;
      name[length++] = c;
    }
    name[length] = 0;
    at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10)) : json_object_get(at, name);
  }
  return *pointer ? NULL : at;
}

// The rule of a part; it is written when all before it are.
static uint32_t rule_of(fg_schema_writer *w, const json_t *schema, const char *place) {
  for (uint32_t i = 0; i < w->part_count; i++)
    if (w->parts[i].schema == schema) return w->parts[i].rule;
  if (w->part_count == PARTS_MAX) {
    fg_schema_refuse(w, FG_UNSUPPORTED, "references to more than %d parts of the schema", PARTS_MAX);
    return 0;
  }
  if (w->part_count == w->part_capacity) {
    const uint32_t capacity = w->part_capacity ? w->part_capacity * 2 : 16;
    fg_schema_part *parts = realloc(w->parts, capacity * sizeof *parts);
    if (!parts) {
      fg_schema_refuse(w, FG_NO_SPACE, "out of memory for the references of a schema");
      return 0;
    }
    w->parts = parts;
    w->part_capacity = capacity;
  }
  const fg_schema_part part = {schema, strdup(place), fg_grammar_new_rule(w->grammar)};
  if (!part.place) {
    fg_schema_refuse(w, FG_NO_SPACE, "out of memory for the references of a schema");
    return 0;
  }
  w->parts[w->part_count++] = part;
  return part.rule;
}

static uint32_t write_reference(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  const char *reference = json_string_value(json_object_get(schema, "$ref"));
  if (json_object_get(schema, "type"))
    return fg_schema_refuse(w, FG_UNSUPPORTED, "\"type\" beside \"$ref\" is not supported");
  if (!reference) return fg_schema_refuse(w, FG_INVALID, "\"$ref\" must be a string");
  if (*reference != '#')
    return fg_schema_refuse(w, FG_UNSUPPORTED,
                            "\"$ref\" to \"%.100s\": only parts of the schema itself (#/...) are known",
                            reference);
  const json_t *target = follow(w->root, reference + 1);
  if (!target) return fg_schema_refuse(w, FG_INVALID, "\"$ref\" to \"%.100s\" leads nowhere", reference);
  return fg_grammar_call(w->grammar, rule_of(w, target, reference), next);
}

// ---- several schemas -----------------------------------------------------------------------------------

static uint32_t write_any_of(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  const json_t *list = json_object_get(schema, "anyOf");
  if (json_object_get(schema, "type"))
    return fg_schema_refuse(w, FG_UNSUPPORTED, "\"type\" beside \"anyOf\" is not supported");
  if (!json_array_size(list)) return fg_schema_refuse(w, FG_INVALID, "\"anyOf\" must be a list of schemas");
  uint32_t first = UINT32_MAX;
  for (size_t i = 0; i < json_array_size(list) && !w->failed; i++) {
    char number[24];
    snprintf(number, sizeof number, "%zu", i);
    const json_t *one = json_array_get(list, i);
    if (json_is_false(one)) continue;
    const uint32_t way = fg_schema_value(w, one, "anyOf", number, next);
    first = first == UINT32_MAX ? way : fg_grammar_split(w->grammar, first, way);
  }
  return first != UINT32_MAX ? first : fg_schema_refuse(w, FG_INVALID, "nothing can satisfy \"anyOf\"");
}

static uint32_t write_all_of(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  const json_t *list = json_object_get(schema, "allOf");
  if (json_object_get(schema, "type"))
    return fg_schema_refuse(w, FG_UNSUPPORTED, "\"type\" beside \"allOf\" is not supported");
  if (json_array_size(list) != 1)
    return fg_schema_refuse(w, FG_UNSUPPORTED,
                            "\"allOf\" with more than one schema, or none, is not supported");
  return fg_schema_value(w, json_array_get(list, 0), "allOf", "0", next);
}

static uint32_t write_listed_values(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  return write_listed(w, schema, "enum", next);
}

static uint32_t write_constant(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  return write_listed(w, schema, "const", next);
}

static const struct {
  const char *keyword;
  fg_schema_type *write;
} choosing[] = {{"$ref", write_reference},
                {"const", write_constant},
                {"enum", write_listed_values},
                {"anyOf", write_any_of},
                {"allOf", write_all_of}};

// ---- a value -------------------------------------------------------------------------------------------

static uint32_t write_schema(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  outline o;
  if (json_is_true(schema)) return fg_schema_any(w, next);
  if (json_is_false(schema)) return fg_schema_refuse(w, FG_INVALID, "nothing can satisfy the schema false");
  if (!json_is_object(schema))
    return fg_schema_refuse(w, FG_INVALID, "a schema must be an object, true or false");
  if (!outline_of(w, schema, &o)) return FG_RETURN;
  for (size_t i = 0; o.chooses && i < sizeof choosing / sizeof *choosing; i++)
    if (strcmp(choosing[i].keyword, o.chooses) == 0) return choosing[i].write(w, schema, next);
  return write_types(w, schema, &o, next);
}

uint32_t fg_schema_value(fg_schema_writer *w, const json_t *schema, const char *step, const char *detail,
                         uint32_t next) {
  if (w->failed || w->grammar->failed) return FG_RETURN;
  const size_t length = w->place.length;
  fg_text_printf(&w->place, "/%s%s%s", step, detail ? "/" : "", detail ? detail : "");
  if (++w->depth > DEPTH_MAX)
    next = fg_schema_refuse(w, FG_UNSUPPORTED, "schemas nested more than %d deep; use $defs", DEPTH_MAX);
  else
    next = write_schema(w, schema, next);
  w->depth--;
  if (w->place.data) w->place.data[w->place.length = length] = 0;
  return next;
}

uint32_t fg_schema_any(fg_schema_writer *w, uint32_t next) {
  if (w->any != FG_NO_RULE) return fg_grammar_call(w->grammar, w->any, next);
  w->any = fg_grammar_new_rule(w->grammar);
  json_t *empty = json_object();
  uint32_t first = UINT32_MAX;
  for (size_t t = 0; empty && t < TYPE_COUNT; t++) {
    const bool twice = types[t].write == fg_schema_integer;
    if (twice) continue;
    const uint32_t way = types[t].write(w, empty, FG_RETURN);
    first = first == UINT32_MAX ? way : fg_grammar_split(w->grammar, first, way);
  }
  if (!empty) return fg_schema_refuse(w, FG_NO_SPACE, "out of memory for a schema");
  json_decref(empty);
  fg_grammar_define(w->grammar, w->any, first);
  return fg_grammar_call(w->grammar, w->any, next);
}

bool fg_schema_count(fg_schema_writer *w, const json_t *schema, const char *keyword, uint32_t *out,
                     bool *there) {
  enum { MOST = 1 << 30 };
  const json_t *value = json_object_get(schema, keyword);
  *there = value != NULL;
  if (!value) return false;
  const double number = json_number_value(value);
  if (!is_integer(value) || !is_number(value) || number < 0 || number > MOST) {
    fg_schema_refuse(w, FG_INVALID, "\"%s\" must be a whole number from 0 to %d", keyword, MOST);
    return false;
  }
  *out = (uint32_t)number;
  return true;
}

// ---- the whole -----------------------------------------------------------------------------------------

static fg_status write_parts(fg_schema_writer *w) {
  for (; w->written < w->part_count && !w->failed && !w->grammar->failed; w->written++) {
    const fg_schema_part part = w->parts[w->written];
    fg_text_clear(&w->place);
    fg_text_append_string(&w->place, part.place);
    fg_grammar_define(w->grammar, part.rule, write_schema(w, part.schema, FG_RETURN));
  }
  return w->failed;
}

fg_status fg_schema_write(const json_t *schema, fg_grammar *grammar, uint32_t *start, fg_error *err) {
  fg_error own;
  fg_schema_writer w = {.grammar = grammar,
                        .root = schema,
                        .any = FG_NO_RULE,
                        .character = FG_NO_RULE,
                        .err = err ? err : &own};
  // The root is a rule as well: "#" may name it.
  *start = fg_grammar_call(grammar, rule_of(&w, schema, ""), FG_RETURN);
  fg_status status = write_parts(&w);
  for (uint32_t i = 0; i < w.part_count; i++) free(w.parts[i].place);
  free(w.parts);
  fg_text_free(&w.place);
  return status;
}
