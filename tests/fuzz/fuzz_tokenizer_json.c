// tokenizer.json files whose members are changed as JSON values, then bytes. What loads must encode and
// decode texts.
#include "fuzz_bases.h"
#include "fuzz_json.h"
#include "fuzz_tokenizer.h"

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
    "BertNormalizer",
    "StripAccents",
    "Precompiled",
    "Nmt",
    "WordLevel",
    "CTC",
    "BPEDecoder",
    "unk_id",
    "continuing_subword_prefix",
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

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  return fuzz_tokenizer_run("tokenizer.json", input, "invalid JSON");
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
