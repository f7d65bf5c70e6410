// gguf_splits.h: how a GGUF's text is split: the header names a rule (tokenizer.ggml.pre), the rules are
// the families' own pipelines.
#ifndef FG_TEXT_GGUF_SPLITS_H
#define FG_TEXT_GGUF_SPLITS_H

#include "text/tokenizer_internal.h"

enum { FG_GGUF_SPLITS_MAX = 6 };

typedef enum fg_gguf_tail {
  FG_GGUF_BYTES,  // nothing more
  FG_GGUF_GPT2,   // GPT-2's rule
  FG_GGUF_FALCON, // runs of punctuation, GPT-2's rule, then digits by threes
} fg_gguf_tail;

typedef struct fg_gguf_split {
  const char
      *splits[FG_GGUF_SPLITS_MAX]; // regular expressions, one after the other; what matches stands alone
  fg_gguf_tail tail;
} fg_gguf_split;

typedef struct fg_gguf_pre {
  const char *name;
  const fg_gguf_split *split;
  bool nfc; // before that
  bool ignore_merges, add_bos;
  const char *const *before; // tokens in front of every text, NULL at the end; NULL = none
} fg_gguf_pre;

// NULL: no such rule.
const fg_gguf_pre *fg_gguf_find_pre(const char *name, size_t length);
// The pipeline in front of and behind the model.
fg_status fg_gguf_read_split(fg_tokenizer *tokenizer, const fg_gguf_pre *pre, fg_error *err);

#endif
