// store_manifest.c: the store's manifest as JSON, both ways (docs/store.md).
#include "format/store_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"
#include "base/text_buffer.h"
#include "kernels/layout.h"

static const char *const kind_names[] = {
    [FG_WEIGHT_VECTOR] = "vector",
    [FG_WEIGHT_MATRIX] = "matrix",
    [FG_WEIGHT_TABLE] = "table",
};
enum { KIND_COUNT = sizeof kind_names / sizeof *kind_names };

void fg_store_manifest_free(fg_store_manifest *manifest) {
  for (uint32_t i = 0; i < manifest->asset_count; i++) free(manifest->assets[i].name);
  free(manifest->assets);
  free(manifest->weights);
  free(manifest->panels);
  free(manifest->source);
  free(manifest->target);
  free(manifest->origin);
  *manifest = (fg_store_manifest){0};
}

// ---- shared extents ------------------------------------------------------------------------------------

uint64_t fg_store_panel_bytes(const fg_weight *weights, uint32_t count, const fg_panel *panels, bool own) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (own && weights[i].same_as) continue;
    for (uint32_t p = 0; p < weights[i].panels; p++)
      sum += fg_align_up(panels[weights[i].panel + p].bytes, FG_STORE_HEAD_BYTES);
  }
  return sum;
}

// The weights of a layer stand together.
uint32_t fg_store_count_aliased(const fg_weight *weights, uint32_t count) {
  uint32_t layers = 0;
  int32_t last = INT32_MIN;
  for (uint32_t i = 0; i < count; i++) {
    if (!weights[i].same_as || weights[i].layer == last) continue;
    last = weights[i].layer;
    layers++;
  }
  return layers;
}

bool fg_store_may_share(const fg_weight *w, const fg_weight *of) {
  return !of->same_as && of->panels && w->kind == of->kind && w->dtype == of->dtype && w->n == of->n &&
         w->k == of->k && w->segments == of->segments && strcmp(w->layout, of->layout) == 0;
}

// ---- writing -------------------------------------------------------------------------------------------

static void render_string(fg_text *text, const char *key, const char *value) {
  json_t *string = json_string(value);
  char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
  if (quoted) {
    fg_text_printf(text, "\"%s\":%s", key, quoted);
  } else {
    text->failed = true;
  }
  free(quoted);
  json_decref(string);
}

static void render_weight(fg_text *text, const fg_store_manifest *m, const fg_weight *w) {
  fg_text_append_string(text, "{");
  render_string(text, "name", w->name);
  fg_text_printf(text, ",\"kind\":\"%s\",\"dtype\":\"%s\",", kind_names[w->kind],
                 fg_dtype_get(w->dtype)->name);
  render_string(text, "layout", w->layout);
  fg_text_printf(text, ",\"n\":%" PRIu32 ",\"k\":%" PRIu32 ",\"layer\":%" PRId32, w->n, w->k, w->layer);
  if (w->segments) fg_text_printf(text, ",\"segments\":%" PRIu32, w->segments);
  if (w->same_as) {
    fg_text_printf(text, ",\"same_as\":%" PRIu32 "}", w->same_as - 1);
    return;
  }
  fg_text_append_string(text, ",\"panels\":[");
  for (uint32_t i = 0; i < w->panels; i++) {
    const fg_panel *p = &m->panels[w->panel + i];
    fg_text_printf(text, "%s[%" PRIu64 ",%" PRIu64 ",\"%016" PRIx64 "\",%" PRIu32 ",%" PRIu32 "]",
                   i ? "," : "", p->offset, p->bytes, p->hash, p->row, p->rows);
  }
  fg_text_append_string(text, "]}");
}

char *fg_store_manifest_render(const fg_store_manifest *m, size_t *bytes) {
  fg_text text = {0};
  fg_text_append_string(&text, "{");
  render_string(&text, "source", m->source);
  fg_text_append_string(&text, ",");
  render_string(&text, "target", m->target);
  fg_text_append_string(&text, ",");
  render_string(&text, "origin", m->origin);
  fg_text_append_string(&text, ",\n\"weights\":[");
  for (uint32_t i = 0; i < m->weight_count; i++) {
    fg_text_append_string(&text, i ? ",\n" : "\n");
    render_weight(&text, m, &m->weights[i]);
  }
  fg_text_append_string(&text, "],\n\"assets\":[");
  for (uint32_t i = 0; i < m->asset_count; i++) {
    const fg_store_asset *a = &m->assets[i];
    fg_text_append_string(&text, i ? ",\n{" : "\n{");
    render_string(&text, "name", a->name);
    fg_text_printf(&text, ",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"hash\":\"%016" PRIx64 "\"}",
                   a->offset, a->bytes, a->hash);
  }
  fg_text_append_string(&text, "]}\n");
  if (fg_text_failed(&text)) {
    fg_text_free(&text);
    return NULL;
  }
  *bytes = text.length;
  return text.data;
}

