#include "text/wordpiece.h"

#include <string.h>

fg_status fg_wordpiece_build(fg_wordpiece *out, const fg_vocabulary *vocabulary, const char *prefix,
                             fg_error *err) {
  size_t skip = strlen(prefix);
  fg_status status = FG_OK;
  for (uint32_t id = 0; id < vocabulary->size && status == FG_OK; id++) {
    const fg_token *token = fg_vocabulary_token(vocabulary, (int32_t)id);
    if (!token || token->length == 0) continue;
    const char *text = fg_token_data(vocabulary, token);
    bool marked = token->length > skip && memcmp(text, prefix, skip) == 0;
    status = fg_trie_add(&out->first, text, token->length, (int32_t)id, err);
    if (status == FG_OK && marked) {
      status = fg_trie_add(&out->others, text + skip, token->length - skip, (int32_t)id, err);
    }
  }
  if (status == FG_OK) status = fg_trie_finish(&out->first, err);
  return status ? status : fg_trie_finish(&out->others, err);
}

void fg_wordpiece_free(fg_wordpiece *words) {
  fg_trie_free(&words->first);
  fg_trie_free(&words->others);
  *words = (fg_wordpiece){0};
}

static fg_status append_unknown(const fg_wordpiece *words, const char *piece, size_t length, fg_ids *ids,
                                fg_error *err) {
  if (words->unk_id >= 0) return fg_ids_append(ids, &words->unk_id, 1, err);
  return fg_fail(err, FG_INVALID, "\"%.*s\" has no token, and neither has the unknown token",
                 length < 60 ? (int)length : 60, piece);
}

static bool is_too_long(const fg_wordpiece *words, const char *piece, size_t length) {
  size_t characters = 0;
  for (size_t i = 0; i < length; i++) characters += ((unsigned char)piece[i] & 0xc0) != 0x80;
  return characters > words->characters_max;
}

// A match must end where a character does: pieces are whole characters, so every match does.
fg_status fg_wordpiece_encode(const fg_wordpiece *words, const char *piece, size_t length, fg_ids *ids,
                              fg_error *err) {
  size_t before = ids->count;
  fg_status status = FG_OK;
  bool whole = !words->whole_words || fg_trie_longest(&words->first, piece, length, NULL) == length;
  if (!whole || (!words->whole_words && is_too_long(words, piece, length))) {
    return append_unknown(words, piece, length, ids, err);
  }
  for (size_t at = 0, size; at < length && status == FG_OK; at += size) {
    int32_t id = -1;
    size = fg_trie_longest(at == 0 ? &words->first : &words->others, piece + at, length - at, &id);
    if (size == 0) {
      ids->count = before;
      return append_unknown(words, piece, length, ids, err);
    }
    status = fg_ids_append(ids, &id, 1, err);
  }
  return status;
}
