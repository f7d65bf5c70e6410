#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/unicode.h"

// ---- ids ----------------------------------------------------------------------------------------------

void fg_ids_free(fg_ids *ids) {
  free(ids->data);
  *ids = (fg_ids){0};
}

fg_status fg_ids_append(fg_ids *ids, const int32_t *more, size_t count, fg_error *err) {
  if (count == 0) return FG_OK;
  if (ids->capacity - ids->count < count) {
    size_t capacity = ids->capacity ? ids->capacity * 2 : 64;
    while (capacity - ids->count < count) capacity *= 2;
    int32_t *data = realloc(ids->data, capacity * sizeof *data);
    if (!data) return fg_fail(err, FG_NO_SPACE, "out of memory for %zu token ids", capacity);
    ids->data = data;
    ids->capacity = capacity;
  }
  memcpy(ids->data + ids->count, more, count * sizeof *more);
  ids->count += count;
  return FG_OK;
}

// ---- work memory --------------------------------------------------------------------------------------

static void encoder_destroy(fg_encoder *e) {
  if (!e) return;
  fg_piece_cache_destroy(e->cache);
  fg_bpe_work_destroy(e->bpe);
  fg_unigram_work_free(&e->unigram);
  fg_regex_work_destroy(e->regex);
  for (int i = 0; i < 2; i++) fg_text_free(&e->normal.texts[i]);
  for (int i = 0; i < FG_PRETOKEN_STEPS_MAX; i++) fg_text_free(&e->pretoken.changed[i]);
  free(e);
}

// The tokenizer is immutable but for this list; the cast is confined to these two functions.
static fg_status encoder_acquire(const fg_tokenizer *tokenizer, fg_encoder **out, fg_error *err) {
  fg_tokenizer *t = (fg_tokenizer *)tokenizer;
  pthread_mutex_lock(&t->lock);
  fg_encoder *e = t->idle;
  if (e) t->idle = e->next;
  pthread_mutex_unlock(&t->lock);
  *out = e;
  if (e) return FG_OK;
  e = calloc(1, sizeof *e);
  if (!e) return fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer's work memory");
  fg_status status = fg_bpe_work_create(&e->bpe, err);
  if (status == FG_OK) status = fg_piece_cache_create(&e->cache, err);
  if (status == FG_OK) status = fg_regex_work_create(&e->regex, err);
  if (status) {
    encoder_destroy(e);
    return status;
  }
  e->normal.regex = e->pretoken.regex = e->regex;
  *out = e;
  return FG_OK;
}

static void give_back_text(fg_text *text) {
  if (text->capacity > 1 << 20) fg_text_free(text);
}

static void encoder_release(const fg_tokenizer *tokenizer, fg_encoder *e) {
  fg_tokenizer *t = (fg_tokenizer *)tokenizer;
  for (int i = 0; i < 2; i++) give_back_text(&e->normal.texts[i]);
  for (int i = 0; i < FG_PRETOKEN_STEPS_MAX; i++) give_back_text(&e->pretoken.changed[i]);
  pthread_mutex_lock(&t->lock);
  e->next = t->idle;
  t->idle = e;
  pthread_mutex_unlock(&t->lock);
}

// ---- models -------------------------------------------------------------------------------------------

fg_status fg_model_bpe(const fg_tokenizer *t, fg_encoder *e, fg_slice piece, fg_ids *ids, fg_error *err) {
  return fg_bpe_encode(&t->bpe, e->bpe, piece.data, piece.length, ids, err);
}

fg_status fg_model_unigram(const fg_tokenizer *t, fg_encoder *e, fg_slice piece, fg_ids *ids, fg_error *err) {
  return fg_unigram_encode(&t->unigram, &e->unigram, piece.data, piece.length, ids, err);
}

fg_status fg_model_words(const fg_tokenizer *t, fg_encoder *e, fg_slice piece, fg_ids *ids, fg_error *err) {
  (void)e;
  return fg_wordpiece_encode(&t->words, piece.data, piece.length, ids, err);
}

// ---- encode -------------------------------------------------------------------------------------------