// ---- reading -------------------------------------------------------------------------------------------

typedef struct parser {
  fg_store_manifest *m;
  const char *where;
  uint64_t data_end;
  uint64_t next; // where the next extent must begin
  fg_error *err;
} parser;

static fg_status damaged(const parser *p, const char *what) {
  return fg_fail(p->err, FG_CORRUPT, "%s: damaged store: %s", p->where, what);
}

static bool get_u64(const json_t *value, uint64_t max, uint64_t *out) {
  if (!json_is_integer(value)) return false;
  json_int_t v = json_integer_value(value);
  if (v < 0 || (uint64_t)v > max) return false;
  *out = (uint64_t)v;
  return true;
}

static bool get_u32(const json_t *value, uint32_t *out) {
  uint64_t v;
  if (!get_u64(value, UINT32_MAX, &v)) return false;
  *out = (uint32_t)v;
  return true;
}

static bool get_hash(const json_t *value, uint64_t *out) {
  const char *text = json_string_value(value);
  if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
  *out = strtoull(text, NULL, 16);
  return true;
}

// A string without control characters that fits into `size` bytes.
static bool get_name(const json_t *value, char *out, size_t size) {
  const char *text = json_string_value(value);
  size_t length = json_string_length(value);
  if (!text || length == 0 || length >= size || strlen(text) != length) return false;
  for (size_t i = 0; i < length; i++) {
    if ((unsigned char)text[i] < 0x20) return false;
  }
  memcpy(out, text, length + 1);
  return true;
}

static bool get_string(const json_t *object, const char *key, char **out) {
  const char *text = json_string_value(json_object_get(object, key));
  *out = text ? strdup(text) : NULL;
  return *out != NULL;
}

// Extents follow each other without a gap: so none overlaps another and all lie inside the file.
static bool take_extent(parser *p, uint64_t offset, uint64_t bytes) {
  if (offset != p->next || !fg_range_ok(offset, bytes, p->data_end)) return false;
  p->next = fg_align_up(offset + bytes, FG_STORE_HEAD_BYTES);
  return true;
}

// Bytes that `rows` rows of a weight occupy; 0 = a layout that this build does not know.
static bool expected_bytes(const fg_weight *w, uint32_t rows, uint64_t *bytes) {
  *bytes = 0;
  if (w->kind == FG_WEIGHT_MATRIX) {
    const fg_layout *layout = fg_layout_find(w->layout);
    if (layout) *bytes = layout->bytes(w->dtype, rows, w->k);
    return true;
  }
  uint64_t row_bytes;
  return fg_dtype_bytes(w->dtype, w->k, &row_bytes) && fg_mul_u64(rows, row_bytes, bytes);
}

// Where a panel may begin, and so end: at blocks of the layout, or at segments. Those that share a panel are
// whole blocks too.
static bool is_cut_well(const fg_weight *w, const fg_panel *panel) {
  const fg_layout *layout = w->kind == FG_WEIGHT_MATRIX ? fg_layout_find(w->layout) : NULL;
  if (!w->segments) return !layout || panel->row % layout->row_multiple == 0;
  const uint32_t rows = w->n / w->segments;
  return panel->row % rows == 0 && panel->rows % rows == 0 &&
         (panel->rows == rows || !layout || rows % layout->row_multiple == 0);
}

