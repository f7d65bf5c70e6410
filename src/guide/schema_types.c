// Objects, arrays, strings and numbers of a schema.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "guide/expression.h"
#include "guide/number_range.h"
#include "guide/schema_internal.h"

// ---- objects -------------------------------------------------------------------------------------------

typedef struct property {
  const char *name;
  const json_t *schema; // NULL: any value
  bool required;
} property;

typedef struct properties {
  property *list;
  size_t count;
  bool any_required;
} properties;

static bool check_required(fg_schema_writer *w, const json_t *required) {
  bool fine = !required || json_is_array(required);
  for (size_t i = 0; fine && i < json_array_size(required); i++)
    fine = json_is_string(json_array_get(required, i));
  if (!fine) fg_schema_refuse(w, FG_INVALID, "\"required\" must be a list of names");
  return fine;
}

// A list of names as an object, in which they are found at once. NULL: out of memory.
static json_t *names_of(const json_t *list) {
  json_t *names = json_object();
  for (size_t i = 0; names && i < json_array_size(list); i++) {
    if (json_object_set_new(names, json_string_value(json_array_get(list, i)), json_true()) == 0) continue;
    json_decref(names);
    names = NULL;
  }
  return names;
}

static void add_listed(properties *p, const json_t *listed, const json_t *needed) {
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)listed, name, value) {
    const bool required = json_object_get(needed, name) != NULL;
    if (json_is_false(value) && !required) continue;
    p->list[p->count++] = (property){name, value, required};
    p->any_required |= required;
  }
}

// Those that are needed and not listed, each once.
static bool add_needed(fg_schema_writer *w, properties *p, const json_t *schema, json_t *needed) {
  const json_t *listed = json_object_get(schema, "properties"),
               *required = json_object_get(schema, "required"),
               *more = json_object_get(schema, "additionalProperties");
  for (size_t i = 0; i < json_array_size(required); i++) {
    const char *name = json_string_value(json_array_get(required, i));
    if (json_object_get(listed, name) || json_object_del(needed, name) != 0) continue;
    if (json_is_false(more)) {
      fg_schema_refuse(w, FG_INVALID, "\"%.60s\" is required and may not be there", name);
      return false;
    }
    p->list[p->count++] = (property){name, more, true};
    p->any_required = true;
  }
  return true;
}

// Of the schema's list, then those that are only required; none that is forbidden.
static bool collect(fg_schema_writer *w, const json_t *schema, properties *p) {
  const json_t *listed = json_object_get(schema, "properties"),
               *required = json_object_get(schema, "required");
  if (listed && !json_is_object(listed)) {
    fg_schema_refuse(w, FG_INVALID, "\"properties\" must be an object");
    return false;
  }
  if (!check_required(w, required)) return false;
  json_t *needed = names_of(required);
  p->list = calloc(json_object_size(listed) + json_array_size(required) + 1, sizeof *p->list);
  bool fine = needed && p->list;
  if (!fine) fg_schema_refuse(w, FG_NO_SPACE, "out of memory for an object's properties");
  if (fine) add_listed(p, listed, needed);
  if (fine) fine = add_needed(w, p, schema, needed);
  json_decref(needed);
  return fine;
}

static uint32_t write_key(fg_schema_writer *w, const char *before, const char *name, uint32_t next) {
  json_t *key = json_string(name);
  if (!key) return fg_schema_refuse(w, FG_NO_SPACE, "out of memory for an object's properties");
  next = fg_schema_literal(w, key, fg_grammar_text(w->grammar, ": ", next));
  json_decref(key);
  return fg_grammar_text(w->grammar, before, next);
}

// From the last property to the first: what follows where some are written already, and where none is.
static uint32_t write_listed(fg_schema_writer *w, const properties *p, uint32_t close) {
  uint32_t behind = close, alone = close;
  size_t left = p->count;
  while (left-- > 0 && !w->failed) {
    const property *one = &p->list[left];
    const uint32_t value = one->schema ? fg_schema_value(w, one->schema, "properties", one->name, behind)
                                       : fg_schema_any(w, behind);
    const uint32_t first = write_key(w, "", one->name, value);
    if (left > 0) {
      const uint32_t next = write_key(w, ", ", one->name, value);
      behind = one->required ? next : fg_grammar_split(w->grammar, next, behind);
    }
    alone = one->required ? first : fg_grammar_split(w->grammar, first, alone);
  }
  return alone;
}

