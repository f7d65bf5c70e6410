#include "text/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

// Expressions as they stand in the families' files: a matcher of ours, or another spelling of the same
// set where the original is nested.
typedef struct known_regex {
  const char *regex;
  fg_matcher *matcher;
  const char *spelling;
} known_regex;

#define TAIL " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
static const known_regex known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", fg_match_gpt2,
     NULL},
    {HEAD "\\p{N}{1,3}|" TAIL, fg_match_llama3, NULL},
    {HEAD "\\p{N}|" TAIL, fg_match_qwen2, NULL},
    {" ?[^(\\s|[.,!?…。，、।۔،])]+", NULL, " ?[^(\\s|.,!?…。，、।۔،)]+"},
};
#undef TAIL
#undef HEAD

fg_status fg_pattern_of_string(fg_pattern *out, const char *string, fg_error *err) {
  *out = (fg_pattern){0};
  if (!*string) return fg_fail(err, FG_UNSUPPORTED, "an empty string to search for");
  out->string = strdup(string);
  if (!out->string) return fg_fail(err, FG_NO_SPACE, "out of memory for a pattern");
  out->string_length = strlen(string);
  return FG_OK;
}

fg_status fg_pattern_of_regex(fg_pattern *out, const char *regex, fg_error *err) {
  *out = (fg_pattern){0};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(known[i].regex, regex) != 0) continue;
    out->matcher = known[i].matcher;
    if (out->matcher) return FG_OK;
    regex = known[i].spelling;
    break;
  }
  return fg_regex_create(&out->regex, regex, err);
}

fg_status fg_pattern_read(fg_pattern *out, const json_t *json, fg_error *err) {
  const char *string = json_string_value(json_object_get(json, "String"));
  const char *regex = json_string_value(json_object_get(json, "Regex"));
  if (string) return fg_pattern_of_string(out, string, err);
  if (regex) return fg_pattern_of_regex(out, regex, err);
  return fg_fail(err, FG_CORRUPT, "a pattern that is neither a String nor a Regex");
}

void fg_pattern_free(fg_pattern *pattern) {
  free(pattern->string);
  fg_regex_destroy(pattern->regex);
  *pattern = (fg_pattern){0};
}

fg_pattern_walk fg_pattern_start(const fg_pattern *pattern, fg_regex_work *work, const char *text,
                                 size_t length) {
  return (fg_pattern_walk){
      .pattern = pattern, .work = work, .text = text, .length = length, .last_end = SIZE_MAX};
}

// The leftmost match from walk->from on, into begin and end.
static fg_status search(fg_pattern_walk *w, bool *found, fg_error *err) {
  const fg_pattern *p = w->pattern;
  *found = false;
  if (p->regex) {
    fg_regex_match match;
    fg_status status =
        fg_regex_search(p->regex, w->work, (fg_slice){w->text, w->length}, w->from, &match, err);
    *found = status == FG_OK && match.found;
    w->begin = match.begin;
    w->end = match.end;
    return status;
  }
  if (p->string) {
    const char *hit = memmem(w->text + w->from, w->length - w->from, p->string, p->string_length);
    if (!hit) return FG_OK;
    w->begin = (size_t)(hit - w->text);
    w->end = w->begin + p->string_length;
    *found = true;
    return FG_OK;
  }
  while (w->from < w->length) {
    const char *at = w->text + w->from;
    w->begin = w->from;
    if (p->matcher) {
      w->end = p->matcher(w->text, w->length, w->from);
      *found = w->end > w->begin;
      w->from += fg_utf8_length(*at);
    } else {
      *found = p->test(fg_utf8_take(&at));
      w->end = w->from = (size_t)(at - w->text);
    }
    if (*found) return FG_OK;
  }
  return FG_OK;
}

fg_status fg_pattern_next(fg_pattern_walk *w, bool *found, fg_error *err) {
  while (w->from <= w->length) {
    fg_status status = search(w, found, err);
    if (status || !*found) return status;
    if (w->end > w->begin || w->end != w->last_end) {
      w->from = w->last_end = w->end;
      return FG_OK;
    }
    w->from = w->end < w->length ? w->end + fg_utf8_length(w->text[w->end]) : w->length + 1;
  }
  *found = false;
  return FG_OK;
}