typedef struct encode_call {
  const fg_tokenizer *tokenizer;
  fg_encoder *encoder;
  fg_ids *ids;
  const char *text; // the input, then the normalized stretch at hand
  bool at_start;    // the stretch at hand begins where the input does
} encode_call;

static fg_status encode_pretoken(void *user, const char *text, size_t length, fg_error *err) {
  const encode_call *call = user;
  fg_slice piece = {text, length};
  fg_cached_piece *slot;
  bool found;
  size_t first = call->ids->count;
  if (length == 0) return FG_OK;
  fg_status status = fg_piece_cache_find(call->encoder->cache, piece, call->ids, &slot, &found, err);
  if (status || found) return status;
  status = call->tokenizer->model(call->tokenizer, call->encoder, piece, call->ids, err);
  if (status == FG_OK) fg_piece_cache_keep(slot, piece, call->ids, first);
  return status;
}

static fg_status encode_normal_part(void *user, const fg_added_token *token, const char *text, size_t length,
                                    fg_error *err) {
  encode_call *call = user;
  if (token) return fg_ids_append(call->ids, &token->id, 1, err);
  fg_piece piece = {text, length, call->at_start && text == call->text};
  return fg_pretokenize(&call->tokenizer->pretokenizer, &call->encoder->pretoken, piece, encode_pretoken,
                        call, err);
}

static fg_status encode_raw_part(void *user, const fg_added_token *token, const char *text, size_t length,
                                 fg_error *err) {
  const encode_call *outer = user;
  if (token) return fg_ids_append(outer->ids, &token->id, 1, err);
  encode_call call = *outer;
  call.at_start = text == outer->text;
  const fg_tokenizer *t = call.tokenizer;
  fg_slice normal;
  call.encoder->normal.at_start = call.at_start;
  fg_status status =
      fg_normalize(&t->normalizer, &call.encoder->normal, (fg_slice){text, length}, &normal, err);
  if (status) return status;
  call.text = normal.data;
  return fg_added_set_split(&t->normalized, normal.data, normal.length, encode_normal_part, &call, err);
}

fg_status fg_tokenizer_encode(const fg_tokenizer *tokenizer, const char *text, size_t length,
                              bool add_special, fg_ids *ids, fg_error *err) {
  if (!fg_utf8_valid(text, length)) return fg_fail(err, FG_INVALID, "text is not valid UTF-8");
  encode_call call = {.tokenizer = tokenizer, .ids = ids, .text = text};
  fg_status status = encoder_acquire(tokenizer, &call.encoder, err);
  if (status) return status;
  if (add_special) status = fg_ids_append(ids, tokenizer->prefix.data, tokenizer->prefix.count, err);
  if (status == FG_OK)
    status = fg_added_set_split(&tokenizer->raw, text, length, encode_raw_part, &call, err);
  if (status == FG_OK && add_special) {
    status = fg_ids_append(ids, tokenizer->suffix.data, tokenizer->suffix.count, err);
  }
  encoder_release(tokenizer, call.encoder);
  return status;
}

// ---- decode -------------------------------------------------------------------------------------------

static const char *normal_text(const fg_tokenizer *t, int32_t id) {
  uint32_t i = 0;
  while (t->added[i].id != id) i++;
  return t->added[i].normal;
}

// `spelled` is scratch for tokens whose text must be spelled out of bytes.
static fg_status decode_one(const fg_tokenizer *t, fg_decoding *d, int32_t id, bool skip_special,
                            fg_text *spelled, fg_error *err) {
  const fg_token *token = fg_vocabulary_token(&t->vocabulary, id);
  if (!token)
    return fg_fail(err, FG_INVALID, "token id %d is not in the vocabulary (%u ids)", id, t->vocabulary.size);
  if (token->flags & FG_TOKEN_NORMAL) { // the library does not know such a token as special
    const char *normal = normal_text(t, id);
    return fg_decoding_push(d, normal, strlen(normal), false, err);
  }
  if (skip_special && token->flags & FG_TOKEN_SPECIAL) return FG_OK;
  const char *data = fg_token_data(&t->vocabulary, token);
  if (!(token->flags & FG_TOKEN_BYTES)) return fg_decoding_push(d, data, token->length, false, err);
  if (fg_decoder_takes_bytes(&t->decoder)) return fg_decoding_push(d, data, token->length, true, err);
  fg_text_clear(spelled);
  fg_bytes_to_text(data, token->length, spelled);
  if (fg_text_failed(spelled)) return fg_fail(err, FG_NO_SPACE, "out of memory for decoded text");
  return fg_decoding_push(d, spelled->data, spelled->length, false, err);
}

