// bpe.h: byte-pair encoding of one pre-token.
//
// A pre-token starts as one symbol a character (a byte, when the vocabulary is byte-level); then the
// adjacent pair of lowest rank is merged, leftmost first, until no pair is left that has a rank
// (Sennrich et al. 2016). Short pre-tokens are scanned for the lowest rank, long ones keep a heap, so
// that a text without spaces costs n log n.
//
// A vocabulary with scores (SentencePiece) is the same thing: each way to cut a piece in two is a merge,
// ranked by the piece's score (bpe_scores.c). There a character counts as unknown only after merging,
// some pieces are taken from the text whole, and some are cut up again at the end.
//
// Threads: an fg_bpe is immutable once loaded; an fg_bpe_work belongs to one caller at a time.
#ifndef FG_TEXT_BPE_H
#define FG_TEXT_BPE_H

#include "text/tokenizer.h"
#include "text/trie.h"
#include "text/vocabulary.h"

// Symbols that are no tokens: characters that no piece consists of, and pieces that nothing merges with.
enum {
  FG_SYMBOL_CHAR = FG_VOCABULARY_MAX, // + code point
  FG_SYMBOL_WHOLE = 1 << 30,          // | id
};

typedef struct fg_bpe_merge {
  uint32_t left, right;  // left == FREE: no merge in this slot
  uint32_t rank, result; // result: the merged token's id
} fg_bpe_merge;

typedef struct fg_bpe {
  const fg_vocabulary *vocabulary;
  fg_bpe_merge *merges;
  uint32_t slot_count, merge_count, next_rank;
  int32_t first_ids[256];            // of a byte (byte-level) or an ASCII character, -1 = none
  int32_t fallback_ids[256];         // of the tokens <0x00> ... <0xFF>
  char *unk_token, *prefix, *suffix; // NULL = none
  int32_t unk_id;
  bool fuse_unk, byte_fallback, ignore_merges;

  bool by_score;
  fg_trie whole;   // by_score: pieces that are taken from the text as they stand
  bool has_unused; // by_score: there are pieces that are cut up again (FG_TOKEN_UNUSED)
} fg_bpe;

typedef struct fg_bpe_work fg_bpe_work;

fg_status fg_bpe_work_create(fg_bpe_work **out, fg_error *err);
void fg_bpe_work_destroy(fg_bpe_work *work);

void fg_bpe_free(fg_bpe *bpe);

// In order of rank; the vocabulary must be complete and stay where it is.
fg_status fg_bpe_add_merge(fg_bpe *bpe, const char *left, size_t left_length, const char *right,
                           size_t right_length, fg_error *err);
// "left right", cut at the first space that is not the first character.
fg_status fg_bpe_add_merge_line(fg_bpe *bpe, const char *line, size_t length, fg_error *err);
// By symbols; an earlier merge of the same pair is replaced.
fg_status fg_bpe_put_merge(fg_bpe *bpe, fg_bpe_merge merge, fg_error *err);
// Instead of merges: of the scores of all ids.
fg_status fg_bpe_add_scores(fg_bpe *bpe, const float *scores, fg_error *err);
// After the last merge: fills the tables of single symbols.
void fg_bpe_finish(fg_bpe *bpe);
// Whether no merge joins anything to a ▁ behind it, so that a text may be cut in front of each run of them.
bool fg_bpe_words_begin_at_marks(const fg_bpe *bpe);

fg_status fg_bpe_encode(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length, fg_ids *ids,
                        fg_error *err);

#endif
