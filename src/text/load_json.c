// tokenizer.json: the whole pipeline in one file.
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"

static const char where[] = "tokenizer.json";

enum { VERSION, ADDED_TOKENS, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL, PART_COUNT };
static const char *const part_names[PART_COUNT] = {
    [VERSION] = "version",
    [ADDED_TOKENS] = "added_tokens",
    [NORMALIZER] = "normalizer",
    [PRE_TOKENIZER] = "pre_tokenizer",
    [POST_PROCESSOR] = "post_processor",
    [DECODER] = "decoder",
    [MODEL] = "model",
};

enum { TYPE, UNK_TOKEN, PREFIX, SUFFIX, FUSE_UNK, BYTE_FALLBACK, IGNORE_MERGES, VOCAB, MERGES, FIELD_COUNT };
static const char *const field_names[FIELD_COUNT] = {
    [TYPE] = "type",
    [UNK_TOKEN] = "unk_token",
    [PREFIX] = "continuing_subword_prefix",
    [SUFFIX] = "end_of_word_suffix",
    [FUSE_UNK] = "fuse_unk",
    [BYTE_FALLBACK] = "byte_fallback",
    [IGNORE_MERGES] = "ignore_merges",
    [VOCAB] = "vocab",
    [MERGES] = "merges",
};

// ---- the model ----------------------------------------------------------------------------------------

// A string or nothing; "" counts as nothing.
static fg_status read_string(fg_json_span span, const char *name, char **out, fg_error *err) {
  json_t *json;
  fg_status status = fg_json_tree(span, where, &json, err);
  if (status || !json) return status;
  const char *text = json_string_value(json);
  if (!text && !json_is_null(json)) {
    status = fg_fail(err, FG_CORRUPT, "%s: \"%s\" is not a string", where, name);
  } else if (text && *text) {
    *out = strdup(text);
    if (!*out) status = fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
  }
  json_decref(json);
  return status;
}

static fg_status read_bool(fg_json_span span, const char *name, bool *out, fg_error *err) {
  json_t *json;
  fg_status status = fg_json_tree(span, where, &json, err);
  if (status || !json) return status;
  *out = json_is_true(json);
  if (!json_is_boolean(json) && !json_is_null(json)) {
    status = fg_fail(err, FG_CORRUPT, "%s: \"%s\" is neither true nor false", where, name);
  }
  json_decref(json);
  return status;
}

// "a b" (old files) or ["a", "b"].
static fg_status read_merge(fg_bpe *bpe, fg_json_scan *scan, fg_error *err) {
  char *left, *right;
  if (fg_scan_peek(scan) == '"') {
    fg_status status = fg_scan_string(scan, &left, err);
    return status ? status : fg_bpe_add_merge_line(bpe, left, strlen(left), err);
  }
  fg_status status = fg_scan_take(scan, '[', err);
  if (status == FG_OK) status = fg_scan_string(scan, &left, err);
  if (status == FG_OK) status = fg_scan_take(scan, ',', err);
  if (status == FG_OK) status = fg_scan_string(scan, &right, err);
  if (status == FG_OK) status = fg_scan_take(scan, ']', err);
  return status ? status : fg_bpe_add_merge(bpe, left, strlen(left), right, strlen(right), err);
}

static fg_status read_merges(fg_bpe *bpe, fg_json_span span, fg_error *err) {
  fg_json_scan scan;
  fg_status status = fg_json_stream_open(&scan, span, where, err);
  if (status) return status;
  status = fg_scan_take(&scan, '[', err);
  for (size_t i = 0; status == FG_OK; i++) {
    bool more = false;
    status = fg_scan_next(&scan, i, ']', &more, err);
    if (status || !more) break;
    status = read_merge(bpe, &scan, err);
  }
  fg_json_stream_close(&scan);
  return status;
}

static fg_status read_bpe(fg_tokenizer *t, const fg_json_span *fields, fg_error *err) {
  fg_bpe *bpe = &t->bpe;
  if (!fields[VOCAB].text || !fields[MERGES].text) {
    return fg_fail(err, FG_CORRUPT, "%s: the model lacks vocab or merges", where);
  }
  fg_status status = read_string(fields[UNK_TOKEN], field_names[UNK_TOKEN], &bpe->unk_token, err);
  if (status == FG_OK) status = read_string(fields[PREFIX], field_names[PREFIX], &bpe->prefix, err);
  if (status == FG_OK) status = read_string(fields[SUFFIX], field_names[SUFFIX], &bpe->suffix, err);
  if (status == FG_OK) status = read_bool(fields[FUSE_UNK], field_names[FUSE_UNK], &bpe->fuse_unk, err);
  if (status == FG_OK)
    status = read_bool(fields[BYTE_FALLBACK], field_names[BYTE_FALLBACK], &bpe->byte_fallback, err);
  if (status == FG_OK)
    status = read_bool(fields[IGNORE_MERGES], field_names[IGNORE_MERGES], &bpe->ignore_merges, err);
  if (status == FG_OK) status = fg_tokenizer_choose_form(t, err);
  if (status == FG_OK) status = fg_tokenizer_read_vocab(t, fields[VOCAB], where, err);
  if (status == FG_OK && read_merges(bpe, fields[MERGES], err)) status = fg_fail_prefix(err, "%s", where);
  if (status == FG_OK) fg_bpe_finish(bpe);
  return status;
}