static fg_status parse_panels(parser *p, fg_weight *w, const json_t *list) {
  uint64_t covered = 0;
  w->panel = p->m->panel_count;
  w->panels = (uint32_t)json_array_size(list);
  if (w->panels == 0 || (w->kind != FG_WEIGHT_MATRIX && w->panels != 1)) return damaged(p, w->name);
  for (uint32_t i = 0; i < w->panels; i++) {
    const json_t *item = json_array_get(list, i);
    fg_panel *panel = &p->m->panels[p->m->panel_count++];
    uint64_t expected;
    if (json_array_size(item) != 5 || !get_u64(json_array_get(item, 0), INT64_MAX, &panel->offset) ||
        !get_u64(json_array_get(item, 1), INT64_MAX, &panel->bytes) ||
        !get_hash(json_array_get(item, 2), &panel->hash) || !get_u32(json_array_get(item, 3), &panel->row) ||
        !get_u32(json_array_get(item, 4), &panel->rows)) {
      return damaged(p, w->name);
    }
    if (panel->rows == 0 || panel->row != covered || panel->bytes == 0 ||
        !expected_bytes(w, panel->rows, &expected) || (expected && expected != panel->bytes) ||
        !is_cut_well(w, panel) || !take_extent(p, panel->offset, panel->bytes)) {
      return damaged(p, w->name);
    }
    covered += panel->rows;
  }
  return covered == w->n ? FG_OK : damaged(p, w->name);
}

// The weight's panels are those of an earlier one.
static fg_status parse_shared(const parser *p, fg_weight *w, const json_t *number) {
  fg_store_manifest *m = p->m;
  uint32_t of;
  if (!get_u32(number, &of) || of >= (uint32_t)(w - m->weights)) return damaged(p, w->name);
  const fg_weight *owner = &m->weights[of];
  if (!fg_store_may_share(w, owner)) return damaged(p, w->name);
  w->same_as = of + 1;
  w->panel = m->panel_count;
  w->panels = owner->panels;
  memcpy(m->panels + w->panel, m->panels + owner->panel, w->panels * sizeof *m->panels);
  m->panel_count += w->panels;
  return FG_OK;
}

static bool parse_kind(const json_t *value, fg_weight_kind *out) {
  const char *text = json_string_value(value);
  for (int i = 0; text && i < KIND_COUNT; i++) {
    if (strcmp(text, kind_names[i]) == 0) {
      *out = (fg_weight_kind)i;
      return true;
    }
  }
  return false;
}

static fg_status parse_weight(parser *p, fg_weight *w, const json_t *item) {
  const json_t *layer = json_object_get(item, "layer");
  const char *dtype = json_string_value(json_object_get(item, "dtype"));
  if (!get_name(json_object_get(item, "name"), w->name, sizeof w->name))
    return damaged(p, "name of a weight");
  if (!parse_kind(json_object_get(item, "kind"), &w->kind) || !dtype || !fg_dtype_parse(dtype, &w->dtype) ||
      !fg_dtype_get(w->dtype)->to_f32 ||
      !get_name(json_object_get(item, "layout"), w->layout, sizeof w->layout) ||
      !get_u32(json_object_get(item, "n"), &w->n) || !get_u32(json_object_get(item, "k"), &w->k) ||
      !json_is_integer(layer) || json_integer_value(layer) < -1 || json_integer_value(layer) > INT32_MAX) {
    return damaged(p, w->name);
  }
  w->layer = (int32_t)json_integer_value(layer);
  uint64_t row_bytes;
  if (w->n == 0 || w->k == 0 || !fg_dtype_bytes(w->dtype, w->k, &row_bytes)) return damaged(p, w->name);
  if (w->kind == FG_WEIGHT_VECTOR && (w->dtype != FG_F32 || w->k != 1)) return damaged(p, w->name);
  if (w->kind != FG_WEIGHT_MATRIX && strcmp(w->layout, "rows") != 0) return damaged(p, w->name);
  const json_t *segments = json_object_get(item, "segments");
  if (segments && (w->kind != FG_WEIGHT_MATRIX || !get_u32(segments, &w->segments) || w->segments == 0 ||
                   w->n % w->segments))
    return damaged(p, w->name);
  const json_t *same = json_object_get(item, "same_as");
  return same ? parse_shared(p, w, same) : parse_panels(p, w, json_object_get(item, "panels"));
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static fg_status check_names_unique(const parser *p) {
  const fg_store_manifest *m = p->m;
  const char **names = calloc((size_t)m->weight_count + 1, sizeof *names);
  if (!names) return fg_fail(p->err, FG_NO_SPACE, "%s: no memory for %u names", p->where, m->weight_count);
  for (uint32_t i = 0; i < m->weight_count; i++) names[i] = m->weights[i].name;
  qsort(names, m->weight_count, sizeof *names, compare_names);
  fg_status status = FG_OK;
  for (uint32_t i = 1; i < m->weight_count && !status; i++) {
    if (strcmp(names[i - 1], names[i]) == 0) status = damaged(p, names[i]);
  }
  free(names);
  return status;
}

static fg_status parse_assets(parser *p, const json_t *list) {
  fg_store_manifest *m = p->m;
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *item = json_array_get(list, i);
    fg_store_asset *a = &m->assets[m->asset_count++];
    char name[256];
    if (!get_name(json_object_get(item, "name"), name, sizeof name)) return damaged(p, "name of an asset");
    if (!get_u64(json_object_get(item, "offset"), INT64_MAX, &a->offset) ||
        !get_u64(json_object_get(item, "bytes"), INT64_MAX, &a->bytes) ||
        !get_hash(json_object_get(item, "hash"), &a->hash) || !take_extent(p, a->offset, a->bytes)) {
      return damaged(p, name);
    }
    a->name = strdup(name);
    if (!a->name) return fg_fail(p->err, FG_NO_SPACE, "%s: no memory for the names of assets", p->where);
  }
  return FG_OK;
}

