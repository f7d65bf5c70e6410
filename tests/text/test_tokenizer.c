// Promises of tokenizer.h that the goldens do not show: what is refused and how, what is known of single
// tokens, and streams of tokens.
#include "golden.h"

#include <pthread.h>
#include <stdlib.h>

#define MODEL(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"

static fg_status load(const char *name, const char *text, fg_tokenizer **out, fg_error *err) {
  fg_assets assets = {0};
  assert_int_equal(fg_assets_add(&assets, name, text, strlen(text), NULL), FG_OK);
  fg_status status = fg_tokenizer_load(out, &assets, err);
  fg_assets_free(&assets);
  return status;
}

static void assert_refused(const char *text, fg_status expected, const char *reason) {
  fg_tokenizer *tokenizer;
  fg_error err = {0};
  fg_status status = load("tokenizer.json", text, &tokenizer, &err);
  if (status != expected || !strstr(err.message, reason)) {
    fail_msg("%s: status %d \"%s\", expected %d \"%s\"", text, status, err.message, expected, reason);
  }
  assert_null(tokenizer);
}

static void test_unknown_components_are_refused_by_name(void **state) {
  (void)state;
  assert_refused("{\"model\":{\"type\":\"Odd\",\"vocab\":[]}}", FG_UNSUPPORTED, "Odd");
  assert_refused("{\"normalizer\":{\"type\":\"Odd\"},\"model\":{}}", FG_UNSUPPORTED, "Odd");
  assert_refused("{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Odd\"}]}}",
                 FG_UNSUPPORTED, "Odd");
  assert_refused("{\"decoder\":{\"type\":\"Odd\"}}", FG_UNSUPPORTED, "Odd");
  assert_refused("{\"post_processor\":{\"type\":\"Odd\"}}", FG_UNSUPPORTED, "Odd");
  assert_refused("{\"version\":\"2.0\"}", FG_UNSUPPORTED, "2.0");
}

static void test_regexes_that_mean_something_else_are_refused(void **state) {
  (void)state;
  static const char *const patterns[] = {
      "[a[bc]]",    "[a&&b]",      "(?<n>a)",  "(a)\\\\1", "\\\\b",     "\\\\Ra",
      "a{2}?",      "a{1,3}+",     "a(?i)b|c", "(?i:ß)",   "(?i:miss)", "(?i)\\\\p{Lu}",
      "\\\\p{Odd}", "[[:alpha:]]", "[^\\\\W]", "\\\\K",    "(?m:a)",    "(a",
      "a)",         "[]",          "a**",      "(?#c)",    "\\\\G",     "\\\\X"};
  for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    char text[512];
    snprintf(
        text, sizeof text,
        "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}}",
        patterns[i]);
    assert_refused(text, FG_UNSUPPORTED, "regular expression");
  }
}

// A GGUF header that says no more than the kind of its tokenizer.
static fg_status load_gguf_kind(const char *kind, fg_error *err) {
  static const char key[] = "tokenizer.ggml.model";
  const uint64_t counts[2] = {0, 1}, key_length = sizeof key - 1, length = strlen(kind);
  const uint32_t version = 3, is_string = 8;
  const struct {
    const void *data;
    size_t bytes;
  } parts[] = {{"GGUF", 4},
               {&version, sizeof version},
               {counts, sizeof counts},
               {&key_length, sizeof key_length},
               {key, key_length},
               {&is_string, sizeof is_string},
               {&length, sizeof length},
               {kind, length}};
  char header[128];
  size_t used = 0;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; used += parts[i++].bytes)
    memcpy(header + used, parts[i].data, parts[i].bytes);
  fg_assets assets = {0};
  fg_tokenizer *tokenizer;
  assert_int_equal(fg_assets_add(&assets, FG_ASSET_GGUF_HEADER, header, used, NULL), FG_OK);
  fg_status status = fg_tokenizer_load(&tokenizer, &assets, err);
  fg_assets_free(&assets);
  return status;
}

static void test_gguf_without_a_vocabulary_has_no_tokenizer(void **state) {
  (void)state;
  fg_error err = {0};
  assert_int_equal(load_gguf_kind("none", &err), FG_NOT_FOUND);
  assert_int_equal(load_gguf_kind("no_vocab", &err), FG_NOT_FOUND);
  assert_int_equal(load_gguf_kind("odd", &err), FG_UNSUPPORTED);
  assert_non_null(strstr(err.message, "odd"));
}