// Any names, each with a value of `schema` (NULL: any).
static uint32_t write_map(fg_schema_writer *w, const json_t *schema, uint32_t close) {
  fg_grammar *p = w->grammar;
  const uint32_t member = fg_grammar_new_rule(p), more = fg_grammar_new_rule(p);
  const uint32_t value = schema ? fg_schema_value(w, schema, "additionalProperties", NULL, FG_RETURN)
                                : fg_schema_any(w, FG_RETURN);
  fg_grammar_define(p, member, fg_schema_free_string(w, fg_grammar_text(p, ": ", value)));
  fg_grammar_define(p, more, fg_grammar_text(p, ", ", fg_grammar_call(p, member, FG_RETURN)));
  const uint32_t some = fg_grammar_call(p, member, fg_grammar_repeat(p, more, 0, UINT32_MAX, close));
  return fg_grammar_split(p, some, close);
}

uint32_t fg_schema_object(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  const json_t *more = json_object_get(schema, "additionalProperties");
  const uint32_t close = fg_grammar_text(w->grammar, "}", next);
  properties p = {0};
  uint32_t first = FG_RETURN;
  if (collect(w, schema, &p)) {
    // Names beyond the list could repeat one of it: with a list there are none, which is always right.
    const bool map =
        p.count == 0 && !json_object_size(json_object_get(schema, "properties")) && !json_is_false(more);
    first = map ? write_map(w, json_is_true(more) ? NULL : more, close) : write_listed(w, &p, close);
  }
  free(p.list);
  return fg_grammar_text(w->grammar, "{", first);
}

// ---- arrays --------------------------------------------------------------------------------------------

typedef struct elements {
  const json_t *prefix, *items; // items NULL: not said
  size_t fixed;                 // of the prefix, those that are written
  uint32_t least, most;
} elements;

static bool read_elements(fg_schema_writer *w, const json_t *schema, elements *e) {
  bool there;
  *e = (elements){.prefix = json_object_get(schema, "prefixItems"),
                  .items = json_object_get(schema, "items"),
                  .most = UINT32_MAX};
  if (json_is_array(e->items)) {
    fg_schema_refuse(w, FG_UNSUPPORTED, "\"items\" as a list is not supported; use prefixItems");
    return false;
  }
  if (e->prefix && !json_is_array(e->prefix)) {
    fg_schema_refuse(w, FG_INVALID, "\"prefixItems\" must be a list");
    return false;
  }
  if (!fg_schema_count(w, schema, "minItems", &e->least, &there) && there) return false;
  if (!fg_schema_count(w, schema, "maxItems", &e->most, &there) && there) return false;
  e->fixed = json_array_size(e->prefix);
  if (e->fixed > e->most) e->fixed = e->most;
  // What is not said of elements behind the prefix is not written, but to have enough.
  if (e->fixed && !e->items && e->least <= e->fixed) e->most = (uint32_t)e->fixed;
  if (json_is_false(e->items) && e->most > e->fixed) e->most = (uint32_t)e->fixed;
  if (e->least <= e->most) return true;
  fg_schema_refuse(w, FG_INVALID, "more elements are needed than there may be");
  return false;
}

static uint32_t write_item(fg_schema_writer *w, const elements *e, uint32_t next) {
  return e->items ? fg_schema_value(w, e->items, "items", NULL, next) : fg_schema_any(w, next);
}

// Elements without a prefix.
static uint32_t write_items(fg_schema_writer *w, const elements *e, uint32_t close) {
  fg_grammar *p = w->grammar;
  if (e->most == 0) return close;
  const uint32_t item = fg_grammar_new_rule(p), more = fg_grammar_new_rule(p);
  fg_grammar_define(p, item, write_item(w, e, FG_RETURN));
  fg_grammar_define(p, more, fg_grammar_text(p, ", ", fg_grammar_call(p, item, FG_RETURN)));
  const uint32_t most = e->most == UINT32_MAX ? UINT32_MAX : e->most - 1, least = e->least ? e->least - 1 : 0;
  const uint32_t some = fg_grammar_call(p, item, fg_grammar_repeat(p, more, least, most, close));
  return e->least ? some : fg_grammar_split(p, some, close);
}

