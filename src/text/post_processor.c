// Post-processors: for one text each comes down to ids in front of it and behind it.
#include <string.h>

#include "text/tokenizer_internal.h"

enum { DEPTH_MAX = 8, IDS_MAX = 64 };

// What a component adds around everything so far.
typedef struct around {
  int32_t before[IDS_MAX], after[IDS_MAX];
  size_t before_count, after_count;
} around;

static fg_status read_one(around *a, const json_t *json, int depth, fg_error *err);

static fg_status add_id(int32_t *ids, size_t *count, const json_t *id, fg_error *err) {
  if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= FG_VOCABULARY_MAX) {
    return fg_fail(err, FG_CORRUPT, "a special token without a valid id");
  }
  if (*count == IDS_MAX)
    return fg_fail(err, FG_UNSUPPORTED, "more than %d special tokens around a text", IDS_MAX);
  ids[(*count)++] = (int32_t)json_integer_value(id);
  return FG_OK;
}

static fg_status wrap(around *a, const around *outer, fg_error *err) {
  if (a->before_count + outer->before_count > IDS_MAX || a->after_count + outer->after_count > IDS_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "more than %d special tokens around a text", IDS_MAX);
  }
  memmove(a->before + outer->before_count, a->before, a->before_count * sizeof *a->before);
  memcpy(a->before, outer->before, outer->before_count * sizeof *a->before);
  a->before_count += outer->before_count;
  memcpy(a->after + a->after_count, outer->after, outer->after_count * sizeof *a->after);
  a->after_count += outer->after_count;
  return FG_OK;
}

static fg_status read_template(around *a, const json_t *json, int depth, fg_error *err) {
  (void)depth;
  const json_t *pieces = json_object_get(json, "single"), *piece;
  const json_t *tokens = json_object_get(json, "special_tokens");
  bool seen = false;
  if (!json_is_array(pieces)) return fg_fail(err, FG_CORRUPT, "\"single\" is not a list");
  for (size_t i = 0; (piece = json_array_get(pieces, i)) != NULL; i++) {
    const char *sequence = json_string_value(json_object_get(json_object_get(piece, "Sequence"), "id"));
    if (sequence && (seen || strcmp(sequence, "A") != 0)) {
      return fg_fail(err, FG_UNSUPPORTED, "a template that does not hold sequence A just once");
    }
    if (sequence) {
      seen = true;
      continue;
    }
    const char *name = json_string_value(json_object_get(json_object_get(piece, "SpecialToken"), "id"));
    const json_t *ids = name ? json_object_get(json_object_get(tokens, name), "ids") : NULL, *id;
    if (!json_is_array(ids))
      return fg_fail(err, FG_CORRUPT, "a special token that \"special_tokens\" does not define");
    for (size_t k = 0; (id = json_array_get(ids, k)) != NULL; k++) {
      fg_status status =
          seen ? add_id(a->after, &a->after_count, id, err) : add_id(a->before, &a->before_count, id, err);
      if (status) return status;
    }
  }
  return seen ? FG_OK : fg_fail(err, FG_UNSUPPORTED, "a template that does not hold sequence A just once");
}

static fg_status read_bert(around *a, const json_t *json, int depth, fg_error *err) {
  (void)depth;
  fg_status status =
      add_id(a->before, &a->before_count, json_array_get(json_object_get(json, "cls"), 1), err);
  return status ? status
                : add_id(a->after, &a->after_count, json_array_get(json_object_get(json, "sep"), 1), err);
}

// It trims offsets, which are not kept here.
static fg_status read_byte_level(around *a, const json_t *json, int depth, fg_error *err) {
  (void)a, (void)json, (void)depth, (void)err;
  return FG_OK;
}

static fg_status read_sequence(around *a, const json_t *json, int depth, fg_error *err) {
  const json_t *list = json_object_get(json, "processors"), *one;
  if (!json_is_array(list)) return fg_fail(err, FG_CORRUPT, "a Sequence without its list");
  if (depth == DEPTH_MAX)
    return fg_fail(err, FG_UNSUPPORTED, "Sequences nested more than %d deep", DEPTH_MAX);
  fg_status status = FG_OK;
  for (size_t i = 0; status == FG_OK && (one = json_array_get(list, i)) != NULL; i++) {
    around outer = {.before_count = 0};
    status = read_one(&outer, one, depth + 1, err);
    if (status == FG_OK) status = wrap(a, &outer, err);
  }
  return status;
}

typedef struct row {
  const char *type;
  fg_status (*read)(around *a, const json_t *json, int depth, fg_error *err);
} row;
static const row rows[] = {
    {"BertProcessing", read_bert}, {"ByteLevel", read_byte_level},        {"RobertaProcessing", read_bert},
    {"Sequence", read_sequence},   {"TemplateProcessing", read_template},
};

static fg_status read_one(around *a, const json_t *json, int depth, fg_error *err) {
  const char *type = json_string_value(json_object_get(json, "type"));
  if (!type) return fg_fail(err, FG_CORRUPT, "a post-processor without a type");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(rows[i].type, type) != 0) continue;
    return rows[i].read(a, json, depth, err) ? fg_fail_prefix(err, "post-processor %s", type) : FG_OK;
  }
  return fg_fail(err, FG_UNSUPPORTED, "post-processor \"%.60s\" is not supported", type);
}

fg_status fg_post_processor_read(fg_tokenizer *tokenizer, const json_t *json, fg_error *err) {
  around a = {.before_count = 0};
  fg_status status = !json || json_is_null(json) ? FG_OK : read_one(&a, json, 0, err);
  if (status == FG_OK) status = fg_ids_append(&tokenizer->prefix, a.before, a.before_count, err);
  return status ? status : fg_ids_append(&tokenizer->suffix, a.after, a.after_count, err);
}