fg_status fg_tokenizer_decode(const fg_tokenizer *tokenizer, const int32_t *ids, size_t count,
                              bool skip_special, fg_text *text, fg_error *err) {
  fg_decoding d = fg_decoding_start(&tokenizer->decoder, text);
  fg_text spelled = {0};
  fg_status status = FG_OK;
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    status = decode_one(tokenizer, &d, ids[i], skip_special, &spelled, err);
  }
  if (status == FG_OK) status = fg_decoding_finish(&d, err);
  fg_text_free(&spelled);
  fg_decoding_free(&d);
  return status;
}

struct fg_detokenizer {
  const fg_tokenizer *tokenizer;
  bool skip_special;
  fg_decoding decoding;
  fg_text spelled;
};

fg_status fg_detokenizer_create(fg_detokenizer **out, const fg_tokenizer *tokenizer, bool skip_special,
                                fg_error *err) {
  fg_detokenizer *d = calloc(1, sizeof *d);
  *out = d;
  if (!d) return fg_fail(err, FG_NO_SPACE, "out of memory for decoded text");
  d->tokenizer = tokenizer;
  d->skip_special = skip_special;
  d->decoding = fg_decoding_start(&tokenizer->decoder, NULL);
  return FG_OK;
}

void fg_detokenizer_destroy(fg_detokenizer *d) {
  if (!d) return;
  fg_decoding_free(&d->decoding);
  fg_text_free(&d->spelled);
  free(d);
}

fg_status fg_detokenizer_prime(fg_detokenizer *d, const int32_t *ids, size_t count, fg_error *err) {
  fg_text ignored = {0};
  fg_status status = FG_OK;
  for (size_t i = 0; i < count && status == FG_OK; i++)
    status = fg_detokenizer_push(d, ids[i], &ignored, err);
  fg_decoding_forget(&d->decoding);
  fg_text_free(&ignored);
  return status;
}

fg_status fg_detokenizer_push(fg_detokenizer *d, int32_t id, fg_text *text, fg_error *err) {
  d->decoding.out = text;
  if (!fg_vocabulary_token(&d->tokenizer->vocabulary, id)) return FG_OK;
  return decode_one(d->tokenizer, &d->decoding, id, d->skip_special, &d->spelled, err);
}

fg_status fg_detokenizer_finish(fg_detokenizer *d, fg_text *text, fg_error *err) {
  d->decoding.out = text;
  return fg_decoding_finish(&d->decoding, err);
}

// ---- what is known of tokens --------------------------------------------------------------------------

uint32_t fg_tokenizer_size(const fg_tokenizer *tokenizer) {
  return tokenizer->vocabulary.size;
}

static const fg_role *find_role(const fg_tokenizer *tokenizer, const char *name) {
  for (uint32_t i = 0; i < tokenizer->role_count; i++) {
    if (strcmp(tokenizer->roles[i].name, name) == 0) return &tokenizer->roles[i];
  }
  return NULL;
}

uint32_t fg_tokenizer_added_count(const fg_tokenizer *tokenizer) {
  return tokenizer->added_count;
}

const char *fg_tokenizer_special_text(const fg_tokenizer *tokenizer, const char *role) {
  const fg_role *found = find_role(tokenizer, role);
  return found ? found->text : NULL;
}

int32_t fg_tokenizer_bos(const fg_tokenizer *tokenizer) {
  const fg_role *role = find_role(tokenizer, "bos_token");
  return role ? role->id : -1;
}

