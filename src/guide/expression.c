#include "guide/expression.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum {
  GROUPS_MAX = 50,    // within each other
  TIMES_MAX = 100000, // of a quantifier
  NONE = UINT32_MAX,
};

typedef enum item_kind { EMPTY, SET, BEGIN, END, THEN, OR, REPEAT } item_kind;

// A sequence leans to the left: all but its last part, then that part; so do alternatives.
typedef struct item {
  item_kind kind;
  uint32_t left, right; // THEN, OR; REPEAT: left; SET: left is its number
  uint32_t least, most; // REPEAT; most NONE: without end
  uint32_t place;       // BEGIN, END: in the text, for messages
} item;

struct fg_expression {
  item *items;
  uint32_t count, capacity;
  fg_char_set *sets;
  uint32_t set_count, set_capacity;
  uint32_t root;
};

typedef struct parser {
  fg_expression *e;
  const char *text, *at, *end;
  uint32_t depth;
  fg_error *err;
} parser;

// ---- building ------------------------------------------------------------------------------------------

static fg_status no_memory(fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for a regular expression");
}

static fg_status add_item(parser *p, item i, uint32_t *out) {
  fg_expression *e = p->e;
  if (e->count == e->capacity) {
    const uint32_t capacity = e->capacity ? e->capacity * 2 : 64;
    item *items = realloc(e->items, capacity * sizeof *items);
    if (!items) return no_memory(p->err);
    e->items = items;
    e->capacity = capacity;
  }
  e->items[e->count] = i;
  *out = e->count++;
  return FG_OK;
}

// Takes the set over.
static fg_status add_set(parser *p, fg_char_set *set, uint32_t *out) {
  fg_expression *e = p->e;
  if (e->set_count == e->set_capacity) {
    const uint32_t capacity = e->set_capacity ? e->set_capacity * 2 : 64;
    fg_char_set *sets = realloc(e->sets, capacity * sizeof *sets);
    if (sets) {
      e->sets = sets;
      e->set_capacity = capacity;
    }
  }
  if (set->failed || e->set_count == e->set_capacity) {
    fg_char_set_free(set);
    return no_memory(p->err);
  }
  e->sets[e->set_count] = *set;
  return add_item(p, (item){.kind = SET, .left = e->set_count++}, out);
}

// ---- characters and classes ------------------------------------------------------------------------------

static fg_status refuse(const parser *p, const char *at, const char *what) {
  return fg_fail(p->err, FG_UNSUPPORTED, "%s at byte %zu of the regular expression is not supported", what,
                 (size_t)(at - p->text));
}

static fg_status malformed(const parser *p, const char *at, const char *what) {
  return fg_fail(p->err, FG_INVALID, "%s at byte %zu of the regular expression", what,
                 (size_t)(at - p->text));
}

static bool at(const parser *p, const char *text) {
  const size_t length = strlen(text);
  return (size_t)(p->end - p->at) >= length && memcmp(p->at, text, length) == 0;
}

// \d and the like; false: none of them.
static bool add_named(fg_char_set *set, char name) {
  static const struct {
    char name, first[3], last[3]; // pairs of bounds
    bool more;                    // an underscore as well
  } plain[] = {{'d', "0", "9", false}, {'w', "0A", "9Z", true}, {'s', "\t ", "\r ", false}};
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
    if ((name | 0x20) != plain[i].name) continue;
    fg_char_set named = {0};
    for (size_t r = 0; plain[i].first[r]; r++)
      fg_char_set_add(&named, (uint8_t)plain[i].first[r], (uint8_t)plain[i].last[r]);
    if (plain[i].more) {
      fg_char_set_add(&named, 'a', 'z');
      fg_char_set_add(&named, '_', '_');
    }
    if (name < 'a') fg_char_set_negate(&named);
    fg_char_set_add_set(set, &named);
    fg_char_set_free(&named);
    return true;
  }
  return false;
}