static void test_malformed_models_are_corrupt(void **state) {
  (void)state;
  assert_refused("", FG_CORRUPT, "tokenizer.json");
  assert_refused("[]", FG_CORRUPT, "model");
  assert_refused("{\"model\":{\"type\":\"BPE\"}}", FG_CORRUPT, "vocab");
  assert_refused(MODEL("{\"a\":0}", "[[\"a\",\"b\"]]"), FG_CORRUPT, "\"b\"");
  assert_refused(MODEL("{\"a\":0,\"b\":1}", "[[\"a\",\"b\"]]"), FG_CORRUPT, "\"ab\"");
  assert_refused(MODEL("{\"a\":0,\"b\":1}", "[\"ab\"]"), FG_CORRUPT, "merge 0");
  assert_refused(MODEL("{\"a\":-1}", "[]"), FG_CORRUPT, "integer");
  assert_refused(MODEL("{\"a\":4000000000}", "[]"), FG_UNSUPPORTED, "ids are supported");
  assert_refused(MODEL("{\"a\":7,\"b\":7}", "[]"), FG_UNSUPPORTED, "id 7");
  assert_refused("{\"model\":{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[[\"a\",0]]}}", FG_CORRUPT,
                 "unk_id");
  assert_refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"0\"]]}}", FG_CORRUPT,
                 "score of piece 0");
  assert_refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", FG_CORRUPT, "expected ','");
  assert_refused("{\"model\":{\"type\":\"WordPiece\",\"vocab\":[]}}", FG_CORRUPT, "expected '{'");
  assert_refused("{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"A*\"}}", FG_CORRUPT,
                 "base64");
  assert_refused("{\"normalizer\":{\"type\":\"Precompiled\"}}", FG_CORRUPT, "charsmap");
  assert_refused("{\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":\"\"}}", FG_UNSUPPORTED, "suffix");
  assert_refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":1}]}", FG_CORRUPT,
                 "content");
}

// ---- tokenizer.model ----------------------------------------------------------------------------------

// A field of bytes; all lengths here are below 128.
static void put_bytes(fg_text *out, int field, const void *data, size_t length) {
  char head[2] = {(char)(field << 3 | 2), (char)length};
  assert_true(length < 128);
  fg_text_append(out, head, 2);
  fg_text_append(out, data, length);
}

static void put_integer(fg_text *out, int field, int value) {
  char bytes[3] = {(char)(field << 3 & 0x7f), (char)value, 0};
  if (field < 16) {
    fg_text_append(out, bytes, 2);
    return;
  }
  char wide[3] = {(char)((field << 3 & 0x7f) | 0x80), (char)(field >> 4), (char)value};
  fg_text_append(out, wide, 3);
}

static void put_piece(fg_text *out, const char *text, float score, int type) {
  fg_text piece = {0};
  char four[5] = {2 << 3 | 5};
  memcpy(four + 1, &score, 4);
  put_bytes(&piece, 1, text, strlen(text));
  fg_text_append(&piece, four, 5);
  put_integer(&piece, 3, type);
  put_bytes(out, 1, piece.data, piece.length);
  fg_text_free(&piece);
}

static fg_text small_model(void) {
  fg_text out = {0};
  put_piece(&out, "<unk>", 0, 2);
  put_piece(&out, "a", -1, 1);
  put_piece(&out, "b", -2, 1);
  put_piece(&out, "ab", -1, 1);
  return out;
}

static fg_status load_model(const fg_text *model, fg_tokenizer **out, fg_error *err) {
  fg_assets assets = {0};
  assert_int_equal(fg_assets_add(&assets, "tokenizer.model", model->data, model->length, NULL), FG_OK);
  fg_status status = fg_tokenizer_load(out, &assets, err);
  fg_assets_free(&assets);
  return status;
}

static void assert_model_refused(fg_text *model, fg_status expected, const char *reason) {
  fg_tokenizer *tokenizer = NULL;
  fg_error err = {0};
  fg_status status = load_model(model, &tokenizer, &err);
  if (status != expected || !strstr(err.message, reason)) {
    fail_msg("status %d \"%s\", expected %d \"%s\"", status, err.message, expected, reason);
  }
  assert_null(tokenizer);
  fg_text_free(model);
}

