// tokenizer.json files whose members are changed as JSON values, then bytes. What loads must encode and
// decode texts.
#include <string.h>

#include "fuzz_bases.h"
#include "fuzz_json.h"
#include "text/tokenizer.h"

static const char *const words[] = {
    "type",
    "BPE",
    "Unigram",
    "WordPiece",
    "Sequence",
    "ByteLevel",
    "Split",
    "Digits",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Replace",
    "Prepend",
    "Strip",
    "Lowercase",
    "Metaspace",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
    "BertPreTokenizer",
    "CharDelimiterSplit",
    "ByteFallback",
    "Fuse",
    "TemplateProcessing",
    "RobertaProcessing",
    "BertProcessing",
    "Regex",
    "String",
    "Isolated",
    "Removed",
    "MergedWithNext",
    "MergedWithPrevious",
    "Contiguous",
    "pattern",
    "content",
    "normalizers",
    "pretokenizers",
    "processors",
    "decoders",
    "single",
    "special_tokens",
    "SpecialToken",
    "id",
    "ids",
    "vocab",
    "merges",
    "unk_token",
    "prefix",
    "\xe2\x96\x81",
    "a b",
    "a",
    "(a|b)*c",
    "(a+)+b",
    "[^\\s\\p{L}]+",
    "\\p{Han}",
    "(?<!x)y",
    "[a-z&&[^aeiou]]",
    "((((",
    "a{1000}",
    "a{0,65536}",
    "\\x{110000}",
    NULL,
};

static json_t *bases[FUZZ_TOKENIZERS];

static bool setup(void) {
  for (int i = 0; i < FUZZ_TOKENIZERS; i++) {
    bases[i] = fuzz_base_tokenizer(i);
    if (!bases[i]) return false;
  }
  return true;
}

static void teardown(void) {
  for (int i = 0; i < FUZZ_TOKENIZERS; i++) json_decref(bases[i]);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  json_t *root = json_deep_copy(bases[fuzz_below(r, FUZZ_TOKENIZERS)]);
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) fuzz_json_mutate(r, root, words);
  fuzz_json_put(out, root);
  json_decref(root);
  if (fuzz_chance(r, 15)) fuzz_noise(r, out);
}

// Decodes all at once and one by one. Ids of a post-processor may lie outside of the vocabulary: then
// decoding refuses them, and only then.
static void decode(const fg_tokenizer *t, const fg_ids *ids) {
  fg_error err = {0};
  fg_text whole = {0}, parts = {0};
  fg_detokenizer *d;
  bool known = true;
  for (size_t i = 0; i < ids->count; i++) {
    size_t length;
    known = known && fg_tokenizer_token_bytes(t, ids->data[i], &length);
  }
  fg_status status = fg_tokenizer_decode(t, ids->data, ids->count, false, &whole, &err);
  if (status != (known ? FG_OK : FG_INVALID)) fuzz_broken("decode: %d, %s", (int)status, err.message);
  if (known && fg_detokenizer_create(&d, t, false, &err) == FG_OK) {
    for (size_t i = 0; i < ids->count; i++) {
      if (fg_detokenizer_push(d, ids->data[i], &parts, &err)) fuzz_broken("push: %s", err.message);
    }
    if (fg_detokenizer_finish(d, &parts, &err)) fuzz_broken("finish: %s", err.message);
    fg_detokenizer_destroy(d);
  }
  fg_text_free(&whole);
  fg_text_free(&parts);
}

static void use(const fg_tokenizer *t) {
  static const char *const texts[] = {
      "", "the ababab 1234 theory's  end\r\n\t ", "<|begin|>x</s> zz <s>\xe2\x96\x81",
      "e\xcc\x81\xf0\x9f\x98\x80\xe4\xb8\xad",
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    fg_ids ids = {0};
    fg_error err = {0};
    if (fg_tokenizer_encode(t, texts[i], strlen(texts[i]), i % 2 == 0, &ids, &err) == FG_OK) decode(t, &ids);
    fg_ids_free(&ids);
  }
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  fg_assets assets = {0};
  fg_error err = {0};
  fg_tokenizer *t;
  if (fg_assets_add(&assets, "tokenizer.json", input->data, input->count, &err))
    fuzz_broken("%s", err.message);
  fg_status status = fg_tokenizer_load(&t, &assets, &err);
  if (status == FG_OK) {
    use(t);
    fg_tokenizer_destroy(t);
  }
  fg_assets_free(&assets);
  if (status == FG_OK) return FUZZ_ACCEPTED;
  if (err.message[0] == 0) fuzz_broken("refused without a reason");
  return strstr(err.message, "invalid JSON") ? FUZZ_REFUSED : FUZZ_PAST_HEADER;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "tokenizer_json",
      .file_name = "tokenizer.json",
      .setup = setup,
      .make = make,
      .run = run,
      .teardown = teardown,
  };
  return fuzz_main(argc, argv, &target);
}
