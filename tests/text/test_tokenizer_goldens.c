// Ids and texts equal those of the Hugging Face libraries and of sentencepiece (make_goldens.py), for every
// form a tokenizer comes in.
#include "golden.h"

#include <stdlib.h>

// ---- encoding -----------------------------------------------------------------------------------------

static void check_encode(const fg_tokenizer *tokenizer, const json_t *lists, bool special, const char *name) {
  json_t *texts = golden_json("texts.json");
  for (size_t i = 0; i < json_array_size(lists); i++) {
    const json_t *text = json_array_get(texts, i);
    fg_ids ids = {0};
    fg_error err = {0};
    if (fg_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), special, &ids,
                            &err)) {
      fail_msg("%s: %s", name, err.message);
    }
    assert_ids(&ids, json_array_get(lists, i), name, text);
    fg_ids_free(&ids);
  }
  json_decref(texts);
}

// Lines of random Unicode; a form's golden holds some of them.
static void check_fuzz(const fg_tokenizer *tokenizer, const json_t *fuzz, const char *name) {
  json_t *texts = golden_json("fuzz.json");
  const json_t *lists = json_object_get(fuzz, "ids");
  size_t first = (size_t)json_integer_value(json_object_get(fuzz, "first"));
  size_t every = (size_t)json_integer_value(json_object_get(fuzz, "every"));
  for (size_t i = 0; i < json_array_size(lists); i++) {
    const json_t *text = json_array_get(texts, first + i * every);
    fg_ids ids = {0};
    fg_error err = {0};
    if (fg_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), false, &ids, &err))
      fail_msg("%s: %s", name, err.message);
    assert_ids(&ids, json_array_get(lists, i), name, text);
    fg_ids_free(&ids);
  }
  json_decref(texts);
}

// ---- decoding -----------------------------------------------------------------------------------------

static void decode_at_once(const fg_tokenizer *tokenizer, const fg_ids *ids, bool skip, fg_text *text) {
  assert_int_equal(fg_tokenizer_decode(tokenizer, ids->data, ids->count, skip, text, NULL), FG_OK);
}

static void decode_token_by_token(const fg_tokenizer *tokenizer, const fg_ids *ids, bool skip,
                                  fg_text *text) {
  fg_detokenizer *d;
  assert_int_equal(fg_detokenizer_create(&d, tokenizer, skip, NULL), FG_OK);
  for (size_t i = 0; i < ids->count; i++) {
    size_t before = text->length;
    assert_int_equal(fg_detokenizer_push(d, ids->data[i], text, NULL), FG_OK);
    // No character is ever given away in part: a continuation byte never starts a piece.
    if (text->length > before) assert_int_not_equal((unsigned char)text->data[before] & 0xc0, 0x80);
  }
  assert_int_equal(fg_detokenizer_finish(d, text, NULL), FG_OK);
  fg_detokenizer_destroy(d);
}

static void check_decode(const fg_tokenizer *tokenizer, const json_t *cases, const char *name) {
  for (size_t i = 0; i < json_array_size(cases); i++) {
    const json_t *one = json_array_get(cases, i);
    fg_ids ids = ids_of(json_array_get(one, 0));
    for (int skip = 0; skip < 2; skip++) {
      fg_text whole = {0}, pieces = {0};
      decode_at_once(tokenizer, &ids, skip, &whole);
      assert_text(&whole, json_array_get(one, 1 + (size_t)skip), name);
      decode_token_by_token(tokenizer, &ids, skip, &pieces);
      assert_text(&pieces, json_array_get(one, 1 + (size_t)skip), name);
      fg_text_free(&whole);
      fg_text_free(&pieces);
    }
    fg_ids_free(&ids);
  }
}

static void check_all(const char *path, const char *golden_name) {
  json_t *golden = golden_json(golden_name);
  fg_tokenizer *tokenizer = golden_tokenizer(path);
  check_encode(tokenizer, json_object_get(golden, "ids"), false, golden_name);
  check_encode(tokenizer, json_object_get(golden, "special"), true, golden_name);
  check_fuzz(tokenizer, json_object_get(golden, "fuzz"), golden_name);
  check_decode(tokenizer, json_object_get(golden, "decode"), golden_name);
  if (json_object_get(golden, "bos")) {
    assert_int_equal(fg_tokenizer_bos(tokenizer), json_integer_value(json_object_get(golden, "bos")));
    assert_int_equal(fg_tokenizer_eos(tokenizer), json_integer_value(json_object_get(golden, "eos")));
  }
  fg_tokenizer_destroy(tokenizer);
  json_decref(golden);
}

