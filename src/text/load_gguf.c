// The tokenizer in a GGUF header: tokens, types and merges or scores are there, the splitting rule only by
// name.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"
#include "text/gguf_splits.h"
#include "text/sentencepiece.h"

typedef struct arrays {
  fg_gguf_string *strings; // tokens, then merges
  int32_t *types;          // NULL = all normal
  float *scores;
  uint64_t count; // of tokens
} arrays;

// Of a kind of model, where the header says nothing. UINT32_MAX: no id.
typedef struct defaults {
  const char *const *before; // texts of tokens, NULL at the end
  bool bos, eos;
  uint32_t bos_id, eos_id;
} defaults;

static fg_status no_memory(uint64_t count, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for %llu tokens", (unsigned long long)count);
}

static fg_status read_strings(const fg_gguf *gguf, const char *key, fg_gguf_string **out, uint64_t *count,
                              fg_error *err) {
  fg_status status = fg_gguf_array_count(gguf, key, count, err);
  if (status) return status;
  free(*out);
  *out = calloc(*count ? *count : 1, sizeof **out);
  if (!*out) return no_memory(*count, err);
  return *count ? fg_gguf_array_strings(gguf, key, *out, *count, err) : FG_OK;
}

static fg_status read_tokens(const fg_gguf *gguf, arrays *a, fg_error *err) {
  static const char tokens_key[] = "tokenizer.ggml.tokens", types_key[] = "tokenizer.ggml.token_type";
  uint64_t types;
  fg_status status = read_strings(gguf, tokens_key, &a->strings, &a->count, err);
  if (status == FG_OK) status = fg_gguf_array_count(gguf, types_key, &types, err);
  if (status) return status;
  if (a->count == 0 || a->count > FG_VOCABULARY_MAX || (types && types != a->count)) {
    return fg_fail(err, FG_CORRUPT, "%llu tokens with %llu types (at most %d tokens are supported)",
                   (unsigned long long)a->count, (unsigned long long)types, FG_VOCABULARY_MAX);
  }
  if (types == 0) return FG_OK;
  a->types = calloc(types, sizeof *a->types);
  return a->types ? fg_gguf_array_i32(gguf, types_key, a->types, types, err) : no_memory(types, err);
}

static fg_status add_typed(fg_tokenizer *t, const arrays *a, fg_error *err) {
  uint32_t count = t->vocabulary.size;
  fg_status status = FG_OK;
  for (uint32_t i = 0; a->types && i < count && status == FG_OK; i++) {
    bool special = a->types[i] == FG_SPM_CONTROL || a->types[i] == FG_SPM_UNKNOWN;
    if (!special && a->types[i] != FG_SPM_USER_DEFINED) continue;
    char *content = strndup(a->strings[i].data, a->strings[i].length);
    if (!content) return no_memory(count, err);
    fg_added_token token = {.content = content, .special = special};
    status = fg_tokenizer_add_token(t, &token, err);
    free(content);
  }
  return status;
}

static fg_status read_merges(fg_tokenizer *t, const fg_gguf *gguf, arrays *a, fg_error *err) {
  uint64_t count;
  fg_status status = read_strings(gguf, "tokenizer.ggml.merges", &a->strings, &count, err);
  for (uint64_t i = 0; i < count && status == FG_OK; i++) {
    status = fg_bpe_add_merge_line(&t->bpe, a->strings[i].data, a->strings[i].length, err);
  }
  if (status == FG_OK) fg_bpe_finish(&t->bpe);
  return status;
}

static fg_status read_roles(fg_tokenizer *t, const fg_gguf *gguf, const defaults *add, fg_error *err) {
  static const char *const roles[][2] = {
      {"bos", "bos_token"},     {"eos", "eos_token"},       {"unknown", "unk_token"},
      {"padding", "pad_token"}, {"seperator", "sep_token"}, {"mask", "mask_token"}, // (sic)
  };
  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
    char key[64];
    uint32_t id;
    fg_text text = {0};
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", roles[i][0]);
    uint32_t fallback = i == 0 ? add->bos_id : i == 1 ? add->eos_id : UINT32_MAX;
    fg_status status = fg_gguf_u32(gguf, key, fallback, &id, err);
    if (status) return status;
    if (id == UINT32_MAX || (id == fallback && id >= t->vocabulary.size)) continue;
    const fg_token *token = id < FG_VOCABULARY_MAX ? fg_vocabulary_token(&t->vocabulary, (int32_t)id) : NULL;
    if (!token) return fg_fail(err, FG_CORRUPT, "%s is %u, there are %u tokens", key, id, t->vocabulary.size);
    fg_vocabulary_text(&t->vocabulary, token, &text);
    fg_added_token added = {.content = text.data, .special = true};
    status = fg_text_failed(&text) ? no_memory(1, err) : FG_OK;
    if (status == FG_OK) status = fg_tokenizer_add_token(t, &added, err);
    if (status == FG_OK) status = fg_tokenizer_set_role(t, roles[i][1], text.data, err);
    fg_text_free(&text);
    if (status) return status;
  }
  return FG_OK;
}

