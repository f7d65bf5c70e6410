// byte_model.h: a tokenizer whose ids are the bytes of the text, for tests of what is built on tokenizers.
// </s> is 256, <end> 257, both special; 258 and 259 are in the model's vocabulary but have no text.
#ifndef FG_TESTS_BYTE_MODEL_H
#define FG_TESTS_BYTE_MODEL_H

#include <stdio.h>
#include <string.h>

#include "format/assets.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

enum { BYTE_EOS = 256, BYTE_END = 257, BYTE_VOCAB = 260 };
static const int32_t byte_eos[2] = {BYTE_EOS, BYTE_END};

// GPT-2's names for bytes: printable Latin-1 for itself, the others from U+0100 on.
static inline uint32_t byte_name(uint32_t byte) {
  uint32_t others = 0;
  for (uint32_t b = 0; b < 256; b++) {
    bool plain = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    if (b == byte) return plain ? b : 256 + others;
    others += !plain;
  }
  return 0;
}

// The model's small files, for the caller to free; `config` is tokenizer_config.json.
static inline fg_assets byte_assets(const char *config) {
  fg_text json = {0};
  fg_text_append_string(&json, "{\"added_tokens\":["
                               "{\"id\":256,\"content\":\"</s>\",\"special\":true},"
                               "{\"id\":257,\"content\":\"<end>\",\"special\":true}],"
                               "\"normalizer\":null,\"post_processor\":null,"
                               "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                               "\"trim_offsets\":false,\"use_regex\":false},"
                               "\"decoder\":{\"type\":\"ByteLevel\"},"
                               "\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
  for (uint32_t b = 0; b < 256; b++) {
    fg_text_append_string(&json, b ? ",\"" : "\"");
    if (byte_name(b) == '"' || byte_name(b) == '\\') fg_text_append(&json, "\\", 1);
    fg_utf8_append(&json, byte_name(b));
    fg_text_printf(&json, "\":%u", b);
  }
  fg_text_append_string(&json, "}}}");
  fg_assets assets = {0};
  fg_error err = {0};
  if (fg_assets_add(&assets, "tokenizer.json", json.data, json.length, &err) != FG_OK ||
      fg_assets_add(&assets, "tokenizer_config.json", config, strlen(config), &err) != FG_OK)
    fprintf(stderr, "byte model: %s\n", err.message);
  fg_text_free(&json);
  return assets;
}

static inline fg_tokenizer *byte_tokenizer(void) {
  fg_assets assets = byte_assets("{\"eos_token\":\"</s>\"}");
  fg_tokenizer *tokenizer = NULL;
  fg_error err = {0};
  if (fg_tokenizer_load(&tokenizer, &assets, &err) != FG_OK) fprintf(stderr, "byte model: %s\n", err.message);
  fg_assets_free(&assets);
  return tokenizer;
}

#endif
