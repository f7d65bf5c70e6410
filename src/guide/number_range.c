#include "guide/number_range.h"

static uint64_t power(uint32_t exponent) {
  uint64_t value = 1;
  while (exponent-- > 0) value *= 10;
  return value;
}

static uint32_t digits_of(uint64_t value) {
  uint32_t count = 1;
  for (; value >= 10; value /= 10) count++;
  return count;
}

// Ways that have come together.
typedef struct ways {
  fg_grammar *grammar;
  uint32_t first;
  bool any;
} ways;

static void add_way(ways *w, uint32_t first) {
  w->first = w->any ? fg_grammar_split(w->grammar, w->first, first) : first;
  w->any = true;
}

// ---- digits --------------------------------------------------------------------------------------------

static uint32_t digit(fg_grammar *p, uint64_t low, uint64_t high, uint32_t next) {
  return fg_grammar_byte(p, (uint8_t)('0' + low), (uint8_t)('0' + high), next);
}

// Between `least` and `most` digits of any kind.
static uint32_t some_digits(fg_grammar *p, uint32_t least, uint32_t most, uint32_t next) {
  const uint32_t end = next;
  for (uint32_t i = least; i < most; i++) next = fg_grammar_split(p, digit(p, 0, 9, next), end);
  for (uint32_t i = 0; i < least; i++) next = digit(p, 0, 9, next);
  return next;
}

// Digits of a fraction, at most `most`, of which one is not 0.
static uint32_t nonzero_digits(fg_grammar *p, uint32_t most, uint32_t next) {
  uint32_t first = digit(p, 1, 9, next);
  for (uint32_t behind = 1; behind < most; behind++)
    first = fg_grammar_split(p, digit(p, 1, 9, some_digits(p, 0, behind, next)), digit(p, 0, 0, first));
  return first;
}

// Numbers from low to high, written with exactly `count` digits, and a point before the last `decimals`.
static uint32_t same_length(fg_grammar *p, uint64_t low, uint64_t high, uint32_t count, uint32_t decimals,
                            uint32_t next) {
  if (count == 0) return next;
  const uint64_t unit = power(count - 1), first = low / unit, last = high / unit, most = unit - 1;
  ways w = {.grammar = p};
  for (uint64_t d = first; d <= last;) {
    const uint64_t from = d == first ? low % unit : 0, to = d == last ? high % unit : most;
    uint64_t end = d; // digits up to this one are followed by the same
    while (from == 0 && to == most && end < last && (end + 1 < last || high % unit == most)) end++;
    add_way(&w, digit(p, d, end, same_length(p, from, to, count - 1, decimals, next)));
    d = end + 1;
  }
  return decimals && count == decimals ? fg_grammar_text(p, ".", w.first) : w.first;
}

// Numbers from low to high, scaled by 10^decimals, with no digit that is not needed in front.
static void add_between(ways *w, uint64_t low, uint64_t high, uint32_t decimals, uint32_t next) {
  for (uint32_t count = decimals + 1; low <= high && count <= digits_of(high); count++) {
    const uint64_t least = count == decimals + 1 ? 0 : power(count - 1), most = power(count) - 1;
    const uint64_t from = low > least ? low : least, to = high < most ? high : most;
    if (from <= to) add_way(w, same_length(w->grammar, from, to, count, decimals, next));
  }
  if (low <= high && digits_of(high) <= decimals)
    add_way(w, same_length(w->grammar, low, high, decimals + 1, decimals, next));
}

// ---- numbers that are not negative -----------------------------------------------------------------------

typedef struct bounds {
  uint64_t low, high;
  bool low_open, high_open;
} bounds;

// Written with fewer decimals than the bounds have.
static void add_shorter(ways *w, const bounds *b, uint32_t decimals, uint32_t fewer, uint32_t next) {
  const uint64_t unit = power(fewer);
  uint64_t low = (b->low + unit - 1) / unit, high = b->high / unit;
  low += b->low_open && b->low % unit == 0;
  if (b->high_open && b->high % unit == 0) {
    if (high == 0) return;
    high--;
  }
  add_between(w, low, high, decimals - fewer, next);
}

// With more decimals: what lies between two neighbours is within if both are, or one of them is an open
// bound.
static void add_longer(ways *w, const bounds *b, uint32_t decimals, uint32_t next) {
  fg_grammar *p = w->grammar;
  const uint32_t more = FG_RANGE_DECIMALS - decimals;
  if (!more || b->high == 0 || b->low > b->high - 1) return;
  uint64_t low = b->low;
  if (b->low_open) {
    const uint32_t rest = nonzero_digits(p, more, next);
    add_between(w, low, low, decimals, decimals ? rest : fg_grammar_text(p, ".", rest));
    low++;
  }
  const uint32_t rest = some_digits(p, 1, more, next);
  add_between(w, low, b->high - 1, decimals, decimals ? rest : fg_grammar_text(p, ".", rest));
}

static void add_numbers(ways *w, const bounds *b, const fg_number_range *r, uint32_t next) {
  for (uint32_t fewer = 0; fewer <= r->decimals; fewer++) add_shorter(w, b, r->decimals, fewer, next);
  if (!r->whole) add_longer(w, b, r->decimals, next);
}

// ---- all of them -----------------------------------------------------------------------------------------

static uint64_t magnitude(int64_t value) {
  return value < 0 ? (uint64_t)-value : (uint64_t)value;
}

uint32_t fg_grammar_number_range(fg_grammar *p, const fg_number_range *r, uint32_t next, bool *any) {
  ways positive = {.grammar = p}, negative = {.grammar = p};
  if (r->high >= 0) {
    bounds b = {magnitude(r->low), magnitude(r->high), r->low_open, r->high_open};
    if (r->low < 0) {
      b.low = 0;
      b.low_open = false;
    }
    add_numbers(&positive, &b, r, next);
  }
  if (r->low < 0) { // zero has no sign
    bounds b = {magnitude(r->high), magnitude(r->low), r->high_open, r->low_open};
    if (r->high >= 0) {
      b.low = 0;
      b.low_open = true;
    }
    add_numbers(&negative, &b, r, next);
  }
  if (negative.any) add_way(&positive, fg_grammar_text(p, "-", negative.first));
  *any = positive.any;
  return positive.first;
}

uint32_t fg_grammar_number(fg_grammar *p, bool whole, uint32_t next) {
  enum { EXPONENT_DIGITS = 2 };
  if (!whole) {
    const uint32_t exponent = some_digits(p, 1, EXPONENT_DIGITS, next);
    const uint32_t sign = fg_grammar_split(
        p, exponent,
        fg_grammar_split(p, fg_grammar_text(p, "+", exponent), fg_grammar_text(p, "-", exponent)));
    next = fg_grammar_split(
        p, next, fg_grammar_split(p, fg_grammar_text(p, "e", sign), fg_grammar_text(p, "E", sign)));
    next = fg_grammar_split(p, next, fg_grammar_text(p, ".", some_digits(p, 1, FG_RANGE_DIGITS, next)));
  }
  const uint32_t from_one = digit(p, 1, 9, some_digits(p, 0, FG_RANGE_DIGITS - 1, next));
  const uint32_t plain = fg_grammar_split(p, digit(p, 0, 0, next), from_one);
  return fg_grammar_split(p, plain, fg_grammar_text(p, "-", whole ? from_one : plain));
}
