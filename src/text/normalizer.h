// normalizer.h: rewrites text before it is split: a list of steps, each from one text to the next.
// A new type is a row in normalizer.c.
#ifndef FG_TEXT_NORMALIZER_H
#define FG_TEXT_NORMALIZER_H

#include <jansson.h>

#include "base/text_buffer.h"
#include "text/pattern.h"

typedef struct fg_normal_step fg_normal_step;

// Appends the rewritten text to `out`; text may be empty.
typedef fg_status fg_normal_rewrite(const fg_normal_step *step, fg_regex_work *work, const char *text,
                                    size_t length, fg_text *out, fg_error *err);

struct fg_normal_step {
  fg_normal_rewrite *rewrite;
  int form;           // utf8proc options of a normal form
  bool left, right;   // Strip
  char *content;      // Replace, Prepend
  fg_pattern pattern; // Replace
};

enum { FG_NORMAL_STEPS_MAX = 32 };

typedef struct fg_normalizer {
  fg_normal_step steps[FG_NORMAL_STEPS_MAX];
  size_t count;
} fg_normalizer;

// `json` may be null: then text stays as it is.
fg_status fg_normalizer_read(fg_normalizer *out, const json_t *json, fg_error *err);
void fg_normalizer_free(fg_normalizer *normalizer);

typedef struct fg_normal_work {
  fg_regex_work *regex;
  fg_text texts[2];
} fg_normal_work;

// *out lies in `work`, or is `text` itself when there is nothing to do.
fg_status fg_normalize(const fg_normalizer *normalizer, fg_normal_work *work, fg_slice text, fg_slice *out,
                       fg_error *err);

#endif
