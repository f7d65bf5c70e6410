#include "base/utf8.h"

size_t fg_utf8_put(uint32_t c, char out[static 4]) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  size_t count = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = count; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
  out[0] = (char)((0xf00 >> count) | c);
  return count;
}

void fg_utf8_append(fg_text *text, uint32_t c) {
  char bytes[4];
  fg_text_append(text, bytes, fg_utf8_put(c, bytes));
}

size_t fg_utf8_scan(const char *bytes, size_t count, fg_utf8_state *state) {
  const unsigned char *s = (const unsigned char *)bytes;
  size_t length = s[0] < 0x80                    ? 1
                  : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                  : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                  : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                 : 0;
  *state = length == 0 ? FG_UTF8_INVALID : FG_UTF8_VALID;
  if (length <= 1) return 1;
  // The second byte's range keeps out overlong forms, surrogates and what lies beyond U+10FFFF.
  unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
  unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < length; i++) {
    if (i == count) {
      *state = FG_UTF8_INCOMPLETE;
      return count;
    }
    if (s[i] < low || s[i] > high) {
      *state = FG_UTF8_INVALID;
      return i;
    }
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

bool fg_utf8_valid(const char *bytes, size_t count) {
  for (size_t at = 0; at < count;) {
    if ((unsigned char)bytes[at] < 0x80) {
      at++;
      continue;
    }
    fg_utf8_state state;
    at += fg_utf8_scan(bytes + at, count - at, &state);
    if (state != FG_UTF8_VALID) return false;
  }
  return true;
}
