// Pre-tokenizers as tokenizer.json writes them, one row a type.
#include <string.h>

#include "base/json.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"

enum { DEPTH_MAX = 8 };

typedef struct reader {
  fg_pretokenizer *out;
  fg_error *err;
  int depth;
} reader;

static fg_status read_one(reader *r, const json_t *json);

static fg_status add_step(reader *r, fg_pretoken_step step) {
  if (r->out->count == FG_PRETOKEN_STEPS_MAX) {
    fg_pattern_free(&step.pattern);
    return fg_fail(r->err, FG_UNSUPPORTED, "a pre-tokenizer of more than %d steps", FG_PRETOKEN_STEPS_MAX);
  }
  r->out->steps[r->out->count++] = step;
  return FG_OK;
}

static fg_status add_split(reader *r, fg_pattern pattern, fg_split_behavior behavior, bool invert) {
  return add_step(r, (fg_pretoken_step){.pattern = pattern, .behavior = behavior, .invert = invert});
}

static fg_status read_behavior(const json_t *json, fg_split_behavior fallback, fg_split_behavior *out,
                               fg_error *err) {
  static const char *const names[] = {
      [FG_SPLIT_REMOVED] = "Removed",
      [FG_SPLIT_ISOLATED] = "Isolated",
      [FG_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
      [FG_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
      [FG_SPLIT_CONTIGUOUS] = "Contiguous",
  };
  const char *name;
  fg_status status = fg_json_string(json, "behavior", names[fallback], &name, err);
  for (size_t i = 0; status == FG_OK && i < sizeof names / sizeof *names; i++) {
    if (strcmp(names[i], name) != 0) continue;
    *out = (fg_split_behavior)i;
    return FG_OK;
  }
  return status ? status : fg_fail(err, FG_UNSUPPORTED, "split behavior \"%.60s\" is not supported", name);
}

static fg_status read_byte_level(reader *r, const json_t *json) {
  bool prefix, regex;
  fg_status status = fg_json_bool(json, "add_prefix_space", true, &prefix, r->err);
  if (status == FG_OK) status = fg_json_bool(json, "use_regex", true, &regex, r->err);
  if (status == FG_OK && prefix) status = add_step(r, (fg_pretoken_step){.change = fg_change_prefix_space});
  if (status == FG_OK && regex) {
    status = add_split(r, (fg_pattern){.matcher = fg_match_gpt2}, FG_SPLIT_ISOLATED, false);
  }
  return status ? status : add_step(r, (fg_pretoken_step){.change = fg_change_spell_bytes});
}

static fg_status read_split(reader *r, const json_t *json) {
  fg_pattern pattern;
  fg_split_behavior behavior = FG_SPLIT_ISOLATED;
  bool invert;
  fg_status status = read_behavior(json, FG_SPLIT_ISOLATED, &behavior, r->err);
  if (status == FG_OK) status = fg_json_bool(json, "invert", false, &invert, r->err);
  if (status == FG_OK) status = fg_pattern_read(&pattern, json_object_get(json, "pattern"), r->err);
  return status ? status : add_split(r, pattern, behavior, invert);
}

static fg_status read_digits(reader *r, const json_t *json) {
  bool individual;
  fg_status status = fg_json_bool(json, "individual_digits", false, &individual, r->err);
  if (status) return status;
  fg_split_behavior behavior = individual ? FG_SPLIT_ISOLATED : FG_SPLIT_CONTIGUOUS;
  return add_split(r, (fg_pattern){.test = fg_is_number}, behavior, false);
}

static fg_status read_punctuation(reader *r, const json_t *json) {
  fg_split_behavior behavior = FG_SPLIT_ISOLATED;
  fg_status status = read_behavior(json, FG_SPLIT_ISOLATED, &behavior, r->err);
  return status ? status : add_split(r, (fg_pattern){.test = fg_is_punctuation}, behavior, false);
}

static fg_status read_whitespace(reader *r, const json_t *json) {
  (void)json;
  return add_split(r, (fg_pattern){.matcher = fg_match_words}, FG_SPLIT_REMOVED, true);
}

static fg_status read_whitespace_split(reader *r, const json_t *json) {
  (void)json;
  return add_split(r, (fg_pattern){.test = fg_is_space}, FG_SPLIT_REMOVED, false);
}

static fg_status read_bert(reader *r, const json_t *json) {
  fg_status status = read_whitespace_split(r, json);
  return status ? status : add_split(r, (fg_pattern){.test = fg_is_punctuation}, FG_SPLIT_ISOLATED, false);
}

static fg_status read_char(const json_t *json, const char *key, const char *fallback, const char **out,
                           fg_error *err) {
  fg_status status = fg_json_string(json, key, fallback, out, err);
  if (status) return status;
  if (!*out || !**out || strlen(*out) != fg_utf8_length(**out)) {
    return fg_fail(err, FG_CORRUPT, "\"%s\" must be one character", key);
  }
  return FG_OK;
}

static fg_status read_delimiter(reader *r, const json_t *json) {
  const char *delimiter;
  fg_pattern pattern;
  fg_status status = read_char(json, "delimiter", NULL, &delimiter, r->err);
  if (status == FG_OK) status = fg_pattern_of_string(&pattern, delimiter, r->err);
  return status ? status : add_split(r, pattern, FG_SPLIT_REMOVED, false);
}

static fg_status read_metaspace(reader *r, const json_t *json) {
  static const char *const schemes[] = {
      [FG_PREPEND_NEVER] = "never", [FG_PREPEND_FIRST] = "first", [FG_PREPEND_ALWAYS] = "always"};
  const char *mark, *scheme;
  bool prefix, cut;
  fg_pretoken_step step = {.change = fg_change_metaspace};
  fg_status status = read_char(json, "replacement", "\xe2\x96\x81", &mark, r->err);
  if (status == FG_OK) status = fg_json_bool(json, "add_prefix_space", true, &prefix, r->err);
  if (status == FG_OK) status = fg_json_bool(json, "split", true, &cut, r->err);
  if (status == FG_OK)
    status = fg_json_string(json, "prepend_scheme", prefix ? "always" : "never", &scheme, r->err);
  if (status) return status;
  size_t kind = 0;
  while (kind < 3 && strcmp(schemes[kind], scheme) != 0) kind++;
  if (kind == 3) return fg_fail(r->err, FG_UNSUPPORTED, "prepend_scheme \"%.60s\" is not supported", scheme);
  step.prepend = (fg_prepend_scheme)kind;
  memcpy(step.replacement, mark, strlen(mark));
  fg_pattern pattern;
  status = add_step(r, step);
  if (status || !cut) return status;
  status = fg_pattern_of_string(&pattern, mark, r->err);
  return status ? status : add_split(r, pattern, FG_SPLIT_MERGED_WITH_NEXT, false);
}

static fg_status read_sequence(reader *r, const json_t *json) {
  const json_t *list = json_object_get(json, "pretokenizers"), *one;
  if (!json_is_array(list)) return fg_fail(r->err, FG_CORRUPT, "a Sequence without its list");
  if (r->depth == DEPTH_MAX)
    return fg_fail(r->err, FG_UNSUPPORTED, "Sequences nested more than %d deep", DEPTH_MAX);
  r->depth++;
  fg_status status = FG_OK;
  for (size_t i = 0; status == FG_OK && (one = json_array_get(list, i)) != NULL; i++)
    status = read_one(r, one);
  r->depth--;
  return status;
}

typedef struct row {
  const char *type;
  fg_status (*read)(reader *r, const json_t *json);
} row;
static const row rows[] = {
    {"BertPreTokenizer", read_bert},
    {"ByteLevel", read_byte_level},
    {"CharDelimiterSplit", read_delimiter},
    {"Delimiter", read_delimiter},
    {"Digits", read_digits},
    {"Metaspace", read_metaspace},
    {"Punctuation", read_punctuation},
    {"Sequence", read_sequence},
    {"Split", read_split},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
};

static fg_status read_one(reader *r, const json_t *json) {
  const char *type = json_string_value(json_object_get(json, "type"));
  if (!type) return fg_fail(r->err, FG_CORRUPT, "a pre-tokenizer without a type");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(rows[i].type, type) != 0) continue;
    fg_status status = rows[i].read(r, json);
    return status ? fg_fail_prefix(r->err, "pre-tokenizer %s", type) : FG_OK;
  }
  return fg_fail(r->err, FG_UNSUPPORTED, "pre-tokenizer \"%.60s\" is not supported", type);
}

