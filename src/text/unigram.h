// unigram.h: the likeliest way to cut a pre-token into pieces (Kudo 2018).
//
// Every piece has a score, its log-probability; of all ways to cut the text the one of the highest sum is
// taken, found from left to right: for each byte the best way to end there. A character that is no piece
// counts as unknown, at a score below all others.
//
// Two libraries, two arithmetics: tokenizers adds in float64, SentencePiece keeps sums in float32. Ways
// with equal scores are common ("aa a", "a aa"), so the rounding decides ids and is kept.
//
// Threads: immutable once finished; an fg_unigram_work belongs to one caller at a time.
#ifndef FG_TEXT_UNIGRAM_H
#define FG_TEXT_UNIGRAM_H

#include "text/tokenizer.h"
#include "text/trie.h"
#include "text/vocabulary.h"

typedef struct fg_unigram {
  fg_trie pieces; // to ids
  double *scores; // [score_count], by id
  uint32_t score_count, score_capacity;
  double unk_score;
  int32_t unk_id; // -1: an unknown character is an error
  int32_t fallback_ids[256];
  bool byte_fallback, float32_sums;
} fg_unigram;

typedef struct fg_unigram_end { // the best way to end at a byte
  double score;
  uint32_t start, next; // of the piece that ends here; the end of the one that follows it
  int32_t id;           // -1 = an unknown character
} fg_unigram_end;

typedef struct fg_unigram_work {
  fg_unigram_end *ends;
  size_t capacity;
} fg_unigram_work;

// The scores of ids come in order; a piece that takes part in cutting is added beside.
fg_status fg_unigram_add_score(fg_unigram *unigram, double score, fg_error *err);
fg_status fg_unigram_add_piece(fg_unigram *unigram, const char *piece, size_t length, int32_t id,
                               fg_error *err);
// After the last piece.
fg_status fg_unigram_finish(fg_unigram *unigram, fg_error *err);
void fg_unigram_free(fg_unigram *unigram);
void fg_unigram_work_free(fg_unigram_work *work);

fg_status fg_unigram_encode(const fg_unigram *unigram, fg_unigram_work *work, const char *piece,
                            size_t length, fg_ids *ids, fg_error *err);

#endif