static void test_pieces_that_cannot_be_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *text;
    float score;
    int type;
    fg_status status;
    const char *reason;
  } pieces[] = {
      {"a", 0, 1, FG_CORRUPT, "twice"},
      {"<unk2>", 0, 2, FG_CORRUPT, "both mean unknown"},
      {"", 0, 1, FG_CORRUPT, "empty"},
      {"\xff\xfe", 0, 1, FG_CORRUPT, "UTF-8"},
      {"c", 0, 9, FG_UNSUPPORTED, "type"},
      {"c", 0.0f / 0.0f, 1, FG_CORRUPT, "not a number"},
      {"c", 1.0f / 0.0f, 1, FG_CORRUPT, "not a number"},
  };
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
    fg_text model = small_model();
    put_piece(&model, pieces[i].text, pieces[i].score, pieces[i].type);
    assert_model_refused(&model, pieces[i].status, pieces[i].reason);
  }
  fg_text none = {0};
  put_piece(&none, "a", 0, 1);
  assert_model_refused(&none, FG_CORRUPT, "no piece means unknown");
}

static void test_settings_that_are_not_known_are_refused(void **state) {
  (void)state;
  static const struct {
    int field, value;
    fg_status status;
    const char *reason;
  } settings[] = {{3, 3, FG_UNSUPPORTED, "type 3"},
                  {24, 1, FG_UNSUPPORTED, "treat_whitespace_as_suffix"},
                  {35, 1, FG_CORRUPT, "<0x00>"}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
    fg_text model = small_model(), trainer = {0};
    put_integer(&trainer, settings[i].field, settings[i].value);
    put_bytes(&model, 2, trainer.data, trainer.length);
    fg_text_free(&trainer);
    assert_model_refused(&model, settings[i].status, settings[i].reason);
  }
}

