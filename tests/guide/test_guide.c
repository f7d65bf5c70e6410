// Guides over real tokenizers' vocabularies: every set of allowed tokens against a reading of each token by
// itself, whole answers drawn at random, forced texts, and memory that does not suffice to keep anything.
#include "read_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "../text/golden.h"
#include "guide/guides.h"

enum { TOKENS_MAX = 4000 };

typedef struct scene {
  fg_tokenizer *tokenizer;
  fg_guides *guides;
  fg_guide *guide;
  fg_grammar grammar; // the same form, read byte by byte
  reader reader;
  uint32_t vocab;
  int32_t eos[2];
  int32_t said[TOKENS_MAX];
  uint32_t count;
  bool failed; // for want of memory
  const char *name;
} scene;

static const char *const tokenizers[] = {"smollm", "llama3",        "llama2",   "gemma",
                                         "gpt2",   "unigram_bytes", "spm_llama"};

static const struct {
  fg_form form;
  const char *text;
} forms[] = {
    {FG_FORM_CHOICE, "[\"Yes\",\"No\",\"Yes, of course\",\"\"]"},
    {FG_FORM_REGEX, "[a-z]{2,5}( [A-Z][a-z]*){0,3}\\."},
    {FG_FORM_REGEX, "the( quick| quiet)+ (brown|red) fox(es)?"},
    {FG_FORM_JSON,
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":8},\"customer_"
     "number\":"
     "{\"type\":\"integer\",\"minimum\":0,\"maximum\":9999},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":"
     "[\"red\",\"green\",\"re\"]},\"maxItems\":3},\"more\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#\"}]}"
     "},"
     "\"required\":[\"name\",\"customer_number\",\"tags\",\"more\"],\"additionalProperties\":false}"},
};

static void open_scene(scene *s, const char *tokenizer, size_t form, uint64_t bytes) {
  char path[512];
  fg_error err = {0};
  *s = (scene){.name = tokenizer};
  snprintf(path, sizeof path, "%s/text/goldens/%s", FG_TEST_DIR, tokenizer);
  s->tokenizer = golden_tokenizer(path);
  s->vocab = fg_tokenizer_size(s->tokenizer) + 70; // ids without a token
  s->eos[0] = (int32_t)s->vocab - 3;
  s->eos[1] = (int32_t)s->vocab - 1;
  const fg_guides_options options = {s->tokenizer, s->vocab, s->eos, 2, bytes};
  const char *text = forms[form].text;
  if (fg_guides_create(&s->guides, &options, &err) ||
      fg_guides_acquire(s->guides, forms[form].form, text, strlen(text), &s->guide, &err) ||
      fg_form_compile(forms[form].form, text, strlen(text), &s->grammar, &err))
    fail_msg("%s, form %zu: %s", tokenizer, form, err.message);
  reader_open(&s->reader, &s->grammar);
}

static void close_scene(scene *s) {
  reader_close(&s->reader);
  fg_guides_release(s->guides, s->guide);
  fg_guides_destroy(s->guides);
  fg_tokenizer_destroy(s->tokenizer);
}

static bool is_eos(const scene *s, int32_t token) {
  return token == s->eos[0] || token == s->eos[1];
}

static fg_guide_state state_behind(scene *s, int32_t token) {
  fg_text text = {0};
  for (uint32_t i = 0; i <= s->count; i++) {
    size_t length = 0;
    const int32_t one = i < s->count ? s->said[i] : token;
    const char *bytes = one < 0 ? NULL : fg_tokenizer_token_bytes(s->tokenizer, one, &length);
    if (bytes) fg_text_append(&text, bytes, length);
  }
  const fg_guide_state state = reader_state(&s->reader, text.data, text.length);
  fg_text_free(&text);
  return state;
}

// The set at the cursor, by reading each token alone.
static void check_allowed(scene *s, const uint64_t *bits) {
  for (uint32_t id = 0; id < s->vocab; id++) {
    size_t length = 0;
    const char *bytes = fg_tokenizer_token_bytes(s->tokenizer, (int32_t)id, &length);
    bool expected = is_eos(s, (int32_t)id) && fg_automaton_accepts(s->reader.automaton, state_behind(s, -1));
    if (bytes && length && fg_tokenizer_adds_bytes(s->tokenizer, (int32_t)id))
      expected |= state_behind(s, (int32_t)id) != FG_STATE_DEAD;
    if (expected != (bits[id / 64] >> id % 64 & 1))
      fail_msg("token %u: %s", id, expected ? "not allowed" : "allowed");
  }
}

static uint32_t draw(uint64_t *random, uint32_t below) {
  *random = *random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*random >> 33) % below;
}

static int32_t pick(const scene *s, const uint64_t *bits, uint64_t *random) {
  uint32_t count = 0;
  int32_t picked = -1;
  for (uint32_t id = 0; id < s->vocab; id++)
    if (bits[id / 64] >> id % 64 & 1 && draw(random, ++count) == 0) picked = (int32_t)id;
  return picked;
}

