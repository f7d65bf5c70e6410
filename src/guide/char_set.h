// char_set.h: a set of Unicode characters, as ranges in rising order that do not touch.
//
// Surrogates are no characters: no set holds them, whatever is added or negated.
#ifndef FG_GUIDE_CHAR_SET_H
#define FG_GUIDE_CHAR_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fg_char_range {
  uint32_t low, high; // both included
} fg_char_range;

typedef struct fg_char_set {
  fg_char_range *ranges;
  uint32_t count, capacity;
  bool failed; // out of memory, at some time
} fg_char_set;

enum { FG_CHAR_MAX = 0x10ffff };

void fg_char_set_add(fg_char_set *set, uint32_t low, uint32_t high);
void fg_char_set_add_set(fg_char_set *set, const fg_char_set *other);
void fg_char_set_remove(fg_char_set *set, uint32_t low, uint32_t high);
void fg_char_set_negate(fg_char_set *set);
bool fg_char_set_has(const fg_char_set *set, uint32_t c);
bool fg_char_set_equal(const fg_char_set *a, const fg_char_set *b);
void fg_char_set_free(fg_char_set *set);

#endif
