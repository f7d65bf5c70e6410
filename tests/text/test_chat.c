// Chat templates render as transformers' apply_chat_template does (make_goldens.py), and templates that
// cannot be trusted are refused or stopped.
#include "golden.h"

#include <stdlib.h>

#include "text/chat.h"
#include "text/jinja.h"

static fg_status render(const char *template, const json_t *variables, fg_text *out, fg_error *err) {
  fg_template *parsed;
  fg_status status = fg_template_parse(&parsed, template, strlen(template), err);
  if (status == FG_OK) status = fg_template_render(parsed, variables, out, err);
  fg_template_destroy(parsed);
  return status;
}

static void test_language_equals_jinja2(void **state) {
  (void)state;
  json_t *golden = golden_json("jinja.json");
  const json_t *cases = json_object_get(golden, "cases"), *variables = json_object_get(golden, "variables");
  for (size_t i = 0; i < json_array_size(cases); i++) {
    const char *template = json_string_value(json_array_get(json_array_get(cases, i), 0));
    const json_t *expected = json_array_get(json_array_get(cases, i), 1);
    fg_text text = {0};
    fg_error err = {0};
    fg_status status = render(template, variables, &text, &err);
    if (json_is_null(expected)) {
      if (status != FG_INVALID)
        fail_msg("%s: status %d, expected an error while rendering", template, status);
    } else {
      if (status) fail_msg("%s: %s", template, err.message);
      assert_text(&text, expected, template);
    }
    fg_text_free(&text);
  }
  json_decref(golden);
}

// ---- whole chats --------------------------------------------------------------------------------------

static fg_chat *chat_of(const char *template, const json_t *special_tokens, fg_tokenizer **tokenizer) {
  static const char vocabulary[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}";
  fg_assets assets = {0};
  fg_error err = {0};
  fg_chat *chat = NULL;
  char *config = json_dumps(special_tokens, 0);
  assert_int_equal(fg_assets_add(&assets, "tokenizer.json", vocabulary, strlen(vocabulary), NULL), FG_OK);
  assert_int_equal(fg_assets_add(&assets, "tokenizer_config.json", config, strlen(config), NULL), FG_OK);
  if (template)
    assert_int_equal(fg_assets_add(&assets, "chat_template.jinja", template, strlen(template), NULL), FG_OK);
  if (fg_tokenizer_load(tokenizer, &assets, &err) || fg_chat_load(&chat, &assets, *tokenizer, &err)) {
    fail_msg("%s", err.message);
  }
  free(config);
  fg_assets_free(&assets);
  return chat;
}

static void assert_prompt(const fg_chat *chat, const json_t *variables, const json_t *expected,
                          const char *name) {
  fg_text prompt = {0};
  fg_error err = {0};
  fg_status status = fg_chat_render(chat, variables, &prompt, &err);
  if (json_is_null(expected)) {
    if (status != FG_INVALID) fail_msg("%s: status %d, expected an error while rendering", name, status);
  } else {
    if (status) fail_msg("%s: %s", name, err.message);
    assert_text(&prompt, expected, name);
  }
  fg_text_free(&prompt);
}

static void test_chats_equal_transformers(void **state) {
  (void)state;
  json_t *golden = golden_json("chats.json");
  const json_t *cases = json_object_get(golden, "cases"), *chats = json_object_get(golden, "chats");
  for (size_t i = 0; i < json_array_size(cases); i++) {
    const json_t *one = json_array_get(cases, i);
    size_t number = (size_t)json_integer_value(json_array_get(one, 1));
    char name[80];
    snprintf(name, sizeof name, "%s, chat %zu", json_string_value(json_array_get(one, 0)), number);
    fg_tokenizer *tokenizer;
    const char *template = json_string_value(
        json_object_get(json_object_get(golden, "templates"), json_string_value(json_array_get(one, 0))));
    fg_chat *chat = chat_of(template, json_object_get(golden, "special_tokens"), &tokenizer);
    assert_prompt(chat, json_array_get(chats, number), json_array_get(one, 2), name);
    fg_chat_destroy(chat);
    fg_tokenizer_destroy(tokenizer);
  }
  json_decref(golden);
}