static uint32_t write_prefix(fg_schema_writer *w, const elements *e, uint32_t close) {
  fg_grammar *p = w->grammar;
  const uint32_t fixed = (uint32_t)e->fixed;
  uint32_t next = close;
  if (e->most > fixed) {
    const uint32_t more = fg_grammar_new_rule(p);
    fg_grammar_define(p, more, fg_grammar_text(p, ", ", write_item(w, e, FG_RETURN)));
    next = fg_grammar_repeat(p, more, e->least > fixed ? e->least - fixed : 0,
                             e->most == UINT32_MAX ? UINT32_MAX : e->most - fixed, close);
  }
  for (uint32_t i = fixed; i-- > 0;) {
    next = fg_schema_value(w, json_array_get(e->prefix, i), "prefixItems", NULL, next);
    if (i) next = fg_grammar_text(p, ", ", next);
  }
  return next;
}

uint32_t fg_schema_array(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  elements e;
  const uint32_t close = fg_grammar_text(w->grammar, "]", next);
  if (!read_elements(w, schema, &e)) return FG_RETURN;
  next = e.fixed ? write_prefix(w, &e, close) : write_items(w, &e, close);
  return fg_grammar_text(w->grammar, "[", next);
}

// ---- strings -------------------------------------------------------------------------------------------

// What a string may hold between its quotes: a character as it is, or behind a backslash. No half of a
// surrogate pair, so that every text that is written can be read.
static uint32_t character_rule(fg_schema_writer *w) {
  fg_grammar *p = w->grammar;
  if (w->character != FG_NO_RULE) return w->character;
  w->character = fg_grammar_new_rule(p);
  fg_char_set plain = {0};
  fg_char_set_add(&plain, ' ', FG_CHAR_MAX);
  fg_char_set_remove(&plain, '"', '"');
  fg_char_set_remove(&plain, '\\', '\\');
  const uint32_t as_is = fg_grammar_set_of(p, &plain, FG_PLAIN, FG_RETURN);
  fg_char_set_free(&plain);
  fg_expression *escape = NULL;
  static const char escapes[] =
      "\\\\([\"\\\\/bfnrt]|u([0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))";
  uint32_t escaped = FG_RETURN;
  fg_status status = fg_expression_parse(&escape, escapes, sizeof escapes - 1, w->err);
  if (status == FG_OK)
    status = fg_expression_write(escape, p, FG_MATCH_WHOLE, FG_PLAIN, FG_RETURN, &escaped, w->err);
  fg_expression_destroy(escape);
  if (status != FG_OK) w->failed = status;
  fg_grammar_define(p, w->character, fg_grammar_split(p, as_is, escaped));
  return w->character;
}

static uint32_t write_length(fg_schema_writer *w, uint32_t least, uint32_t most, uint32_t next) {
  fg_grammar *p = w->grammar;
  next = fg_grammar_repeat(p, character_rule(w), least, most, fg_grammar_text(p, "\"", next));
  return fg_grammar_text(p, "\"", next);
}

uint32_t fg_schema_free_string(fg_schema_writer *w, uint32_t next) {
  return write_length(w, 0, UINT32_MAX, next);
}

static uint32_t write_expression(fg_schema_writer *w, const char *text, size_t length, fg_matching matching,
                                 uint32_t next) {
  fg_error why;
  fg_expression *e = NULL;
  uint32_t first = FG_RETURN;
  fg_status status = fg_expression_parse(&e, text, length, &why);
  if (status == FG_OK)
    status = fg_expression_write(e, w->grammar, matching, FG_QUOTED, fg_grammar_text(w->grammar, "\"", next),
                                 &first, &why);
  fg_expression_destroy(e);
  if (status != FG_OK) return fg_schema_refuse(w, status, "%.250s", why.message);
  return fg_grammar_text(w->grammar, "\"", first);
}

