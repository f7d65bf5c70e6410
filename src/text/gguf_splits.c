#include "text/gguf_splits.h"

#include <string.h>

#include "base/json.h"

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LETTERS     "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define SPACES      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define OTHERS      " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define UPPER       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
// Words in which lower-case letters follow upper-case ones, with what may stand behind them.
#define CASED(behind)                                                                                        \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" behind "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" behind "|"
#define OTHERS_AND_SLASHES " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
#define HAN                "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
// Letters that have case, as DeepSeek's first models list them.
#define CASED_LETTERS                                                                                        \
  "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-"                    \
  "\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}"              \
  "\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-"                    \
  "\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-"             \
  "\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}"                    \
  "\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-"                   \
  "\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}"            \
  "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-"          \
  "\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}"                     \
  "\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}"            \
  "\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-"                     \
  "\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}"                     \
  "\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-"                   \
  "\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"                    \
  "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"                     \
  "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

static const fg_gguf_split gpt2 = {{NULL}, FG_GGUF_GPT2};
static const fg_gguf_split digits = {{"\\p{N}"}, FG_GGUF_GPT2};
static const fg_gguf_split falcon = {{NULL}, FG_GGUF_FALCON};
static const fg_gguf_split llama3 = {{CONTRACTION "|" LETTERS "\\p{N}{1,3}|" OTHERS}, FG_GGUF_BYTES};
static const fg_gguf_split qwen2 = {{CONTRACTION "|" LETTERS "\\p{N}|" OTHERS}, FG_GGUF_BYTES};
static const fg_gguf_split qwen35 = {
    {CONTRACTION
     "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES},
    FG_GGUF_BYTES};
static const fg_gguf_split bailing = {
    {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|"
     "\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
    FG_GGUF_BYTES};
static const fg_gguf_split seed_coder = {
    {CONTRACTION "|" LETTERS "\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES}, FG_GGUF_BYTES};
static const fg_gguf_split bloom = {{" ?[^(\\s|[.,!?…。，、।۔،])]+"}, FG_GGUF_BYTES};
static const fg_gguf_split viking = {{" ?[^(\\s|[.,!?…。，、।۔،])]+", "\\p{N}"}, FG_GGUF_BYTES};
static const fg_gguf_split tekken = {{CASED("") "\\p{N}|" OTHERS_AND_SLASHES}, FG_GGUF_BYTES};
static const fg_gguf_split gpt4o = {{CASED(CONTRACTION "?") "\\p{N}{1,3}|" OTHERS_AND_SLASHES},
                                    FG_GGUF_BYTES};
static const fg_gguf_split deepseek_llm = {
    {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+",
     "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+", "\\s+$",
     HAN, "\\p{N}"},
    FG_GGUF_BYTES};
static const fg_gguf_split deepseek_coder = {{"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}"},
                                             FG_GGUF_BYTES};
static const fg_gguf_split deepseek3 = {
    {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
     "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
     " ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES},
    FG_GGUF_BYTES};

// llama.cpp drops the normalizers; here they are the families' own. A name that is not here is refused: a
// guess would give wrong ids without a word.
static const char *const glm[] = {"[gMASK]", "<sop>", NULL};
static const fg_gguf_pre pres[] = {
    //                  split      NFC    ignore_merges add_bos before
    {"bailingmoe", &bailing, false, false, false, NULL},
    {"bailingmoe2", &bailing, false, false, false, NULL},
    {"bloom", &bloom, false, false, false, NULL},
    {"chatglm-bpe", &llama3, false, false, false, glm},
    {"codeshell", &digits, false, false, false, NULL},
    {"command-r", &digits, true, false, false, NULL},
    {"dbrx", &llama3, false, false, false, NULL},
    {"deepseek-coder", &deepseek_coder, false, false, false, NULL},
    {"deepseek-llm", &deepseek_llm, false, false, false, NULL},
    {"deepseek-r1-qwen", &qwen2, false, false, false, NULL},
    {"deepseek-v3", &deepseek3, false, false, false, NULL},
    {"exaone", &digits, false, false, false, NULL},
    {"exaone4", &gpt2, false, false, false, NULL},
    {"falcon", &falcon, false, false, false, NULL},
    {"falcon-h1", &llama3, false, true, true, NULL},
    {"falcon3", &llama3, false, true, true, NULL},
    {"glm4", &llama3, false, false, false, glm},
    {"gpt-2", &gpt2, false, false, false, NULL},
    {"gpt-4o", &gpt4o, false, false, false, NULL},
    {"gpt3-finnish", &bloom, false, false, false, NULL},
    {"granite-docling", &gpt2, false, false, false, NULL},
    {"grok-2", &qwen2, false, false, false, NULL},
    {"hunyuan", &qwen2, false, false, false, NULL},
    {"hunyuan-dense", &deepseek3, false, false, false, NULL},
    {"jais", &gpt2, false, false, false, NULL},
    {"lfm2", &llama3, false, true, true, NULL},
    {"llada-moe", &bailing, false, false, false, NULL},
    {"llama-bpe", &llama3, false, true, true, NULL},
    {"llama-v3", &llama3, false, true, true, NULL},
    {"llama3", &llama3, false, true, true, NULL},
    {"llama4", &gpt4o, false, false, false, NULL},
    {"megrez", &qwen2, true, false, false, NULL},
    {"minerva-7b", &digits, false, false, false, NULL},
    {"mpt", &gpt2, true, false, false, NULL},
    {"olmo", &gpt2, true, false, false, NULL},
    {"phi-2", &gpt2, false, false, false, NULL},
    {"pixtral", &llama3, false, true, true, NULL},
    {"poro-chat", &bloom, false, false, false, NULL},
    {"qwen2", &qwen2, true, false, false, NULL},
    {"qwen35", &qwen35, true, false, false, NULL},
    {"refact", &digits, false, false, false, NULL},
    {"seed-coder", &seed_coder, false, false, false, NULL},
    {"smaug-bpe", &llama3, false, false, false, NULL},
    {"smollm", &digits, false, false, false, NULL},
    {"stablelm2", &qwen2, true, false, false, NULL},
    {"starcoder", &digits, false, false, false, NULL},
    {"tekken", &tekken, false, true, true, NULL},
    {"trillion", &gpt2, false, false, false, NULL},
    {"viking", &viking, false, false, false, NULL},
};

const fg_gguf_pre *fg_gguf_find_pre(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
    if (strlen(pres[i].name) == length && memcmp(pres[i].name, name, length) == 0) return &pres[i];
  }
  return NULL;
}

// ---- in the words of tokenizer.json -------------------------------------------------------------------

static json_t *bytes_step(bool gpt2_rule) {
  return json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex",
                   (int)gpt2_rule);
}

static json_t *split_step(const char *regex) {
  return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", regex, "behavior",
                   "Isolated", "invert", 0);
}

static json_t *pretokenizer_of(const fg_gguf_split *split) {
  json_t *steps = json_array();
  for (size_t i = 0; i < FG_GGUF_SPLITS_MAX && split->splits[i]; i++) {
    json_array_append_new(steps, split_step(split->splits[i]));
  }
  if (split->tail == FG_GGUF_FALCON)
    json_array_append_new(steps, json_pack("{s:s, s:s}", "type", "Punctuation", "behavior", "Contiguous"));
  json_array_append_new(steps, bytes_step(split->tail != FG_GGUF_BYTES));
  if (split->tail == FG_GGUF_FALCON) {
    json_array_append_new(steps, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 0));
    json_array_append_new(steps, split_step("[0-9][0-9][0-9]"));
  }
  return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps);
}

fg_status fg_gguf_read_split(fg_tokenizer *t, const fg_gguf_pre *pre, fg_error *err) {
  json_t *split = pretokenizer_of(pre->split), *decoder = json_pack("{s:s}", "type", "ByteLevel");
  json_t *normal = pre->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
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