static void test_messages_cut_anywhere_are_refused_or_whole(void **state) {
  (void)state;
  fg_text whole = small_model();
  for (size_t length = 0; length < whole.length; length++) {
    fg_tokenizer *tokenizer = NULL;
    fg_error err = {0};
    fg_text part = {whole.data, length, length, false};
    fg_status status = load_model(&part, &tokenizer, &err);
    if (status == FG_OK) {
      assert_true((unsigned char)whole.data[length] == 0x0a); // between two pieces
      fg_tokenizer_destroy(tokenizer);
    } else {
      assert_int_not_equal(err.message[0], 0);
    }
  }
  fg_text_free(&whole);
  fg_text text = {0}, endless = {0}, long_length = {0};
  fg_text_append_string(&text, "gpt2 is base64 text: IQ== 0\n");
  assert_model_refused(&text, FG_CORRUPT, "tokenizer.model");
  fg_text_append(&endless, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11);
  assert_model_refused(&endless, FG_CORRUPT, "64 bits");
  fg_text_append(&long_length, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
  assert_model_refused(&long_length, FG_CORRUPT, "longer than the rest");
}

// The double array of a charsmap, with `units` of its own.
static fg_text model_with_charsmap(const uint32_t *units, uint32_t count, uint32_t stated, const char *texts,
                                   size_t text_bytes) {
  fg_text model = small_model(), block = {0}, normalizer = {0};
  fg_text_append(&block, &stated, 4);
  fg_text_append(&block, units, count * sizeof *units);
  fg_text_append(&block, texts, text_bytes);
  put_bytes(&normalizer, 2, block.data, block.length);
  put_bytes(&model, 3, normalizer.data, normalizer.length);
  fg_text_free(&block);
  fg_text_free(&normalizer);
  return model;
}

static void test_charsmaps_that_lie_are_refused(void **state) {
  (void)state;
  static const uint32_t points_beyond[] = {0, 1u << 31 | 77}, points_within[] = {0, 1u << 31 | 1};
  fg_text model = model_with_charsmap(points_beyond, 2, 8, "a", 2);
  assert_model_refused(&model, FG_CORRUPT, "points to byte 77");
  model = model_with_charsmap(points_within, 2, 8, "\xc3\xa9", 3);
  assert_model_refused(&model, FG_CORRUPT, "points to byte 1"); // into a character
  model = model_with_charsmap(points_within, 2, 800, "a", 2);
  assert_model_refused(&model, FG_CORRUPT, "array of 800 bytes");
  model = model_with_charsmap(points_within, 2, 8, "a", 1);
  assert_model_refused(&model, FG_CORRUPT, "charsmap"); // no NUL at the end
  model = model_with_charsmap(points_within, 2, 8, "\xff", 2);
  assert_model_refused(&model, FG_CORRUPT, "UTF-8");
}

// Every node is its own child: the walk ends with the text.
static void test_charsmap_that_goes_in_circles_ends(void **state) {
  (void)state;
  static const uint32_t units[2] = {0, 1};
  fg_text model = model_with_charsmap(units, 2, 8, "a", 2);
  fg_tokenizer *tokenizer;
  fg_ids ids = {0};
  assert_int_equal(load_model(&model, &tokenizer, NULL), FG_OK);
  assert_int_equal(fg_tokenizer_encode(tokenizer, "\1\1\1\1ab", 6, false, &ids, NULL), FG_OK);
  assert_int_equal(ids.data[ids.count - 1], 3);
  fg_ids_free(&ids);
  fg_tokenizer_destroy(tokenizer);
  fg_text_free(&model);
}

static void test_unknown_class_beside_a_model_is_refused_by_name(void **state) {
  (void)state;
  static const char config[] = "{\"tokenizer_class\":\"XLMRobertaTokenizer\"}";
  fg_text model = small_model();
  fg_assets assets = {0};
  fg_tokenizer *tokenizer;
  fg_error err = {0};
  assert_int_equal(fg_assets_add(&assets, "tokenizer.model", model.data, model.length, NULL), FG_OK);
  assert_int_equal(fg_assets_add(&assets, "tokenizer_config.json", config, strlen(config), NULL), FG_OK);
  assert_int_equal(fg_tokenizer_load(&tokenizer, &assets, &err), FG_UNSUPPORTED);
  assert_non_null(strstr(err.message, "XLMRobertaTokenizer"));
  fg_assets_free(&assets);
  fg_text_free(&model);
}

static void test_deep_json_is_refused_not_crashed_on(void **state) {
  (void)state;
  enum { DEPTH = 100000 };
  fg_text text = {0};
  fg_tokenizer *tokenizer;
  fg_text_append_string(&text, "{\"normalizer\":");
  for (int i = 0; i < DEPTH; i++) fg_text_append_string(&text, "[");
  assert_int_equal(load("tokenizer.json", text.data, &tokenizer, NULL), FG_CORRUPT);
  fg_text_free(&text);
}

static void test_regex_that_would_run_away_is_an_error(void **state) {
  (void)state;
  static const char model[] =
      "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a|a)*(a|a)*(a|a)*[bc]\"},"
      "\"behavior\":\"Isolated\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}";
  fg_tokenizer *tokenizer;
  fg_ids ids = {0};
  char text[64];
  memset(text, 'a', sizeof text);
  assert_int_equal(load("tokenizer.json", model, &tokenizer, NULL), FG_OK);
  assert_int_equal(fg_tokenizer_encode(tokenizer, text, sizeof text, false, &ids, NULL), FG_INVALID);
  fg_ids_free(&ids);
  fg_tokenizer_destroy(tokenizer);
}

static void test_assets_without_tokenizer_are_not_found(void **state) {
  (void)state;
  fg_assets none = {0};
  fg_tokenizer *tokenizer;
  assert_int_equal(fg_tokenizer_load(&tokenizer, &none, NULL), FG_NOT_FOUND);
}

// ---- texts and ids ------------------------------------------------------------------------------------

static void test_bad_input_is_invalid(void **state) {
  (void)state;
  fg_tokenizer *tokenizer = golden_tokenizer(FG_TEST_DIR "/text/goldens/smollm");
  fg_ids ids = {0};
  fg_text text = {0};
  int32_t beyond = (int32_t)fg_tokenizer_size(tokenizer), negative = -1;
  assert_int_equal(fg_tokenizer_encode(tokenizer, "a\xff", 2, true, &ids, NULL), FG_INVALID);
  assert_int_equal(fg_tokenizer_encode(tokenizer, "\xc3", 1, true, &ids, NULL), FG_INVALID);
  assert_int_equal(fg_tokenizer_encode(tokenizer, "\xed\xa0\x80", 3, true, &ids, NULL), FG_INVALID);
  assert_int_equal(fg_tokenizer_decode(tokenizer, &beyond, 1, false, &text, NULL), FG_INVALID);
  assert_int_equal(fg_tokenizer_decode(tokenizer, &negative, 1, false, &text, NULL), FG_INVALID);
  fg_ids_free(&ids);
  fg_text_free(&text);
  fg_tokenizer_destroy(tokenizer);
}

static void test_token_bytes_are_what_a_token_stands_for(void **state) {
  (void)state;
  static const struct {
    const char *folder, *token, *bytes;
  } cases[] = {
      {"smollm", "Ġthe", " the"},    {"smollm", "Ċ", "\n"},
      {"smollm", "Ã", "\xc3"},       {"smollm", "<|end|>", "<|end|>"},
      {"llama2", "▁the", " the"},    {"llama2", "<0xE2>", "\xe2"},
      {"llama2", "▁", " "},          {"llama2", "<s>", "<s>"},
      {"metaspace", "▁the", " the"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[512];
    size_t length;
    snprintf(path, sizeof path, "%s/text/goldens/%s", FG_TEST_DIR, cases[i].folder);
    fg_tokenizer *tokenizer = golden_tokenizer(path);
    int32_t id = fg_tokenizer_id(tokenizer, cases[i].token);
    if (id < 0) fail_msg("%s has no token %s", cases[i].folder, cases[i].token);
    const char *bytes = fg_tokenizer_token_bytes(tokenizer, id, &length);
    assert_int_equal(length, strlen(cases[i].bytes));
    assert_memory_equal(bytes, cases[i].bytes, length);
    assert_null(fg_tokenizer_token_bytes(tokenizer, (int32_t)fg_tokenizer_size(tokenizer), &length));
    fg_tokenizer_destroy(tokenizer);
  }
}

static void test_roles_come_from_the_files_beside(void **state) {
  (void)state;
  fg_tokenizer *opt = golden_tokenizer(FG_TEST_DIR "/text/goldens/opt");
  assert_string_equal(fg_tokenizer_special_text(opt, "pad_token"), "<pad>");
  assert_string_equal(fg_tokenizer_special_text(opt, "bos_token"), "</s>");
  assert_null(fg_tokenizer_special_text(opt, "mask_token"));
  assert_true(fg_tokenizer_is_special(opt, fg_tokenizer_id(opt, "<pad>")));
  assert_false(fg_tokenizer_is_special(opt, fg_tokenizer_id(opt, "<plain>")));
  assert_int_equal(fg_tokenizer_id(opt, "no such token"), -1);
  fg_tokenizer_destroy(opt);
}

// ---- streams ------------------------------------------------------------------------------------------

static fg_ids encode(const fg_tokenizer *tokenizer, const char *text) {
  fg_ids ids = {0};
  assert_int_equal(fg_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, NULL), FG_OK);
  return ids;
}

static void assert_stream(const char *form, const char *prompt, const char *answer, const char *expected) {
  char path[512];
  snprintf(path, sizeof path, "%s/text/goldens/%s", FG_TEST_DIR, form);
  fg_tokenizer *tokenizer = golden_tokenizer(path);
  fg_ids before = encode(tokenizer, prompt), ids = encode(tokenizer, answer);
  fg_text text = {0};
  fg_detokenizer *d;
  assert_int_equal(fg_detokenizer_create(&d, tokenizer, false, NULL), FG_OK);
  assert_int_equal(fg_detokenizer_prime(d, before.data, before.count, NULL), FG_OK);
  for (size_t i = 0; i < ids.count; i++)
    assert_int_equal(fg_detokenizer_push(d, ids.data[i], &text, NULL), FG_OK);
  assert_int_equal(fg_detokenizer_finish(d, &text, NULL), FG_OK);
  assert_string_equal(text.data ? text.data : "", expected);
  fg_detokenizer_destroy(d);
  fg_text_free(&text);
  fg_ids_free(&before);
  fg_ids_free(&ids);
  fg_tokenizer_destroy(tokenizer);
}

static void test_prompt_as_context_keeps_the_first_space(void **state) {
  (void)state;
  assert_stream("llama2", "", "the bread", "the bread");
  assert_stream("llama2", "give", "the bread", " the bread");
  assert_stream("smollm", "give", "the bread", "the bread");
}

static void test_stream_holds_a_character_back_until_it_is_whole(void **state) {
  (void)state;
  fg_tokenizer *tokenizer = golden_tokenizer(FG_TEST_DIR "/text/goldens/smollm");
  const int32_t cross[] = {fg_tokenizer_id(tokenizer, "â"), fg_tokenizer_id(tokenizer, "ľ"),
                           fg_tokenizer_id(tokenizer, "ĵ")}; // U+2713 in three bytes
  fg_detokenizer *d;
  fg_text text = {0};
  assert_int_equal(fg_detokenizer_create(&d, tokenizer, false, NULL), FG_OK);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(fg_detokenizer_push(d, cross[i], &text, NULL), FG_OK);
    assert_int_equal(text.length, 0);
  }
  assert_int_equal(fg_detokenizer_push(d, cross[2], &text, NULL), FG_OK);
  assert_string_equal(text.data, "✓");
  assert_int_equal(fg_detokenizer_push(d, cross[0], &text, NULL), FG_OK);
  assert_int_equal(fg_detokenizer_finish(d, &text, NULL), FG_OK);
  assert_string_equal(text.data, "✓\xef\xbf\xbd");
  fg_detokenizer_destroy(d);
  fg_text_free(&text);
  fg_tokenizer_destroy(tokenizer);
}

