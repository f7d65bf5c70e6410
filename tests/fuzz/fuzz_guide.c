// Regular expressions and JSON Schemas, changed, then compiled. From every state that is reached in one that
// is taken the text can go on or end, and what is reached is reached again after all was forgotten.
#include <string.h>

#include "fuzz_json.h"
#include "guide/automaton.h"
#include "guide/guides.h"

static const char *const words[] = {"type",
                                    "object",
                                    "array",
                                    "string",
                                    "integer",
                                    "number",
                                    "null",
                                    "boolean",
                                    "properties",
                                    "required",
                                    "items",
                                    "anyOf",
                                    "additionalProperties",
                                    "$ref",
                                    "#",
                                    "#/$defs/a",
                                    "$defs",
                                    "enum",
                                    "const",
                                    "minItems",
                                    "maxItems",
                                    "prefixItems",
                                    "pattern",
                                    "format",
                                    "date-time",
                                    "minLength",
                                    "maxLength",
                                    "minimum",
                                    "maximum",
                                    "exclusiveMinimum",
                                    "exclusiveMaximum",
                                    "allOf",
                                    "title",
                                    "^a+(b|c)*$",
                                    NULL};

static const char schema[] = "{\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":["
                             "\"integer\",\"null\"],\"minimum\":-3,\"maximum\":450},"
                             "\"next\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/"
                             "a\"}]}},\"required\":[\"v\",\"next\"],\"additionalProperties\":false}},"
                             "\"type\":\"object\",\"properties\":{\"list\":{\"type\":\"array\",\"items\":{\"$"
                             "ref\":\"#/$defs/a\"},\"minItems\":1,\"maxItems\":3},"
                             "\"name\":{\"type\":\"string\",\"pattern\":\"^[a-z]{1,4}$\"},\"when\":{\"type\":"
                             "\"string\",\"format\":\"date\"},"
                             "\"kind\":{\"enum\":[\"x\",1,null,{\"y\":[2.5]}]},\"p\":{\"type\":\"number\","
                             "\"minimum\":0,\"exclusiveMaximum\":1.5},"
                             "\"text\":{\"type\":\"string\",\"maxLength\":9},\"free\":{},\"pair\":{"
                             "\"prefixItems\":[{\"const\":1},{\"type\":\"boolean\"}]}},"
                             "\"required\":[\"list\",\"kind\"]}";

static const char *const pieces[] = {"a",
                                     "bc",
                                     ".",
                                     "[a-z]",
                                     "[^x]",
                                     "[\\d-]",
                                     "\\w",
                                     "\\S+",
                                     "(",
                                     ")",
                                     "(?:",
                                     "|",
                                     "*",
                                     "+",
                                     "?",
                                     "{2}",
                                     "{1,3}",
                                     "{0,}",
                                     "^",
                                     "$",
                                     "\xc3\xa9",
                                     "\xe6\x97\xa5",
                                     "[\xc3\xa0-\xf0\x9f\x98\x80]",
                                     "\\n",
                                     "\\x41",
                                     "\\u00e9",
                                     "\\.",
                                     "(?=",
                                     "\\1",
                                     "{900}",
                                     "[",
                                     "]",
                                     "\\"};

static void make(fuzz_random *r, fuzz_bytes *out) {
  if (fuzz_chance(r, 50)) {
    fuzz_put_text(out, "r");
    const uint64_t count = fuzz_below(r, 12);
    for (uint64_t i = 0; i < count; i++)
      fuzz_put_text(out, pieces[fuzz_below(r, sizeof pieces / sizeof *pieces)]);
  } else {
    json_t *root = json_loads(schema, 0, NULL);
    if (!root) fuzz_broken("no memory");
    fuzz_put_text(out, "s");
    for (uint64_t n = fuzz_below(r, 4); n > 0; n--) fuzz_json_mutate(r, root, words);
    fuzz_json_put(out, root);
    json_decref(root);
  }
  if (fuzz_chance(r, 10)) fuzz_noise(r, out);
}

enum { STEPS = 400, WALKS = 4 };

// Takes live bytes at random; returns a number that stands for the way.
static uint64_t walk(fg_automaton *a, uint64_t seed) {
  fuzz_random r = {seed};
  fg_guide_state state;
  fg_error err = {0};
  uint64_t way = 0;
  fg_status status = fg_automaton_start(a, &state, &err);
  for (uint32_t i = 0; status == FG_OK && i < STEPS; i++) {
    uint32_t live = 0;
    uint8_t taken = 0;
    for (uint32_t byte = 0; status == FG_OK && byte < 256; byte++) {
      fg_guide_state next;
      status = fg_automaton_step(a, state, (uint8_t)byte, &next, &err);
      if (status == FG_OK && next != FG_STATE_DEAD && fuzz_below(&r, ++live) == 0) taken = (uint8_t)byte;
    }
    if (status != FG_OK) break;
    if (!live && !fg_automaton_accepts(a, state)) fuzz_broken("nothing may follow, and it is not the end");
    if (!live) break;
    way = way * 31 + taken + fg_automaton_accepts(a, state);
    status = fg_automaton_step(a, state, taken, &state, &err);
  }
  if (status == FG_NO_SPACE || status == FG_UNSUPPORTED) return 0;
  if (status != FG_OK) fuzz_broken("%s", err.message);
  return way + 1;
}

static void walk_all(const fg_grammar *g) {
  fg_guide_pool pool = {.limit = 8 << 20};
  fg_automaton *a;
  if (fg_automaton_create(&a, g, &pool, NULL) != FG_OK) fuzz_broken("no memory");
  for (uint64_t seed = 1; seed <= WALKS; seed++) {
    const uint64_t way = walk(a, seed);
    fg_automaton_forget(a);
    if (walk(a, seed) != way && way) fuzz_broken("another way after all was forgotten");
  }
  fg_automaton_destroy(a);
  if (pool.used) fuzz_broken("%llu bytes are not given back", (unsigned long long)pool.used);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  fg_error err = {0};
  fg_grammar g;
  if (!input->count) return FUZZ_REFUSED;
  const fg_form form = input->data[0] == 'r' ? FG_FORM_REGEX : FG_FORM_JSON;
  if (fg_form_compile(form, (const char *)input->data + 1, input->count - 1, &g, &err)) {
    if (!err.message[0]) fuzz_broken("refused without a reason");
    return err.status == FG_UNSUPPORTED ? FUZZ_PAST_HEADER : FUZZ_REFUSED;
  }
  walk_all(&g);
  fg_grammar_free(&g);
  return FUZZ_ACCEPTED;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {.name = "guide", .file_name = "form.txt", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
