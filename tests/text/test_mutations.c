// Damaged files: whatever stands in a tokenizer's files, loading ends with an answer, and what loads can
// be used. Files are changed in their structure (a member of another type, a list too long, a number too
// large) and in single bytes. FG_MUTATIONS sets the number of rounds a file.
#include "golden.h"

#include <stdlib.h>

#include "text/chat.h"
#include "text/jinja.h"

static uint64_t random_state;

static uint64_t random_next(void) { // xorshift64* (Vigna 2016)
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 0x2545f4914f6cdd1du;
}
static size_t random_below(size_t n) {
  return n ? (size_t)(random_next() % n) : 0;
}

static int rounds(void) {
  const char *set = getenv("FG_MUTATIONS");
  return set ? atoi(set) : 150;
}

// ---- changing -----------------------------------------------------------------------------------------

static json_t *odd_value(void) {
  switch (random_below(12)) {
  case 0: return json_null();
  case 1: return json_true();
  case 2: return json_integer(-1);
  case 3: return json_integer((json_int_t)random_next());
  case 4: return json_real(1.5);
  case 5: return json_string("");
  case 6: return json_string("\xe2\x96\x81");
  case 7: return json_string("<0x41>");
  case 8: return json_string("[[:alpha:]]\\w+?(a|b)*|(?i:x)");
  case 9: return json_array();
  case 10: return json_object();
  default: return json_pack("{s:s, s:[[s, i]]}", "type", "Sequence", "pretokenizers", "x", 7);
  }
}

// Walks to a random place of the tree and changes what stands there.
static void mutate_tree(json_t *json, int depth) {
  size_t count = json_is_object(json) ? json_object_size(json) : json_array_size(json);
  if (count == 0 || depth > 20) return;
  size_t at = random_below(count);
  const char *key = NULL;
  json_t *child = NULL;
  if (json_is_object(json)) {
    void *iter = json_object_iter(json);
    for (size_t i = 0; i < at; i++) iter = json_object_iter_next(json, iter);
    key = json_object_iter_key(iter);
    child = json_object_iter_value(iter);
  } else {
    child = json_array_get(json, at);
  }
  if ((json_is_object(child) || json_is_array(child)) && random_below(5) != 0) {
    mutate_tree(child, depth + 1);
    return;
  }
  char name[64];
  snprintf(name, sizeof name, "%.60s", key ? key : "");
  switch (random_below(3)) {
  case 0: key ? json_object_del(json, name) : json_array_remove(json, at); break;
  case 1:
    key ? json_object_set_new(json, name, odd_value()) : json_array_set_new(json, at, odd_value());
    break;
  default: key ? json_object_set(json, "content", child) : json_array_append(json, child); break;
  }
}

static void mutate_bytes(char *data, size_t count) {
  for (size_t i = 0, n = 1 + random_below(4); i < n && count; i++) {
    size_t at = random_below(count);
    data[at] = random_below(2) ? (char)random_next() : (char)(data[at] ^ 1 << random_below(8));
  }
}

static void mutate_json(const json_t *tree, char **data, size_t *count) {
  json_t *copy = json_deep_copy(tree);
  for (size_t i = 0, n = 1 + random_below(3); i < n; i++) mutate_tree(copy, 0);
  *data = json_dumps(copy, JSON_COMPACT | JSON_ENCODE_ANY);
  *count = *data ? strlen(*data) : 0;
  json_decref(copy);
}

// ---- trying -------------------------------------------------------------------------------------------

static void use(const fg_tokenizer *tokenizer) {
  static const char *const texts[] = {"the engine's weights: 12 \xe2\x96\x81 \xc3\xa9\n",
                                      "<s>\xe4\xbb\x8a a  b<mask> Newday"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    fg_ids ids = {0};
    fg_text text = {0};
    if (fg_tokenizer_encode(tokenizer, texts[i], strlen(texts[i]), true, &ids, NULL) == FG_OK) {
      fg_tokenizer_decode(tokenizer, ids.data, ids.count, i == 0, &text, NULL);
    }
    fg_ids_free(&ids);
    fg_text_free(&text);
  }
}

