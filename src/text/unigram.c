#include "text/unigram.h"

#include <stdlib.h>

#include "text/unicode.h"

enum {
  NOT_REACHED = UINT32_MAX,
  KEEP_ENDS = 1 << 16, // work memory for more bytes is given back after use
};

fg_status fg_unigram_add_score(fg_unigram *u, double score, fg_error *err) {
  if (u->score_count == u->score_capacity) {
    uint32_t capacity = u->score_capacity ? u->score_capacity * 2 : 1024;
    double *scores = realloc(u->scores, capacity * sizeof *scores);
    if (!scores) return fg_fail(err, FG_NO_SPACE, "out of memory for %u scores", capacity);
    u->scores = scores;
    u->score_capacity = capacity;
  }
  u->scores[u->score_count++] = score;
  return FG_OK;
}

fg_status fg_unigram_add_piece(fg_unigram *u, const char *piece, size_t length, int32_t id, fg_error *err) {
  return length > 0 ? fg_trie_add(&u->pieces, piece, length, id, err) : FG_OK;
}

fg_status fg_unigram_finish(fg_unigram *u, fg_error *err) {
  return fg_trie_finish(&u->pieces, err);
}

void fg_unigram_free(fg_unigram *u) {
  fg_trie_free(&u->pieces);
  free(u->scores);
  *u = (fg_unigram){0};
}

void fg_unigram_work_free(fg_unigram_work *work) {
  free(work->ends);
  *work = (fg_unigram_work){0};
}

static fg_status reserve(fg_unigram_work *work, size_t length, fg_error *err) {
  if (length >= UINT32_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "%zu bytes of text without a break; at most 4 GiB are supported",
                   length);
  }
  if (length + 1 <= work->capacity) return FG_OK;
  size_t capacity = work->capacity * 2 > length + 1 ? work->capacity * 2 : length + 1;
  fg_unigram_end *ends = realloc(work->ends, capacity * sizeof *ends);
  if (!ends)
    return fg_fail(err, FG_NO_SPACE, "out of memory for tokenizing %zu bytes without a break", length);
  work->ends = ends;
  work->capacity = capacity;
  return FG_OK;
}

// A way to end at `end` counts if none was there or it is better than that.
static inline void offer(fg_unigram_end *end, double score, uint32_t start, int32_t id) {
  if (end->start != NOT_REACHED && !(score > end->score)) return;
  end->score = score;
  end->start = start;
  end->id = id;
}

// Fills work->ends; the last one is the end of the best way through all of the text.
static void find_ways(const fg_unigram *u, fg_unigram_end *ends, const char *text, size_t length) {
  const fg_trie_unit *units = u->pieces.units;
  const double *scores = u->scores;
  bool float32 = u->float32_sums;
  for (size_t i = 1; i <= length; i++) ends[i].start = NOT_REACHED;
  ends[0] = (fg_unigram_end){0, 0, 0, -1};
  for (size_t at = 0, size; at < length; at += size) {
    double here = ends[at].score;
    bool known = false;
    uint32_t unit = 0;
    size = fg_utf8_length(text[at]);
    for (size_t end = at; units && end < length;) {
      unit = fg_trie_step(units, unit, (uint8_t)text[end++]);
      if (unit == 0) break;
      int32_t id = units[unit].value;
      if (id < 0) continue;
      double score = scores[id] + here;
      offer(&ends[end], float32 ? (double)(float)score : score, (uint32_t)at, id);
      known = known || end - at == size;
    }
    double score = u->unk_score + here;
    if (!known) offer(&ends[at + size], float32 ? (double)(float)score : score, (uint32_t)at, -1);
  }
}

// Unknown characters side by side are one token, unless all their bytes have tokens.
static fg_status append_unknown(const fg_unigram *u, const char *text, size_t length, fg_ids *ids,
                                fg_error *err) {
  bool bytes = u->byte_fallback;
  for (size_t i = 0; i < length && bytes; i++) bytes = u->fallback_ids[(uint8_t)text[i]] >= 0;
  fg_status status = FG_OK;
  for (size_t i = 0; i < length && bytes && status == FG_OK; i++) {
    status = fg_ids_append(ids, &u->fallback_ids[(uint8_t)text[i]], 1, err);
  }
  if (bytes) return status;
  if (u->unk_id >= 0) return fg_ids_append(ids, &u->unk_id, 1, err);
  return fg_fail(err, FG_INVALID, "character \"%.*s\" has no token, and there is no unknown token",
                 (int)fg_utf8_length(*text), text);
}

fg_status fg_unigram_encode(const fg_unigram *u, fg_unigram_work *work, const char *piece, size_t length,
                            fg_ids *ids, fg_error *err) {
  fg_status status = reserve(work, length, err);
  if (status || length == 0) return status;
  fg_unigram_end *ends = work->ends;
  find_ways(u, ends, piece, length);
  for (uint32_t end = (uint32_t)length; end > 0; end = ends[end].start) ends[ends[end].start].next = end;
  for (uint32_t at = 0, end; at < length && status == FG_OK; at = end) {
    end = ends[at].next;
    int32_t id = ends[end].id;
    while (id < 0 && end < length && ends[ends[end].next].id < 0) end = ends[end].next;
    status = id < 0 ? append_unknown(u, piece + at, end - at, ids, err) : fg_ids_append(ids, &id, 1, err);
  }
  if (work->capacity > KEEP_ENDS) fg_unigram_work_free(work);
  return status;
}
