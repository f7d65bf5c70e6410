// The tokenizer in a GGUF header: tokens, types and merges are there, the splitting rule only by name.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "format/gguf.h"
#include "text/tokenizer_internal.h"

#define GPT2                    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define BYTES                   "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define SEQUENCE(first, second) "{\"type\":\"Sequence\",\"pretokenizers\":[" first "," second "]}"
#define SPLIT(regex)                                                                                         \
  SEQUENCE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex                                             \
           "\"},\"behavior\":\"Isolated\",\"invert\":false}",                                                \
           BYTES)
#define HEAD   "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
#define TAIL   " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define LLAMA3 SPLIT(HEAD "\\\\p{N}{1,3}|" TAIL)
#define QWEN2  SPLIT(HEAD "\\\\p{N}|" TAIL)
#define BLOOM  SPLIT(" ?[^(\\\\s|[.,!?…。，、।۔،])]+")
#define DIGITS SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}", GPT2)
#define NFC    "{\"type\":\"NFC\"}"

// tokenizer.ggml.pre: the families' own pipelines in the words of tokenizer.json (llama.cpp drops the
// normalizers). A name that is not here is refused: a guess would give wrong ids without a word.
typedef struct pre_row {
  const char *name, *pretokenizer, *normalizer;
  bool ignore_merges, add_bos;
} pre_row;
static const pre_row pres[] = {
    {"bloom", BLOOM, NULL, false, false},
    {"command-r", DIGITS, NFC, false, false},
    {"deepseek-r1-qwen", QWEN2, NULL, false, false},
    {"falcon3", LLAMA3, NULL, true, true},
    {"gpt-2", GPT2, NULL, false, false},
    {"llama-bpe", LLAMA3, NULL, true, true},
    {"llama-v3", LLAMA3, NULL, true, true},
    {"llama3", LLAMA3, NULL, true, true},
    {"mpt", GPT2, NFC, false, false},
    {"olmo", GPT2, NFC, false, false},
    {"phi-2", GPT2, NULL, false, false},
    {"pixtral", LLAMA3, NULL, true, true},
    {"qwen2", QWEN2, NFC, false, false},
    {"refact", DIGITS, NULL, false, false},
    {"smollm", DIGITS, NULL, false, false},
    {"starcoder", DIGITS, NULL, false, false},
};

