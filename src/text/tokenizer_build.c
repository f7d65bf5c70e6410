// What all loaders share: added tokens, roles, and the last touch.
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"

static fg_status no_memory(fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
}

fg_status fg_tokenizer_choose_form(fg_tokenizer *t, fg_error *err) {
  bool plain = !t->bpe.prefix && !t->bpe.suffix; // prefixes and suffixes go around characters, not bytes
  t->vocabulary.byte_level = t->pretokenizer.byte_level && plain;
  return plain ? FG_OK : fg_pretokenizer_spell_bytes(&t->pretokenizer, err);
}

fg_status fg_tokenizer_read_vocab(fg_tokenizer *t, fg_json_span json, const char *where, fg_error *err) {
  fg_json_scan scan;
  fg_status status = fg_json_stream_open(&scan, json, where, err);
  if (status) return status;
  status = fg_scan_take(&scan, '{', err);
  for (size_t i = 0; status == FG_OK; i++) {
    bool more = false;
    char *token = NULL;
    uint64_t id = 0;
    status = fg_scan_next(&scan, i, '}', &more, err);
    if (status || !more) break;
    status = fg_scan_key(&scan, &token, err);
    if (status == FG_OK) status = fg_scan_u64(&scan, &id, err);
    if (status) break;
    uint32_t narrow = id < FG_VOCABULARY_MAX ? (uint32_t)id : FG_VOCABULARY_MAX; // refused by the next call
    if (fg_vocabulary_add(&t->vocabulary, narrow, token, strlen(token), FG_TOKEN_MODEL, err)) {
      status = fg_fail_prefix(err, "%s", where);
    }
  }
  if (status == FG_OK) status = fg_scan_end(&scan, err);
  fg_json_stream_close(&scan);
  return status;
}

// ---- added tokens -------------------------------------------------------------------------------------

fg_status fg_added_token_read(fg_added_token *out, const json_t *json, fg_error *err) {
  const char *content;
  *out = (fg_added_token){0};
  fg_status status = fg_json_string(json, "content", NULL, &content, err);
  if (status == FG_OK && !content) status = fg_fail(err, FG_CORRUPT, "an added token without content");
  if (status == FG_OK) status = fg_json_bool(json, "single_word", false, &out->single_word, err);
  if (status == FG_OK) status = fg_json_bool(json, "lstrip", false, &out->lstrip, err);
  if (status == FG_OK) status = fg_json_bool(json, "rstrip", false, &out->rstrip, err);
  if (status == FG_OK) status = fg_json_bool(json, "special", false, &out->special, err);
  if (status == FG_OK) status = fg_json_bool(json, "normalized", !out->special, &out->normalized, err);
  if (status == FG_OK) out->content = (char *)content; // borrowed: fg_tokenizer_add_token copies
  return status;
}

static fg_added_token *find_added(const fg_tokenizer *t, const char *content) {
  int32_t id = fg_vocabulary_find_text(&t->vocabulary, content, strlen(content));
  if (id < 0 || !(t->vocabulary.tokens[id].flags & FG_TOKEN_ADDED)) return NULL;
  for (uint32_t i = 0; i < t->added_count; i++) {
    if (t->added[i].id == id) return &t->added[i];
  }
  return NULL;
}

const fg_added_token *fg_tokenizer_added(const fg_tokenizer *t, const char *content) {
  return find_added(t, content);
}

static fg_status append_added(fg_tokenizer *t, const char *content, fg_added_token **out, fg_error *err) {
  if (t->added_count == t->added_capacity) {
    uint32_t capacity = t->added_capacity ? t->added_capacity * 2 : 64;
    fg_added_token *added = realloc(t->added, capacity * sizeof *added);
    if (!added) return no_memory(err);
    t->added = added;
    t->added_capacity = capacity;
  }
  *out = &t->added[t->added_count];
  **out = (fg_added_token){.content = strdup(content)};
  if (!(*out)->content) return no_memory(err);
  t->added_count++;
  return FG_OK;
}

// A token that the model does not know gets the next id behind it, whatever a file says it should be:
// so does the library.
static fg_status place(fg_tokenizer *t, const char *content, int32_t *id, fg_error *err) {
  size_t length = strlen(content);
  *id = fg_vocabulary_find_text(&t->vocabulary, content, length);
  if (*id >= 0) return FG_OK;
  uint32_t behind = (uint32_t)(t->last_added_id + 1);
  uint32_t next = behind > t->vocabulary.model_count ? behind : t->vocabulary.model_count;
  fg_status status = fg_vocabulary_add(&t->vocabulary, next, content, length, 0, err);
  *id = (int32_t)next;
  return status ? fg_fail_prefix(err, "added token") : FG_OK;
}

