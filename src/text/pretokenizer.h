// pretokenizer.h: cuts a piece of text into pre-tokens.
//
// What a file calls ByteLevel, Metaspace, Digits or Split comes down to two kinds of steps: change the
// text (a space in front, spaces to ▁, bytes to printable characters), or split it by a pattern. Each
// pre-token runs through all steps before the next one starts, so nothing is listed in between. A new
// type of pre-tokenizer is a row in pretokenizer_read.c.
#ifndef FG_TEXT_PRETOKENIZER_H
#define FG_TEXT_PRETOKENIZER_H

#include <jansson.h>

#include "base/text_buffer.h"
#include "text/pattern.h"

typedef enum fg_split_behavior {
  FG_SPLIT_REMOVED,
  FG_SPLIT_ISOLATED,
  FG_SPLIT_MERGED_WITH_PREVIOUS,
  FG_SPLIT_MERGED_WITH_NEXT,
  FG_SPLIT_CONTIGUOUS,
} fg_split_behavior;

typedef enum fg_prepend_scheme { FG_PREPEND_NEVER, FG_PREPEND_FIRST, FG_PREPEND_ALWAYS } fg_prepend_scheme;

typedef struct fg_pretoken_step fg_pretoken_step;

// text: [length], a part of the input when nothing changed it. at_start: it begins where the input does.
typedef struct fg_piece {
  const char *text;
  size_t length;
  bool at_start;
} fg_piece;

// Writes the changed text.
typedef void fg_pretoken_change(const fg_pretoken_step *step, fg_piece piece, fg_text *out);

struct fg_pretoken_step {
  fg_pretoken_change *change; // NULL = split
  char replacement[5];        // a change's character, as UTF-8
  fg_prepend_scheme prepend;
  fg_pattern pattern; // a split's
  fg_split_behavior behavior;
  bool invert;
};

enum { FG_PRETOKEN_STEPS_MAX = 32 };

typedef struct fg_pretokenizer {
  fg_pretoken_step steps[FG_PRETOKEN_STEPS_MAX];
  size_t count;
  bool byte_level; // pre-tokens are raw bytes that the model takes in the byte alphabet
} fg_pretokenizer;

// `json` may be null: then a piece is one pre-token.
fg_status fg_pretokenizer_read(fg_pretokenizer *out, const json_t *json, fg_error *err);
void fg_pretokenizer_free(fg_pretokenizer *pretokenizer);

// Brings the byte alphabet back into the text, for a model that cannot take raw bytes.
fg_status fg_pretokenizer_spell_bytes(fg_pretokenizer *pretokenizer, fg_error *err);

// Cuts in front of every run of ▁ as well.
fg_status fg_pretokenizer_cut_at_marks(fg_pretokenizer *pretokenizer, fg_error *err);

typedef fg_status fg_pretoken_sink(void *user, const char *text, size_t length, fg_error *err);

typedef struct fg_pretoken_work {
  fg_regex_work *regex;
  fg_text changed[FG_PRETOKEN_STEPS_MAX];
} fg_pretoken_work;

fg_status fg_pretokenize(const fg_pretokenizer *pretokenizer, fg_pretoken_work *work, fg_piece piece,
                         fg_pretoken_sink *sink, void *user, fg_error *err);

// The changes (pretokenizer.c).
fg_pretoken_change fg_change_prefix_space, fg_change_metaspace, fg_change_spell_bytes;

#endif
