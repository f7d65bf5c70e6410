#include "text/sentencepiece.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

fg_spm fg_spm_defaults(void) {
  return (fg_spm){.model = FG_SPM_UNIGRAM,
                  .unk_surface = {" \xe2\x81\x87 ", 5},
                  .add_prefix = true,
                  .remove_extra = true,
                  .escape = true};
}

fg_status fg_spm_add(fg_spm *spm, fg_spm_piece piece, fg_error *err) {
  if (spm->count == spm->capacity) {
    size_t capacity = spm->capacity ? spm->capacity * 2 : 1024;
    fg_spm_piece *pieces = realloc(spm->pieces, capacity * sizeof *pieces);
    if (!pieces) return fg_fail(err, FG_NO_SPACE, "out of memory for %zu pieces", capacity);
    spm->pieces = pieces;
    spm->capacity = capacity;
  }
  spm->pieces[spm->count++] = piece;
  return FG_OK;
}

void fg_spm_free(fg_spm *spm) {
  free(spm->pieces);
  spm->pieces = NULL;
  spm->count = spm->capacity = 0;
}

// ---- vocabulary ---------------------------------------------------------------------------------------

static bool is_text_piece(const fg_spm_piece *piece) {
  return piece->type == FG_SPM_NORMAL || piece->type == FG_SPM_USER_DEFINED || piece->type == FG_SPM_UNUSED;
}

static bool is_whole(const fg_spm *spm, const fg_spm_piece *piece) {
  return piece->type == FG_SPM_USER_DEFINED && !spm->any_types;
}

static uint32_t flags_of(const fg_spm *spm, const fg_spm_piece *piece) {
  uint32_t flags = FG_TOKEN_MODEL;
  if (!is_text_piece(piece)) flags |= FG_TOKEN_APART;
  if (piece->type == FG_SPM_CONTROL || piece->type == FG_SPM_UNKNOWN) flags |= FG_TOKEN_SPECIAL;
  if (piece->type == FG_SPM_UNUSED && !spm->any_types) flags |= FG_TOKEN_UNUSED;
  return flags;
}

static fg_status add_piece(fg_tokenizer *t, const fg_spm *spm, uint32_t id, fg_error *err) {
  const fg_spm_piece *piece = &spm->pieces[id];
  if (piece->text.length == 0) return fg_fail(err, FG_CORRUPT, "piece %u is empty", id);
  if (piece->type < FG_SPM_NORMAL || piece->type > FG_SPM_BYTE) {
    return fg_fail(err, FG_UNSUPPORTED, "piece %u is of type %d, which is not known", id, (int)piece->type);
  }
  if (!isfinite(piece->score)) return fg_fail(err, FG_CORRUPT, "the score of piece %u is not a number", id);
  if (!spm->any_types && fg_vocabulary_find_text(&t->vocabulary, piece->text.data, piece->text.length) >= 0) {
    return fg_fail(err, FG_CORRUPT, "piece %u, \"%.*s\", is there twice", id,
                   piece->text.length < 60 ? (int)piece->text.length : 60, piece->text.data);
  }
  return fg_vocabulary_add(&t->vocabulary, id, piece->text.data, piece->text.length, flags_of(spm, piece),
                           err);
}

static fg_status add_pieces(fg_tokenizer *t, const fg_spm *spm, int32_t *unk, fg_error *err) {
  fg_status status = FG_OK;
  *unk = -1;
  for (uint32_t id = 0; id < spm->count && status == FG_OK; id++) {
    const fg_spm_piece *piece = &spm->pieces[id];
    if (!fg_utf8_valid(piece->text.data, piece->text.length)) {
      return fg_fail(err, FG_CORRUPT, "piece %u is not UTF-8", id);
    }
    status = add_piece(t, spm, id, err);
    if (piece->type != FG_SPM_UNKNOWN) continue;
    if (*unk >= 0 && !spm->any_types)
      return fg_fail(err, FG_CORRUPT, "pieces %d and %u both mean unknown", *unk, id);
    if (*unk < 0) *unk = (int32_t)id;
  }
  return status;
}

// Not all of a file's byte pieces need to be there for the library either; but all or none.
static fg_status check_bytes(const fg_tokenizer *t, const fg_spm *spm, fg_error *err) {
  int32_t ids[256];
  if (!spm->byte_fallback || spm->any_types) return FG_OK;
  fg_vocabulary_find_bytes(&t->vocabulary, ids);
  for (int i = 0; i < 256; i++) {
    if (ids[i] < 0)
      return fg_fail(err, FG_CORRUPT, "there is no piece <0x%02X>, but bytes are to stand in", i);
  }
  return FG_OK;
}

// ---- models -------------------------------------------------------------------------------------------

static fg_status add_whole(fg_trie *trie, const fg_spm *spm, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t id = 0; id < spm->count && status == FG_OK; id++) {
    const fg_spm_piece *piece = &spm->pieces[id];
    if (is_whole(spm, piece))
      status = fg_trie_add(trie, piece->text.data, piece->text.length, (int32_t)id, err);
  }
  return status ? status : fg_trie_finish(trie, err);
}

