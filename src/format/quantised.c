#include "format/quantised.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/dequant.h"

enum { FORMATS = 4 };

static const struct {
  const char *name; // "quant_method"
  fg_dequant_configure *configure;
  const fg_dequant_format *formats[FORMATS]; // that its modules may have
} methods[] = {
    {"gptq", fg_dequant_configure_gptq, {&fg_dequant_gptq}},
    {"awq", fg_dequant_configure_awq, {&fg_dequant_awq}},
    {"compressed-tensors",
     fg_dequant_configure_compressed,
     {&fg_dequant_packed, &fg_dequant_fp4, &fg_dequant_int8, &fg_dequant_fp8}},
    {"fp8", fg_dequant_configure_fp8, {&fg_dequant_fp8}},
    {"mxfp4", fg_dequant_configure_mxfp4, {&fg_dequant_mxfp4}},
    {"bitsandbytes", fg_dequant_configure_bnb, {&fg_dequant_bnb4, &fg_dequant_bnb8}},
};
enum { METHODS = sizeof methods / sizeof *methods };

// Where a configuration stands: an object in config.json, or a whole file of a format.
static const struct {
  const char *asset, *key, *method;
} places[] = {
    {"config.json", "quantization_config", NULL},
    {"config.json", "compression_config", "compressed-tensors"},
    {"quantize_config.json", NULL, "gptq"},
    {"quant_config.json", NULL, "awq"},
};
enum { PLACES = sizeof places / sizeof *places };

// Marks a tensor of ours in the place of a file's number; its offset is the number of the module.
static const uint32_t MODULE = UINT32_MAX;

typedef struct quantised {
  fg_checkpoint base;
  fg_checkpoint_ops ops;
  fg_checkpoint *from;
  fg_quantised_form form;
  fg_dequant_settings settings;
  fg_dequant_module *modules;
  size_t module_count;
  fg_dequant_reader reader;
  fg_budget *budget;
} quantised;

// ---- configuration -------------------------------------------------------------------------------------

// The first configuration there is, with its place; NULL and FG_OK: none.
static fg_status find_config(json_t **out, size_t *place, const fg_assets *assets, fg_error *err) {
  *out = NULL;
  for (*place = 0; *place < PLACES; ++*place) {
    const fg_asset *asset = fg_assets_find(assets, places[*place].asset);
    if (!asset) continue;
    json_t *root = fg_json_parse(asset->data, asset->bytes, asset->name, err);
    if (!root) return FG_CORRUPT;
    json_t *config = places[*place].key ? json_object_get(root, places[*place].key) : root;
    json_incref(config);
    json_decref(root);
    if (json_is_object(config)) {
      *out = config;
      return FG_OK;
    }
    json_decref(config);
  }
  return FG_OK;
}

static fg_status find_method(size_t *out, const json_t *config, size_t place, fg_error *err) {
  const char *name = NULL;
  fg_status status = fg_json_string(config, "quant_method", places[place].method, &name, err);
  if (status) return status;
  char known[128] = "";
  for (*out = 0; *out < METHODS; ++*out) {
    if (name && strcmp(methods[*out].name, name) == 0) return FG_OK;
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", methods[*out].name);
  }
  return fg_fail(
      err, FG_UNSUPPORTED,
      "\"quant_method\": weights quantised as %.40s are not supported (%s are); use such a version of "
      "the model, a GGUF file, or its original with --weight-dtype int4",
      name ? name : "(missing)", known);
}

// FG_OK with *method METHODS: nothing is quantised.
static fg_status read_config(fg_dequant_settings *out, size_t *method, const fg_assets *assets,
                             fg_error *err) {
  json_t *config;
  size_t place;
  *method = METHODS;
  fg_status status = find_config(&config, &place, assets, err);
  if (status || !config) return status;
  status = find_method(method, config, place, err);
  if (!status) status = methods[*method].configure(out, config, err);
  json_decref(config);
  if (status) fg_fail_prefix(err, "%s", places[place].asset);
  return status;
}

// ---- modules -------------------------------------------------------------------------------------------

static bool ends_with(const char *text, size_t length, const char *suffix) {
  size_t n = strlen(suffix);
  return length > n && strcmp(text + length - n, suffix) == 0;
}

// The format whose module this tensor makes.
static const fg_dequant_format *format_of(size_t method, const fg_checkpoint_tensor *t) {
  const fg_dequant_format *const *formats = methods[method].formats;
  for (int i = 0; i < FORMATS && formats[i]; i++) {
    if (ends_with(t->name, strlen(t->name), formats[i]->suffixes[0]) &&
        fg_dequant_is(t->dtype, formats[i]->kind))
      return formats[i];
  }
  return NULL;
}

