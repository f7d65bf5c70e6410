#include "job/answer_form.h"

#include <stdlib.h>
#include <string.h>

// ---- what a request says -------------------------------------------------------------------------------

static fg_status no_memory(fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for the form of an answer");
}

// Takes the text over.
static fg_status set_form(fg_answer_form *out, const char *field, fg_form form, char *text, size_t length,
                          fg_error *err) {
  if (!text) return no_memory(err);
  if (out->field) {
    free(text);
    return fg_fail(err, FG_INVALID, "it and %s both say what form the answer has; leave one out", out->field);
  }
  *out = (fg_answer_form){field, form, text, length};
  return FG_OK;
}

static fg_status set_json(fg_answer_form *out, const char *field, fg_form form, const json_t *value,
                          fg_error *err) {
  char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
  return set_form(out, field, form, text, text ? strlen(text) : 0, err);
}

fg_status fg_read_guided_choice(fg_answer_form *out, const char *field, const json_t *value, fg_error *err) {
  return set_json(out, field, FG_FORM_CHOICE, value, err);
}

fg_status fg_read_guided_regex(fg_answer_form *out, const char *field, const json_t *value, fg_error *err) {
  const size_t length = json_string_length(value);
  if (!json_is_string(value)) return fg_fail(err, FG_INVALID, "it must be a string");
  char *text = malloc(length + 1);
  if (text) memcpy(text, json_string_value(value), length + 1);
  return set_form(out, field, FG_FORM_REGEX, text, length, err);
}

// A schema, or the text of one.
fg_status fg_read_guided_json(fg_answer_form *out, const char *field, const json_t *value, fg_error *err) {
  if (!json_is_string(value)) return set_json(out, field, FG_FORM_JSON, value, err);
  return set_form(out, field, FG_FORM_JSON, strdup(json_string_value(value)), json_string_length(value), err);
}

static fg_status set_any_object(fg_answer_form *out, const char *field, fg_error *err) {
  static const char any_object[] = "{\"type\":\"object\"}";
  return set_form(out, field, FG_FORM_JSON, strdup(any_object), sizeof any_object - 1, err);
}

// The members that `known` does not name are refused.
static fg_status check_members(const json_t *object, const char *const known[], fg_error *err) {
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)object, name, value) {
    size_t i = 0;
    while (known[i] && strcmp(known[i], name) != 0) i++;
    if (!known[i] && !json_is_null(value))
      return fg_fail(err, FG_UNSUPPORTED, "its member \"%.60s\" is not supported", name);
  }
  return FG_OK;
}

fg_status fg_read_response_format(fg_answer_form *out, const char *field, const json_t *value,
                                  fg_error *err) {
  static const char *const members[] = {"type", "json_schema", NULL};
  static const char *const of_schema[] = {"name", "description", "schema", "strict", NULL};
  const char *type = json_string_value(json_object_get(value, "type"));
  if (!type) return fg_fail(err, FG_INVALID, "it must be an object with a type");
  fg_status status = check_members(value, members, err);
  if (status != FG_OK || strcmp(type, "text") == 0) return status;
  if (strcmp(type, "json_object") == 0) return set_any_object(out, field, err);
  if (strcmp(type, "json_schema") != 0)
    return fg_fail(err, FG_UNSUPPORTED,
                   "type \"%.60s\" is not supported; known are text, json_object and json_schema", type);
  const json_t *named = json_object_get(value, "json_schema"), *schema = json_object_get(named, "schema");
  if (!schema) return fg_fail(err, FG_INVALID, "json_schema.schema is missing");
  status = check_members(named, of_schema, err);
  return status == FG_OK ? set_json(out, field, FG_FORM_JSON, schema, err) : status;
}

fg_status fg_read_structured_outputs(fg_answer_form *out, const char *field, const json_t *value,
                                     fg_error *err) {
  static const struct {
    const char *name;
    fg_answer_form_reader *read;
  } kinds[] = {
      {"json", fg_read_guided_json}, {"regex", fg_read_guided_regex}, {"choice", fg_read_guided_choice}};
  static const char *const members[] = {"json", "regex", "choice", "json_object", NULL};
  if (!json_is_object(value)) return fg_fail(err, FG_INVALID, "it must be an object");
  fg_status status = check_members(value, members, err);
  for (size_t i = 0; status == FG_OK && i < sizeof kinds / sizeof *kinds; i++) {
    const json_t *one = json_object_get(value, kinds[i].name);
    if (one && !json_is_null(one)) status = kinds[i].read(out, field, one, err);
  }
  if (status == FG_OK && json_is_true(json_object_get(value, "json_object")))
    status = set_any_object(out, field, err);
  return status;
}

void fg_answer_form_free(fg_answer_form *form) {
  free(form->text);
  *form = (fg_answer_form){0};
}

// ---- guides --------------------------------------------------------------------------------------------

enum {
  LEAST = 2 << 20, // for guides and what they keep
  MOST = 64 << 20,
  PART = 16, // of what the budget has left, one part in so many, between these
};

static fg_status open_guides(fg_form_store *store, const fg_form_model *model, fg_error *err) {
  uint64_t bytes = fg_budget_left(store->memory->host) / PART;
  if (bytes < LEAST) bytes = LEAST;
  if (bytes > MOST) bytes = MOST;
  const uint64_t all = bytes + fg_token_index_bytes(model->tokenizer, model->vocab);
  fg_status status = fg_job_memory_take(store->memory, all, "structured answers", err);
  if (status != FG_OK) return status;
  const fg_guides_options options = {.tokenizer = model->tokenizer,
                                     .vocab = model->vocab,
                                     .eos = model->eos,
                                     .eos_count = model->eos_count,
                                     .bytes = bytes};
  status = fg_guides_create(&store->guides, &options, err);
  if (status == FG_OK)
    store->taken = all;
  else
    fg_job_memory_give(store->memory, all);
  return status;
}

fg_status fg_form_store_acquire(fg_form_store *store, const fg_form_model *model, const fg_answer_form *form,
                                fg_guide **out, fg_error *err) {
  const fg_status status = store->guides ? FG_OK : open_guides(store, model, err);
  return status == FG_OK ? fg_guides_acquire(store->guides, form->form, form->text, form->length, out, err)
                         : status;
}

void fg_form_store_release(fg_form_store *store, fg_guide *guide) {
  if (guide) fg_guides_release(store->guides, guide);
}

void fg_form_store_close(fg_form_store *store) {
  fg_guides_destroy(store->guides);
  fg_job_memory_give(store->memory, store->taken);
  store->guides = NULL;
  store->taken = 0;
}