// Further models (Unigram, WordPiece) are further rows.
typedef struct model_row {
  const char *type;
  fg_status (*read)(fg_tokenizer *t, const fg_json_span *fields, fg_error *err);
} model_row;
static const model_row models[] = {{"BPE", read_bpe}};

static fg_status read_model(fg_tokenizer *t, fg_json_span model, fg_error *err) {
  fg_json_span fields[FIELD_COUNT];
  char *type = NULL;
  if (!model.text) return fg_fail(err, FG_CORRUPT, "%s: there is no model", where);
  fg_status status = fg_json_pick(model, where, field_names, FIELD_COUNT, fields, err);
  if (status == FG_OK) status = read_string(fields[TYPE], field_names[TYPE], &type, err);
  if (status) return status;
  const char *wanted = type ? type : fields[MERGES].text ? "BPE" : "without a type"; // old files name none
  status = fg_fail(err, FG_UNSUPPORTED, "%s: model \"%.60s\" is not supported", where, wanted);
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    if (strcmp(models[i].type, wanted) == 0) status = models[i].read(t, fields, err);
  }
  free(type);
  return status;
}

// ---- the other parts ----------------------------------------------------------------------------------

static fg_status add_one(void *user, const char *key, fg_json_span value, fg_error *err) {
  (void)key;
  json_t *json;
  fg_added_token token;
  fg_status status = fg_json_tree(value, where, &json, err);
  if (status) return status;
  status = fg_added_token_read(&token, json, err);
  if (status == FG_OK) status = fg_tokenizer_add_token(user, &token, err);
  json_decref(json);
  return status;
}

typedef fg_status read_part(fg_tokenizer *t, const json_t *json, fg_error *err);

static fg_status read_normalizer(fg_tokenizer *t, const json_t *json, fg_error *err) {
  return fg_normalizer_read(&t->normalizer, json, err);
}

static fg_status read_pretokenizer(fg_tokenizer *t, const json_t *json, fg_error *err) {
  return fg_pretokenizer_read(&t->pretokenizer, json, err);
}

static fg_status read_decoder(fg_tokenizer *t, const json_t *json, fg_error *err) {
  return fg_decoder_read(&t->decoder, json, err);
}

static fg_status read_small(fg_tokenizer *t, fg_json_span span, read_part *read, fg_error *err) {
  json_t *json;
  fg_status status = fg_json_tree(span, where, &json, err);
  if (status) return status;
  status = read(t, json, err);
  json_decref(json);
  return status ? fg_fail_prefix(err, "%s", where) : FG_OK;
}

fg_status fg_tokenizer_load_json(fg_tokenizer *t, const fg_assets *assets, fg_error *err) {
  const fg_asset *asset = fg_assets_find(assets, where);
  if (!asset) return fg_fail(err, FG_NOT_FOUND, "no %s", where);
  fg_json_span parts[PART_COUNT];
  fg_json_span file = {asset->data, asset->bytes};
  fg_status status = fg_json_pick(file, where, part_names, PART_COUNT, parts, err);
  if (status == FG_OK && parts[VERSION].text &&
      (parts[VERSION].length != 5 || memcmp(parts[VERSION].text, "\"1.0\"", 5) != 0)) {
    status = fg_fail(err, FG_UNSUPPORTED, "%s: version %.*s is not supported", where,
                     parts[VERSION].length < 20 ? (int)parts[VERSION].length : 20, parts[VERSION].text);
  }
  if (status == FG_OK) status = read_small(t, parts[PRE_TOKENIZER], read_pretokenizer, err);
  if (status == FG_OK) status = read_small(t, parts[NORMALIZER], read_normalizer, err);
  if (status == FG_OK) status = read_small(t, parts[DECODER], read_decoder, err);
  if (status == FG_OK) status = read_small(t, parts[POST_PROCESSOR], fg_post_processor_read, err);
  if (status == FG_OK) status = read_model(t, parts[MODEL], err);
  bool listed = parts[ADDED_TOKENS].text && *parts[ADDED_TOKENS].text == '[';
  if (status == FG_OK && listed) status = fg_json_each(parts[ADDED_TOKENS], where, add_one, t, err);
  return status ? status : fg_tokenizer_read_specials(t, assets, NULL, err);
}
