// utf8.h: characters in bytes: what is valid, and valid text a character at a time.
//
// Valid is what Unicode says: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#ifndef FG_BASE_UTF8_H
#define FG_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text_buffer.h"

// The character at `*at` in valid UTF-8; moves on.
static inline uint32_t fg_utf8_take(const char **at) {
  const unsigned char *s = (const unsigned char *)*at;
  if (s[0] < 0x80) {
    *at += 1;
    return s[0];
  }
  if (s[0] < 0xe0) {
    *at += 2;
    return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
  }
  if (s[0] < 0xf0) {
    *at += 3;
    return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
  }
  *at += 4;
  return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

// The last character before `*at`; moves back.
static inline uint32_t fg_utf8_take_back(const char **at) {
  do {
    --*at;
  } while (((unsigned char)**at & 0xc0) == 0x80);
  const char *start = *at;
  return fg_utf8_take(&start);
}

// Bytes of the character that starts with `lead`, in valid UTF-8.
static inline size_t fg_utf8_length(char lead) {
  unsigned char c = (unsigned char)lead;
  return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

size_t fg_utf8_put(uint32_t c, char out[static 4]);
void fg_utf8_append(fg_text *text, uint32_t c);

typedef enum fg_utf8_state { FG_UTF8_VALID, FG_UTF8_INVALID, FG_UTF8_INCOMPLETE } fg_utf8_state;

// What stands at the start of `bytes` (count > 0): a whole character, a maximal part that can never
// become one, or the beginning of one that needs more bytes. Returns its length.
size_t fg_utf8_scan(const char *bytes, size_t count, fg_utf8_state *state);
bool fg_utf8_valid(const char *bytes, size_t count);

#endif