static void test_smollm2_prompts_equal_transformers(void **state) {
  (void)state;
  const char *path = getenv("FG_SMOLLM2_GGUF");
  if (!path) {
    print_message("skipped: FG_SMOLLM2_GGUF does not name SmolLM2-135M-Instruct.Q4_1.gguf\n");
    skip();
  }
  fg_assets assets = {0};
  fg_tokenizer *tokenizer = NULL;
  fg_chat *chat = NULL;
  assert_int_equal(fg_assets_load(&assets, path, NULL), FG_OK);
  assert_int_equal(fg_tokenizer_load(&tokenizer, &assets, NULL), FG_OK);
  assert_int_equal(fg_chat_load(&chat, &assets, tokenizer, NULL), FG_OK);
  json_t *golden = golden_json("smollm2.json"), *chats = golden_json("chats.json");
  const json_t *prompts = json_object_get(golden, "prompts"), *list = json_object_get(chats, "chats");
  for (size_t i = 0; i < json_array_size(prompts); i++) {
    assert_prompt(chat, json_array_get(list, i), json_array_get(prompts, i), "SmolLM2");
  }
  json_decref(golden);
  json_decref(chats);
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  fg_assets_free(&assets);
}

// ---- where the template stands ------------------------------------------------------------------------

static json_t *one_message(void) {
  return json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", "hi");
}

static void assert_renders(const fg_chat *chat, const json_t *variables, const char *expected) {
  json_t *text = json_string(expected);
  assert_prompt(chat, variables, text, expected);
  json_decref(text);
}

static void test_file_wins_over_config(void **state) {
  (void)state;
  json_t *config = json_pack("{s:s}", "chat_template", "from config"), *variables = one_message();
  fg_tokenizer *tokenizer;
  fg_chat *chat = chat_of("from file", config, &tokenizer);
  assert_renders(chat, variables, "from file");
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  chat = chat_of(NULL, config, &tokenizer);
  assert_renders(chat, variables, "from config");
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  json_decref(config);
  json_decref(variables);
}

static void test_tool_template_is_used_with_tools_only(void **state) {
  (void)state;
  json_t *config = json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "chat_template", "name", "default", "template",
                             "plain", "name", "tool_use", "template", "with tools");
  json_t *variables = one_message();
  fg_tokenizer *tokenizer;
  fg_chat *chat = chat_of(NULL, config, &tokenizer);
  assert_renders(chat, variables, "plain");
  json_object_set_new(variables, "tools", json_array());
  assert_renders(chat, variables, "with tools");
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  json_decref(config);
  json_decref(variables);
}

static void test_gguf_has_a_template_for_tools_too(void **state) {
  (void)state;
  fg_assets assets = {0};
  fg_tokenizer *tokenizer = NULL;
  fg_chat *chat = NULL;
  json_t *variables = one_message();
  assert_int_equal(fg_assets_load(&assets, FG_TEST_DIR "/text/goldens/glm4.gguf", NULL), FG_OK);
  assert_int_equal(fg_tokenizer_load(&tokenizer, &assets, NULL), FG_OK);
  assert_int_equal(fg_chat_load(&chat, &assets, tokenizer, NULL), FG_OK);
  assert_renders(chat, variables, "plain");
  json_object_set_new(variables, "tools", json_array());
  assert_renders(chat, variables, "with tools");
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  fg_assets_free(&assets);
  json_decref(variables);
}

static void test_model_without_template_is_not_found(void **state) {
  (void)state;
  fg_assets assets = {0};
  fg_tokenizer *tokenizer = golden_tokenizer(FG_TEST_DIR "/text/goldens/smollm");
  fg_chat *chat;
  assert_int_equal(fg_chat_load(&chat, &assets, tokenizer, NULL), FG_NOT_FOUND);
  fg_tokenizer_destroy(tokenizer);
}

