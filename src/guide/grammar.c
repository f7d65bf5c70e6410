#include "guide/grammar.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { UNDEFINED = UINT32_MAX, NO_END = FG_GRAMMAR_DEPTH_MAX + 1 };

// Room for one more item; false: the grammar has failed.
static bool grow(fg_grammar *p, void **items, uint32_t count, uint32_t *capacity, size_t size) {
  if (p->failed) return false;
  if (count < *capacity) return true;
  const uint32_t wanted = *capacity ? *capacity * 2 : 64;
  void *grown = realloc(*items, wanted * size);
  if (!grown) {
    p->failed = FG_NO_SPACE;
    return false;
  }
  *items = grown;
  *capacity = wanted;
  return true;
}

static uint32_t put(fg_grammar *p, fg_grammar_node node) {
  if (p->count == FG_GRAMMAR_NODES_MAX && !p->failed) p->failed = FG_UNSUPPORTED;
  if (!grow(p, (void **)&p->nodes, p->count, &p->capacity, sizeof node)) return FG_RETURN;
  p->nodes[p->count] = node;
  return p->count++;
}

void fg_grammar_begin(fg_grammar *p) {
  *p = (fg_grammar){0};
  (void)put(p, (fg_grammar_node){.kind = FG_NODE_RETURN});
}

void fg_grammar_free(fg_grammar *p) {
  for (uint32_t i = 0; i < p->set_count; i++) fg_char_set_free(&p->sets[i].set);
  free(p->nodes);
  free(p->rules);
  free(p->sets);
  *p = (fg_grammar){0};
}

uint64_t fg_grammar_size(const fg_grammar *p) {
  return p->capacity * sizeof *p->nodes + p->rule_capacity * sizeof *p->rules +
         p->set_capacity * sizeof *p->sets;
}

// ---- bytes, ways, rules --------------------------------------------------------------------------------

uint32_t fg_grammar_byte(fg_grammar *p, uint8_t low, uint8_t high, uint32_t next) {
  return put(p, (fg_grammar_node){.kind = FG_NODE_RANGE, .low = low, .high = high, .next = next});
}

uint32_t fg_grammar_bytes(fg_grammar *p, const char *bytes, size_t length, uint32_t next) {
  while (length-- > 0 && !p->failed) {
    const uint8_t byte = (uint8_t)bytes[length];
    next = fg_grammar_byte(p, byte, byte, next);
  }
  return next;
}

uint32_t fg_grammar_text(fg_grammar *p, const char *text, uint32_t next) {
  return fg_grammar_bytes(p, text, strlen(text), next);
}

uint32_t fg_grammar_split(fg_grammar *p, uint32_t one, uint32_t other) {
  return put(p, (fg_grammar_node){.kind = FG_NODE_SPLIT, .next = one, .other = other});
}

uint32_t fg_grammar_new_rule(fg_grammar *p) {
  if (!grow(p, (void **)&p->rules, p->rule_count, &p->rule_capacity, sizeof *p->rules)) return 0;
  p->rules[p->rule_count] = UNDEFINED;
  return p->rule_count++;
}

void fg_grammar_define(fg_grammar *p, uint32_t rule, uint32_t first) {
  if (!p->failed) p->rules[rule] = first;
}

uint32_t fg_grammar_call(fg_grammar *p, uint32_t rule, uint32_t next) {
  return put(p, (fg_grammar_node){.kind = FG_NODE_CALL, .other = rule, .next = next});
}

uint32_t fg_grammar_loop(fg_grammar *p, uint32_t next) {
  return fg_grammar_split(p, next, next);
}

void fg_grammar_close(fg_grammar *p, uint32_t loop, uint32_t body) {
  if (!p->failed) p->nodes[loop].other = body;
}

uint32_t fg_grammar_repeat(fg_grammar *p, uint32_t rule, uint32_t least, uint32_t most, uint32_t next) {
  const uint32_t end = next;
  if (most == UINT32_MAX) {
    next = fg_grammar_loop(p, end);
    fg_grammar_close(p, next, fg_grammar_call(p, rule, next));
  } else {
    for (uint32_t i = least; i < most && !p->failed; i++)
      next = fg_grammar_split(p, fg_grammar_call(p, rule, next), end);
  }
  for (uint32_t i = 0; i < least && !p->failed; i++) next = fg_grammar_call(p, rule, next);
  return next;
}

// ---- characters as bytes -------------------------------------------------------------------------------

// What a set has come to: ways to write its characters.
typedef struct ways {
  fg_grammar *grammar;
  uint32_t first, next;
  bool any;
} ways;

static void add_way(ways *w, uint32_t first) {
  w->first = w->any ? fg_grammar_split(w->grammar, w->first, first) : first;
  w->any = true;
}

static uint32_t put_utf8(uint32_t c, uint8_t out[4]) {
  if (c < 0x80) return out[0] = (uint8_t)c, 1;
  const uint32_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (uint32_t i = length; i-- > 1; c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3f));
  out[0] = (uint8_t)(leads[length] | c);
  return length;
}

