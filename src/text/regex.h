// regex.h: the regular expressions of tokenizer files, on PCRE2.
//
// Tokenizer files are written for Oniguruma (Ruby's syntax). The expression is rewritten for PCRE2
// construct by construct, and one that would mean something else there is refused by name. White
// space, digits and word characters are spelled out as Unicode properties, so that they are the same
// sets. Every search has a step limit, so no expression can hang.
#ifndef FG_TEXT_REGEX_H
#define FG_TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "text/unicode.h"

typedef struct fg_regex fg_regex;
typedef struct fg_regex_work fg_regex_work; // of one caller at a time, for any expression

fg_status fg_regex_create(fg_regex **out, const char *oniguruma, fg_error *err);
void fg_regex_destroy(fg_regex *regex);
fg_status fg_regex_work_create(fg_regex_work **out, fg_error *err);
void fg_regex_work_destroy(fg_regex_work *work);

typedef struct fg_regex_match {
  bool found;
  size_t begin, end;
} fg_regex_match;

// The leftmost match in `text` (valid UTF-8) that starts at `from` or behind it.
fg_status fg_regex_search(const fg_regex *regex, fg_regex_work *work, fg_slice text, size_t from,
                          fg_regex_match *out, fg_error *err);

// The rewriting alone (onig_syntax.c).
fg_status fg_onig_to_pcre2(const char *oniguruma, fg_text *pcre2, fg_error *err);

#endif