// Weights that share extents of others take memory for panels that no block of the file pays for.
enum { MOST_SHARED_PANELS = 1 << 20 };

// How many panels there will be; false: more than can be.
static bool count_panels(const parser *p, const json_t *weights, uint64_t *count) {
  uint64_t own = 0, shared = 0;
  for (size_t i = 0; i < json_array_size(weights); i++) {
    const json_t *item = json_array_get(weights, i), *same = json_object_get(item, "same_as");
    uint64_t of;
    if (!same)
      own += json_array_size(json_object_get(item, "panels"));
    else if (get_u64(same, UINT32_MAX, &of) && of < i)
      shared += json_array_size(json_object_get(json_array_get(weights, of), "panels"));
    else
      return false;
  }
  *count = own + shared;
  // Every panel fills at least a block of the file, which bounds what is allocated for them.
  return *count >= json_array_size(weights) && own <= p->data_end / FG_STORE_HEAD_BYTES &&
         shared <= MOST_SHARED_PANELS;
}

static fg_status parse_root(parser *p, const json_t *root) {
  fg_store_manifest *m = p->m;
  const json_t *weights = json_object_get(root, "weights"), *assets = json_object_get(root, "assets");
  if (!get_string(root, "source", &m->source) || !get_string(root, "target", &m->target) ||
      !get_string(root, "origin", &m->origin) || !json_is_array(weights) || !json_is_array(assets)) {
    return damaged(p, "the manifest lacks a part");
  }
  uint64_t weight_count = json_array_size(weights), panel_count;
  if (!count_panels(p, weights, &panel_count)) return damaged(p, "number of panels");
  m->weights = calloc(weight_count + 1, sizeof *m->weights);
  m->panels = calloc(panel_count + 1, sizeof *m->panels);
  m->assets = calloc(json_array_size(assets) + 1, sizeof *m->assets);
  if (!m->weights || !m->panels || !m->assets) {
    return fg_fail(p->err, FG_NO_SPACE, "%s: no memory for a manifest of %llu panels", p->where,
                   (unsigned long long)panel_count);
  }
  for (size_t i = 0; i < weight_count; i++) {
    fg_status status = parse_weight(p, &m->weights[m->weight_count++], json_array_get(weights, i));
    if (status) return status;
  }
  fg_status status = parse_assets(p, assets);
  if (status) return status;
  if (p->next != p->data_end) return damaged(p, "bytes that belong to nothing");
  return check_names_unique(p);
}

fg_status fg_store_manifest_parse(fg_store_manifest *out, const char *text, size_t bytes, uint64_t data_end,
                                  const char *where, fg_error *err) {
  *out = (fg_store_manifest){0};
  json_t *root = fg_json_parse(text, bytes, where, err);
  if (!root) return fg_fail(err, FG_CORRUPT, "%s: damaged store: the manifest is no JSON", where);
  parser p = {.m = out, .where = where, .data_end = data_end, .next = FG_STORE_HEAD_BYTES, .err = err};
  fg_status status = parse_root(&p, root);
  json_decref(root);
  if (status) fg_store_manifest_free(out);
  return status;
}
