// Pieces with scores, as SentencePiece's byte-pair models have them.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/bpe_work.h"
#include "text/unicode.h"

enum { PIECE_MAX = 1024 }; // bytes of a piece that merging may give; trained ones have at most 100

static const char mark[] = "\xe2\x96\x81"; // ▁
enum { MARK_BYTES = sizeof mark - 1 };

static bool takes_part(const fg_token *token) {
  return (token->flags & (FG_TOKEN_MODEL | FG_TOKEN_APART)) == FG_TOKEN_MODEL;
}

// A piece, or a character that is none. -1: neither.
static int32_t symbol_of(const fg_vocabulary *v, const char *text, size_t length) {
  int32_t id = fg_vocabulary_find_text(v, text, length);
  if (id >= 0 && takes_part(&v->tokens[id])) return id;
  if (length != fg_utf8_length(*text)) return -1;
  return FG_SYMBOL_CHAR + (int32_t)fg_utf8_take(&text);
}

// ---- merges -------------------------------------------------------------------------------------------

typedef struct ranked_piece {
  float score;
  uint32_t id;
} ranked_piece;

static int by_score(const void *a, const void *b) {
  const ranked_piece *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

static fg_status add_ways_to_cut(fg_bpe *bpe, uint32_t id, uint32_t rank, fg_error *err) {
  const fg_vocabulary *v = bpe->vocabulary;
  const char *text = fg_token_data(v, &v->tokens[id]);
  size_t length = v->tokens[id].length;
  if (length > PIECE_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "piece %u has %zu bytes, at most %d are supported", id, length,
                   PIECE_MAX);
  }
  fg_status status = FG_OK;
  for (size_t at = fg_utf8_length(*text); at < length && status == FG_OK; at += fg_utf8_length(text[at])) {
    int32_t left = symbol_of(v, text, at), right = symbol_of(v, text + at, length - at);
    if (left < 0 || right < 0) continue;
    status = fg_bpe_put_merge(bpe, (fg_bpe_merge){(uint32_t)left, (uint32_t)right, rank, id}, err);
  }
  return status;
}

fg_status fg_bpe_add_scores(fg_bpe *bpe, const float *scores, fg_error *err) {
  const fg_vocabulary *v = bpe->vocabulary;
  ranked_piece *pieces = calloc(v->size ? v->size : 1, sizeof *pieces);
  if (!pieces) return fg_fail(err, FG_NO_SPACE, "out of memory for %u scores", v->size);
  size_t count = 0;
  fg_status status = FG_OK;
  for (uint32_t id = 0; id < v->size && status == FG_OK; id++) {
    const fg_token *token = &v->tokens[id];
    bool whole = fg_trie_longest(&bpe->whole, fg_token_data(v, token), token->length, NULL) == token->length;
    if (!takes_part(token) || token->length == 0 || (whole && bpe->whole.units)) continue;
    if (isnan(scores[id])) status = fg_fail(err, FG_CORRUPT, "the score of piece %u is not a number", id);
    pieces[count++] = (ranked_piece){scores[id], id};
    bpe->has_unused = bpe->has_unused || token->flags & FG_TOKEN_UNUSED;
  }
  qsort(pieces, count, sizeof *pieces, by_score);
  uint32_t rank = 0; // equal scores have equal ranks: then the leftmost pair is merged first
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    if (i > 0 && pieces[i].score != pieces[i - 1].score) rank++;
    status = add_ways_to_cut(bpe, pieces[i].id, rank, err);
  }
  free(pieces);
  bpe->by_score = true;
  return status;
}

static bool marks_begin_words(const char *text, size_t length) {
  const char *end = text + length, *at = text, *hit;
  while (at < end && (hit = memmem(at, (size_t)(end - at), mark, MARK_BYTES)) != NULL) {
    if (hit > text && (hit - text < MARK_BYTES || memcmp(hit - MARK_BYTES, mark, MARK_BYTES) != 0))
      return false;
    at = hit + MARK_BYTES;
  }
  return true;
}

bool fg_bpe_words_begin_at_marks(const fg_bpe *bpe) {
  const fg_vocabulary *v = bpe->vocabulary;
  if (v->byte_level || bpe->prefix || bpe->suffix || bpe->ignore_merges || bpe->has_unused) return false;
  int32_t id = fg_vocabulary_find_text(v, mark, MARK_BYTES);
  if (id < 0 || !takes_part(&v->tokens[id])) return false; // as an unknown it would join its neighbours
  for (uint32_t i = 0; i < v->size; i++) {
    const fg_token *token = &v->tokens[i];
    if (takes_part(token) && !marks_begin_words(fg_token_data(v, token), token->length)) return false;
  }
  return true;
}