// Characters of the same length whose bytes vary independently.
static void add_product(ways *w, uint32_t low, uint32_t high) {
  uint8_t from[4], to[4];
  const uint32_t length = put_utf8(low, from);
  (void)put_utf8(high, to);
  uint32_t first = w->next;
  for (uint32_t i = length; i-- > 0;) first = fg_grammar_byte(w->grammar, from[i], to[i], first);
  add_way(w, first);
}

// Cuts a range where the length changes and where the last bytes do not run through all their values.
static void add_range(ways *w, uint32_t low, uint32_t high) {
  static const uint32_t ends[] = {0x7f, 0x7ff, 0xffff};
  for (uint32_t i = 0; i < 3; i++) {
    if (low > ends[i] || high <= ends[i]) continue;
    add_range(w, low, ends[i]);
    add_range(w, ends[i] + 1, high);
    return;
  }
  for (uint32_t bits = 6; high >= 0x80 && bits <= 18; bits += 6) {
    const uint32_t rest = (1u << bits) - 1;
    if ((low & ~rest) == (high & ~rest)) continue;
    if (low & rest) {
      add_range(w, low, low | rest);
      add_range(w, (low | rest) + 1, high);
      return;
    }
    if ((high & rest) != rest) {
      add_range(w, low, (high & ~rest) - 1);
      add_range(w, high & ~rest, high);
      return;
    }
  }
  add_product(w, low, high);
}

// The character as it is written behind a backslash in a JSON string; 0: by its number.
static char short_escape(uint32_t c) {
  static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
  const char *found = c ? strchr(from, (int)c) : NULL;
  return found ? to[found - from] : 0;
}

static void add_escaped(ways *w, uint32_t c) {
  const char digits[] = "0123456789abcdef", escape = short_escape(c);
  const char text[] = {'\\', escape ? escape : 'u', '0', '0', digits[c >> 4], digits[c & 15]};
  add_way(w, fg_grammar_bytes(w->grammar, text, escape ? 2 : sizeof text, w->next));
}

static void add_set(ways *w, const fg_char_set *set, fg_writing writing) {
  for (uint32_t i = 0; i < set->count && !w->grammar->failed; i++) {
    uint32_t low = set->ranges[i].low;
    const uint32_t high = set->ranges[i].high;
    if (writing == FG_PLAIN) {
      add_range(w, low, high);
      continue;
    }
    for (; low <= high && low < 0x20; low++) add_escaped(w, low);
    static const uint32_t marks[] = {'"', '\\'};
    for (uint32_t m = 0; m < 2; m++) {
      if (low > marks[m] || high < marks[m]) continue;
      if (low < marks[m]) add_range(w, low, marks[m] - 1);
      add_escaped(w, marks[m]);
      low = marks[m] + 1;
    }
    if (low <= high) add_range(w, low, high);
  }
}

static uint32_t rule_of_set(fg_grammar *p, const fg_char_set *set, bool quoted) {
  const uint64_t hash = fg_hash(set->ranges, set->count * sizeof *set->ranges);
  for (uint32_t i = 0; i < p->set_count; i++) {
    const fg_grammar_set *known = &p->sets[i];
    if (known->hash == hash && known->quoted == quoted && fg_char_set_equal(&known->set, set))
      return known->rule;
  }
  const uint32_t rule = fg_grammar_new_rule(p);
  ways w = {.grammar = p, .next = FG_RETURN};
  add_set(&w, set, quoted ? FG_QUOTED : FG_PLAIN);
  fg_grammar_define(p, rule, w.first);
  if (!grow(p, (void **)&p->sets, p->set_count, &p->set_capacity, sizeof *p->sets)) return rule;
  p->sets[p->set_count] = (fg_grammar_set){.hash = hash, .quoted = quoted, .rule = rule};
  fg_char_set_add_set(&p->sets[p->set_count].set, set);
  if (p->sets[p->set_count++].set.failed) p->failed = FG_NO_SPACE;
  return rule;
}

uint32_t fg_grammar_set_of(fg_grammar *p, const fg_char_set *set, fg_writing writing, uint32_t next) {
  if (set->failed && !p->failed) p->failed = FG_NO_SPACE;
  const bool one_byte = set->count == 0 || set->ranges[set->count - 1].high < 0x80;
  const bool as_is = writing == FG_PLAIN || (set->count && set->ranges[0].low > '\\');
  if (set->count && !(one_byte && as_is && set->count <= 4))
    return fg_grammar_call(p, rule_of_set(p, set, writing == FG_QUOTED), next);
  ways w = {.grammar = p, .next = next};
  add_set(&w, set, writing);
  // Of no characters none is the next one: a way without end.
  if (!w.any) return fg_grammar_call(p, fg_grammar_new_rule(p), next);
  return w.first;
}