static fg_status build_bpe(fg_tokenizer *t, const fg_spm *spm, int32_t unk, fg_error *err) {
  fg_bpe *bpe = &t->bpe;
  float *scores = calloc(spm->count, sizeof *scores);
  if (!scores) return fg_fail(err, FG_NO_SPACE, "out of memory for %zu scores", spm->count);
  for (size_t i = 0; i < spm->count; i++) scores[i] = spm->pieces[i].score;
  bpe->byte_fallback = spm->byte_fallback;
  fg_status status = fg_bpe_add_scores(bpe, scores, err);
  free(scores);
  if (status == FG_OK) fg_bpe_finish(bpe);
  bpe->unk_id = unk;
  return status;
}

static fg_status build_unigram(fg_tokenizer *t, const fg_spm *spm, int32_t unk, fg_error *err) {
  static const float unk_penalty = 10; // of the library
  fg_unigram *u = &t->unigram;
  float least = FLT_MAX, most = FLT_MIN; // the library begins with the least positive number, too
  for (size_t i = 0; i < spm->count; i++) {
    if (spm->pieces[i].type != FG_SPM_NORMAL) continue;
    least = fminf(least, spm->pieces[i].score);
    most = fmaxf(most, spm->pieces[i].score);
  }
  fg_status status = FG_OK;
  for (uint32_t id = 0; id < spm->count && status == FG_OK; id++) {
    const fg_spm_piece *piece = &spm->pieces[id];
    // What the user defined is to win over every other way to cut the same bytes.
    float bonus = (float)((double)((float)piece->text.length * most) - 0.1);
    bool cuts = is_text_piece(piece) && !(flags_of(spm, piece) & FG_TOKEN_UNUSED);
    status = fg_unigram_add_score(u, (double)(is_whole(spm, piece) ? bonus : piece->score), err);
    if (status == FG_OK && cuts)
      status = fg_unigram_add_piece(u, piece->text.data, piece->text.length, (int32_t)id, err);
  }
  u->unk_score = (double)(least - unk_penalty);
  u->unk_id = unk;
  u->byte_fallback = spm->byte_fallback;
  u->float32_sums = true;
  fg_vocabulary_find_bytes(&t->vocabulary, u->fallback_ids);
  t->model = fg_model_unigram;
  return status ? status : fg_unigram_finish(u, err);
}

// ---- text on both sides -------------------------------------------------------------------------------

static fg_status add_normalizer(fg_tokenizer *t, const fg_spm *spm, fg_error *err) {
  fg_charsmap charsmap = {0};
  fg_spm_spaces spaces = {.add_prefix = spm->add_prefix,
                          .at_start_only = spm->prefix_at_start_only,
                          .remove_extra = spm->remove_extra,
                          .escape = spm->escape,
                          .whole = &t->bpe.whole};
  fg_status status = spm->charsmap.length > 0
                         ? fg_charsmap_read(&charsmap, spm->charsmap.data, spm->charsmap.length, err)
                         : FG_OK;
  return status ? status : fg_normalizer_add_spm(&t->normalizer, &charsmap, spaces, err);
}

fg_status fg_tokenizer_of_spm(fg_tokenizer *t, const fg_spm *spm, fg_error *err) {
  if (spm->model != FG_SPM_UNIGRAM && spm->model != FG_SPM_BPE) {
    return fg_fail(err, FG_UNSUPPORTED, "a model of type %d; 1 (unigram) and 2 (BPE) are supported",
                   (int)spm->model);
  }
  if (spm->count == 0 || spm->count > FG_VOCABULARY_MAX) {
    return fg_fail(err, FG_CORRUPT, "%zu pieces; 1 to %d are supported", spm->count, FG_VOCABULARY_MAX);
  }
  int32_t unk;
  fg_status status = add_pieces(t, spm, &unk, err);
  if (status == FG_OK && unk < 0 && !spm->any_types)
    status = fg_fail(err, FG_CORRUPT, "no piece means unknown");
  if (status == FG_OK) status = check_bytes(t, spm, err);
  if (status == FG_OK) status = add_whole(&t->bpe.whole, spm, err);
  if (status == FG_OK) status = add_normalizer(t, spm, err);
  if (status) return status;
  fg_spm_decode decode = {
      .unk = unk >= 0 ? spm->pieces[unk].text : (fg_slice){0},
      .unk_surface = spm->unk_surface,
      .drop_first = spm->add_prefix || spm->remove_extra,
      .drop_more = spm->remove_extra,
      .bytes = spm->byte_fallback,
  };
  status = fg_decoder_add_spm(&t->decoder, &decode, err);
  if (status) return status;
  return spm->model == FG_SPM_BPE ? build_bpe(t, spm, unk, err) : build_unigram(t, spm, unk, err);
}