static fg_status hex_number(parser *p, uint32_t digits, uint32_t *out) {
  const char *begin = p->at;
  *out = 0;
  for (uint32_t i = 0; i < digits; i++) {
    const char c = p->at < p->end ? *p->at : 0;
    const uint32_t value = c >= '0' && c <= '9'                     ? (uint32_t)c - '0'
                           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (uint32_t)(c | 0x20) - 'a' + 10
                                                                    : 16;
    if (value == 16) return malformed(p, begin, "a number of too few digits");
    *out = *out * 16 + value;
    p->at++;
  }
  if (*out >= 0xd800 && *out <= 0xdfff) return refuse(p, begin, "half of a surrogate pair");
  return FG_OK;
}

// Behind a backslash: one character. Names of sets were tried before.
static fg_status escaped(parser *p, bool in_class, uint32_t *out) {
  static const char names[] = "nrtfv0", values[] = "\n\r\t\f\v";
  const char *begin = p->at - 1;
  if (p->at == p->end) return malformed(p, begin, "a backslash without anything behind it");
  const char c = *p->at;
  const char *name = strchr(names, c);
  if (c == 'x' || c == 'u') {
    p->at++;
    return hex_number(p, c == 'x' ? 2 : 4, out);
  }
  if (c == 'b' && in_class) {
    p->at++;
    *out = '\b';
    return FG_OK;
  }
  if (c == 'b' || c == 'B') return refuse(p, begin, "a word boundary");
  if (c == 'p' || c == 'P') return refuse(p, begin, "a Unicode property");
  if ((c >= '1' && c <= '9') || c == 'k') return refuse(p, begin, "a reference to a group");
  if (name && *name) {
    p->at++;
    *out = (uint8_t)values[name - names];
    return c == '0' && p->at < p->end && *p->at >= '0' && *p->at <= '9' ? refuse(p, begin, "an octal number")
                                                                        : FG_OK;
  }
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return refuse(p, begin, "this escape");
  *out = fg_utf8_take(&p->at);
  return FG_OK;
}

// One end of a range, or a set by name (*named).
static fg_status class_atom(parser *p, fg_char_set *set, bool *named, uint32_t *c) {
  *named = false;
  if (*p->at != '\\') {
    *c = fg_utf8_take(&p->at);
    return FG_OK;
  }
  p->at++;
  if (p->at < p->end && add_named(set, *p->at)) {
    p->at++;
    *named = true;
    return FG_OK;
  }
  return escaped(p, true, c);
}

static fg_status class_items(parser *p, fg_char_set *set) {
  const char *begin = p->at;
  for (bool first = true; p->at < p->end && (first || *p->at != ']'); first = false) {
    const char *from = p->at;
    bool named, to_named = false;
    uint32_t low, high;
    fg_status status = class_atom(p, set, &named, &low);
    if (status != FG_OK) return status;
    if (named) continue;
    high = low;
    if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
      p->at++;
      status = class_atom(p, set, &to_named, &high);
      if (status != FG_OK) return status;
      if (to_named || high < low) return malformed(p, from, "a range that ends before it begins");
    }
    fg_char_set_add(set, low, high);
  }
  return p->at < p->end ? FG_OK : malformed(p, begin, "a class without its closing bracket");
}

static fg_status parse_class(parser *p, uint32_t *out) {
  fg_char_set set = {0};
  p->at++;
  const bool negated = p->at < p->end && *p->at == '^';
  p->at += negated;
  if (p->at < p->end && *p->at == ']') return refuse(p, p->at, "a class that begins with ]");
  const fg_status status = class_items(p, &set);
  if (status != FG_OK) {
    fg_char_set_free(&set);
    return status;
  }
  p->at++;
  if (negated) fg_char_set_negate(&set);
  return add_set(p, &set, out);
}

// ---- the rest of the syntax
// --------------------------------------------------------------------------------

static fg_status parse_alternatives(parser *p, uint32_t *out);

