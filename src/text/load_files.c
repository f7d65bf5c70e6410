// vocab.json and merges.txt: byte-level BPE as GPT-2's and OPT's repositories ship it. What the files
// do not say is the tokenizer class's: a row below.
#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"

static const char config_name[] = "tokenizer_config.json";

typedef struct class_row {
  const char *name;
  const char *special; // bos, eos and unk where no file names them
} class_row;
static const class_row classes[] = {
    {"GPT2Tokenizer", "<|endoftext|>"},
    {"GPT2TokenizerFast", "<|endoftext|>"},
    {"CodeGenTokenizer", "<|endoftext|>"},
    {"CodeGenTokenizerFast", "<|endoftext|>"},
};

static fg_status read_options(const fg_assets *assets, fg_class_options *out, const class_row **class,
                              fg_error *err) {
  *out = (fg_class_options){0};
  *class = &classes[0];
  fg_status status = fg_tokenizer_read_class(assets, out, err);
  if (status || !*out->name) return status;
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    if (strcmp(classes[i].name, out->name) != 0) continue;
    *class = &classes[i];
    return FG_OK;
  }
  return fg_fail(err, FG_UNSUPPORTED, "%s: tokenizer class \"%s\" without a tokenizer.json is not supported",
                 config_name, out->name);
}

static fg_status read_merges(fg_bpe *bpe, const fg_asset *asset, fg_error *err) {
  static const char comment[] = "#version";
  const char *at = asset->data, *end = at + asset->bytes;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *next = newline ? newline + 1 : end;
    size_t length = (size_t)((newline ? newline : end) - at);
    if (length > 0 && at[length - 1] == '\r') length--;
    bool skip = length == 0 || (length >= sizeof comment - 1 && memcmp(at, comment, sizeof comment - 1) == 0);
    fg_status status = skip ? FG_OK : fg_bpe_add_merge_line(bpe, at, length, err);
    if (status) return fg_fail_prefix(err, "merges.txt");
    at = next;
  }
  return FG_OK;
}

// The pipeline of the class, in the words of tokenizer.json.
static fg_status read_pipeline(fg_tokenizer *t, const fg_class_options *options, fg_error *err) {
  json_t *pre = json_pack("{s:s, s:b}", "type", "ByteLevel", "add_prefix_space", options->add_prefix_space);
  json_t *decoder = json_pack("{s:s}", "type", "ByteLevel");
  fg_status status = pre && decoder ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
  if (status == FG_OK) status = fg_pretokenizer_read(&t->pretokenizer, pre, err);
  if (status == FG_OK) status = fg_decoder_read(&t->decoder, decoder, err);
  json_decref(pre);
  json_decref(decoder);
  return status;
}

fg_status fg_tokenizer_load_files(fg_tokenizer *t, const fg_assets *assets, fg_error *err) {
  const fg_asset *vocab = fg_assets_find(assets, "vocab.json"),
                 *merges = fg_assets_find(assets, "merges.txt");
  if (!vocab || !merges) return fg_fail(err, FG_NOT_FOUND, "no vocab.json with merges.txt");
  fg_class_options options;
  const class_row *class;
  fg_status status = read_options(assets, &options, &class, err);
  if (status == FG_OK) status = read_pipeline(t, &options, err);
  if (status == FG_OK) status = fg_tokenizer_choose_form(t, err);
  fg_json_span file = {vocab->data, vocab->bytes};
  if (status == FG_OK) status = fg_tokenizer_read_vocab(t, file, "vocab.json", err);
  if (status == FG_OK) status = read_merges(&t->bpe, merges, err);
  if (status) return status;
  fg_bpe_finish(&t->bpe);
  fg_special_texts fallback = {class->special, class->special, class->special};
  status = fg_tokenizer_read_specials(t, assets, fallback, err);
  return status ? status : fg_tokenizer_add_around(t, options.add_bos, options.add_eos, err);
}
