#include "serve/batch_record.h"

#include <string.h>

#define BIT(state) (1u << (state))

static const struct {
  const char *name, *time_key;
  unsigned next; // states, as bits
} states[FG_BATCH_STATES] = {
    [FG_BATCH_VALIDATING] = {"validating", "created_at",
                             BIT(FG_BATCH_IN_PROGRESS) | BIT(FG_BATCH_FAILED) | BIT(FG_BATCH_CANCELLING) |
                                 BIT(FG_BATCH_EXPIRED)},
    [FG_BATCH_FAILED] = {"failed", "failed_at", 0},
    [FG_BATCH_IN_PROGRESS] = {"in_progress", "in_progress_at",
                              BIT(FG_BATCH_FINALIZING) | BIT(FG_BATCH_FAILED) | BIT(FG_BATCH_CANCELLING) |
                                  BIT(FG_BATCH_EXPIRED)},
    [FG_BATCH_FINALIZING] = {"finalizing", "finalizing_at", BIT(FG_BATCH_COMPLETED) | BIT(FG_BATCH_FAILED)},
    [FG_BATCH_COMPLETED] = {"completed", "completed_at", 0},
    [FG_BATCH_EXPIRED] = {"expired", "expired_at", 0},
    [FG_BATCH_CANCELLING] = {"cancelling", "cancelling_at", BIT(FG_BATCH_CANCELLED) | BIT(FG_BATCH_FAILED)},
    [FG_BATCH_CANCELLED] = {"cancelled", "cancelled_at", 0},
};

const char *fg_batch_state_name(fg_batch_state state) {
  return states[state].name;
}

bool fg_batch_is_over(fg_batch_state state) {
  return states[state].next == 0;
}

bool fg_batch_may(fg_batch_state from, fg_batch_state to) {
  return states[from].next & BIT(to);
}

bool fg_batch_enter(fg_batch_record *r, fg_batch_state state, int64_t now) {
  if (!fg_batch_may(r->state, state)) return false;
  r->state = state;
  r->since[state] = now;
  return true;
}

void fg_batch_record_free(fg_batch_record *r) {
  json_decref(r->metadata);
  r->metadata = NULL;
}

// ---- as JSON ---------------------------------------------------------------------------------------------

static json_t *id_or_null(const char *id) {
  return *id ? json_string(id) : json_null();
}

static json_t *errors_json(const fg_batch_record *r) {
  if (r->state != FG_BATCH_FAILED) return json_null();
  return json_pack("{s:s,s:[{s:s,s:s,s:n,s:n}]}", "object", "list", "data", "code", "batch_failed", "message",
                   r->why, "param", "line");
}

// A copy: objects that are shown belong to other threads.
static json_t *metadata_json(const fg_batch_record *r) {
  return r->metadata ? json_deep_copy(r->metadata) : json_null();
}

json_t *fg_batch_json(const fg_batch_record *r) {
  json_t *object =
      json_pack("{s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:o,s:o,s:I,s:{s:I,s:I,s:I},s:o}", "id", r->id, "object",
                "batch", "endpoint", r->endpoint, "errors", errors_json(r), "input_file_id", r->input,
                "completion_window", "24h", "status", states[r->state].name, "output_file_id",
                id_or_null(r->output), "error_file_id", id_or_null(r->errors), "expires_at",
                (json_int_t)r->expires, "request_counts", "total", (json_int_t)r->total, "completed",
                (json_int_t)r->completed, "failed", (json_int_t)r->failed, "metadata", metadata_json(r));
  for (uint32_t s = 0; object && s < FG_BATCH_STATES; s++)
    json_object_set_new(object, states[s].time_key,
                        r->since[s] ? json_integer((json_int_t)r->since[s]) : json_null());
  return object;
}

static bool read_text(char *out, size_t size, const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  const size_t length = json_string_length(value);
  if (!json_is_string(value) || length >= size || strlen(json_string_value(value)) != length) return false;
  memcpy(out, json_string_value(value), length + 1);
  return true;
}

static bool read_optional(char *out, size_t size, const json_t *object, const char *key) {
  *out = 0;
  return json_is_null(json_object_get(object, key)) || read_text(out, size, object, key);
}

