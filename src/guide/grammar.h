// grammar.h: what may be said, byte by byte.
//
// A grammar is a graph of nodes that a reader follows byte by byte: take a byte of a range, try two ways,
// call a rule and go on behind it, return. Rules that call each other give nesting without bound; without
// calls it is a finite automaton. It is written from its end to its beginning: every function here takes the
// node that comes next and returns the one that comes first, so that no place has to be filled in later but
// loops.
//
// A failure (no memory, too large) is kept in the grammar and reported by fg_grammar_finish alone.
#ifndef FG_GUIDE_GRAMMAR_H
#define FG_GUIDE_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "guide/char_set.h"

enum {
  FG_GRAMMAR_NODES_MAX = 1 << 17,
  FG_GRAMMAR_DEPTH_MAX = 200, // calls within calls: what needs more cannot be said
  FG_RETURN = 0,              // the node that ends a rule, and the grammar
};

typedef enum fg_node_kind { FG_NODE_RETURN, FG_NODE_RANGE, FG_NODE_SPLIT, FG_NODE_CALL } fg_node_kind;

typedef struct fg_grammar_node {
  uint32_t next;
  uint32_t other; // SPLIT: the second way; CALL: the rule
  uint8_t kind;   // fg_node_kind
  uint8_t low, high;
  uint8_t height; // calls that the shortest way to the end of the rule needs; above DEPTH_MAX: there is none
} fg_grammar_node;

// A set of characters that a rule was made for.
typedef struct fg_grammar_set {
  fg_char_set set;
  uint64_t hash; // of the set: thousands are compared
  bool quoted;
  uint32_t rule;
} fg_grammar_set;

typedef struct fg_grammar {
  fg_grammar_node *nodes;
  uint32_t count, capacity;
  uint32_t *rules; // their first nodes
  uint32_t rule_count, rule_capacity;
  fg_grammar_set *sets;
  uint32_t set_count, set_capacity;
  uint32_t start;
  // Bytes that no range tells apart are one class. A class has class_size bytes, class_byte is one of them.
  uint8_t classes[256], class_byte[256];
  uint16_t class_size[256], class_count;
  fg_status failed;
} fg_grammar;

void fg_grammar_begin(fg_grammar *p);
void fg_grammar_free(fg_grammar *p);

// How a character is written: as itself, or as within the quotes of a JSON string.
typedef enum fg_writing { FG_PLAIN, FG_QUOTED } fg_writing;

uint32_t fg_grammar_byte(fg_grammar *p, uint8_t low, uint8_t high, uint32_t next);
uint32_t fg_grammar_bytes(fg_grammar *p, const char *bytes, size_t length, uint32_t next);
uint32_t fg_grammar_text(fg_grammar *p, const char *text, uint32_t next);
uint32_t fg_grammar_split(fg_grammar *p, uint32_t one, uint32_t other);
uint32_t fg_grammar_set_of(fg_grammar *p, const fg_char_set *set, fg_writing writing, uint32_t next);
// A rule whose body comes later; one that calls it.
uint32_t fg_grammar_new_rule(fg_grammar *p);
void fg_grammar_define(fg_grammar *p, uint32_t rule, uint32_t first);
uint32_t fg_grammar_call(fg_grammar *p, uint32_t rule, uint32_t next);
// A node that goes on to `next` or, once it is closed with what leads back to it, round again.
uint32_t fg_grammar_loop(fg_grammar *p, uint32_t next);
void fg_grammar_close(fg_grammar *p, uint32_t loop, uint32_t body);
// A rule, `least` to `most` times (UINT32_MAX: without end).
uint32_t fg_grammar_repeat(fg_grammar *p, uint32_t rule, uint32_t least, uint32_t most, uint32_t next);

// FG_INVALID: nothing finite can be said, or a rule calls itself before it takes a byte.
fg_status fg_grammar_finish(fg_grammar *p, uint32_t start, fg_error *err);
uint64_t fg_grammar_size(const fg_grammar *p); // bytes of memory

#endif
