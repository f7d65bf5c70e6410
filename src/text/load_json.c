// tokenizer.json: the whole pipeline in one file.
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
  if (status == FG_OK) status = fg_tokenizer_read_model(t, parts[MODEL], where, err);
  bool listed = parts[ADDED_TOKENS].text && *parts[ADDED_TOKENS].text == '[';
  if (status == FG_OK && listed) status = fg_json_each(parts[ADDED_TOKENS], where, add_one, t, err);
  return status ? status : fg_tokenizer_read_specials(t, assets, (fg_special_texts){0}, err);
}