// Finds the parts beside the first one and marks them as used.
static fg_status find_parts(quantised *q, fg_dequant_module *m, const fg_checkpoint_tensor *first, bool *used,
                            fg_error *err) {
  const char *const *suffixes = m->format->suffixes;
  const int stem = (int)(strlen(first->name) - strlen(suffixes[0]));
  char *name = NULL;
  if (asprintf(&name, "%.*s.weight", stem, first->name) < 0) return fg_fail(err, FG_NO_SPACE, "no memory");
  m->name = name;
  for (uint32_t i = 0; i < FG_DEQUANT_PARTS && suffixes[i]; i++) {
    if (asprintf(&name, "%.*s%s", stem, first->name, suffixes[i]) < 0)
      return fg_fail(err, FG_NO_SPACE, "no memory");
    m->parts[i] = fg_checkpoint_find(q->from, name);
    fg_status status = FG_OK;
    if (m->parts[i]) {
      used[m->parts[i] - q->from->tensors] = true;
    } else if (i < m->format->required) {
      status = fg_fail(err, FG_NOT_FOUND, "tensor %s is missing beside %s (%s weights)", name, first->name,
                       q->settings.about);
    }
    free(name);
    if (status) return status;
  }
  return FG_OK;
}

static fg_status open_module(quantised *q, fg_dequant_module *m, const fg_checkpoint_tensor *first,
                             bool *used, fg_error *err) {
  m->settings = &q->settings;
  fg_status status = find_parts(q, m, first, used, err);
  if (!status) status = m->format->open(m, &q->reader, err);
  if (!status && (m->rows == 0 || m->columns == 0 || m->scales == 0))
    status = fg_fail(err, FG_CORRUPT, "tensor %s is empty", first->name);
  return status;
}

static fg_status open_modules(quantised *q, size_t method, bool *used, fg_error *err) {
  q->modules = calloc(q->from->count, sizeof *q->modules);
  if (!q->modules) return fg_fail(err, FG_NO_SPACE, "no memory for %zu quantised tensors", q->from->count);
  fg_status status = FG_OK;
  for (size_t i = 0; !status && i < q->from->count; i++) {
    const fg_dequant_format *format = format_of(method, &q->from->tensors[i]);
    if (!format) continue;
    fg_dequant_module *m = &q->modules[q->module_count++];
    m->format = format;
    status = open_module(q, m, &q->from->tensors[i], used, err);
  }
  return status;
}

// ---- the list of tensors -------------------------------------------------------------------------------

static int by_name(const void *a, const void *b) {
  return strcmp(((const fg_checkpoint_tensor *)a)->name, ((const fg_checkpoint_tensor *)b)->name);
}

static fg_checkpoint_tensor tensor_of(const quantised *q, size_t module) {
  const fg_dequant_module *m = &q->modules[module];
  fg_checkpoint_tensor t = {.name = m->name,
                            .dtype = FG_F32,
                            .dims = 2,
                            .shape = {m->rows, m->columns},
                            .rows = m->rows,
                            .columns = m->columns,
                            .file = MODULE,
                            .offset = module};
  if (q->form == FG_QUANTISED_AS_STORED && !fg_dequant_code_type(m, &t.dtype)) t.dtype = FG_BF16;
  return t;
}

static fg_status list_tensors(quantised *q, const bool *used, fg_error *err) {
  fg_checkpoint *c = &q->base;
  c->tensors = malloc((q->from->count + q->module_count) * sizeof *c->tensors);
  if (!c->tensors) return fg_fail(err, FG_NO_SPACE, "no memory for a list of tensors");
  for (size_t i = 0; i < q->from->count; i++) {
    if (!used[i]) c->tensors[c->count++] = q->from->tensors[i];
  }
  for (size_t i = 0; i < q->module_count; i++) c->tensors[c->count++] = tensor_of(q, i);
  qsort(c->tensors, c->count, sizeof *c->tensors, by_name);
  for (size_t i = 1; i < c->count; i++) {
    if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
      return fg_fail(err, FG_CORRUPT, "tensor %s stands there twice: quantised and not", c->tensors[i].name);
  }
  return FG_OK;
}

// ---- reading -------------------------------------------------------------------------------------------

static fg_status module_status(const fg_dequant_module *m, fg_status status, fg_error *err) {
  return status ? fg_fail_prefix(err, "reading %s", m->name) : FG_OK;
}

// Rows in float32, rounded to bfloat16 some at a time.
static fg_status read_rounded(quantised *q, const fg_dequant_module *m, uint64_t row, uint64_t count,
                              uint16_t *out, fg_error *err) {
  enum { WIDE_VALUES = 1 << 18 };
  const uint64_t step = m->columns < WIDE_VALUES ? WIDE_VALUES / m->columns : 1;
  float *wide = malloc((step < count ? step : count) * m->columns * sizeof *wide);
  if (!wide) return fg_fail(err, FG_NO_SPACE, "no memory for %" PRIu64 " rows", count);
  fg_status status = FG_OK;
  for (uint64_t done = 0; !status && done < count; done += step) {
    uint64_t some = count - done < step ? count - done : step;
    status = fg_dequant_floats(&q->reader, m, row + done, some, wide, err);
    if (!status) fg_dtype_get(FG_BF16)->from_f32(wide, out + done * m->columns, some * m->columns);
  }
  free(wide);
  return status;
}