static fg_status parse_group(parser *p, uint32_t *out) {
  static const struct {
    const char *begin, *what; // what NULL: a plain group
  } kinds[] = {{"(?:", NULL},
               {"(?P<", NULL},
               {"(?=", "look-ahead"},
               {"(?!", "look-ahead"},
               {"(?<=", "look-behind"},
               {"(?<!", "look-behind"},
               {"(?<", NULL},
               {"(?P=", "a reference to a group"},
               {"(?", "this kind of group"},
               {"(*", "a verb"},
               {"(", NULL}};
  const char *begin = p->at;
  size_t kind = 0;
  while (!at(p, kinds[kind].begin)) kind++;
  if (kinds[kind].what) return refuse(p, begin, kinds[kind].what);
  if (p->depth == GROUPS_MAX) return refuse(p, begin, "a group within more than 50 others");
  p->at += strlen(kinds[kind].begin);
  if (p->at[-1] == '<') { // its name says nothing here
    while (p->at < p->end && *p->at != '>') p->at++;
    if (p->at == p->end) return malformed(p, begin, "a group whose name does not end");
    p->at++;
  }
  p->depth++;
  const fg_status status = parse_alternatives(p, out);
  p->depth--;
  if (status != FG_OK) return status;
  if (p->at == p->end) return malformed(p, begin, "a group without its closing parenthesis");
  p->at++;
  return FG_OK;
}

static fg_status parse_atom(parser *p, uint32_t *out) {
  fg_char_set set = {0};
  uint32_t c;
  switch (*p->at) {
  case '(': return parse_group(p, out);
  case '[': return parse_class(p, out);
  case '^': return add_item(p, (item){.kind = BEGIN, .place = (uint32_t)(p->at++ - p->text)}, out);
  case '$': return add_item(p, (item){.kind = END, .place = (uint32_t)(p->at++ - p->text)}, out);
  case '*':
  case '+':
  case '?': return malformed(p, p->at, "a quantifier with nothing before it");
  case '.':
    p->at++;
    fg_char_set_add(&set, '\n', '\n');
    fg_char_set_negate(&set);
    return add_set(p, &set, out);
  case '\\':
    p->at++;
    if (p->at < p->end && add_named(&set, *p->at)) {
      p->at++;
      return add_set(p, &set, out);
    }
    if (escaped(p, false, &c) != FG_OK) return p->err ? p->err->status : FG_INVALID;
    break;
  default: c = fg_utf8_take(&p->at); break;
  }
  fg_char_set_add(&set, c, c);
  return add_set(p, &set, out);
}

static fg_status parse_number(parser *p, uint32_t *out) {
  const char *begin = p->at;
  for (*out = 0; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
    *out = *out * 10 + (uint32_t)(*p->at - '0');
    if (*out > TIMES_MAX) return refuse(p, begin, "a repetition of more than 100000 times");
  }
  return FG_OK;
}

// {n}, {n,}, {,n}, {n,m}, {,}: *found false and nothing taken if the brace is none of them.
static fg_status parse_braces(parser *p, item *repeat, bool *found) {
  const char *begin = p->at++;
  const char *digits = p->at;
  fg_status status = parse_number(p, &repeat->least);
  bool some = p->at > digits;
  repeat->most = repeat->least;
  if (status == FG_OK && p->at < p->end && *p->at == ',') {
    digits = ++p->at;
    status = parse_number(p, &repeat->most);
    if (p->at == digits) repeat->most = NONE;
    some = true;
  }
  if (status != FG_OK) return status;
  *found = some && p->at < p->end && *p->at == '}';
  if (!*found) {
    p->at = begin;
    return FG_OK;
  }
  p->at++;
  return repeat->most < repeat->least
             ? malformed(p, begin, "a repetition whose bounds are the wrong way round")
             : FG_OK;
}