// Whether the answer goes on.
static bool worked(scene *s, fg_status status, const fg_error *err) {
  if (status != FG_OK && status != FG_NO_SPACE) fail_msg("%s: %s", s->name, err->message);
  s->failed |= status != FG_OK;
  return status == FG_OK;
}

// An answer at random; with `check` each set and each refusal is looked at. Returns how many tokens were
// forced.
static uint32_t answer(scene *s, uint64_t seed, bool check) {
  fg_guide_cursor cursor = fg_guide_begin();
  uint64_t *bits = calloc(fg_token_words(s->vocab), sizeof *bits), random = seed;
  uint32_t forced = 0;
  fg_error err = {0};
  s->count = 0;
  for (int32_t token = -1; !is_eos(s, token);) {
    const fg_said said = {s->said, s->count};
    bool taken;
    if (!worked(s, fg_guide_forced(s->guide, &cursor, said, &token, &err), &err) ||
        !worked(s, fg_guide_allowed(s->guide, &cursor, said, bits, &err), &err))
      break;
    if (token >= 0) {
      forced++;
      for (uint32_t w = 0; w < fg_token_words(s->vocab); w++)
        assert_true(bits[w] == (w == (uint32_t)token / 64 ? 1ull << token % 64 : 0));
    } else {
      if (check) check_allowed(s, bits);
      token = pick(s, bits, &random);
      assert_true(token >= 0);
    }
    if (is_eos(s, token)) break;
    if (!worked(s, fg_guide_advance(s->guide, &cursor, said, (int32_t)s->vocab - 2, &taken, &err), &err))
      break;
    assert_false(taken);
    if (!worked(s, fg_guide_advance(s->guide, &cursor, said, token, &taken, &err), &err)) break;
    assert_true(taken);
    s->said[s->count++] = token;
    if (s->count == TOKENS_MAX) break;
  }
  free(bits);
  return forced;
}

static void test_sets_are_those_of_single_tokens(void **state) {
  (void)state;
  for (size_t t = 0; t < sizeof tokenizers / sizeof *tokenizers; t++)
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++) {
      scene s;
      open_scene(&s, tokenizers[t], form, 16 << 20);
      answer(&s, 7 * t + form, true);
      close_scene(&s);
    }
}

static void test_answers_have_their_form(void **state) {
  (void)state;
  for (size_t t = 0; t < sizeof tokenizers / sizeof *tokenizers; t++)
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++) {
      scene s;
      open_scene(&s, tokenizers[t], form, 16 << 20);
      uint32_t forced = 0;
      for (uint64_t seed = 0; seed < 40; seed++) {
        forced += answer(&s, seed, false);
        fg_text text = {0};
        // Behind a token of a prompt, as an answer stands.
        fg_detokenizer *d;
        assert_int_equal(fg_detokenizer_create(&d, s.tokenizer, true, NULL), FG_OK);
        assert_int_equal(fg_detokenizer_prime(d, &(int32_t){60}, 1, NULL), FG_OK);
        for (uint32_t i = 0; i < s.count; i++)
          assert_int_equal(fg_detokenizer_push(d, s.said[i], &text, NULL), FG_OK);
        assert_int_equal(fg_detokenizer_finish(d, &text, NULL), FG_OK);
        if (!reader_takes(&s.reader, text.data, text.length))
          fail_msg("%s, form %zu: %s", tokenizers[t], form, text.data);
        fg_text_free(&text);
        fg_detokenizer_destroy(d);
      }
      if (form == 3) assert_true(forced > 40 * 5);
      close_scene(&s);
    }
}

// With the least memory that suffices, so that all is forgotten now and then.
static void test_little_memory_changes_no_answer(void **state) {
  (void)state;
  enum { ANSWERS = 20, FORM = 3 };
  scene large, small;
  uint32_t tried = 0;
  open_scene(&large, "llama3", FORM, 64 << 20);
  for (uint64_t bytes = 160 << 10;; bytes += bytes / 8, tried++) {
    open_scene(&small, "llama3", FORM, bytes);
    for (uint64_t seed = 0; seed < ANSWERS && !small.failed; seed++) {
      answer(&large, seed, false);
      answer(&small, seed, false);
      assert_true(small.failed || large.count == small.count);
      assert_memory_equal(large.said, small.said, small.count * sizeof *large.said);
    }
    const bool enough = !small.failed;
    close_scene(&small);
    if (enough) break;
  }
  assert_true(tried > 0);
  assert_false(large.failed);
  close_scene(&large);
}