// Each a part of what the format's definition allows: no 29th of February, no leap seconds, IPv6 in full.
#define DATE                                                                                                 \
  "([12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[" \
  "0-9]|2[0-8])))"
#define CLOCK   "([01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME    CLOCK ":[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]" CLOCK ")"
#define OCTET   "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define LABEL   "[a-z0-9]([a-z0-9]{0,30}[a-z0-9])?"
#define HOST    LABEL "(\\." LABEL "){0,3}\\.[a-z]{2,12}"
#define DAYS    "[0-9]{1,6}D"
#define MONTHS  "[0-9]{1,6}M(" DAYS ")?"
#define SECONDS "[0-9]{1,6}S"
#define MINUTES "[0-9]{1,6}M(" SECONDS ")?"
#define CLOCKED "T([0-9]{1,6}H(" MINUTES ")?|" MINUTES "|" SECONDS ")"

static const struct {
  const char *name, *expression;
} formats[] = {
    {"date-time", DATE "T" TIME},
    {"date", DATE},
    {"time", TIME},
    {"duration", "P(([0-9]{1,6}Y(" MONTHS ")?|" MONTHS "|" DAYS ")(" CLOCKED ")?|" CLOCKED "|[0-9]{1,6}W)"},
    {"email", "[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,15})?@" HOST},
    {"hostname", HOST},
    {"ipv4", "(" OCTET "\\.){3}" OCTET},
    {"ipv6", "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"},
    {"uuid", "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"},
    {"uri", "https?://" HOST "(/[A-Za-z0-9._~-]{0,40}){0,5}"},
};

static uint32_t write_format(fg_schema_writer *w, const json_t *format, uint32_t next) {
  const char *name = json_string_value(format);
  for (size_t i = 0; name && i < sizeof formats / sizeof *formats; i++)
    if (strcmp(formats[i].name, name) == 0)
      return write_expression(w, formats[i].expression, strlen(formats[i].expression), FG_MATCH_WHOLE, next);
  return fg_schema_refuse(w, FG_UNSUPPORTED, "the format \"%.60s\" is not supported", name ? name : "?");
}

uint32_t fg_schema_string(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  const json_t *pattern = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
  uint32_t least = 0, most = UINT32_MAX;
  bool has_least, has_most;
  if (!fg_schema_count(w, schema, "minLength", &least, &has_least) && has_least) return FG_RETURN;
  if (!fg_schema_count(w, schema, "maxLength", &most, &has_most) && has_most) return FG_RETURN;
  const char *kinds[] = {pattern ? "pattern" : NULL, format ? "format" : NULL,
                         has_least || has_most ? has_most ? "maxLength" : "minLength" : NULL};
  const char *before = NULL;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (before && kinds[i])
      return fg_schema_refuse(w, FG_UNSUPPORTED, "\"%s\" beside \"%s\" is not supported", kinds[i], before);
    if (kinds[i]) before = kinds[i];
  }
  if (pattern && !json_is_string(pattern))
    return fg_schema_refuse(w, FG_INVALID, "\"pattern\" must be a string");
  if (pattern)
    return write_expression(w, json_string_value(pattern), json_string_length(pattern), FG_MATCH_WITHIN,
                            next);
  if (format) return write_format(w, format, next);
  if (least > most) return fg_schema_refuse(w, FG_INVALID, "\"minLength\" is more than \"maxLength\"");
  return write_length(w, least, most, next);
}

// ---- numbers -------------------------------------------------------------------------------------------

typedef struct bound {
  const json_t *value; // NULL = none
  const char *keyword;
  bool open;
  uint32_t decimals;
} bound;

// Decimals that a bound is written with; false: more than there can be.
static bool count_decimals(double value, uint32_t *out) {
  const double tolerance = 1e-9;
  double scaled = value;
  for (*out = 0; *out <= FG_RANGE_DECIMALS; ++*out, scaled = value * pow(10, *out))
    if (fabs(scaled - rint(scaled)) <= tolerance * fmin(1, fabs(value))) return true;
  return false;
}