fg_status fg_pretokenizer_read(fg_pretokenizer *out, const json_t *json, fg_error *err) {
  *out = (fg_pretokenizer){0};
  reader r = {.out = out, .err = err};
  fg_status status = !json || json_is_null(json) ? FG_OK : read_one(&r, json);
  // When spelling bytes comes last, the model takes the bytes as they are.
  if (status == FG_OK && out->count > 0 && out->steps[out->count - 1].change == fg_change_spell_bytes) {
    out->count--;
    out->byte_level = true;
  }
  if (status) fg_pretokenizer_free(out);
  return status;
}

fg_status fg_pretokenizer_spell_bytes(fg_pretokenizer *pretokenizer, fg_error *err) {
  reader r = {.out = pretokenizer, .err = err};
  if (!pretokenizer->byte_level) return FG_OK;
  pretokenizer->byte_level = false;
  return add_step(&r, (fg_pretoken_step){.change = fg_change_spell_bytes});
}

fg_status fg_pretokenizer_cut_at_marks(fg_pretokenizer *pretokenizer, fg_error *err) {
  reader r = {.out = pretokenizer, .err = err};
  return add_split(&r, (fg_pattern){.matcher = fg_match_marked_word}, FG_SPLIT_ISOLATED, false);
}

void fg_pretokenizer_free(fg_pretokenizer *pretokenizer) {
  for (size_t i = 0; i < pretokenizer->count; i++) fg_pattern_free(&pretokenizer->steps[i].pattern);
  *pretokenizer = (fg_pretokenizer){0};
}
