// normalizer.h: rewrites text before it is split: a list of steps, each from one text to the next.
// A new type is a row in normalizer.c and its rewriting in normal_rewrites.c.
#ifndef FG_TEXT_NORMALIZER_H
#define FG_TEXT_NORMALIZER_H

#include <jansson.h>

#include "base/text_buffer.h"
#include "text/charsmap.h"
#include "text/pattern.h"
#include "text/trie.h"

typedef struct fg_normal_step fg_normal_step;

typedef struct fg_normal_work {
  fg_regex_work *regex;
  bool at_start; // the text begins where the input does
  fg_text texts[2];
} fg_normal_work;

// Appends the rewritten text to `out`; text may be empty.
typedef fg_status fg_normal_rewrite(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                                    fg_text *out, fg_error *err);

// What SentencePiece does around its rules.
typedef struct fg_spm_spaces {
  bool add_prefix, at_start_only; // a space in front of each stretch of text, or of the input only
  bool remove_extra, escape;      // spaces at the ends and next to others; spaces become ▁
  const fg_trie *whole;           // borrowed: texts that no rule touches
} fg_spm_spaces;

struct fg_normal_step {
  fg_normal_rewrite *rewrite;
  int form;                                               // utf8proc options of a normal form
  bool left, right;                                       // Strip
  bool clean, space_ideographs, strip_accents, lowercase; // BertNormalizer
  char *content;                                          // Replace, Prepend
  fg_pattern pattern;                                     // Replace
  fg_charsmap charsmap;                                   // Precompiled, SentencePiece
  fg_spm_spaces spaces;                                   // SentencePiece
};

enum { FG_NORMAL_STEPS_MAX = 32 };

typedef struct fg_normalizer {
  fg_normal_step steps[FG_NORMAL_STEPS_MAX];
  size_t count;
} fg_normalizer;

// `json` may be null: then text stays as it is.
fg_status fg_normalizer_read(fg_normalizer *out, const json_t *json, fg_error *err);
void fg_normalizer_free(fg_normalizer *normalizer);

// Adds SentencePiece's own normalizer; takes the charsmap.
fg_status fg_normalizer_add_spm(fg_normalizer *normalizer, fg_charsmap *charsmap, fg_spm_spaces spaces,
                                fg_error *err);

// *out lies in `work`, or is `text` itself when there is nothing to do.
fg_status fg_normalize(const fg_normalizer *normalizer, fg_normal_work *work, fg_slice text, fg_slice *out,
                       fg_error *err);

// normal_rewrites.c
fg_normal_rewrite fg_rewrite_form, fg_rewrite_lowercase, fg_rewrite_replace, fg_rewrite_prepend,
    fg_rewrite_strip, fg_rewrite_strip_accents, fg_rewrite_nmt, fg_rewrite_bert, fg_rewrite_bytes,
    fg_rewrite_precompiled, fg_rewrite_spm;

#endif