// ---- from a text to pieces ----------------------------------------------------------------------------

fg_status fg_bpe_symbols_of_pieces(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length,
                                   fg_error *err) {
  const fg_vocabulary *v = bpe->vocabulary;
  if (bpe->has_unused && !work->halves) {
    work->halves = calloc(v->size, sizeof *work->halves);
    if (!work->halves) return fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer's work memory");
    for (uint32_t i = 0; i < v->size; i++) work->halves[i].left = -1;
  }
  fg_status status = FG_OK;
  for (size_t at = 0; at < length && status == FG_OK;) {
    int32_t id = -1;
    size_t size = fg_trie_longest(&bpe->whole, piece + at, length - at, &id);
    if (size > 0) {
      id |= FG_SYMBOL_WHOLE;
    } else {
      size = fg_utf8_length(piece[at]);
      if (size == 1) id = bpe->first_ids[(uint8_t)piece[at]];
      if (id < 0) id = symbol_of(v, piece + at, size);
    }
    status = fg_bpe_push_symbol(work, id, err);
    at += size;
  }
  return status;
}

void fg_bpe_note_halves(const fg_bpe *bpe, fg_bpe_work *work, int32_t left, int32_t result) {
  if (!(bpe->vocabulary->tokens[result].flags & FG_TOKEN_UNUSED)) return;
  const fg_bpe_symbol *s = &work->symbols[left];
  work->halves[result] = (fg_bpe_halves){s->id, work->symbols[s->next].id};
}

// The tokens of the character's bytes, or the unknown token, once for characters side by side.
static fg_status append_unknown(const fg_bpe *bpe, uint32_t c, bool *unknown, fg_ids *ids, fg_error *err) {
  char text[4];
  size_t length = fg_utf8_put(c, text);
  bool bytes = bpe->byte_fallback;
  for (size_t i = 0; i < length && bytes; i++) bytes = bpe->fallback_ids[(uint8_t)text[i]] >= 0;
  fg_status status = FG_OK;
  for (size_t i = 0; i < length && bytes && status == FG_OK; i++) {
    status = fg_ids_append(ids, &bpe->fallback_ids[(uint8_t)text[i]], 1, err);
  }
  if (bytes || *unknown) return status;
  *unknown = true;
  if (bpe->unk_id >= 0) return fg_ids_append(ids, &bpe->unk_id, 1, err);
  return fg_fail(err, FG_INVALID, "character \"%.*s\" has no token, and there is no unknown token",
                 (int)length, text);
}

// A symbol, or if it is an unused piece, what it was merged from; the heap serves as the stack.
static fg_status append_symbol(const fg_bpe *bpe, fg_bpe_work *work, int32_t symbol, bool *unknown,
                               fg_ids *ids, fg_error *err) {
  work->heap_count = 0;
  fg_status status = FG_OK;
  for (;;) {
    bool cut = bpe->has_unused && symbol < FG_SYMBOL_CHAR && work->halves[symbol].left >= 0;
    if (cut) {
      status = fg_bpe_heap_push(work, (uint64_t)work->heap_count << 32 | (uint32_t)work->halves[symbol].right,
                                err);
      if (status) return status;
      symbol = work->halves[symbol].left;
      continue;
    }
    if (symbol >= FG_SYMBOL_CHAR && symbol < FG_SYMBOL_WHOLE) {
      status = append_unknown(bpe, (uint32_t)(symbol - FG_SYMBOL_CHAR), unknown, ids, err);
    } else {
      int32_t id = symbol & ~FG_SYMBOL_WHOLE;
      *unknown = id == bpe->unk_id;
      status = fg_ids_append(ids, &id, 1, err);
    }
    if (status || work->heap_count == 0) return status;
    symbol = (int32_t)(work->heap[--work->heap_count] & UINT32_MAX);
  }
}

fg_status fg_bpe_append_pieces(const fg_bpe *bpe, fg_bpe_work *work, fg_ids *ids, fg_error *err) {
  bool unknown = false;
  fg_status status = FG_OK;
  for (size_t i = 0; i < work->symbol_count && status == FG_OK; i++) {
    status = append_symbol(bpe, work, work->symbols[i].id, &unknown, ids, err);
  }
  return status;
}
