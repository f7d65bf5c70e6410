// wordpiece.h: words by look-up. WordPiece cuts a word from the left into the longest pieces that the
// vocabulary has, those behind the first with a mark in front ("##"); a word that leaves a rest is unknown
// as a whole. WordLevel takes whole words only.
#ifndef FG_TEXT_WORDPIECE_H
#define FG_TEXT_WORDPIECE_H

#include "text/tokenizer.h"
#include "text/trie.h"
#include "text/vocabulary.h"

typedef struct fg_wordpiece {
  fg_trie first, others; // pieces that begin a word, and those behind them without their mark
  uint32_t characters_max;
  bool whole_words;
  int32_t unk_id; // -1: an unknown word is an error
} fg_wordpiece;

// Of all tokens of the model. prefix: the mark of pieces behind the first.
fg_status fg_wordpiece_build(fg_wordpiece *out, const fg_vocabulary *vocabulary, const char *prefix,
                             fg_error *err);
void fg_wordpiece_free(fg_wordpiece *words);
fg_status fg_wordpiece_encode(const fg_wordpiece *words, const char *piece, size_t length, fg_ids *ids,
                              fg_error *err);

#endif