// ---- byte pairs by rank -------------------------------------------------------------------------------

static fg_status read_gpt2(fg_tokenizer *t, const fg_gguf *gguf, arrays *a, defaults *add, fg_error *err) {
  fg_gguf_string name;
  fg_status status = fg_gguf_text(gguf, "tokenizer.ggml.pre", &name, err);
  if (status) return status;
  if (!name.data) {
    return fg_fail(err, FG_UNSUPPORTED, "tokenizer.ggml.pre is missing: how to split text is not known");
  }
  const fg_gguf_pre *pre = fg_gguf_find_pre(name.data, name.length);
  if (!pre) {
    return fg_fail(err, FG_UNSUPPORTED, "tokenizer.ggml.pre \"%.*s\" is not supported",
                   name.length < 60 ? (int)name.length : 60, name.data);
  }
  add->bos = pre->add_bos;
  add->before = pre->before;
  status = fg_gguf_read_split(t, pre, err);
  if (status == FG_OK) status = read_tokens(gguf, a, err);
  for (uint64_t i = 0; i < a->count && status == FG_OK; i++) {
    const fg_gguf_string *s = &a->strings[i];
    status = fg_vocabulary_add(&t->vocabulary, (uint32_t)i, s->data, s->length, FG_TOKEN_MODEL, err);
  }
  if (status == FG_OK) status = add_typed(t, a, err);
  return status ? status : read_merges(t, gguf, a, err);
}

// ---- SentencePiece ------------------------------------------------------------------------------------

static fg_status read_scores(const fg_gguf *gguf, arrays *a, fg_error *err) {
  static const char key[] = "tokenizer.ggml.scores";
  uint64_t count;
  fg_status status = fg_gguf_array_count(gguf, key, &count, err);
  if (status) return status;
  if (count != a->count) {
    return fg_fail(err, FG_CORRUPT, "%llu tokens with %llu scores", (unsigned long long)a->count,
                   (unsigned long long)count);
  }
  a->scores = calloc(count, sizeof *a->scores);
  return a->scores ? fg_gguf_array_f32(gguf, key, a->scores, count, err) : no_memory(count, err);
}

// An array of bytes, as integers of any size.
static fg_status read_charsmap(const fg_gguf *gguf, char **out, fg_slice *charsmap, fg_error *err) {
  static const char key[] = "tokenizer.ggml.precompiled_charsmap";
  uint64_t count;
  fg_status status = fg_gguf_array_count(gguf, key, &count, err);
  if (status || count == 0) return status;
  int32_t *bytes = calloc(count, sizeof *bytes);
  *out = malloc(count);
  if (!bytes || !*out) {
    free(bytes);
    return no_memory(count, err);
  }
  status = fg_gguf_array_i32(gguf, key, bytes, count, err);
  for (uint64_t i = 0; i < count; i++) (*out)[i] = (char)(bytes[i] & 0xff);
  free(bytes);
  *charsmap = (fg_slice){*out, count};
  return status;
}

static fg_status add_pieces(fg_spm *spm, const arrays *a, fg_error *err) {
  fg_status status = FG_OK;
  for (uint64_t i = 0; i < a->count && status == FG_OK; i++) {
    fg_spm_type type = a->types ? (fg_spm_type)a->types[i] : FG_SPM_NORMAL;
    fg_slice text = {a->strings[i].data, a->strings[i].length};
    spm->byte_fallback = spm->byte_fallback || type == FG_SPM_BYTE;
    status = fg_spm_add(spm, (fg_spm_piece){text, a->scores[i], type}, err);
  }
  return status;
}

