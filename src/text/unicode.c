#include "text/unicode.h"

#include <utf8proc.h>

static utf8proc_category_t category(uint32_t c) {
  return utf8proc_category((utf8proc_int32_t)c);
}

bool fg_is_space(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  if (c < 0x1680) return c == 0x85 || c == 0xa0;
  return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

bool fg_is_number(uint32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  utf8proc_category_t is = category(c);
  return is == UTF8PROC_CATEGORY_ND || is == UTF8PROC_CATEGORY_NL || is == UTF8PROC_CATEGORY_NO;
}

fg_char_class fg_classify(uint32_t c) {
  if (c < 0x80) {
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return FG_CHAR_LETTER;
    if (c == '\n' || c == '\r') return FG_CHAR_NEWLINE;
    if (fg_is_space(c)) return FG_CHAR_SPACE;
    return c >= '0' && c <= '9' ? FG_CHAR_NUMBER : FG_CHAR_OTHER;
  }
  utf8proc_category_t is = category(c);
  if (is >= UTF8PROC_CATEGORY_LU && is <= UTF8PROC_CATEGORY_LO) return FG_CHAR_LETTER;
  if (is >= UTF8PROC_CATEGORY_ND && is <= UTF8PROC_CATEGORY_NO) return FG_CHAR_NUMBER;
  return fg_is_space(c) ? FG_CHAR_SPACE : FG_CHAR_OTHER;
}

// Alphabetic, marks, decimal numbers, connectors, joiners. Alphabetic holds some enclosed letters that
// are symbols by category.
bool fg_is_word(uint32_t c) {
  utf8proc_category_t is = category(c);
  if (is >= UTF8PROC_CATEGORY_LU && is <= UTF8PROC_CATEGORY_NL) return true; // L*, M*, Nd, Nl
  if (is == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d) return true;
  return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
         (c >= 0x1f170 && c <= 0x1f189);
}

bool fg_is_punctuation(uint32_t c) {
  if (c < 0x80) return c > ' ' && c < 0x7f && fg_classify(c) == FG_CHAR_OTHER;
  if (c == 0x166d) return true; // a symbol since Unicode 12; tokenizers' table is that of Unicode 8
  utf8proc_category_t is = category(c);
  return is >= UTF8PROC_CATEGORY_PC && is <= UTF8PROC_CATEGORY_PO;
}

bool fg_is_mark(uint32_t c) {
  utf8proc_category_t is = category(c);
  return is >= UTF8PROC_CATEGORY_MN && is <= UTF8PROC_CATEGORY_ME;
}

bool fg_is_accent(uint32_t c) {
  // Characters that have changed sides; tokenizers' table is that of Unicode 8.
  if (c == 0x1734) return true;
  if (c == 0x1885 || c == 0x1886) return false;
  return category(c) == UTF8PROC_CATEGORY_MN;
}

bool fg_is_control(uint32_t c) {
  utf8proc_category_t is = category(c);
  return is == UTF8PROC_CATEGORY_CC || is == UTF8PROC_CATEGORY_CF || is == UTF8PROC_CATEGORY_CO;
}

size_t fg_lowercase(uint32_t c, uint32_t out[static 2]) {
  if (c == 0x130) { // the only unconditional lower-case mapping that is two characters
    out[0] = 'i';
    out[1] = 0x307;
    return 2;
  }
  out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
  return 1;
}