static fg_status parse_quantifier(parser *p, item *repeat, bool *found) {
  static const struct {
    char sign;
    uint32_t least, most;
  } signs[] = {{'*', 0, NONE}, {'+', 1, NONE}, {'?', 0, 1}};
  *found = false;
  if (p->at == p->end) return FG_OK;
  for (size_t i = 0; i < sizeof signs / sizeof *signs && !*found; i++) {
    if (*p->at != signs[i].sign) continue;
    *found = true;
    repeat->least = signs[i].least;
    repeat->most = signs[i].most;
    p->at++;
  }
  if (!*found && *p->at == '{') {
    const fg_status status = parse_braces(p, repeat, found);
    if (status != FG_OK) return status;
  }
  if (!*found || p->at == p->end) return FG_OK;
  if (*p->at == '?') p->at++; // lazy: the same texts
  if (p->at < p->end && *p->at == '+') return refuse(p, p->at, "a possessive quantifier");
  if (p->at < p->end && (*p->at == '*' || *p->at == '?'))
    return malformed(p, p->at, "a quantifier behind another");
  return FG_OK;
}

static fg_status parse_sequence(parser *p, uint32_t *out) {
  fg_status status = FG_OK;
  *out = NONE;
  while (status == FG_OK && p->at < p->end && *p->at != '|' && *p->at != ')') {
    uint32_t atom;
    bool quantified;
    item repeat = {.kind = REPEAT};
    status = *p->at == '{' && *out == NONE ? malformed(p, p->at, "a quantifier with nothing before it")
                                           : parse_atom(p, &atom);
    if (status == FG_OK) status = parse_quantifier(p, &repeat, &quantified);
    if (status != FG_OK) return status;
    const item_kind kind = p->e->items[atom].kind;
    if (quantified && (kind == BEGIN || kind == END))
      return refuse(p, p->at, "a quantifier behind an anchor");
    repeat.left = atom;
    if (quantified) status = add_item(p, repeat, &atom);
    if (status == FG_OK && *out != NONE)
      status = add_item(p, (item){.kind = THEN, .left = *out, .right = atom}, &atom);
    *out = atom;
  }
  return status == FG_OK && *out == NONE ? add_item(p, (item){.kind = EMPTY}, out) : status;
}

static fg_status parse_alternatives(parser *p, uint32_t *out) {
  fg_status status = parse_sequence(p, out);
  while (status == FG_OK && p->at < p->end && *p->at == '|') {
    uint32_t next;
    p->at++;
    status = parse_sequence(p, &next);
    if (status == FG_OK) status = add_item(p, (item){.kind = OR, .left = *out, .right = next}, out);
  }
  return status;
}

fg_status fg_expression_parse(fg_expression **out, const char *text, size_t length, fg_error *err) {
  if (length > FG_EXPRESSION_MAX)
    return fg_fail(err, FG_UNSUPPORTED, "a regular expression of more than %d bytes", FG_EXPRESSION_MAX);
  if (!fg_utf8_valid(text, length)) return fg_fail(err, FG_INVALID, "a regular expression that is not UTF-8");
  fg_error own;
  fg_expression *e = calloc(1, sizeof *e);
  if (!e) return no_memory(err);
  parser p = {.e = e, .text = text, .at = text, .end = text + length, .err = err ? err : &own};
  fg_status status = parse_alternatives(&p, &e->root);
  if (status == FG_OK && p.at < p.end)
    status = malformed(&p, p.at, "a closing parenthesis without its group");
  if (status != FG_OK) {
    fg_expression_destroy(e);
    return status;
  }
  *out = e;
  return FG_OK;
}

void fg_expression_destroy(fg_expression *e) {
  if (!e) return;
  for (uint32_t i = 0; i < e->set_count; i++) fg_char_set_free(&e->sets[i]);
  free(e->sets);
  free(e->items);
  free(e);
}

// ---- writing -------------------------------------------------------------------------------------------

typedef struct writer {
  const fg_expression *e;
  fg_grammar *grammar;
  fg_writing writing;
  uint32_t begin, end; // anchors of the alternative at hand that stand at its edges
  uint32_t misplaced;  // an anchor that does not; NONE = none
} writer;