static fg_status read_spm(fg_tokenizer *t, const fg_gguf *gguf, arrays *a, fg_spm *spm, fg_error *err) {
  char *charsmap = NULL;
  spm->any_types = true;
  fg_status status = read_tokens(gguf, a, err);
  if (status == FG_OK) status = read_scores(gguf, a, err);
  if (status == FG_OK) {
    status = fg_gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", spm->add_prefix, &spm->add_prefix, err);
  }
  if (status == FG_OK) {
    status = fg_gguf_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", spm->remove_extra,
                          &spm->remove_extra, err);
  }
  if (status == FG_OK) status = read_charsmap(gguf, &charsmap, &spm->charsmap, err);
  if (status == FG_OK) status = add_pieces(spm, a, err);
  if (status == FG_OK) status = fg_tokenizer_of_spm(t, spm, err);
  if (status == FG_OK) status = add_typed(t, a, err);
  free(charsmap);
  fg_spm_free(spm);
  return status;
}

// Where a header of this kind leaves out the ids, they are these.
static fg_status read_llama(fg_tokenizer *t, const fg_gguf *gguf, arrays *a, defaults *add, fg_error *err) {
  fg_spm spm = fg_spm_defaults();
  spm.model = FG_SPM_BPE;
  spm.remove_extra = false;
  *add = (defaults){.bos = true, .bos_id = 1, .eos_id = 2};
  return read_spm(t, gguf, a, &spm, err);
}

static fg_status read_t5(fg_tokenizer *t, const fg_gguf *gguf, arrays *a, defaults *add, fg_error *err) {
  fg_spm spm = fg_spm_defaults();
  *add = (defaults){.eos = true, .bos_id = UINT32_MAX, .eos_id = 1};
  return read_spm(t, gguf, a, &spm, err);
}

// ---- all of it ----------------------------------------------------------------------------------------

static fg_status read_around(fg_tokenizer *t, const fg_gguf *gguf, const defaults *add, fg_error *err) {
  bool add_bos, add_eos;
  fg_status status = fg_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", add->bos, &add_bos, err);
  if (status == FG_OK) status = fg_gguf_bool(gguf, "tokenizer.ggml.add_eos_token", add->eos, &add_eos, err);
  if (status == FG_OK) status = fg_tokenizer_add_around(t, add_bos, add_eos, err);
  for (int i = 0; status == FG_OK && add->before && add->before[i]; i++) {
    int32_t id = fg_tokenizer_id(t, add->before[i]);
    if (id >= 0) status = fg_ids_append(&t->prefix, &id, 1, err);
  }
  return status;
}

typedef struct model_row {
  const char *name;
  fg_status (*read)(fg_tokenizer *t, const fg_gguf *gguf, arrays *a, defaults *add, fg_error *err);
} model_row;
static const model_row models[] = {{"gpt2", read_gpt2}, {"llama", read_llama}, {"t5", read_t5}};

static bool is(const fg_gguf_string *text, const char *word) {
  return strlen(word) == text->length && memcmp(word, text->data, text->length) == 0;
}

static fg_status find_model(const fg_gguf *gguf, const model_row **out, fg_error *err) {
  fg_gguf_string name;
  fg_status status = fg_gguf_text(gguf, "tokenizer.ggml.model", &name, err);
  if (status) return status;
  if (!name.data || is(&name, "none") || is(&name, "no_vocab"))
    return fg_fail(err, FG_NOT_FOUND, "the GGUF header holds no tokenizer");
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    if (!is(&name, models[i].name)) continue;
    *out = &models[i];
    return FG_OK;
  }
  return fg_fail(err, FG_UNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is not supported",
                 name.length < 60 ? (int)name.length : 60, name.data);
}

fg_status fg_tokenizer_load_gguf(fg_tokenizer *t, const fg_assets *assets, fg_error *err) {
  const fg_asset *asset = fg_assets_find(assets, FG_ASSET_GGUF_HEADER);
  if (!asset) return fg_fail(err, FG_NOT_FOUND, "no GGUF header");
  fg_gguf *gguf;
  const model_row *model = NULL;
  arrays a = {0};
  defaults add = {.bos_id = UINT32_MAX, .eos_id = UINT32_MAX};
  fg_status status = fg_gguf_parse(&gguf, asset->data, asset->bytes, err);
  if (status) return status;
  status = find_model(gguf, &model, err);
  if (status == FG_OK) status = model->read(t, gguf, &a, &add, err);
  if (status == FG_OK) status = read_roles(t, gguf, &add, err);
  if (status == FG_OK) status = read_around(t, gguf, &add, err);
  free(a.strings);
  free(a.types);
  free(a.scores);
  fg_gguf_destroy(gguf);
  return status;
}
