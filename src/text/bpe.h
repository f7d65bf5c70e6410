// bpe.h: byte-pair encoding of one pre-token.
//
// A pre-token starts as one symbol a character (a byte, when the vocabulary is byte-level); then the
// adjacent pair of lowest rank is merged, leftmost first, until no pair is left that has a rank
// (Sennrich et al. 2016). Short pre-tokens are scanned for the lowest rank, long ones keep a heap, so
// that a text without spaces costs n log n.
//
// Threads: an fg_bpe is immutable once loaded; an fg_bpe_work belongs to one caller at a time.
#ifndef FG_TEXT_BPE_H
#define FG_TEXT_BPE_H

#include "text/tokenizer.h"
#include "text/vocabulary.h"

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
// After the last merge: fills the tables of single symbols.
void fg_bpe_finish(fg_bpe *bpe);

fg_status fg_bpe_encode(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length, fg_ids *ids,
                        fg_error *err);

#endif