// The file or folder of the goldens that a form's test reads.
static void test_equals_the_library(void **state) {
  const char *form = *state;
  char path[512], golden_name[64];
  snprintf(path, sizeof path, "%s/text/goldens/%s", FG_TEST_DIR, form);
  snprintf(golden_name, sizeof golden_name, "%s.json", form);
  check_all(path, golden_name);
}

// The real file is not part of the tree.
static void test_equals_the_library_for_smollm2(void **state) {
  (void)state;
  const char *path = getenv("FG_SMOLLM2_GGUF");
  if (!path) {
    print_message("skipped: FG_SMOLLM2_GGUF does not name SmolLM2-135M-Instruct.Q4_1.gguf\n");
    skip();
  }
  check_all(path, "smollm2.json");
}

// ---- splitting alone ----------------------------------------------------------------------------------

// Every kind of pre-tokenizer on one vocabulary in which a pre-token's end shows.
static void test_splits_equal_the_library(void **state) {
  (void)state;
  json_t *golden = golden_json("splits.json"), *base = json_object_get(golden, "tokenizer");
  const json_t *cases = json_object_get(golden, "cases");
  for (size_t i = 0; i < json_array_size(cases); i++) {
    const json_t *one = json_array_get(cases, i);
    fg_assets assets = {0};
    fg_tokenizer *tokenizer;
    fg_error err = {0};
    json_object_set(base, "pre_tokenizer", json_object_get(one, "pre_tokenizer"));
    char *text = json_dumps(base, JSON_COMPACT);
    assert_int_equal(fg_assets_add(&assets, "tokenizer.json", text, strlen(text), NULL), FG_OK);
    if (fg_tokenizer_load(&tokenizer, &assets, &err)) fail_msg("%s", err.message);
    check_encode(tokenizer, json_object_get(one, "ids"), false,
                 json_string_value(json_object_get(one, "name")));
    fg_tokenizer_destroy(tokenizer);
    fg_assets_free(&assets);
    free(text);
  }
  json_decref(golden);
}

// Ways a tokenizer comes in, then the families' own settings, then SentencePiece's files.
static char *forms[] = {"smollm",
                        "llama3",
                        "qwen2",
                        "llama2",
                        "metaspace",
                        "gemma",
                        "roberta",
                        "flags",
                        "words",
                        "gpt2",
                        "opt",
                        "configured",
                        "gpt-2.gguf",
                        "smollm.gguf",
                        "llama-bpe.gguf",
                        "qwen2.gguf",
                        "qwen35.gguf",
                        "bloom.gguf",
                        "viking.gguf",
                        "gpt-4o.gguf",
                        "tekken.gguf",
                        "falcon.gguf",
                        "seed-coder.gguf",
                        "bailingmoe.gguf",
                        "deepseek-llm.gguf",
                        "deepseek-coder.gguf",
                        "deepseek-v3.gguf",
                        "glm4.gguf",
                        "llama.gguf",
                        "t5.gguf",

                        "qwen35",
                        "bloom",
                        "deepseek_llm",
                        "deepseek_coder",
                        "deepseek_v3",
                        "falcon",
                        "starcoder",
                        "neox",
                        "glm4",
                        "phi4",
                        "cohere",
                        "gpt_oss",
                        "tekken",
                        "mistral",
                        "bert",
                        "cased_bert",
                        "word_level",
                        "ctc",
                        "gpt1",
                        "normal_bytes",
                        "t5",
                        "xlnet",
                        "unigram_bytes",

                        "spm_llama",
                        "spm_t5",
                        "spm_user",
                        "spm_unigram_user",
                        "spm_across",
                        "spm_unused",
                        "spm_unigram_bytes"};

int main(void) {
  enum { COUNT = sizeof forms / sizeof *forms };
  struct CMUnitTest tests[COUNT + 2];
  for (size_t i = 0; i < COUNT; i++) {
    tests[i] = (struct CMUnitTest){forms[i], test_equals_the_library, NULL, NULL, forms[i]};
  }
  tests[COUNT] = (struct CMUnitTest)cmocka_unit_test(test_equals_the_library_for_smollm2);
  tests[COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(test_splits_equal_the_library);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