// The tighter of two keywords; one that is open where they are the same.
static bool read_bound(fg_schema_writer *w, const json_t *schema, const char *closed, const char *open,
                       bool upper, bound *out) {
  const json_t *values[] = {json_object_get(schema, closed), json_object_get(schema, open)};
  const char *names[] = {closed, open};
  *out = (bound){0};
  for (uint32_t i = 0; i < 2; i++) {
    if (!values[i]) continue;
    if (!json_is_number(values[i])) {
      fg_schema_refuse(w, FG_INVALID, "\"%s\" must be a number", names[i]);
      return false;
    }
    const double now = json_number_value(values[i]), before = json_number_value(out->value);
    if (out->value && (upper ? now > before : now < before)) continue;
    *out = (bound){.value = values[i], .keyword = names[i], .open = i == 1};
  }
  return true;
}

static bool scale_bound(fg_schema_writer *w, const bound *b, uint32_t decimals, int64_t *out) {
  const double most = pow(10, FG_RANGE_DIGITS) - 1;
  const double scaled = json_number_value(b->value) * pow(10, decimals);
  if (!(fabs(scaled) <= most)) {
    fg_schema_refuse(w, FG_UNSUPPORTED, "\"%s\" has more than %d digits", b->keyword, FG_RANGE_DIGITS);
    return false;
  }
  *out = (int64_t)rint(scaled);
  return true;
}

// A whole number's bound that is not whole itself is the next whole one.
static bool whole_bound(fg_schema_writer *w, bound *b, bool upper, int64_t *out) {
  const double value = json_number_value(b->value), whole = upper ? floor(value) : ceil(value);
  if (!(fabs(whole) < pow(10, FG_RANGE_DIGITS))) return scale_bound(w, b, 0, out);
  b->open = b->open && whole == value;
  *out = (int64_t)whole;
  return true;
}

static uint32_t write_number(fg_schema_writer *w, const json_t *schema, bool whole, uint32_t next) {
  bound low, high;
  if (!read_bound(w, schema, "minimum", "exclusiveMinimum", false, &low) ||
      !read_bound(w, schema, "maximum", "exclusiveMaximum", true, &high))
    return FG_RETURN;
  if (!low.value && !high.value) return fg_grammar_number(w->grammar, whole, next);
  bound *both[] = {&low, &high};
  fg_number_range r = {.whole = whole};
  for (uint32_t i = 0; i < 2 && !whole; i++) {
    if (!both[i]->value) continue;
    if (!count_decimals(json_number_value(both[i]->value), &both[i]->decimals))
      return fg_schema_refuse(w, FG_UNSUPPORTED, "\"%s\" has more than %d decimals", both[i]->keyword,
                              FG_RANGE_DECIMALS);
    if (both[i]->decimals > r.decimals) r.decimals = both[i]->decimals;
  }
  // Without fractions all digits count, otherwise those in front of the most that may follow.
  const int64_t most =
      (int64_t)pow(10, whole ? FG_RANGE_DIGITS : FG_RANGE_DIGITS - FG_RANGE_DECIMALS + r.decimals) - 1;
  int64_t *scaled[] = {&r.low, &r.high};
  r.low = -most;
  r.high = most;
  for (uint32_t i = 0; i < 2; i++) {
    if (!both[i]->value) continue;
    if (!(whole ? whole_bound(w, both[i], i == 1, scaled[i])
                : scale_bound(w, both[i], r.decimals, scaled[i])))
      return FG_RETURN;
  }
  if (!whole && (r.low < -most || r.high > most))
    return fg_schema_refuse(w, FG_UNSUPPORTED, "a bound of more than %d digits",
                            FG_RANGE_DIGITS - FG_RANGE_DECIMALS);
  r.low_open = low.value && low.open;
  r.high_open = high.value && high.open;
  bool any = false;
  if (r.low <= r.high) next = fg_grammar_number_range(w->grammar, &r, next, &any);
  return any ? next : fg_schema_refuse(w, FG_INVALID, "no number is within the bounds");
}

uint32_t fg_schema_number(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  return write_number(w, schema, false, next);
}

uint32_t fg_schema_integer(fg_schema_writer *w, const json_t *schema, uint32_t next) {
  return write_number(w, schema, true, next);
}
