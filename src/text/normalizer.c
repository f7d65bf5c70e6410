#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/json.h"
#include "text/unicode.h"

enum { DEPTH_MAX = 8 };

// ---- rewriting ----------------------------------------------------------------------------------------

// What lies below U+0300 is composed already and has nothing to compose with.
static bool is_composed(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if ((unsigned char)text[i] >= 0xcc) return false;
  }
  return true;
}

static fg_status rewrite_form(const fg_normal_step *step, fg_regex_work *work, const char *text,
                              size_t length, fg_text *out, fg_error *err) {
  (void)work;
  int nfc = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  if (length == 0 || (step->form == nfc && is_composed(text, length))) {
    fg_text_append(out, text, length);
    return FG_OK;
  }
  utf8proc_uint8_t *normal = NULL;
  utf8proc_ssize_t count = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &normal,
                                        (utf8proc_option_t)step->form);
  if (count < 0) {
    return fg_fail(err, FG_NO_SPACE, "normalizing %zu bytes of text: %s", length, utf8proc_errmsg(count));
  }
  fg_text_append(out, normal, (size_t)count);
  free(normal);
  return FG_OK;
}

static fg_status rewrite_lowercase(const fg_normal_step *step, fg_regex_work *work, const char *text,
                                   size_t length, fg_text *out, fg_error *err) {
  (void)step, (void)work, (void)err;
  for (const char *at = text; at < text + length;) {
    uint32_t lower[2];
    size_t count = fg_lowercase(fg_utf8_take(&at), lower);
    for (size_t i = 0; i < count; i++) fg_utf8_append(out, lower[i]);
  }
  return FG_OK;
}

static fg_status rewrite_replace(const fg_normal_step *step, fg_regex_work *work, const char *text,
                                 size_t length, fg_text *out, fg_error *err) {
  fg_pattern_walk walk = fg_pattern_start(&step->pattern, work, text, length);
  size_t done = 0;
  for (bool found = length > 0; found;) {
    fg_status status = fg_pattern_next(&walk, &found, err);
    if (status) return status;
    if (!found) break;
    fg_text_append(out, text + done, walk.begin - done);
    fg_text_append_string(out, step->content);
    done = walk.end;
  }
  fg_text_append(out, text + done, length - done);
  return FG_OK;
}

static fg_status rewrite_prepend(const fg_normal_step *step, fg_regex_work *work, const char *text,
                                 size_t length, fg_text *out, fg_error *err) {
  (void)work, (void)err;
  if (length > 0) fg_text_append_string(out, step->content);
  fg_text_append(out, text, length);
  return FG_OK;
}

static fg_status rewrite_strip(const fg_normal_step *step, fg_regex_work *work, const char *text,
                               size_t length, fg_text *out, fg_error *err) {
  (void)work, (void)err;
  const char *begin = text, *end = text + length, *next;
  while (step->left && begin < end && (next = begin, fg_is_space(fg_utf8_take(&next)))) begin = next;
  while (step->right && begin < end && (next = end, fg_is_space(fg_utf8_take_back(&next)))) end = next;
  fg_text_append(out, begin, (size_t)(end - begin));
  return FG_OK;
}

fg_status fg_normalize(const fg_normalizer *normalizer, fg_normal_work *work, fg_slice text, fg_slice *out,
                       fg_error *err) {
  *out = text;
  for (size_t i = 0; i < normalizer->count; i++) {
    const fg_normal_step *step = &normalizer->steps[i];
    fg_text *to = &work->texts[i % 2];
    fg_text_clear(to);
    fg_status status = step->rewrite(step, work->regex, out->data, out->length, to, err);
    if (status) return status;
    if (fg_text_failed(to))
      return fg_fail(err, FG_NO_SPACE, "out of memory for normalizing %zu bytes", text.length);
    *out = (fg_slice){to->data, to->length};
  }
  return FG_OK;
}

// ---- reading ------------------------------------------------------------------------------------------

typedef struct row row;
typedef struct reader {
  fg_normalizer *out;
  fg_error *err;
  int depth;
} reader;