static void test_exception_of_a_template_is_its_message(void **state) {
  (void)state;
  json_t *none = json_object();
  fg_text out = {0};
  fg_error err = {0};
  assert_int_equal(render("{{ raise_exception('Roles must alternate') }}", none, &out, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "Roles must alternate"));
  fg_text_free(&out);
  json_decref(none);
}

// ---- templates that cannot be used --------------------------------------------------------------------

static void test_unknown_constructs_are_refused_with_their_line(void **state) {
  (void)state;
  static const char *const refused[] = {
      "\n{% include 'x' %}",
      "\n{{ x|nosuchfilter }}",
      "\n{{ x is nosuchtest }}",
      "\n{{ x.append(1) }}",
      "\n{{ nosuchfunction() }}",
      "\n{% for x in y recursive %}{% endfor %}",
      "\n{{ 'x }}",
      "\n{{ x",
      "\n{% if x %}",
      "\n{{ }}",
      "\n{% break %}",
      "\n{{ x | }}",
      "\n{{ (x }}",
      "\n{% set 1 = 2 %}",
      "\n{# never closed",
      "\n{% call f() %}{% endcall %}",
      "\n{{ '\\N{DASH}' }}",
      "\n{{ x $ y }}",
      "\n{% raw %} never closed",
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    fg_template *template;
    fg_error err = {0};
    fg_status status = fg_template_parse(&template, refused[i], strlen(refused[i]), &err);
    if (status != FG_UNSUPPORTED) fail_msg("%s: status %d, expected it to be refused", refused[i], status);
    assert_null(template);
    assert_non_null(strstr(err.message, "line 2"));
  }
}

static void assert_stopped(const char *template, const char *reason) {
  json_t *none = json_object();
  fg_text out = {0};
  fg_error err = {0};
  fg_status status = render(template, none, &out, &err);
  if (status != FG_INVALID || !strstr(err.message, reason))
    fail_msg("%s: status %d: %s", template, status, err.message);
  fg_text_free(&out);
  json_decref(none);
}

static void test_runaway_templates_are_stopped(void **state) {
  (void)state;
  assert_stopped("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too deeply");
  assert_stopped("{% set l = range(9000) %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}",
                 "too many steps");
  assert_stopped("{% for a in range(90000) %}{{ 'x' * 10000 }}{% endfor %}", "MiB");
  assert_stopped(
      "{% set ns = namespace(x='ab') %}{% for a in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "memory");
  assert_stopped("{{ range(99999999) }}", "range");
  assert_stopped("{{ 'a' * 9223372036854775 }}", "memory");
  assert_stopped("{{ 900000000000000000 * 99 }}", "64 bits");
}

static void test_deep_nesting_is_refused_not_crashed_on(void **state) {
  (void)state;
  enum { DEPTH = 20000 };
  static const char *const units[] = {"(", "[", "-", "not ", "{{ '' }}{% if 1 %}", "1 if "};
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    fg_text source = {0};
    fg_template *template;
    if (units[i][0] != '{') fg_text_append_string(&source, "{{ ");
    for (int k = 0; k < DEPTH; k++) fg_text_append_string(&source, units[i]);
    assert_int_equal(fg_template_parse(&template, source.data, source.length, NULL), FG_UNSUPPORTED);
    fg_text_free(&source);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_language_equals_jinja2),
      cmocka_unit_test(test_chats_equal_transformers),
      cmocka_unit_test(test_smollm2_prompts_equal_transformers),
      cmocka_unit_test(test_file_wins_over_config),
      cmocka_unit_test(test_tool_template_is_used_with_tools_only),
      cmocka_unit_test(test_gguf_has_a_template_for_tools_too),
      cmocka_unit_test(test_model_without_template_is_not_found),
      cmocka_unit_test(test_exception_of_a_template_is_its_message),
      cmocka_unit_test(test_unknown_constructs_are_refused_with_their_line),
      cmocka_unit_test(test_runaway_templates_are_stopped),
      cmocka_unit_test(test_deep_nesting_is_refused_not_crashed_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