// The tokens of a text that is forced are the tokenizer's own for it.
static void test_forced_text_is_tokenised_as_text(void **state) {
  (void)state;
  static const char text[] = "the quick brown fox jumps over {\"name\": 12}";
  for (size_t t = 0; t < sizeof tokenizers / sizeof *tokenizers; t++) {
    scene s;
    open_scene(&s, tokenizers[t], 0, 16 << 20);
    fg_guide *guide;
    fg_ids ids = {0};
    fg_text list = {0}, spelled = {0};
    json_t *json = json_pack("[s]", text);
    char *choice = json_dumps(json, 0);
    assert_int_equal(fg_guides_acquire(s.guides, FG_FORM_CHOICE, choice, strlen(choice), &guide, NULL),
                     FG_OK);
    assert_int_equal(fg_tokenizer_encode(s.tokenizer, text, strlen(text), false, &ids, NULL), FG_OK);
    for (size_t i = 0; i < ids.count; i++) {
      size_t length = 0;
      const char *bytes = fg_tokenizer_token_bytes(s.tokenizer, ids.data[i], &length);
      fg_text_append(&spelled, bytes, length);
    }
    const bool same = spelled.length == strlen(text) && memcmp(spelled.data, text, strlen(text)) == 0;
    fg_guide_cursor cursor = fg_guide_begin();
    for (s.count = 0;; s.count++) {
      bool taken;
      int32_t token = -1;
      const fg_said said = {s.said, s.count};
      assert_int_equal(fg_guide_forced(guide, &cursor, said, &token, NULL), FG_OK);
      if (token == s.eos[0]) break;
      assert_true(token >= 0);
      if (same) assert_int_equal(token, ids.data[s.count]);
      assert_int_equal(fg_guide_advance(guide, &cursor, said, token, &taken, NULL), FG_OK);
      s.said[s.count] = token;
    }
    if (same) assert_int_equal(s.count, ids.count);
    fg_ids_free(&ids);
    fg_text_free(&list);
    fg_text_free(&spelled);
    free(choice);
    json_decref(json);
    fg_guides_release(s.guides, guide);
    close_scene(&s);
  }
}

static void test_same_form_is_compiled_once(void **state) {
  (void)state;
  scene s;
  open_scene(&s, "smollm", 0, 16 << 20);
  for (int i = 0; i < 3; i++) {
    fg_guide *again, *other;
    assert_int_equal(
        fg_guides_acquire(s.guides, forms[0].form, forms[0].text, strlen(forms[0].text), &again, NULL),
        FG_OK);
    assert_int_equal(fg_guides_acquire(s.guides, FG_FORM_REGEX, "ab*", 3, &other, NULL), FG_OK);
    assert_ptr_equal(again, s.guide);
    assert_ptr_not_equal(other, s.guide);
    fg_guides_release(s.guides, again);
    fg_guides_release(s.guides, other);
  }
  assert_int_equal(fg_guides_compiled(s.guides), 2);
  close_scene(&s);
}

// Forms that nobody holds make room for others.
static void test_old_forms_make_room(void **state) {
  (void)state;
  scene s;
  open_scene(&s, "smollm", 0, 64 << 10);
  for (int i = 0; i < 500; i++) {
    char text[64];
    fg_guide *guide;
    fg_error err = {0};
    snprintf(text, sizeof text, "[\"answer number %d\",\"another\"]", i);
    if (fg_guides_acquire(s.guides, FG_FORM_CHOICE, text, strlen(text), &guide, &err))
      fail_msg("%s", err.message);
    fg_guides_release(s.guides, guide);
  }
  close_scene(&s);
}

// A vocabulary without single bytes does not have every character.
static void test_says_what_the_vocabulary_lacks(void **state) {
  (void)state;
  scene s;
  fg_error err = {0};
  static const char snowman[] = "[\"\xe2\x98\x83\"]";
  fg_guide *guide;
  open_scene(&s, "t5", 0, 16 << 20);
  assert_int_equal(fg_guides_acquire(s.guides, FG_FORM_CHOICE, snowman, strlen(snowman), &guide, &err),
                   FG_OK);
  fg_guide_cursor cursor = fg_guide_begin();
  uint64_t *bits = calloc(fg_token_words(s.vocab), sizeof *bits);
  assert_int_equal(fg_guide_allowed(guide, &cursor, (fg_said){s.said, 0}, bits, &err), FG_UNSUPPORTED);
  assert_non_null(strstr(err.message, "no token for what must come next"));
  free(bits);
  fg_guides_release(s.guides, guide);
  close_scene(&s);
}

static void test_refuses_what_tokens_do_not_spell(void **state) {
  (void)state;
  static const char *const refused[] = {"bert", "ctc", "gpt1"};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    char path[512];
    fg_error err = {0};
    fg_guides *guides = NULL;
    int32_t eos = 0;
    snprintf(path, sizeof path, "%s/text/goldens/%s", FG_TEST_DIR, refused[i]);
    fg_tokenizer *tokenizer = golden_tokenizer(path);
    const fg_guides_options options = {tokenizer, fg_tokenizer_size(tokenizer), &eos, 1, 1 << 20};
    assert_int_equal(fg_guides_create(&guides, &options, &err), FG_UNSUPPORTED);
    assert_non_null(strstr(err.message, "tokenizer"));
    fg_tokenizer_destroy(tokenizer);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sets_are_those_of_single_tokens),
      cmocka_unit_test(test_answers_have_their_form),
      cmocka_unit_test(test_little_memory_changes_no_answer),
      cmocka_unit_test(test_forced_text_is_tokenised_as_text),
      cmocka_unit_test(test_same_form_is_compiled_once),
      cmocka_unit_test(test_old_forms_make_room),
      cmocka_unit_test(test_says_what_the_vocabulary_lacks),
      cmocka_unit_test(test_refuses_what_tokens_do_not_spell),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