// ---- the whole -----------------------------------------------------------------------------------------

static uint8_t least(uint8_t a, uint8_t b) {
  return a < b ? a : b;
}

static uint8_t height_of(const fg_grammar *p, const fg_grammar_node *n) {
  switch ((fg_node_kind)n->kind) {
  case FG_NODE_RETURN: return 0;
  case FG_NODE_RANGE: return p->nodes[n->next].height;
  case FG_NODE_SPLIT: return least(p->nodes[n->next].height, p->nodes[n->other].height);
  case FG_NODE_CALL: break;
  }
  const uint32_t first = p->rules[n->other];
  if (first == UNDEFINED) return NO_END;
  const uint8_t behind = p->nodes[n->next].height, within = p->nodes[first].height;
  if (behind >= NO_END || within >= NO_END) return NO_END;
  if (n->next == FG_RETURN) return within; // nothing has to be returned to
  return within + 1 > behind ? within + 1 : behind;
}

// Until nothing changes; nodes mostly come behind what they lead to.
static void measure_heights(fg_grammar *p) {
  for (uint32_t i = 1; i < p->count; i++) p->nodes[i].height = NO_END;
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t i = 1; i < p->count; i++) {
      const uint8_t height = height_of(p, &p->nodes[i]);
      if (height >= p->nodes[i].height) continue;
      p->nodes[i].height = height;
      changed = true;
    }
  }
}

static void find_classes(fg_grammar *p) {
  bool starts[257] = {true};
  for (uint32_t i = 0; i < p->count; i++) {
    if (p->nodes[i].kind != FG_NODE_RANGE) continue;
    starts[p->nodes[i].low] = true;
    starts[p->nodes[i].high + 1] = true;
  }
  p->class_count = 0;
  for (uint32_t b = 0; b < 256; b++) {
    if (starts[b]) {
      p->class_byte[p->class_count] = (uint8_t)b;
      p->class_size[p->class_count++] = 0;
    }
    p->classes[b] = (uint8_t)(p->class_count - 1);
    p->class_size[p->class_count - 1]++;
  }
}

// A rule is grounded if those that it calls before it takes a byte are. No rule is empty, so that what comes
// behind such a call does not count.
typedef struct grounding {
  const fg_grammar *p;
  bool *grounded; // by rule
  uint32_t *seen; // by node: the number of the walk
  uint32_t *stack, walk;
} grounding;

static bool is_grounded(grounding *g, uint32_t rule) {
  const fg_grammar *p = g->p;
  uint32_t top = 0;
  if (p->rules[rule] == UNDEFINED) return true;
  g->walk++;
  g->stack[top++] = p->rules[rule];
  while (top) {
    const uint32_t at = g->stack[--top];
    const fg_grammar_node *n = &p->nodes[at];
    if (n->kind == FG_NODE_CALL && !g->grounded[n->other]) return false;
    for (uint32_t way = 0; n->kind == FG_NODE_SPLIT && way < 2; way++) {
      const uint32_t to = way ? n->other : n->next;
      if (g->seen[to] == g->walk) continue;
      g->seen[to] = g->walk;
      g->stack[top++] = to;
    }
  }
  return true;
}

static fg_status check_grounded(const fg_grammar *p, fg_error *err) {
  grounding g = {.p = p,
                 .grounded = calloc(p->rule_count + 1, sizeof *g.grounded),
                 .seen = calloc(p->count, sizeof *g.seen),
                 .stack = malloc((p->count + 1) * sizeof *g.stack)};
  fg_status status = FG_OK;
  if (!g.grounded || !g.seen || !g.stack) status = fg_fail(err, FG_NO_SPACE, "out of memory for a grammar");
  uint32_t done = 0;
  for (bool more = true; status == FG_OK && more;) {
    more = false;
    for (uint32_t rule = 0; rule < p->rule_count; rule++) {
      if (g.grounded[rule] || !is_grounded(&g, rule)) continue;
      g.grounded[rule] = more = true;
      done++;
    }
  }
  if (status == FG_OK && done < p->rule_count)
    status = fg_fail(err, FG_INVALID, "it refers to itself without anything in between");
  free(g.grounded);
  free(g.seen);
  free(g.stack);
  return status;
}

fg_status fg_grammar_finish(fg_grammar *p, uint32_t start, fg_error *err) {
  if (p->failed == FG_UNSUPPORTED)
    return fg_fail(err, FG_UNSUPPORTED, "it is too large: more than %d steps, repetitions written out",
                   FG_GRAMMAR_NODES_MAX);
  if (p->failed) return fg_fail(err, FG_NO_SPACE, "out of memory for a grammar");
  p->start = start;
  measure_heights(p);
  find_classes(p);
  if (p->nodes[start].height > FG_GRAMMAR_DEPTH_MAX)
    return fg_fail(err, FG_INVALID, "nothing can satisfy it");
  return check_grounded(p, err);
}
