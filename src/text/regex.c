#include "text/regex.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
  PATTERN_MAX = 1 << 16,
  MATCH_LIMIT = 10 * 1000 * 1000, // PCRE2's own default: some 100 ms
  HEAP_LIMIT_KIB = 64 * 1024,
};

struct fg_regex {
  pcre2_code *code;
};

struct fg_regex_work {
  pcre2_match_data *data;
  pcre2_match_context *context;
};

static pcre2_code *compile(const char *pattern, size_t length, int *number, PCRE2_SIZE *offset) {
  pcre2_compile_context *context = pcre2_compile_context_create(NULL);
  if (!context) return NULL;
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, 100);
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, length, options, number, offset, context);
  pcre2_compile_context_free(context);
  return code;
}

fg_status fg_regex_create(fg_regex **out, const char *oniguruma, fg_error *err) {
  if (strlen(oniguruma) > PATTERN_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "a regular expression of %zu bytes (at most %d)", strlen(oniguruma),
                   PATTERN_MAX);
  }
  fg_text pattern = {0};
  fg_status status = fg_onig_to_pcre2(oniguruma, &pattern, err);
  fg_regex *regex = status == FG_OK ? calloc(1, sizeof *regex) : NULL;
  if (status == FG_OK && !regex) status = fg_fail(err, FG_NO_SPACE, "out of memory for a regular expression");
  if (status == FG_OK) {
    int number = 0;
    PCRE2_SIZE offset = 0;
    regex->code = compile(pattern.data ? pattern.data : "", pattern.length, &number, &offset);
    if (!regex->code) {
      PCRE2_UCHAR reason[120] = "out of memory";
      if (number) pcre2_get_error_message(number, reason, sizeof reason);
      status =
          fg_fail(err, FG_UNSUPPORTED, "regular expression \"%.200s\": %s", oniguruma, (const char *)reason);
    }
  }
  // Without JIT (refused by some kernels) the interpreter does the same.
  if (status == FG_OK) (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
  fg_text_free(&pattern);
  if (status) {
    fg_regex_destroy(regex);
    regex = NULL;
  }
  *out = regex;
  return status;
}

void fg_regex_destroy(fg_regex *regex) {
  if (!regex) return;
  pcre2_code_free(regex->code);
  free(regex);
}

fg_status fg_regex_work_create(fg_regex_work **out, fg_error *err) {
  fg_regex_work *work = calloc(1, sizeof *work);
  if (work) {
    work->data = pcre2_match_data_create(1, NULL); // group 0 is all that is asked for
    work->context = pcre2_match_context_create(NULL);
  }
  if (!work || !work->data || !work->context) {
    fg_regex_work_destroy(work);
    return fg_fail(err, FG_NO_SPACE, "out of memory for matching a regular expression");
  }
  pcre2_set_match_limit(work->context, MATCH_LIMIT);
  pcre2_set_heap_limit(work->context, HEAP_LIMIT_KIB);
  *out = work;
  return FG_OK;
}

void fg_regex_work_destroy(fg_regex_work *work) {
  if (!work) return;
  pcre2_match_data_free(work->data);
  pcre2_match_context_free(work->context);
  free(work);
}

fg_status fg_regex_search(const fg_regex *regex, fg_regex_work *work, fg_slice text, size_t from,
                          fg_regex_match *out, fg_error *err) {
  PCRE2_SPTR subject = (PCRE2_SPTR)text.data;
  int rc =
      pcre2_match(regex->code, subject, text.length, from, PCRE2_NO_UTF_CHECK, work->data, work->context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) { // the interpreter keeps its stack on the heap
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT;
    rc = pcre2_match(regex->code, subject, text.length, from, options, work->data, work->context);
  }
  *out = (fg_regex_match){.found = rc >= 0};
  if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
    PCRE2_UCHAR reason[120];
    pcre2_get_error_message(rc, reason, sizeof reason);
    return fg_fail(err, FG_INVALID, "a tokenizer's regular expression failed at byte %zu of a text: %s", from,
                   (const char *)reason);
  }
  if (out->found) {
    const PCRE2_SIZE *group = pcre2_get_ovector_pointer(work->data);
    out->begin = group[0];
    out->end = group[1];
  }
  return FG_OK;
}
