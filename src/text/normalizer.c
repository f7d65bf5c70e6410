#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/json.h"

enum { DEPTH_MAX = 8 };

fg_status fg_normalize(const fg_normalizer *normalizer, fg_normal_work *work, fg_slice text, fg_slice *out,
                       fg_error *err) {
  *out = text;
  for (size_t i = 0; i < normalizer->count; i++) {
    const fg_normal_step *step = &normalizer->steps[i];
    fg_text *to = &work->texts[i % 2];
    fg_text_clear(to);
    fg_status status = step->rewrite(step, work, *out, to, err);
    if (status) return status;
    if (fg_text_failed(to))
      return fg_fail(err, FG_NO_SPACE, "out of memory for normalizing %zu bytes", text.length);
    *out = (fg_slice){to->data ? to->data : "", to->length};
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

// Whether accents go is the same as whether case goes, unless said.
static fg_status read_bert(reader *r, const json_t *json, fg_normal_step *step) {
  fg_status status = fg_json_bool(json, "clean_text", true, &step->clean, r->err);
  if (status == FG_OK)
    status = fg_json_bool(json, "handle_chinese_chars", true, &step->space_ideographs, r->err);
  if (status == FG_OK) status = fg_json_bool(json, "lowercase", true, &step->lowercase, r->err);
  return status ? status : fg_json_bool(json, "strip_accents", step->lowercase, &step->strip_accents, r->err);
}

static fg_status read_precompiled(reader *r, const json_t *json, fg_normal_step *step) {
  const char *text;
  fg_status status = fg_json_string(json, "precompiled_charsmap", "", &text, r->err);
  return status ? status : fg_charsmap_read_base64(&step->charsmap, text, r->err);
}

static const row rows[] = {
    {"BertNormalizer", read_bert, fg_rewrite_bert, 0},
    {"ByteLevel", NULL, fg_rewrite_bytes, 0},
    {"Lowercase", NULL, fg_rewrite_lowercase, 0},
    {"NFC", NULL, fg_rewrite_form, UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", NULL, fg_rewrite_form, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", NULL, fg_rewrite_form, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", NULL, fg_rewrite_form, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Nmt", NULL, fg_rewrite_nmt, 0},
    {"Precompiled", read_precompiled, fg_rewrite_precompiled, 0},
    {"Prepend", read_prepend, fg_rewrite_prepend, 0},
    {"Replace", read_replace, fg_rewrite_replace, 0},
    {"Sequence", read_sequence, NULL, 0},
    {"Strip", read_strip, fg_rewrite_strip, 0},
    {"StripAccents", NULL, fg_rewrite_strip_accents, 0},
};

static void free_step(fg_normal_step *step) {
  free(step->content);
  fg_pattern_free(&step->pattern);
  fg_charsmap_free(&step->charsmap);
}

static fg_status add_step(fg_normalizer *out, fg_normal_step *step, fg_error *err) {
  if (out->count == FG_NORMAL_STEPS_MAX) {
    free_step(step);
    return fg_fail(err, FG_UNSUPPORTED, "a normalizer of more than %d steps", FG_NORMAL_STEPS_MAX);
  }
  out->steps[out->count++] = *step;
  return FG_OK;
}

static fg_status read_row(reader *r, const row *type, const json_t *json) {
  fg_normal_step step = {.rewrite = type->rewrite, .form = type->form};
  fg_status status = type->read ? type->read(r, json, &step) : FG_OK;
  if (status) free_step(&step);
  return status || !step.rewrite ? status : add_step(r->out, &step, r->err);
}

fg_status fg_normalizer_add_spm(fg_normalizer *normalizer, fg_charsmap *charsmap, fg_spm_spaces spaces,
                                fg_error *err) {
  fg_normal_step step = {.rewrite = fg_rewrite_spm, .charsmap = *charsmap, .spaces = spaces};
  *charsmap = (fg_charsmap){0};
  return add_step(normalizer, &step, err);
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