// Whether it loaded.
static bool attempt(const fg_assets *assets) {
  fg_tokenizer *tokenizer = NULL;
  fg_chat *chat = NULL;
  fg_error err = {0};
  fg_status status = fg_tokenizer_load(&tokenizer, assets, &err);
  if (status) {
    assert_null(tokenizer);
    assert_int_not_equal(err.message[0], 0); // every refusal says why
    return false;
  }
  use(tokenizer);
  fg_chat_load(&chat, assets, tokenizer, NULL);
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  return true;
}

// Every file of a form in turn, the others whole.
static void test_damaged_files_are_survived(void **state) {
  char path[512];
  fg_assets assets = {0};
  int loaded = 0, tried = 0;
  snprintf(path, sizeof path, "%s/text/goldens/%s", FG_TEST_DIR, (const char *)*state);
  assert_int_equal(fg_assets_load(&assets, path, NULL), FG_OK);
  print_message("seed %llu\n", (unsigned long long)random_state);
  for (size_t i = 0; i < assets.count; i++) {
    fg_asset whole = assets.items[i];
    json_t *tree = json_loadb(whole.data, whole.bytes, JSON_DECODE_ANY, NULL);
    for (int k = 0, n = rounds() / (int)assets.count + 1; k < n; k++) {
      fg_asset *asset = &assets.items[i];
      char *data = NULL;
      if (tree && random_below(4) != 0) {
        mutate_json(tree, &data, &asset->bytes);
      } else {
        data = malloc(whole.bytes + 1);
        assert_non_null(data);
        memcpy(data, whole.data, whole.bytes + 1);
        mutate_bytes(data, whole.bytes);
      }
      asset->data = data;
      loaded += attempt(&assets);
      tried++;
      free(data);
      *asset = whole;
    }
    json_decref(tree);
  }
  print_message("%d of %d loaded\n", loaded, tried);
  fg_assets_free(&assets);
}

static void test_damaged_templates_are_survived(void **state) {
  (void)state;
  json_t *golden = golden_json("chats.json"), *jinja = golden_json("jinja.json");
  const json_t *templates = json_object_get(golden, "templates"), *cases = json_object_get(jinja, "cases");
  const char *name;
  json_t *template;
  int parsed_count = 0, tried = 0;
  print_message("seed %llu\n", (unsigned long long)random_state);
  for (int k = 0; k < rounds(); k++) {
    size_t pick = random_below(json_array_size(cases) + json_object_size(templates)),
           i = json_array_size(cases);
    const char *source = json_string_value(json_array_get(json_array_get(cases, pick), 0));
    json_object_foreach((json_t *)templates, name, template) {
      if (i++ == pick) source = json_string_value(template);
    }
    char *copy = strdup(source);
    assert_non_null(copy);
    mutate_bytes(copy, strlen(copy));
    fg_template *parsed = NULL;
    fg_text out = {0};
    if (fg_template_parse(&parsed, copy, strlen(copy), NULL) == FG_OK) {
      parsed_count++;
      fg_template_render(parsed, json_object_get(jinja, "variables"), &out, NULL);
    }
    tried++;
    fg_template_destroy(parsed);
    fg_text_free(&out);
    free(copy);
  }
  print_message("%d of %d parsed\n", parsed_count, tried);
  json_decref(golden);
  json_decref(jinja);
}

int main(void) {
  static char *forms[] = {"llama2",        "llama3",      "words",  "flags",      "roberta",    "configured",
                          "opt",           "smollm.gguf", "t5",     "bert",       "ctc",        "gpt1",
                          "unigram_bytes", "spm_llama",   "spm_t5", "spm_unused", "llama.gguf", "t5.gguf"};
  enum { COUNT = sizeof forms / sizeof *forms };
  struct CMUnitTest tests[COUNT + 1];
  const char *seed = getenv("FG_SEED");
  random_state = seed ? strtoull(seed, NULL, 10) : 20240607;
  for (size_t i = 0; i < COUNT; i++) {
    tests[i] = (struct CMUnitTest){forms[i], test_damaged_files_are_survived, NULL, NULL, forms[i]};
  }
  tests[COUNT] = (struct CMUnitTest)cmocka_unit_test(test_damaged_templates_are_survived);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
