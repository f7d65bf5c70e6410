// Schemas: which texts of the one form that is written satisfy them, and what is refused. That the texts are
// valid is tests/cli/structured's, by the jsonschema package.
#include "read_text.h"

#include <stdio.h>

#include "guide/guides.h"

static fg_status open_schema(reader *r, fg_grammar *g, const char *schema, fg_error *err) {
  const fg_status status = fg_form_compile(FG_FORM_JSON, schema, strlen(schema), g, err);
  if (status == FG_OK) reader_open(r, g);
  return status;
}

typedef struct schema_case {
  const char *schema;
  const char *taken[8], *not_taken[8];
} schema_case;

static const schema_case cases[] = {
    {"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "tru", "truee", "\"true\""}},
    {"{\"type\":\"null\"}", {"null"}, {"nul", "0"}},
    {"{\"type\":[\"string\",\"null\"]}",
     {"null", "\"\"", "\"a\\n\\u00e9\xc3\xa9\""},
     {"1", "\"\n\"", "\"\\ud800\"", "\"\\x\"", "\""}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\\n\\u0041c\"", "\"\xf0\x9f\x98\x80\xc3\xa9\""},
     {"\"a\"", "\"abcd\"", "\"\\n\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[ab\\\"\\\\\\\\]+$\"}",
     {"\"ab\"", "\"\\\"\\\\\""},
     {"\"\"", "\"c\"", "\"ab"}},
    {"{\"type\":\"string\",\"pattern\":\"[0-9]\"}",
     {"\"x7y\"", "\"7\"", "\"\\n7\\u0001\""},
     {"\"xy\"", "\"\""}},
    {"{\"type\":\"string\",\"format\":\"date\"}",
     {"\"2024-02-28\"", "\"1999-12-31\""},
     {"\"2023-02-29\"", "\"2024-04-31\"", "\"2024-13-01\"", "\"0000-01-01\""}},
    {"{\"type\":\"string\",\"format\":\"date-time\"}",
     {"\"2024-02-28T23:59:59Z\"", "\"2024-02-28T01:02:03.5+05:30\""},
     {"\"2024-02-28\"", "\"2024-02-28T24:00:00Z\"", "\"2024-02-28T23:59:59\""}},
    {"{\"type\":\"string\",\"format\":\"uuid\"}",
     {"\"12345678-1234-abcd-0123-0123456789ab\""},
     {"\"12345678-1234-abcd-0123-0123456789a\""}},
    {"{\"type\":\"string\",\"format\":\"ipv4\"}",
     {"\"1.20.255.0\""},
     {"\"1.2.3\"", "\"256.1.1.1\"", "\"01.2.3.4\""}},
    {"{\"type\":\"string\",\"format\":\"duration\"}",
     {"\"P1Y2M3D\"", "\"PT5M\"", "\"P3W\"", "\"P1DT2H3M4S\""},
     {"\"P\"", "\"PT\"", "\"P1Y3W\"", "\"P1YT\""}},
    {"{\"enum\":[1,\"a\",null,{\"x\":[1,2.5]},0.1]}",
     {"1", "\"a\"", "null", "{\"x\": [1, 2.5]}", "0.1"},
     {"2", "a", "{\"x\":[1,2.5]}"}},
    {"{\"type\":\"string\",\"enum\":[1,\"a\"]}", {"\"a\""}, {"1"}},
    {"{\"const\":\"\\u00e9\\\"\"}", {"\"\xc3\xa9\\\"\""}, {"\"e\""}},
    {"{\"anyOf\":[{\"type\":\"integer\"},{\"const\":\"none\"}]}",
     {"12", "-3", "\"none\""},
     {"1.5", "01", "-0", "\"non\""}},
    {"{\"allOf\":[{\"type\":\"integer\"}]}", {"12"}, {"\"a\""}},
    {"{\"type\":\"number\"}",
     {"0", "-0", "1.5", "-12.25e-3", "1E9"},
     {"01", ".5", "1.", "1e", "+1", "1e100"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"a\",\"b\"],\"additionalProperties\":false}",
     {"{\"a\": 1, \"b\": null}"},
     {"{\"b\": null, \"a\": 1}", "{\"a\": 1}", "{}", "{\"a\":1,\"b\":null}",
      "{\"a\": 1, \"b\": null, \"c\": 1}"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":3}},\"required\":[\"b\"]}",
     {"{\"b\": 2}", "{\"a\": 1, \"b\": 2}", "{\"b\": 2, \"c\": 3}", "{\"a\": 1, \"b\": 2, \"c\": 3}"},
     {"{}", "{\"a\": 1}", "{\"a\": 1, \"c\": 3}", "{, \"b\": 2}", "{\"b\": 2, }"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}}}",
     {"{}", "{\"a\": 1}", "{\"b\": 2}", "{\"a\": 1, \"b\": 2}"},
     {"{\"b\": 2, \"a\": 1}", "{\"a\": 1"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":false,\"b\":true}}",
     {"{}", "{\"b\": [1, {\"x\": null}]}"},
     {"{\"a\": 1}"}},
    {"{\"type\":\"object\",\"additionalProperties\":false}", {"{}"}, {"{\"a\": 1}", "[]"}},
    {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
     {"{}", "{\"a\": 1}", "{\"a\": 1, \"\\\"\": 2}"},
     {"{\"a\": \"x\"}", "{\"a\": 1 }"}},
    {"{\"type\":\"object\",\"required\":[\"z\"],\"additionalProperties\":{\"type\":\"integer\"}}",
     {"{\"z\": 1}"},
     {"{}", "{\"y\": 1}"}},
    {"{\"type\":\"object\"}", {"{}", "{\"a\": {\"b\": [true, {}]}}"}, {"[]", "1"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
     {"[]", "[1]", "[1, 22, 3]"},
     {"[1,2]", "[, 1]", "[1, ]", "[\"a\"]"}},
    {"{\"type\":\"array\",\"items\":{\"const\":1},\"minItems\":2,\"maxItems\":3}",
     {"[1, 1]", "[1, 1, 1]"},
     {"[]", "[1]", "[1, 1, 1, 1]"}},
    {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]"}},
    {"{\"items\":false}", {"[]"}, {"[1]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":\"x\"}],\"items\":{\"type\":\"null\"}}",
     {"[1, \"x\"]", "[1, \"x\", null, null]"},
     {"[1]", "[\"x\", 1]", "[1, \"x\", 2]"}},
    {"{\"prefixItems\":[{\"const\":1},{\"const\":2}]}", {"[1, 2]"}, {"[1, 2, 3]", "[]"}},
    {"{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"minItems\":3,\"maxItems\":3}",
     {"[1, 2, {\"any\": 0}]"},
     {"[1, 2]", "[1, 2, 3, 4]"}},
    {"{\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{"
     "\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/"
     "node\"}]}},\"required\":[\"v\",\"next\"]}},\"$ref\":\"#/$defs/node\"}",
     {"{\"v\": 1, \"next\": null}", "{\"v\": 1, \"next\": {\"v\": 2, \"next\": {\"v\": 3, \"next\": null}}}"},
     {"{\"v\": 1, \"next\": {\"v\": 2}}", "{\"v\": 1}"}},
    {"{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", {"[]", "[[], [[]]]"}, {"[1]", "[[]"}},
    {"{\"definitions\":{\"a/b~\":{\"const\":7}},\"properties\":{\"x\":{\"$ref\":\"#/definitions/"
     "a~1b~0\"}},\"required\":[\"x\"]}",
     {"{\"x\": 7}"},
     {"{\"x\": 8}"}},
    {"true", {"1", "[{}, \"a\"]", "{\"a\": [1.5e3]}", "null"}, {"", "[1", "nul"}},
    {"{}", {"\"x\"", "false"}, {"x"}},
};

static void test_takes_what_satisfies(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const schema_case *c = &cases[i];
    fg_error err = {0};
    fg_grammar g;
    reader r;
    if (open_schema(&r, &g, c->schema, &err)) fail_msg("%s: %s", c->schema, err.message);
    for (size_t k = 0; k < 8; k++) {
      if (c->taken[k] && !reader_takes(&r, c->taken[k], strlen(c->taken[k])))
        fail_msg("%s: %s", c->schema, c->taken[k]);
      if (c->not_taken[k] && reader_takes(&r, c->not_taken[k], strlen(c->not_taken[k])))
        fail_msg("%s takes %s", c->schema, c->not_taken[k]);
    }
    reader_close(&r);
  }
}

static void test_refuses_by_name_and_place(void **state) {
  (void)state;
  static const struct {
    const char *schema, *message;
  } refused[] = {
      {"{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{}}}}",
       "at /properties/a: the keyword \"not\" is not supported"},
      {"{\"oneOf\":[{\"type\":\"null\"}]}", "the keyword \"oneOf\" is not supported"},
      {"{\"type\":\"object\",\"patternProperties\":{}}", "\"patternProperties\" is not supported"},
      {"{\"type\":\"array\",\"uniqueItems\":true}", "\"uniqueItems\" is not supported"},
      {"{\"type\":\"integer\",\"multipleOf\":2}", "\"multipleOf\" is not supported"},
      {"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"regex\"}}",
       "at /items: the format \"regex\" is not supported"},
      {"{\"type\":\"string\",\"pattern\":\"a\",\"maxLength\":3}",
       "\"maxLength\" beside \"pattern\" is not supported"},
      {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "look-ahead at byte 0"},
      {"{\"anyOf\":[{\"type\":\"null\"}],\"type\":\"object\"}", "\"type\" beside \"anyOf\""},
      {"{\"anyOf\":[{\"type\":\"null\"}],\"properties\":{}}", "\"properties\" beside \"anyOf\""},
      {"{\"anyOf\":[{\"type\":\"null\"}],\"enum\":[1]}", "\"enum\" beside \"anyOf\""},
      {"{\"allOf\":[{},{}]}", "\"allOf\" with more than one schema"},
      {"{\"$ref\":\"#/$defs/x\"}", "leads nowhere"},
      {"{\"$ref\":\"other.json\"}", "only parts of the schema itself"},
      {"{\"$ref\":\"#\"}", "nothing can satisfy it"},
      {"{\"$defs\":{\"a\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"},{\"type\":\"null\"}]}},\"$ref\":\"#/$defs/"
       "a\"}",
       "refers to itself"},
      {"{\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#/$defs/"
       "a\"}},\"required\":[\"n\"]}},\"$ref\":\"#/$defs/a\"}",
       "nothing can satisfy it"},
      {"{\"type\":\"tuple\"}", "\"tuple\", which is no type"},
      {"{\"type\":[]}", "names no type"},
      {"{\"enum\":[]}", "\"enum\" holds no value"},
      {"{\"type\":\"integer\",\"enum\":[\"a\"]}", "\"enum\" holds no value of the type"},
      {"{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "more elements are needed"},
      {"{\"type\":\"array\",\"minItems\":-1}", "\"minItems\" must be a whole number"},
      {"{\"type\":\"array\",\"items\":[{}]}", "use prefixItems"},
      {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "no number is within the bounds"},
      {"{\"type\":\"integer\",\"exclusiveMinimum\":2,\"exclusiveMaximum\":3}",
       "no number is within the bounds"},
      {"{\"type\":\"number\",\"minimum\":\"3\"}", "\"minimum\" must be a number"},
      {"{\"type\":\"number\",\"minimum\":1e300}", "digits"},
      {"{\"type\":\"object\",\"required\":[\"a\"],\"additionalProperties\":false}",
       "\"a\" is required and may not be there"},
      {"{\"type\":\"object\",\"properties\":{\"a\":false},\"required\":[\"a\"]}",
       "nothing can satisfy the schema false"},
      {"{\"type\":\"string\",\"minLength\":5,\"maxLength\":4}", "\"minLength\" is more than"},
      {"{\"type\":\"string\",\"maxLength\":900000}", "too large"},
      {"false", "nothing can satisfy"},
      {"[]", "a schema must be an object"},
      {"{", "the text"},
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    fg_error err = {0};
    fg_grammar g;
    const fg_status status =
        fg_form_compile(FG_FORM_JSON, refused[i].schema, strlen(refused[i].schema), &g, &err);
    if (!status || !strstr(err.message, refused[i].message))
      fail_msg("%s: %s", refused[i].schema, err.message);
  }
}

// Every whole number near the bounds, and the decimals between.
static void test_bounds_of_numbers(void **state) {
  (void)state;
  static const int bounds[][2] = {{0, 9}, {3, 120},   {-5, 5},  {-120, -3}, {99, 1001},  {0, 0},
                                  {7, 7}, {-1000, 0}, {10, 19}, {190, 210}, {-15, 1099}, {-999, 999}};
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
    for (int kind = 0; kind < 4; kind++) { // integer or number, bounds within or not
      const int low = bounds[i][0], high = bounds[i][1], open = kind & 1;
      if (open && high - low < 2) continue;
      char schema[160], text[32];
      snprintf(schema, sizeof schema, "{\"type\":\"%s\",\"%s\":%d,\"%s\":%d}",
               kind & 2 ? "number" : "integer", open ? "exclusiveMinimum" : "minimum", low,
               open ? "exclusiveMaximum" : "maximum", high);
      fg_error err = {0};
      fg_grammar g;
      reader r;
      if (open_schema(&r, &g, schema, &err)) fail_msg("%s: %s", schema, err.message);
      for (int n = low - 1100; n <= high + 1100; n++) {
        snprintf(text, sizeof text, "%d", n);
        if (reader_takes(&r, text, strlen(text)) != (n >= low + open && n <= high - open))
          fail_msg("%s and %s", schema, text);
        for (int tenth = 1; tenth < 10; tenth += 4) {
          const double value = n < 0 ? n - tenth / 10.0 : n + tenth / 10.0;
          snprintf(text, sizeof text, "%d.%d", n, tenth);
          if (reader_takes(&r, text, strlen(text)) != (kind >= 2 && value > low && value < high))
            fail_msg("%s and %s", schema, text);
        }
      }
      reader_close(&r);
    }
  }
}

static void test_bounds_with_decimals(void **state) {
  (void)state;
  fg_error err = {0};
  fg_grammar g;
  reader r;
  const char *schema = "{\"type\":\"number\",\"minimum\":-0.25,\"exclusiveMaximum\":1.5}";
  if (open_schema(&r, &g, schema, &err)) fail_msg("%s", err.message);
  const char *const taken[] = {"-0.25", "-0.2",     "0",        "1",         "1.4",
                               "1.49",  "1.499999", "0.000001", "-0.000001", "0.5"};
  const char *const not_taken[] = {"-0.26", "-0.250001", "1.5",  "1.50", "1.6", "2",
                                   "-1",    "-0",        "-0.0", "01",   "1."};
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
    if (!reader_takes(&r, taken[i], strlen(taken[i]))) fail_msg("%s is not taken", taken[i]);
  for (size_t i = 0; i < sizeof not_taken / sizeof *not_taken; i++)
    if (reader_takes(&r, not_taken[i], strlen(not_taken[i]))) fail_msg("%s is taken", not_taken[i]);
  reader_close(&r);
}

// Nesting ends where no more calls are allowed: whatever was begun can be ended.
static void test_deep_nesting_can_always_be_ended(void **state) {
  (void)state;
  fg_error err = {0};
  fg_grammar g;
  reader r;
  if (open_schema(&r, &g, "{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", &err))
    fail_msg("%s", err.message);
  char text[4 * FG_GRAMMAR_DEPTH_MAX + 2];
  uint32_t depth = 0;
  for (; depth <= 2 * FG_GRAMMAR_DEPTH_MAX; depth++) {
    text[depth] = '[';
    if (reader_state(&r, text, depth + 1) == FG_STATE_DEAD) break;
  }
  assert_in_range(depth, 50, FG_GRAMMAR_DEPTH_MAX + 1); // the outermost needs no call
  memset(text + depth, ']', depth);
  assert_true(reader_takes(&r, text, 2 * depth));
  reader_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_takes_what_satisfies),
      cmocka_unit_test(test_refuses_by_name_and_place),
      cmocka_unit_test(test_bounds_of_numbers),
      cmocka_unit_test(test_bounds_with_decimals),
      cmocka_unit_test(test_deep_nesting_can_always_be_ended),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