fg_status fg_tokenizer_add_token(fg_tokenizer *t, const fg_added_token *token, fg_error *err) {
  if (!*token->content) return FG_OK;
  int32_t id;
  fg_added_token *slot = find_added(t, token->content);
  fg_status status = slot ? FG_OK : place(t, token->content, &id, err);
  if (status == FG_OK && !slot) {
    status = append_added(t, token->content, &slot, err);
    if (status == FG_OK) slot->id = id;
  }
  if (status) return status;
  slot->single_word = token->single_word;
  slot->lstrip = token->lstrip;
  slot->rstrip = token->rstrip;
  slot->normalized = token->normalized;
  slot->special = token->special;
  fg_token *entry = &t->vocabulary.tokens[slot->id];
  entry->flags |= FG_TOKEN_ADDED;
  if (token->special) entry->flags |= FG_TOKEN_SPECIAL; // once special, always
  if (slot->id > t->last_added_id) t->last_added_id = slot->id;
  return FG_OK;
}

fg_status fg_tokenizer_set_role(fg_tokenizer *t, const char *name, const char *text, fg_error *err) {
  if (t->role_count == t->role_capacity) {
    uint32_t capacity = t->role_capacity ? t->role_capacity * 2 : 8;
    fg_role *roles = realloc(t->roles, capacity * sizeof *roles);
    if (!roles) return no_memory(err);
    t->roles = roles;
    t->role_capacity = capacity;
  }
  fg_role *role = &t->roles[t->role_count++];
  *role = (fg_role){strdup(name), strdup(text), fg_tokenizer_id(t, text)};
  return role->name && role->text ? FG_OK : no_memory(err);
}

// ---- the last touch -----------------------------------------------------------------------------------

static fg_status index_added(fg_tokenizer *t, uint32_t index, fg_normal_work *work, fg_error *err) {
  fg_added_token *token = &t->added[index];
  fg_slice content = {token->content, strlen(token->content)}, normal;
  if (!token->normalized) return fg_added_set_add(&t->raw, content.data, content.length, index, err);
  fg_status status = fg_normalize(&t->normalizer, work, content, &normal, err);
  if (status || normal.length == 0) return status;
  if (content.length != normal.length || memcmp(content.data, normal.data, normal.length) != 0) {
    token->normal = strndup(normal.data, normal.length);
    if (!token->normal) return no_memory(err);
    t->vocabulary.tokens[token->id].flags |= FG_TOKEN_NORMAL;
  }
  return fg_added_set_add(&t->normalized, normal.data, normal.length, index, err);
}

static fg_status index_all_added(fg_tokenizer *t, fg_error *err) {
  fg_normal_work work = {0};
  fg_status status = fg_regex_work_create(&work.regex, err);
  for (uint32_t i = 0; i < t->added_count && status == FG_OK; i++) status = index_added(t, i, &work, err);
  t->raw.tokens = t->normalized.tokens = t->added;
  fg_regex_work_destroy(work.regex);
  for (int i = 0; i < 2; i++) fg_text_free(&work.texts[i]);
  return status;
}

// What each token contributes to a text, where the vocabulary itself does not say.
static fg_status spell_pieces(fg_tokenizer *t, fg_error *err) {
  const fg_vocabulary *v = &t->vocabulary;
  if (v->byte_level && t->decoder.count == 1 && fg_decoder_takes_bytes(&t->decoder)) return FG_OK;
  t->piece_offsets = calloc((size_t)v->size + 1, sizeof *t->piece_offsets);
  if (!t->piece_offsets) return no_memory(err);
  fg_text text = {0};
  fg_status status = FG_OK;
  for (uint32_t id = 0; id < v->size && status == FG_OK; id++) {
    const fg_token *token = fg_vocabulary_token(v, (int32_t)id);
    fg_text_clear(&text);
    if (token) fg_vocabulary_text(v, token, &text);
    if (fg_text_failed(&text)) status = no_memory(err);
    if (token && status == FG_OK) {
      status = fg_decoder_token_bytes(&t->decoder, text.data ? text.data : "", text.length, &t->pieces, err);
    }
    if (t->pieces.length > UINT32_MAX) status = no_memory(err);
    t->piece_offsets[id + 1] = (uint32_t)t->pieces.length;
  }
  if (status == FG_OK) fg_text_append(&t->pieces, "", 0);
  fg_text_free(&text);
  return status == FG_OK && fg_text_failed(&t->pieces) ? no_memory(err) : status;
}

fg_status fg_tokenizer_seal(fg_tokenizer *t, fg_error *err) {
  fg_vocabulary_trim(&t->vocabulary);
  fg_status status = index_all_added(t, err);
  // Where nothing is ever merged across the beginning of a word, words are pre-tokens, and can be looked up.
  if (status == FG_OK && t->model == fg_model_bpe && fg_bpe_words_begin_at_marks(&t->bpe) &&
      t->pretokenizer.count < FG_PRETOKEN_STEPS_MAX) {
    status = fg_pretokenizer_cut_at_marks(&t->pretokenizer, err);
  }
  return status ? status : spell_pieces(t, err);
}
