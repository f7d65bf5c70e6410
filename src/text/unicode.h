// unicode.h: the few character properties that tokenizers ask for.
//
// Names follow Unicode: "space" is White_Space, "number" any N*, "letter" any L*, "word" the \w of
// Unicode's regular expressions. Property data comes from utf8proc.
#ifndef FG_TEXT_UNICODE_H
#define FG_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/utf8.h"

enum { FG_REPLACEMENT_CHAR = 0xfffd };

// A stretch of text that somebody else owns.
typedef struct fg_slice {
  const char *data;
  size_t length;
} fg_slice;

typedef enum fg_char_class {
  FG_CHAR_OTHER,
  FG_CHAR_LETTER,
  FG_CHAR_NUMBER,
  FG_CHAR_SPACE,   // white space but CR and LF
  FG_CHAR_NEWLINE, // CR, LF
} fg_char_class;

fg_char_class fg_classify(uint32_t c);
bool fg_is_space(uint32_t c);
bool fg_is_number(uint32_t c);
bool fg_is_word(uint32_t c);
bool fg_is_punctuation(uint32_t c); // P* and ASCII's symbols
bool fg_is_mark(uint32_t c);        // M*
bool fg_is_accent(uint32_t c);      // Mn
bool fg_is_control(uint32_t c);     // Cc, Cf, Co
// The lower-case form of one character without regard to its neighbours: one or two code points.
size_t fg_lowercase(uint32_t c, uint32_t out[static 2]);

#endif
