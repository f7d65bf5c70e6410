// expression.h: regular expressions as grammars.
//
// The part of the usual syntax (Python's re, ECMA-262) that a finite automaton can read: characters, escapes,
// classes, groups, alternatives, quantifiers (a lazy one says the same), ^ at the beginning and $ at the end
// of an alternative. \d, \w and \s are ASCII's, and so are their opposites; a dot is any character but a line
// feed. Look-around, references, word boundaries, flags and properties are refused by name.
#ifndef FG_GUIDE_EXPRESSION_H
#define FG_GUIDE_EXPRESSION_H

#include "guide/grammar.h"

typedef struct fg_expression fg_expression;

enum { FG_EXPRESSION_MAX = 1 << 16 }; // bytes

// Valid UTF-8.
fg_status fg_expression_parse(fg_expression **out, const char *text, size_t length, fg_error *err);
void fg_expression_destroy(fg_expression *expression); // NULL is allowed

typedef enum fg_matching {
  FG_MATCH_WHOLE,  // the expression is all of the text
  FG_MATCH_WITHIN, // it may stand anywhere in it, but where it is anchored
} fg_matching;

// Writes it into a grammar, in front of `next`. FG_UNSUPPORTED: an anchor in the middle.
fg_status fg_expression_write(const fg_expression *expression, fg_grammar *grammar, fg_matching matching,
                              fg_writing writing, uint32_t next, uint32_t *first, fg_error *err);

#endif