static uint32_t write_item(writer *w, uint32_t number, uint32_t next);

static uint32_t write_repeat(writer *w, const item *i, uint32_t next) {
  fg_grammar *p = w->grammar;
  const uint32_t end = next;
  if (i->most == NONE) {
    next = fg_grammar_loop(p, end);
    fg_grammar_close(p, next, write_item(w, i->left, next));
  }
  for (uint32_t n = i->least; i->most != NONE && n < i->most && !p->failed; n++)
    next = fg_grammar_split(p, write_item(w, i->left, next), end);
  for (uint32_t n = 0; n < i->least && !p->failed; n++) {
    const uint32_t before = next;
    next = write_item(w, i->left, next);
    if (next == before) break; // nothing, as often as one likes
  }
  return next;
}

static uint32_t write_item(writer *w, uint32_t number, uint32_t next) {
  const item *i = &w->e->items[number];
  for (; i->kind == THEN; i = &w->e->items[number]) {
    next = write_item(w, i->right, next);
    number = i->left;
  }
  switch (i->kind) {
  case SET: return fg_grammar_set_of(w->grammar, &w->e->sets[i->left], w->writing, next);
  case REPEAT: return write_repeat(w, i, next);
  case BEGIN:
  case END:
    if (number != w->begin && number != w->end) w->misplaced = number;
    return next;
  case OR: break;
  case EMPTY:
  case THEN: return next;
  }
  uint32_t first = NONE;
  for (; i->kind == OR; i = &w->e->items[number]) {
    const uint32_t way = write_item(w, i->right, next);
    first = first == NONE ? way : fg_grammar_split(w->grammar, way, first);
    number = i->left;
  }
  return fg_grammar_split(w->grammar, write_item(w, number, next), first);
}

// The first part of a sequence if it is ^, the last one if it is $.
static void find_anchors(writer *w, uint32_t number) {
  const item *items = w->e->items;
  const uint32_t last = items[number].kind == THEN ? items[number].right : number;
  w->end = items[last].kind == END ? last : NONE;
  while (items[number].kind == THEN) number = items[number].left;
  w->begin = items[number].kind == BEGIN ? number : NONE;
}

static uint32_t anything(writer *w, uint32_t next) {
  fg_char_set all = {0};
  fg_char_set_add(&all, 0, FG_CHAR_MAX);
  const uint32_t loop = fg_grammar_loop(w->grammar, next);
  fg_grammar_close(w->grammar, loop, fg_grammar_set_of(w->grammar, &all, w->writing, loop));
  fg_char_set_free(&all);
  return loop;
}

static uint32_t write_alternative(writer *w, uint32_t number, fg_matching matching, uint32_t next) {
  find_anchors(w, number);
  const bool within = matching == FG_MATCH_WITHIN, begins = w->begin != NONE, ends = w->end != NONE;
  if (within && !ends) next = anything(w, next);
  next = write_item(w, number, next);
  return within && !begins ? anything(w, next) : next;
}

fg_status fg_expression_write(const fg_expression *e, fg_grammar *grammar, fg_matching matching,
                              fg_writing writing, uint32_t next, uint32_t *first, fg_error *err) {
  writer w = {.e = e, .grammar = grammar, .writing = writing, .misplaced = NONE};
  uint32_t number = e->root;
  *first = NONE;
  for (bool more = true; more && !grammar->failed;) {
    const item *i = &e->items[number];
    more = i->kind == OR;
    const uint32_t way = write_alternative(&w, more ? i->right : number, matching, next);
    *first = *first == NONE ? way : fg_grammar_split(grammar, way, *first);
    number = i->left;
  }
  if (w.misplaced == NONE) return FG_OK;
  return fg_fail(
      err, FG_UNSUPPORTED,
      "an anchor at byte %u of the regular expression is not supported: neither at the beginning nor at the "
      "end of an alternative",
      e->items[w.misplaced].place);
}