enum { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

typedef struct arrays {
  fg_gguf_string *strings; // tokens, then merges
  int32_t *types;          // NULL = all normal
} arrays;

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

static fg_status read_tokens(fg_tokenizer *t, const fg_gguf *gguf, arrays *a, fg_error *err) {
  static const char tokens_key[] = "tokenizer.ggml.tokens", types_key[] = "tokenizer.ggml.token_type";
  uint64_t count, types;
  fg_status status = read_strings(gguf, tokens_key, &a->strings, &count, err);
  if (status == FG_OK) status = fg_gguf_array_count(gguf, types_key, &types, err);
  if (status) return status;
  if (count == 0 || count > FG_VOCABULARY_MAX || (types && types != count)) {
    return fg_fail(err, FG_CORRUPT, "%llu tokens with %llu types (at most %d tokens are supported)",
                   (unsigned long long)count, (unsigned long long)types, FG_VOCABULARY_MAX);
  }
  if (types) {
    a->types = calloc(types, sizeof *a->types);
    if (!a->types) return no_memory(count, err);
    status = fg_gguf_array_i32(gguf, types_key, a->types, types, err);
  }
  for (uint64_t i = 0; i < count && status == FG_OK; i++) {
    const fg_gguf_string *s = &a->strings[i];
    status = fg_vocabulary_add(&t->vocabulary, (uint32_t)i, s->data, s->length, FG_TOKEN_MODEL, err);
  }
  return status;
}

static fg_status add_typed(fg_tokenizer *t, const arrays *a, fg_error *err) {
  uint32_t count = t->vocabulary.size;
  fg_status status = FG_OK;
  for (uint32_t i = 0; a->types && i < count && status == FG_OK; i++) {
    bool special = a->types[i] == TYPE_CONTROL || a->types[i] == TYPE_UNKNOWN;
    if (!special && a->types[i] != TYPE_USER_DEFINED) continue;
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

static fg_status read_roles(fg_tokenizer *t, const fg_gguf *gguf, fg_error *err) {
  static const char *const roles[][2] = {
      {"bos", "bos_token"},     {"eos", "eos_token"},       {"unknown", "unk_token"},
      {"padding", "pad_token"}, {"seperator", "sep_token"}, {"mask", "mask_token"}, // (sic)
  };
  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
    char key[64];
    uint32_t id;
    fg_text text = {0};
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", roles[i][0]);
    fg_status status = fg_gguf_u32(gguf, key, UINT32_MAX, &id, err);
    if (status) return status;
    if (id == UINT32_MAX) continue;
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

static fg_status read_around(fg_tokenizer *t, const fg_gguf *gguf, const pre_row *pre, fg_error *err) {
  bool add_bos, add_eos;
  int32_t bos = fg_tokenizer_bos(t), eos = fg_tokenizer_eos(t);
  fg_status status = fg_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", pre->add_bos, &add_bos, err);
  if (status == FG_OK) status = fg_gguf_bool(gguf, "tokenizer.ggml.add_eos_token", false, &add_eos, err);
  if (status == FG_OK && add_bos && bos >= 0) status = fg_ids_append(&t->prefix, &bos, 1, err);
  if (status == FG_OK && add_eos && eos >= 0) status = fg_ids_append(&t->suffix, &eos, 1, err);
  return status;
}

static fg_status read_pipeline(fg_tokenizer *t, const pre_row *pre, fg_error *err) {
  static const char decoder_json[] = "{\"type\":\"ByteLevel\"}", where[] = "tokenizer.ggml.pre";
  json_t *split = fg_json_parse(pre->pretokenizer, strlen(pre->pretokenizer), where, err);
  json_t *normal =
      pre->normalizer ? fg_json_parse(pre->normalizer, strlen(pre->normalizer), where, err) : json_null();
  json_t *decoder = fg_json_parse(decoder_json, sizeof decoder_json - 1, where, err);
  fg_status status =
      split && normal && decoder ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
  if (status == FG_OK) status = fg_pretokenizer_read(&t->pretokenizer, split, err);
  if (status == FG_OK) status = fg_normalizer_read(&t->normalizer, normal, err);
  if (status == FG_OK) status = fg_decoder_read(&t->decoder, decoder, err);
  json_decref(split);
  json_decref(normal);
  json_decref(decoder);
  t->bpe.ignore_merges = pre->ignore_merges;
  return status ? status : fg_tokenizer_choose_form(t, err);
}

static bool equals(fg_gguf_string s, const char *text) {
  return s.data && s.length == strlen(text) && memcmp(s.data, text, s.length) == 0;
}

static fg_status find_pre(const fg_gguf *gguf, const pre_row **out, fg_error *err) {
  fg_gguf_string model, pre;
  fg_status status = fg_gguf_text(gguf, "tokenizer.ggml.model", &model, err);
  if (status == FG_OK) status = fg_gguf_text(gguf, "tokenizer.ggml.pre", &pre, err);
  if (status) return status;
  if (!model.data || equals(model, "none"))
    return fg_fail(err, FG_NOT_FOUND, "the GGUF header holds no tokenizer");
  if (!equals(model, "gpt2")) {
    return fg_fail(err, FG_UNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is not supported",
                   model.length < 60 ? (int)model.length : 60, model.data);
  }
  for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
    if (!equals(pre, pres[i].name)) continue;
    *out = &pres[i];
    return FG_OK;
  }
  if (!pre.data)
    return fg_fail(err, FG_UNSUPPORTED, "tokenizer.ggml.pre is missing: how to split text is not known");
  return fg_fail(err, FG_UNSUPPORTED, "tokenizer.ggml.pre \"%.*s\" is not supported",
                 pre.length < 60 ? (int)pre.length : 60, pre.data);
}

fg_status fg_tokenizer_load_gguf(fg_tokenizer *t, const fg_assets *assets, fg_error *err) {
  const fg_asset *asset = fg_assets_find(assets, FG_ASSET_GGUF_HEADER);
  if (!asset) return fg_fail(err, FG_NOT_FOUND, "no GGUF header");
  fg_gguf *gguf;
  const pre_row *pre = NULL;
  arrays a = {0};
  fg_status status = fg_gguf_parse(&gguf, asset->data, asset->bytes, err);
  if (status) return status;
  status = find_pre(gguf, &pre, err);
  if (status == FG_OK) status = read_pipeline(t, pre, err);
  if (status == FG_OK) status = read_tokens(t, gguf, &a, err);
  if (status == FG_OK) status = add_typed(t, &a, err);
  if (status == FG_OK) status = read_merges(t, gguf, &a, err);
  if (status == FG_OK) status = read_roles(t, gguf, err);
  if (status == FG_OK) status = read_around(t, gguf, pre, err);
  free(a.strings);
  free(a.types);
  fg_gguf_destroy(gguf);
  return status;
}
