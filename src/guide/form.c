// A form of answer to a grammar.
#include <jansson.h>

#include "base/json.h"
#include "guide/expression.h"
#include "guide/guides.h"
#include "guide/schema.h"

static fg_status write_choice(const json_t *list, fg_grammar *p, uint32_t *start, fg_error *err) {
  *start = UINT32_MAX;
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *one = json_array_get(list, i);
    if (!json_is_string(one)) return fg_fail(err, FG_INVALID, "it must be a list of strings");
    const uint32_t way = fg_grammar_bytes(p, json_string_value(one), json_string_length(one), FG_RETURN);
    *start = *start == UINT32_MAX ? way : fg_grammar_split(p, *start, way);
  }
  return *start == UINT32_MAX ? fg_fail(err, FG_INVALID, "it must be a list of strings that is not empty")
                              : FG_OK;
}

static fg_status write_regex(const char *text, size_t length, fg_grammar *p, uint32_t *start, fg_error *err) {
  fg_expression *e = NULL;
  fg_status status = fg_expression_parse(&e, text, length, err);
  if (status == FG_OK) status = fg_expression_write(e, p, FG_MATCH_WHOLE, FG_PLAIN, FG_RETURN, start, err);
  fg_expression_destroy(e);
  return status;
}

fg_status fg_form_compile(fg_form form, const char *text, size_t length, fg_grammar *p, fg_error *err) {
  uint32_t start = FG_RETURN;
  fg_status status = FG_OK;
  if (length > FG_FORM_MAX)
    return fg_fail(err, FG_UNSUPPORTED, "it is too large: more than %d bytes", FG_FORM_MAX);
  fg_grammar_begin(p);
  if (form == FG_FORM_REGEX) {
    status = write_regex(text, length, p, &start, err);
  } else {
    json_t *json = fg_json_parse(text, length, "the text", err);
    if (!json) status = err ? err->status : FG_INVALID;
    if (json && form == FG_FORM_CHOICE) status = write_choice(json, p, &start, err);
    if (json && form == FG_FORM_JSON) status = fg_schema_write(json, p, &start, err);
    json_decref(json);
  }
  if (status == FG_OK) status = fg_grammar_finish(p, start, err);
  if (status != FG_OK) fg_grammar_free(p);
  return status;
}
