// pattern.h: what normalizers, pre-tokenizers and decoders search for: a string, a kind of character,
// a splitting rule that is known by name and written out by hand, or a regular expression.
#ifndef FG_TEXT_PATTERN_H
#define FG_TEXT_PATTERN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "text/regex.h"

// The end of the match that starts at `at` (< length); `at` itself where none starts.
typedef size_t fg_matcher(const char *text, size_t length, size_t at);
typedef bool fg_char_test(uint32_t c);

// Exactly one of the four is set.
typedef struct fg_pattern {
  char *string;
  size_t string_length;
  fg_char_test *test; // every such character is a match
  fg_matcher *matcher;
  fg_regex *regex;
} fg_pattern;

fg_status fg_pattern_of_string(fg_pattern *out, const char *string, fg_error *err);
// A regular expression that is known by name becomes its matcher.
fg_status fg_pattern_of_regex(fg_pattern *out, const char *regex, fg_error *err);
// {"String": ...} or {"Regex": ...}
fg_status fg_pattern_read(fg_pattern *out, const json_t *json, fg_error *err);
void fg_pattern_free(fg_pattern *pattern);

// A walk over all matches, left to right, not overlapping; an empty match directly behind the one
// before does not count.
typedef struct fg_pattern_walk {
  const fg_pattern *pattern;
  fg_regex_work *work;
  const char *text;
  size_t length;
  size_t from, last_end; // last_end: SIZE_MAX before the first match
  size_t begin, end;     // of the match found
} fg_pattern_walk;

fg_pattern_walk fg_pattern_start(const fg_pattern *pattern, fg_regex_work *work, const char *text,
                                 size_t length);
fg_status fg_pattern_next(fg_pattern_walk *walk, bool *found, fg_error *err);

// split_rules.c: the splitting rules of the families, by hand.
size_t fg_match_gpt2(const char *text, size_t length, size_t at);
size_t fg_match_llama3(const char *text, size_t length, size_t at);
size_t fg_match_qwen2(const char *text, size_t length, size_t at);
size_t fg_match_words(const char *text, size_t length, size_t at);       // \w+|[^\w\s]+
size_t fg_match_marked_word(const char *text, size_t length, size_t at); // ▁*[^▁]*

#endif
