// bpe_work.h: what merging (bpe.c) and pieces with scores (bpe_scores.c) share while a pre-token is encoded.
#ifndef FG_TEXT_BPE_WORK_H
#define FG_TEXT_BPE_WORK_H

#include "text/bpe.h"

typedef struct fg_bpe_symbol {
  int32_t id, previous, next;
} fg_bpe_symbol;

typedef struct fg_bpe_halves { // of which two symbols a piece was to be merged last
  int32_t left, right;
} fg_bpe_halves;

struct fg_bpe_work {
  fg_bpe_symbol *symbols;
  size_t symbol_count, symbol_capacity;
  uint64_t *heap; // rank in the high half, position in the low half: smallest first, ties leftmost
  size_t heap_count, heap_capacity;
  fg_text spelled;       // one character with prefix and suffix
  fg_bpe_halves *halves; // by id; NULL unless the vocabulary has unused pieces
};

fg_status fg_bpe_push_symbol(fg_bpe_work *work, int32_t id, fg_error *err);
fg_status fg_bpe_heap_push(fg_bpe_work *work, uint64_t key, fg_error *err);

// bpe_scores.c
fg_status fg_bpe_symbols_of_pieces(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length,
                                   fg_error *err);
void fg_bpe_note_halves(const fg_bpe *bpe, fg_bpe_work *work, int32_t left, int32_t result);
fg_status fg_bpe_append_pieces(const fg_bpe *bpe, fg_bpe_work *work, fg_ids *ids, fg_error *err);

#endif