static bool read_count(uint64_t *out, const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  *out = json_is_integer(value) && json_integer_value(value) >= 0 ? (uint64_t)json_integer_value(value) : 0;
  return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool read_state(fg_batch_record *r, const json_t *object) {
  const char *name = json_string_value(json_object_get(object, "status"));
  for (uint32_t s = 0; s < FG_BATCH_STATES; s++) {
    const json_t *time = json_object_get(object, states[s].time_key);
    if (json_is_integer(time)) r->since[s] = json_integer_value(time);
  }
  for (uint32_t s = 0; name && s < FG_BATCH_STATES; s++) {
    if (strcmp(states[s].name, name) != 0) continue;
    r->state = (fg_batch_state)s;
    return true;
  }
  return false;
}

static void read_why(fg_batch_record *r, const json_t *object) {
  const json_t *first = json_array_get(json_object_get(json_object_get(object, "errors"), "data"), 0);
  if (!read_text(r->why, sizeof r->why, first, "message")) r->why[0] = 0;
}

fg_status fg_batch_read(fg_batch_record *out, const json_t *object, fg_error *err) {
  fg_batch_record r = {0};
  uint64_t expires = 0;
  const json_t *counts = json_object_get(object, "request_counts");
  const bool whole = read_text(r.id, sizeof r.id, object, "id") &&
                     read_text(r.input, sizeof r.input, object, "input_file_id") &&
                     read_text(r.endpoint, sizeof r.endpoint, object, "endpoint") &&
                     read_optional(r.output, sizeof r.output, object, "output_file_id") &&
                     read_optional(r.errors, sizeof r.errors, object, "error_file_id") &&
                     read_state(&r, object) && read_count(&expires, object, "expires_at") &&
                     read_count(&r.total, counts, "total") && read_count(&r.completed, counts, "completed") &&
                     read_count(&r.failed, counts, "failed");
  if (!whole) return fg_fail(err, FG_CORRUPT, "this is no record of a batch");
  r.expires = (int64_t)expires;
  read_why(&r, object);
  json_t *metadata = json_object_get(object, "metadata");
  r.metadata = json_is_object(metadata) ? json_incref(metadata) : NULL;
  *out = r;
  return FG_OK;
}

// ---- what a client asks for ------------------------------------------------------------------------------

enum { MOST_METADATA = 16, MOST_METADATA_KEY = 64, MOST_METADATA_VALUE = 512 }; // OpenAI's

static bool is_metadata(const json_t *metadata) {
  const char *key;
  json_t *value;
  if (!metadata || json_is_null(metadata)) return true;
  if (!json_is_object(metadata) || json_object_size(metadata) > MOST_METADATA) return false;
  json_object_foreach((json_t *)metadata, key, value) {
    if (strlen(key) > MOST_METADATA_KEY || !json_is_string(value) ||
        json_string_length(value) > MOST_METADATA_VALUE)
      return false;
  }
  return true;
}

static bool is_one_of(const char *text, const char *const *words) {
  for (; text && *words; words++)
    if (strcmp(text, *words) == 0) return true;
  return false;
}

const char *fg_batch_wish_read(fg_batch_record *out, const json_t *body, const char **param) {
  static const char *const endpoints[] = {"/v1/completions", "/v1/chat/completions", NULL};
  static const char *const known[] = {"input_file_id", "endpoint", "completion_window", "metadata", NULL};
  const char *window = json_string_value(json_object_get(body, "completion_window"));
  const char *key;
  json_t *value;
  *out = (fg_batch_record){0};
  *param = NULL;
  if (!json_is_object(body)) return "the body must be a JSON object";
  json_object_foreach((json_t *)body, key, value) {
    *param = key;
    if (!is_one_of(key, known)) return "this field is not known here";
  }
  *param = "input_file_id";
  if (!read_text(out->input, sizeof out->input, body, *param))
    return "input_file_id must be the id of a file";
  *param = "endpoint";
  if (!read_text(out->endpoint, sizeof out->endpoint, body, *param) || !is_one_of(out->endpoint, endpoints))
    return "endpoint must be /v1/completions or /v1/chat/completions";
  *param = "completion_window";
  if (!window || strcmp(window, "24h") != 0) return "completion_window must be \"24h\"";
  *param = "metadata";
  json_t *metadata = json_object_get(body, *param);
  if (!is_metadata(metadata))
    return "metadata must be an object of at most 16 strings, keys of 64 and values of 512 bytes at most";
  out->metadata = json_is_object(metadata) ? json_incref(metadata) : NULL;
  *param = NULL;
  return NULL;
}
