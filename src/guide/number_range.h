// number_range.h: the numbers of JSON between two bounds, as grammars.
//
// Numbers are held scaled by a power of ten, so that bounds are whole. What is written is a part of what is
// allowed, chosen so that a reader who rounds to doubles finds every number within the bounds: at most 15
// digits, at most six of them behind the point where there are bounds.
#ifndef FG_GUIDE_NUMBER_RANGE_H
#define FG_GUIDE_NUMBER_RANGE_H

#include "guide/grammar.h"

enum { FG_RANGE_DECIMALS = 6, FG_RANGE_DIGITS = 15 };

typedef struct fg_number_range {
  int64_t low, high;        // times 10^decimals; magnitudes of at most FG_RANGE_DIGITS digits
  bool low_open, high_open; // the bound itself is not within
  uint32_t decimals;        // at most FG_RANGE_DECIMALS
  bool whole;               // integers only; decimals 0
} fg_number_range;

// *any false: there is none, and nothing was written.
uint32_t fg_grammar_number_range(fg_grammar *p, const fg_number_range *range, uint32_t next, bool *any);
// Any number: with a fraction and an exponent, or `whole`.
uint32_t fg_grammar_number(fg_grammar *p, bool whole, uint32_t next);

#endif