// ---- threads ------------------------------------------------------------------------------------------

static void *encode_many(void *arg) {
  fg_tokenizer *tokenizer = arg;
  size_t total = 0;
  for (int i = 0; i < 300; i++) {
    fg_ids ids = {0};
    char text[128];
    snprintf(text, sizeof text, "row %d: the engine's weights, %d of them\n", i % 7, i % 7);
    if (fg_tokenizer_encode(tokenizer, text, strlen(text), true, &ids, NULL)) return NULL;
    total += ids.count;
    fg_ids_free(&ids);
  }
  return (void *)total;
}

static void test_threads_share_a_tokenizer(void **state) {
  (void)state;
  fg_tokenizer *tokenizer = golden_tokenizer(FG_TEST_DIR "/text/goldens/words");
  void *alone = encode_many(tokenizer), *together[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, encode_many, tokenizer), 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], &together[i]);
  for (int i = 0; i < 4; i++) assert_ptr_equal(together[i], alone);
  fg_tokenizer_destroy(tokenizer);
}

// A text without a break would take hours by a quadratic merge.
static void test_a_million_characters_without_a_break(void **state) {
  (void)state;
  enum { LENGTH = 1000 * 1000 };
  fg_tokenizer *tokenizer = golden_tokenizer(FG_TEST_DIR "/text/goldens/smollm");
  char *text = malloc(LENGTH);
  fg_ids ids = {0};
  fg_text back = {0};
  assert_non_null(text);
  for (int i = 0; i < LENGTH; i++) text[i] = "thequickbrownfoxjumps"[i * 7 % 21];
  assert_int_equal(fg_tokenizer_encode(tokenizer, text, LENGTH, false, &ids, NULL), FG_OK);
  assert_int_equal(fg_tokenizer_decode(tokenizer, ids.data, ids.count, false, &back, NULL), FG_OK);
  assert_int_equal(back.length, LENGTH);
  assert_memory_equal(back.data, text, LENGTH);
  free(text);
  fg_ids_free(&ids);
  fg_text_free(&back);
  fg_tokenizer_destroy(tokenizer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unknown_components_are_refused_by_name),
      cmocka_unit_test(test_regexes_that_mean_something_else_are_refused),
      cmocka_unit_test(test_gguf_without_a_vocabulary_has_no_tokenizer),
      cmocka_unit_test(test_malformed_models_are_corrupt),
      cmocka_unit_test(test_pieces_that_cannot_be_are_refused),
      cmocka_unit_test(test_settings_that_are_not_known_are_refused),
      cmocka_unit_test(test_messages_cut_anywhere_are_refused_or_whole),
      cmocka_unit_test(test_charsmaps_that_lie_are_refused),
      cmocka_unit_test(test_charsmap_that_goes_in_circles_ends),
      cmocka_unit_test(test_unknown_class_beside_a_model_is_refused_by_name),
      cmocka_unit_test(test_deep_json_is_refused_not_crashed_on),
      cmocka_unit_test(test_regex_that_would_run_away_is_an_error),
      cmocka_unit_test(test_assets_without_tokenizer_are_not_found),
      cmocka_unit_test(test_bad_input_is_invalid),
      cmocka_unit_test(test_token_bytes_are_what_a_token_stands_for),
      cmocka_unit_test(test_roles_come_from_the_files_beside),
      cmocka_unit_test(test_prompt_as_context_keeps_the_first_space),
      cmocka_unit_test(test_stream_holds_a_character_back_until_it_is_whole),
      cmocka_unit_test(test_threads_share_a_tokenizer),
      cmocka_unit_test(test_a_million_characters_without_a_break),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