static fg_status read_rows(fg_checkpoint *self, const fg_checkpoint_tensor *t, uint64_t row, uint64_t count,
                           void *out, fg_error *err) {
  quantised *q = (quantised *)self;
  if (t->file != MODULE) return q->from->ops->read_rows(q->from, t, row, count, out, err);
  const fg_dequant_module *m = &q->modules[t->offset];
  fg_status status = FG_OK;
  if (count == 0) return FG_OK;
  if (t->dtype == FG_F32) {
    status = fg_dequant_floats(&q->reader, m, row, count, out, err);
  } else if (t->dtype == FG_BF16) {
    status = read_rounded(q, m, row, count, out, err);
  } else {
    status = fg_dequant_codes(&q->reader, m, row, count, out, err);
  }
  return module_status(m, status, err);
}

static fg_status read_f32(fg_checkpoint *self, const fg_checkpoint_tensor *t, uint64_t row, uint64_t count,
                          float *out, fg_error *err) {
  quantised *q = (quantised *)self;
  if (t->file != MODULE) return fg_checkpoint_read_f32(q->from, t, row, count, out, err);
  const fg_dequant_module *m = &q->modules[t->offset];
  if (count == 0) return FG_OK;
  return module_status(m, fg_dequant_floats(&q->reader, m, row, count, out, err), err);
}

static bool place(const fg_checkpoint *self, const fg_checkpoint_tensor *t, uint64_t row, uint64_t count,
                  fg_checkpoint_place *out) {
  const quantised *q = (const quantised *)self;
  return t->file != MODULE && q->from->ops->place && q->from->ops->place(q->from, t, row, count, out);
}

// ---- making --------------------------------------------------------------------------------------------

static void destroy(fg_checkpoint *self) {
  quantised *q = (quantised *)self;
  fg_checkpoint_destroy(q->from);
  if (q->budget) fg_budget_release(q->budget, q->reader.strip_bytes);
  fg_dequant_reader_free(&q->reader);
  for (size_t i = 0; i < q->module_count; i++) free((char *)q->modules[i].name);
  free(q->modules);
  free(q->base.tensors);
  free(q);
}

// A whole module of most models, but a small part of what there is.
static fg_status reserve_strip(quantised *q, fg_budget *budget, fg_error *err) {
  enum { LEAST = 64 << 10, MOST = 32 << 20, SHARE = 16 };
  uint64_t bytes = budget ? fg_budget_left(budget) / SHARE : MOST;
  bytes = bytes < LEAST ? LEAST : bytes > MOST ? MOST : bytes;
  q->reader.strip_bytes = bytes;
  if (!budget) return FG_OK;
  fg_status status = fg_budget_reserve(budget, bytes, "words of quantised weights", err);
  if (!status) q->budget = budget;
  return status;
}

static fg_status build(quantised *q, size_t method, fg_error *err) {
  bool *used = calloc(q->from->count + 1, sizeof *used);
  if (!used) return fg_fail(err, FG_NO_SPACE, "no memory for %zu tensors", q->from->count);
  q->reader.from = q->from;
  fg_status status = open_modules(q, method, used, err);
  if (!status && q->module_count) status = list_tensors(q, used, err);
  free(used);
  return status;
}

fg_status fg_quantised_wrap(fg_checkpoint **checkpoint, const fg_assets *assets, fg_quantised_form form,
                            fg_budget *budget, fg_error *err) {
  fg_dequant_settings settings = {0};
  size_t method;
  fg_status status = read_config(&settings, &method, assets, err);
  if (status || method == METHODS || !*checkpoint || (*checkpoint)->count == 0) return status;
  quantised *q = calloc(1, sizeof *q);
  if (!q) return fg_fail(err, FG_NO_SPACE, "no memory for a checkpoint");
  *q = (quantised){.from = *checkpoint, .form = form, .settings = settings};
  q->ops = (fg_checkpoint_ops){.format = (*checkpoint)->ops->format,
                               .read_rows = read_rows,
                               .read_f32 = read_f32,
                               .place = place,
                               .destroy = destroy};
  q->base.ops = &q->ops;
  q->base.about = q->settings.about;
  status = build(q, method, err);
  if (!status && q->module_count) status = reserve_strip(q, budget, err);
  if (status || q->module_count == 0) {
    q->from = NULL; // the caller's
    destroy(&q->base);
    return status;
  }
  *checkpoint = &q->base;
  return FG_OK;
}