struct row {
  const char *type;
  fg_status (*read)(reader *r, const json_t *json, fg_normal_step *step); // NULL: nothing to read
  fg_normal_rewrite *rewrite;                                             // NULL: no step of its own
  int form;
};

static fg_status read_one(reader *r, const json_t *json);

static fg_status read_content(reader *r, const json_t *json, const char *key, fg_normal_step *step) {
  const char *content;
  fg_status status = fg_json_string(json, key, NULL, &content, r->err);
  if (status) return status;
  if (!content) return fg_fail(r->err, FG_CORRUPT, "\"%s\" is missing", key);
  step->content = strdup(content);
  return step->content ? FG_OK : fg_fail(r->err, FG_NO_SPACE, "out of memory for a normalizer");
}

static fg_status read_prepend(reader *r, const json_t *json, fg_normal_step *step) {
  return read_content(r, json, "prepend", step);
}

static fg_status read_replace(reader *r, const json_t *json, fg_normal_step *step) {
  fg_status status = read_content(r, json, "content", step);
  return status ? status : fg_pattern_read(&step->pattern, json_object_get(json, "pattern"), r->err);
}

static fg_status read_strip(reader *r, const json_t *json, fg_normal_step *step) {
  fg_status status = fg_json_bool(json, "strip_left", true, &step->left, r->err);
  return status ? status : fg_json_bool(json, "strip_right", true, &step->right, r->err);
}

static fg_status read_sequence(reader *r, const json_t *json, fg_normal_step *step) {
  (void)step;
  const json_t *list = json_object_get(json, "normalizers"), *one;
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

static const row rows[] = {
    {"Lowercase", NULL, rewrite_lowercase, 0},
    {"NFC", NULL, rewrite_form, UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", NULL, rewrite_form, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", NULL, rewrite_form, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", NULL, rewrite_form, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Prepend", read_prepend, rewrite_prepend, 0},
    {"Replace", read_replace, rewrite_replace, 0},
    {"Sequence", read_sequence, NULL, 0},
    {"Strip", read_strip, rewrite_strip, 0},
};

static void free_step(fg_normal_step *step) {
  free(step->content);
  fg_pattern_free(&step->pattern);
}

static fg_status read_row(reader *r, const row *type, const json_t *json) {
  fg_normal_step step = {.rewrite = type->rewrite, .form = type->form};
  fg_status status = type->read ? type->read(r, json, &step) : FG_OK;
  if (status == FG_OK && !step.rewrite) return FG_OK;
  if (status == FG_OK && r->out->count == FG_NORMAL_STEPS_MAX) {
    status = fg_fail(r->err, FG_UNSUPPORTED, "a normalizer of more than %d steps", FG_NORMAL_STEPS_MAX);
  }
  if (status) {
    free_step(&step);
    return status;
  }
  r->out->steps[r->out->count++] = step;
  return FG_OK;
}

static fg_status read_one(reader *r, const json_t *json) {
  const char *type = json_string_value(json_object_get(json, "type"));
  if (!type) return fg_fail(r->err, FG_CORRUPT, "a normalizer without a type");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(rows[i].type, type) != 0) continue;
    fg_status status = read_row(r, &rows[i], json);
    return status ? fg_fail_prefix(r->err, "normalizer %s", type) : FG_OK;
  }
  return fg_fail(r->err, FG_UNSUPPORTED, "normalizer \"%.60s\" is not supported", type);
}

fg_status fg_normalizer_read(fg_normalizer *out, const json_t *json, fg_error *err) {
  *out = (fg_normalizer){0};
  reader r = {.out = out, .err = err};
  fg_status status = !json || json_is_null(json) ? FG_OK : read_one(&r, json);
  if (status) fg_normalizer_free(out);
  return status;
}

void fg_normalizer_free(fg_normalizer *normalizer) {
  for (size_t i = 0; i < normalizer->count; i++) free_step(&normalizer->steps[i]);
  *normalizer = (fg_normalizer){0};
}
