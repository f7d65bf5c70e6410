#include "fuzz_bases.h"

#include <stdio.h>
#include <string.h>

// Everything of a tokenizer.json but its vocabulary. The pipelines: GPT-2, Llama 3, SmolLM2, Llama 2.
static const char *const pipelines[FUZZ_TOKENIZERS] = {
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"added_tokens\":[{\"id\":264,\"content\":\"</"
    "s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":true,"
    "\"special\":true}],\"normalizer\":null,"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_"
    "regex\":true},"
    "\"post_processor\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true}}",

    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":264,\"content\":\"<|begin|>\",\"special\":true,"
    "\"normalized\":false},"
    "{\"id\":265,\"content\":\"<|end|>\",\"special\":true,\"lstrip\":true,\"rstrip\":true}],\"normalizer\":{"
    "\"type\":\"NFC\"},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
    "\"(?i:'s|'t|'re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s+(?!\\\\S)|\\\\s+\"},"
    "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_"
    "regex\":false}]},"
    "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"
    "\"TemplateProcessing\","
    "\"single\":[{\"SpecialToken\":{\"id\":\"<|begin|>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_"
    "id\":0}}],"
    "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
    "\"special_tokens\":{\"<|begin|>\":{\"id\":\"<|begin|>\",\"ids\":[264],\"tokens\":[\"<|begin|>\"]}}}]},"
    "\"decoder\":{\"type\":\"ByteLevel\"}}",

    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":264,\"content\":\"<|im_start|>\",\"special\":true},{"
    "\"id\":265,\"content\":\"zz\","
    "\"single_word\":true,\"special\":false}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{"
    "\"type\":\"NFKC\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"ba\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
    "true},"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]},\"post_processor\":{\"type\":\"RobertaProcessing\","
    "\"sep\":[\"zz\",265],"
    "\"cls\":[\"<|im_start|>\",264],\"trim_offsets\":true,\"add_prefix_space\":false},\"decoder\":{\"type\":"
    "\"ByteLevel\"}}",

    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":264,\"content\":\"<s>\",\"special\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},{"
    "\"type\":\"Replace\","
    "\"pattern\":{\"String\":\" "
    "\"},\"content\":\"\\u2581\"}]},\"pre_tokenizer\":null,\"post_processor\":null,"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
    "\"\\u2581\"},\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
    "\",\"start\":1,\"stop\":0}]}}",
};

static const char *const merges[] = {"a b", "h e",   "t he",         "\xc4\xa0 t",
                                     "1 2", "ab ab", "\xc4\xa0t he", "i n"};

// The character that stands for a byte in GPT-2's alphabet.
static void put_byte(char out[static 4], int byte) {
  static const int plain[][2] = {{'!', '~'}, {0xa1, 0xac}, {0xae, 0xff}};
  int shifted = 256;
  for (int b = 0; b <= byte; b++) {
    int is_plain = 0;
    for (size_t i = 0; i < 3; i++) is_plain |= b >= plain[i][0] && b <= plain[i][1];
    if (b == byte && is_plain)
      shifted = byte;
    else if (b < byte && !is_plain)
      shifted++;
  }
  if (shifted < 0x80)
    snprintf(out, 4, "%c", shifted);
  else
    snprintf(out, 4, "%c%c", 0xc0 | shifted >> 6, 0x80 | (shifted & 0x3f));
}

static json_t *make_model(int number) {
  json_t *vocab = json_object(), *list = json_array();
  char token[16];
  for (int byte = 0; byte < 256; byte++) {
    put_byte(token, byte);
    json_object_set_new(vocab, token, json_integer(byte));
  }
  for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
    const char *space = strchr(merges[i], ' ');
    snprintf(token, sizeof token, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
    json_object_set_new(vocab, token, json_integer(256 + (json_int_t)i));
    // Newer files have pairs, older ones lines.
    json_t *pair = json_pack("[s%,s]", merges[i], (size_t)(space - merges[i]), space + 1);
    if (number % 2)
      json_array_append_new(list, pair);
    else
      json_decref(pair), json_array_append_new(list, json_string(merges[i]));
  }
  return json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token",
                   "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback",
                   number == 3, "ignore_merges", number == 1, "vocab", vocab, "merges", list);
}

json_t *fuzz_base_tokenizer(int number) {
  json_t *root = json_loads(pipelines[number], 0, NULL);
  if (root) json_object_set_new(root, "model", make_model(number));
  return root;
}