int32_t fg_tokenizer_eos(const fg_tokenizer *tokenizer) {
  const fg_role *role = find_role(tokenizer, "eos_token");
  return role ? role->id : -1;
}

bool fg_tokenizer_is_special(const fg_tokenizer *tokenizer, int32_t id) {
  const fg_token *token = fg_vocabulary_token(&tokenizer->vocabulary, id);
  return token && token->flags & FG_TOKEN_SPECIAL;
}

int32_t fg_tokenizer_id(const fg_tokenizer *tokenizer, const char *token) {
  size_t length = strlen(token);
  return fg_utf8_valid(token, length) ? fg_vocabulary_find_text(&tokenizer->vocabulary, token, length) : -1;
}

const char *fg_tokenizer_token_bytes(const fg_tokenizer *tokenizer, int32_t id, size_t *length) {
  const fg_token *token = fg_vocabulary_token(&tokenizer->vocabulary, id);
  if (!token) return NULL;
  if (tokenizer->piece_offsets) {
    *length = tokenizer->piece_offsets[id + 1] - tokenizer->piece_offsets[id];
    return tokenizer->pieces.data + tokenizer->piece_offsets[id];
  }
  *length = token->length;
  return fg_token_data(&tokenizer->vocabulary, token);
}

bool fg_tokenizer_joins_bytes(const fg_tokenizer *tokenizer) {
  return fg_decoder_joins(&tokenizer->decoder);
}

bool fg_tokenizer_adds_bytes(const fg_tokenizer *tokenizer, int32_t id) {
  const fg_token *token = fg_vocabulary_token(&tokenizer->vocabulary, id);
  return token && !(token->flags & (FG_TOKEN_SPECIAL | FG_TOKEN_NORMAL));
}

// ---- life ---------------------------------------------------------------------------------------------

fg_status fg_tokenizer_load(fg_tokenizer **out, const fg_assets *assets, fg_error *err) {
  static fg_status (*const loaders[])(fg_tokenizer *, const fg_assets *, fg_error *) = {
      fg_tokenizer_load_json,
      fg_tokenizer_load_gguf,
      fg_tokenizer_load_files,
      fg_tokenizer_load_spm,
  };
  *out = NULL;
  for (size_t i = 0; i < sizeof loaders / sizeof *loaders; i++) {
    fg_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
      free(t);
      return fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
    }
    t->bpe.vocabulary = &t->vocabulary;
    t->model = fg_model_bpe;
    t->last_added_id = -1;
    fg_status status = loaders[i](t, assets, err);
    if (status == FG_OK) status = fg_tokenizer_seal(t, err);
    if (status == FG_OK) {
      *out = t;
      return FG_OK;
    }
    fg_tokenizer_destroy(t);
    if (status != FG_NOT_FOUND) return status;
  }
  return fg_fail(
      err, FG_NOT_FOUND,
      "the model holds no tokenizer (tokenizer.json, vocab.json and merges.txt, or tokenizer.model)");
}

void fg_tokenizer_destroy(fg_tokenizer *t) {
  if (!t) return;
  while (t->idle) {
    fg_encoder *e = t->idle;
    t->idle = e->next;
    encoder_destroy(e);
  }
  pthread_mutex_destroy(&t->lock);
  fg_bpe_free(&t->bpe);
  fg_unigram_free(&t->unigram);
  fg_wordpiece_free(&t->words);
  fg_vocabulary_free(&t->vocabulary);
  fg_normalizer_free(&t->normalizer);
  fg_pretokenizer_free(&t->pretokenizer);
  fg_decoder_free(&t->decoder);
  fg_ids_free(&t->prefix);
  fg_ids_free(&t->suffix);
  fg_added_set_free(&t->raw);
  fg_added_set_free(&t->normalized);
  for (uint32_t i = 0; i < t->added_count; i++) {
    free(t->added[i].content);
    free(t->added[i].normal);
  }
  free(t->added);
  for (uint32_t i = 0; i < t->role_count; i++) {
    free(t->roles[i].name);
    free(t->roles[i].text);
  }
  free(t->roles);
  fg_text_free(&t->pieces);
  free(t->piece_offsets);
  free(t);
}
