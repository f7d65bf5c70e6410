#include "fuzz_tokenizer.h"

#include <string.h>

#include "text/tokenizer.h"

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

fuzz_outcome fuzz_tokenizer_run(const char *name, const fuzz_bytes *input, const char *early) {
  fg_assets assets = {0};
  fg_error err = {0};
  fg_tokenizer *t;
  if (fg_assets_add(&assets, name, input->data, input->count, &err)) fuzz_broken("%s", err.message);
  fg_status status = fg_tokenizer_load(&t, &assets, &err);
  if (status == FG_OK) {
    use(t);
    fg_tokenizer_destroy(t);
  }
  fg_assets_free(&assets);
  if (status == FG_OK) return FUZZ_ACCEPTED;
  if (err.message[0] == 0) fuzz_broken("refused without a reason");
  return strstr(err.message, early) ? FUZZ_REFUSED : FUZZ_PAST_HEADER;
}
