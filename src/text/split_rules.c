// The splitting rules of GPT-2, Llama-3 and Qwen2, character by character: each is one alternative of
// the family's regular expression after the other, the first that fits wins.
#include <string.h>

#include "text/pattern.h"
#include "text/unicode.h"

static fg_char_class class_at(const char *text, size_t length, size_t at, size_t *next) {
  if (at >= length) {
    *next = at;
    return FG_CHAR_SPACE; // as good as white space for all that asks beyond the end
  }
  const char *s = text + at;
  fg_char_class is = fg_classify(fg_utf8_take(&s));
  *next = (size_t)(s - text);
  return is;
}

static size_t run_of(fg_char_class is, const char *text, size_t length, size_t at) {
  for (size_t next; at < length && class_at(text, length, at, &next) == is;) at = next;
  return at;
}

static bool is_white(fg_char_class is) {
  return is == FG_CHAR_SPACE || is == FG_CHAR_NEWLINE;
}

// 's 't 're 've 'm 'll 'd behind the apostrophe at `at`. Ignoring case, the long s (U+017F) is an s.
static size_t contraction(const char *text, size_t length, size_t at, bool any_case) {
  static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d"};
  size_t left = length - at - 1;
  const char *s = text + at + 1;
  if (any_case && left >= 2 && s[0] == '\xc5' && s[1] == '\xbf') return at + 3;
  char fold = any_case ? 0x20 : 0;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    const char *e = endings[i];
    size_t n = e[1] ? 2 : 1;
    if (left < n) continue;
    if ((s[0] | fold) == e[0] && (n == 1 || (s[1] | fold) == e[1])) return at + 1 + n;
  }
  return at;
}

// \s+(?!\S)|\s+ from `at`, which is white space: before something else, all but the last character.
static size_t white_run(const char *text, size_t length, size_t at) {
  size_t end = at, last = at;
  for (size_t next; end < length && is_white(class_at(text, length, end, &next)); end = next) last = end;
  return end < length && last > at ? last : end;
}

size_t fg_match_gpt2(const char *text, size_t length, size_t at) {
  if (text[at] == '\'') {
    size_t end = contraction(text, length, at, false);
    if (end > at) return end;
  }
  size_t next;
  fg_char_class is = class_at(text, length, at, &next);
  if (text[at] == ' ') is = class_at(text, length, next, &next); // of what the space may join
  if (is_white(is)) return white_run(text, length, at);
  return run_of(is, text, length, next);
}

// Behind punctuation go the line ends that follow.
static size_t newlines(const char *text, size_t length, size_t at) {
  while (at < length && (text[at] == '\r' || text[at] == '\n')) at++;
  return at;
}

static size_t llama3(const char *text, size_t length, size_t at, int digits) {
  if (text[at] == '\'') {
    size_t end = contraction(text, length, at, true);
    if (end > at) return end;
  }
  size_t next, after;
  fg_char_class is = class_at(text, length, at, &next);
  if (is == FG_CHAR_LETTER) return run_of(is, text, length, next);
  if (is == FG_CHAR_NUMBER) {
    for (int i = 1; i < digits && next < length && class_at(text, length, next, &after) == is; i++)
      next = after;
    return next;
  }
  fg_char_class following = class_at(text, length, next, &after);
  if (is != FG_CHAR_NEWLINE && next < length && following == FG_CHAR_LETTER) {
    return run_of(FG_CHAR_LETTER, text, length, after);
  }
  if (is == FG_CHAR_OTHER) return newlines(text, length, run_of(is, text, length, next));
  if (text[at] == ' ' && next < length && following == FG_CHAR_OTHER) {
    return newlines(text, length, run_of(FG_CHAR_OTHER, text, length, after));
  }
  size_t line_end = at; // \s*[\r\n]+: up to the last line end of the white space
  for (size_t end = at; end < length && is_white(is = class_at(text, length, end, &next)); end = next) {
    if (is == FG_CHAR_NEWLINE) line_end = next;
  }
  return line_end > at ? line_end : white_run(text, length, at);
}

size_t fg_match_llama3(const char *text, size_t length, size_t at) {
  return llama3(text, length, at, 3);
}
size_t fg_match_qwen2(const char *text, size_t length, size_t at) {
  return llama3(text, length, at, 1);
}

size_t fg_match_words(const char *text, size_t length, size_t at) {
  const char *s = text + at, *end = text + length;
  uint32_t c = fg_utf8_take(&s);
  if (fg_is_space(c)) return at;
  bool word = fg_is_word(c);
  while (s < end) {
    const char *next = s;
    c = fg_utf8_take(&next);
    if (fg_is_word(c) != word || (!word && fg_is_space(c))) break;
    s = next;
  }
  return (size_t)(s - text);
}

size_t fg_match_marked_word(const char *text, size_t length, size_t at) {
  static const char mark[] = "\xe2\x96\x81";
  enum { MARK = sizeof mark - 1 };
  while (length - at >= MARK && memcmp(text + at, mark, MARK) == 0) at += MARK;
  const char *next = at < length ? memmem(text + at, length - at, mark, MARK) : NULL;
  return next ? (size_t)(next - text) : length;
}
