#include "format/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/little_endian.h"
#include "format/whole_file.h"

// ---- the parts of a header -------------------------------------------------------------------------

enum { MAX_KEY_BYTES = 65535, DEFAULT_ALIGNMENT = 32, MAX_ALIGNMENT = 1 << 20 };
// The shortest key with its value, the shortest description of a tensor, the shortest string.
enum { MIN_KV_BYTES = 8 + 1 + 4 + 1, MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8, MIN_STRING_BYTES = 8 };

typedef enum value_type {
  TYPE_U8,
  TYPE_I8,
  TYPE_U16,
  TYPE_I16,
  TYPE_U32,
  TYPE_I32,
  TYPE_F32,
  TYPE_BOOL,
  TYPE_STRING,
  TYPE_ARRAY,
  TYPE_U64,
  TYPE_I64,
  TYPE_F64,
  TYPE_COUNT
} value_type;

static const struct {
  const char *name;
  uint32_t bytes; // 0 = not fixed
} types[TYPE_COUNT] = {
    [TYPE_U8] = {"u8", 1},       [TYPE_I8] = {"i8", 1},     [TYPE_U16] = {"u16", 2},
    [TYPE_I16] = {"i16", 2},     [TYPE_U32] = {"u32", 4},   [TYPE_I32] = {"i32", 4},
    [TYPE_F32] = {"f32", 4},     [TYPE_BOOL] = {"bool", 1}, [TYPE_U64] = {"u64", 8},
    [TYPE_I64] = {"i64", 8},     [TYPE_F64] = {"f64", 8},   [TYPE_STRING] = {"string", 0},
    [TYPE_ARRAY] = {"array", 0},
};

typedef struct entry {
  fg_gguf_string key;
  uint32_t type; // of an array: its elements'
  bool is_array;
  uint64_t count; // 1 for a single value
  const unsigned char *data;
} entry;

struct fg_gguf {
  entry *entries; // sorted by key
  size_t entry_count;
  fg_gguf_tensor *tensors;
  size_t tensor_count;
  uint64_t data_start;
  uint32_t alignment;
};

// ---- parsing ---------------------------------------------------------------------------------------

typedef struct cursor {
  const unsigned char *data;
  size_t bytes, at;
  bool cut; // it failed as the bytes ended: a longer piece of the file might do
} cursor;

static fg_status fail_cut(cursor *c, fg_error *err, const char *what) {
  c->cut = true;
  return fg_fail(err, FG_CORRUPT, "GGUF header ends at byte %zu within %s", c->bytes, what);
}

static const unsigned char *take(cursor *c, uint64_t bytes) {
  if (bytes > c->bytes - c->at) return NULL;
  const unsigned char *p = c->data + c->at;
  c->at += (size_t)bytes;
  return p;
}

static bool take_u32(cursor *c, uint32_t *out) {
  const unsigned char *p = take(c, 4);
  if (p) *out = fg_le32(p);
  return p != NULL;
}

static bool take_u64(cursor *c, uint64_t *out) {
  const unsigned char *p = take(c, 8);
  if (p) *out = fg_le64(p);
  return p != NULL;
}

static bool take_string(cursor *c, fg_gguf_string *out) {
  if (!take_u64(c, &out->length)) return false;
  out->data = (const char *)take(c, out->length);
  return out->data != NULL;
}

// Printable part of a key or name, for messages.
static int shown(fg_gguf_string s) {
  return s.length < 128 ? (int)s.length : 128;
}

static fg_status parse_strings(cursor *c, const entry *e, fg_error *err) {
  fg_gguf_string ignored;
  if (e->count > (c->bytes - c->at) / MIN_STRING_BYTES) return fail_cut(c, err, "an array of strings");
  for (uint64_t i = 0; i < e->count; i++) {
    if (!take_string(c, &ignored)) return fail_cut(c, err, "an array of strings");
  }
  return FG_OK;
}

// `count` values of type e->type, at the cursor.
static fg_status parse_values(cursor *c, entry *e, fg_error *err) {
  uint64_t bytes;
  if (e->type >= TYPE_COUNT || e->type == TYPE_ARRAY) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "GGUF key \"%.*s\" has values of type %" PRIu32 ", which this version cannot read",
                   shown(e->key), e->key.data, e->type);
  }
  e->data = c->data + c->at;
  if (e->type == TYPE_STRING) return parse_strings(c, e, err);
  if (!fg_mul_u64(e->count, types[e->type].bytes, &bytes) || !take(c, bytes))
    return fail_cut(c, err, "a value");
  for (uint64_t i = 0; e->type == TYPE_BOOL && i < e->count; i++) {
    if (e->data[i] > 1) {
      return fg_fail(err, FG_CORRUPT, "GGUF key \"%.*s\" has a bool that is %d", shown(e->key), e->key.data,
                     e->data[i]);
    }
  }
  return FG_OK;
}

static fg_status parse_entry(cursor *c, entry *e, fg_error *err) {
  if (!take_string(c, &e->key) || !take_u32(c, &e->type)) return fail_cut(c, err, "a key");
  if (e->key.length == 0 || e->key.length > MAX_KEY_BYTES) {
    return fg_fail(err, FG_CORRUPT, "GGUF key of %" PRIu64 " bytes; 1 to %d are allowed", e->key.length,
                   MAX_KEY_BYTES);
  }
  e->count = 1;
  e->is_array = e->type == TYPE_ARRAY;
  if (e->is_array && (!take_u32(c, &e->type) || !take_u64(c, &e->count))) return fail_cut(c, err, "an array");
  return parse_values(c, e, err);
}

static int compare_keys(fg_gguf_string a, fg_gguf_string b) {
  int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);
  return order ? order : a.length < b.length ? -1 : a.length > b.length;
}

static int by_key(const void *a, const void *b) {
  return compare_keys(((const entry *)a)->key, ((const entry *)b)->key);
}

static fg_status parse_entries(cursor *c, fg_gguf *g, uint64_t count, fg_error *err) {
  if (count > (c->bytes - c->at) / MIN_KV_BYTES) return fail_cut(c, err, "its keys");
  g->entries = calloc(count + 1, sizeof *g->entries);
  if (!g->entries) return fg_fail(err, FG_NO_SPACE, "no memory for %" PRIu64 " GGUF keys", count);
  for (; g->entry_count < count; g->entry_count++) {
    fg_status status = parse_entry(c, &g->entries[g->entry_count], err);
    if (status) return status;
  }
  qsort(g->entries, g->entry_count, sizeof *g->entries, by_key);
  for (size_t i = 1; i < g->entry_count; i++) {
    fg_gguf_string key = g->entries[i].key;
    if (compare_keys(g->entries[i - 1].key, key) == 0) {
      return fg_fail(err, FG_CORRUPT, "GGUF key \"%.*s\" stands twice", shown(key), key.data);
    }
  }
  return FG_OK;
}

static fg_status parse_tensor(cursor *c, fg_gguf_tensor *t, fg_error *err) {
  if (!take_string(c, &t->name) || !take_u32(c, &t->dims)) return fail_cut(c, err, "the list of tensors");
  if (t->dims > FG_GGUF_MAX_DIMS) {
    return fg_fail(err, FG_CORRUPT, "tensor \"%.*s\" has %" PRIu32 " dimensions; GGUF allows %d",
                   shown(t->name), t->name.data, t->dims, FG_GGUF_MAX_DIMS);
  }
  bool ok = true;
  for (uint32_t i = 0; i < t->dims; i++) ok = ok && take_u64(c, &t->shape[i]);
  if (!ok || !take_u32(c, &t->type) || !take_u64(c, &t->offset))
    return fail_cut(c, err, "the list of tensors");
  return FG_OK;
}

static fg_status parse_tensors(cursor *c, fg_gguf *g, uint64_t count, fg_error *err) {
  if (count > (c->bytes - c->at) / MIN_TENSOR_BYTES) return fail_cut(c, err, "the list of tensors");
  g->tensors = calloc(count + 1, sizeof *g->tensors);
  if (!g->tensors) return fg_fail(err, FG_NO_SPACE, "no memory for %" PRIu64 " GGUF tensors", count);
  for (; g->tensor_count < count; g->tensor_count++) {
    fg_status status = parse_tensor(c, &g->tensors[g->tensor_count], err);
    if (status) return status;
  }
  return FG_OK;
}

static fg_status parse_version(cursor *c, fg_error *err) {
  const unsigned char *magic = take(c, 4);
  uint32_t version;
  if (!magic || !take_u32(c, &version)) return fail_cut(c, err, "its first words");
  if (memcmp(magic, "GGUF", 4) != 0) return fg_fail(err, FG_CORRUPT, "not a GGUF file");
  if (version == 2 || version == 3) return FG_OK;
  if (version != 0 && (version & 0xffff) == 0) {
    return fg_fail(err, FG_UNSUPPORTED, "a big-endian GGUF file; only little-endian ones can be read");
  }
  return fg_fail(err, FG_UNSUPPORTED, "GGUF version %" PRIu32 "; versions 2 and 3 can be read", version);
}

static fg_status parse_alignment(fg_gguf *g, fg_error *err) {
  fg_status status = fg_gguf_u32(g, "general.alignment", DEFAULT_ALIGNMENT, &g->alignment, err);
  if (status) return status;
  uint32_t a = g->alignment;
  if (a > 0 && a <= MAX_ALIGNMENT && (a & (a - 1)) == 0) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "GGUF key \"general.alignment\" is %" PRIu32 ", no power of two up to %d",
                 a, MAX_ALIGNMENT);
}

static fg_status parse_all(cursor *c, fg_gguf *g, fg_error *err) {
  uint64_t tensors, entries;
  fg_status status = parse_version(c, err);
  if (status) return status;
  if (!take_u64(c, &tensors) || !take_u64(c, &entries)) return fail_cut(c, err, "its first words");
  status = parse_entries(c, g, entries, err);
  if (status == FG_OK) status = parse_alignment(g, err);
  if (status == FG_OK) status = parse_tensors(c, g, tensors, err);
  if (status == FG_OK) g->data_start = fg_align_up(c->at, g->alignment);
  return status;
}

static fg_status parse(fg_gguf **out, const void *header, size_t bytes, bool *cut, fg_error *err) {
  cursor c = {.data = header, .bytes = bytes};
  fg_gguf *g = calloc(1, sizeof *g);
  fg_status status = g ? parse_all(&c, g, err) : fg_fail(err, FG_NO_SPACE, "no memory for a GGUF header");
  *cut = c.cut;
  if (status)
    fg_gguf_destroy(g);
  else
    *out = g;
  return status;
}

fg_status fg_gguf_parse(fg_gguf **out, const void *header, size_t bytes, fg_error *err) {
  bool cut;
  return parse(out, header, bytes, &cut, err);
}

void fg_gguf_destroy(fg_gguf *gguf) {
  if (!gguf) return;
  free(gguf->entries);
  free(gguf->tensors);
  free(gguf);
}

// The header's length is known only when it has been parsed: try with more and more of the file.
fg_status fg_gguf_read_header(const char *path, size_t max_bytes, void **header, size_t *bytes,
                              fg_error *err) {
  for (size_t want = 1 << 20;; want *= 2) {
    void *data;
    size_t have;
    bool cut;
    fg_gguf *g;
    if (want > max_bytes) want = max_bytes;
    fg_status status = fg_read_beginning(path, want, &data, &have, err);
    if (status) return status;
    status = parse(&g, data, have, &cut, err);
    if (status == FG_OK) {
      *header = data;
      *bytes = g->data_start < have ? (size_t)g->data_start : have;
      fg_gguf_destroy(g);
      void *shrunk = realloc(data, *bytes);
      if (shrunk) *header = shrunk;
      return FG_OK;
    }
    free(data);
    if (!cut || have < want) return fg_fail_prefix(err, "%s", path);
    if (want == max_bytes)
      return fg_fail(err, FG_UNSUPPORTED, "%s: its header is larger than %zu bytes", path, max_bytes);
  }
}

// ---- lookup ----------------------------------------------------------------------------------------

static const entry *find(const fg_gguf *g, const char *key) {
  entry wanted = {.key = {key, strlen(key)}};
  return g->entry_count ? bsearch(&wanted, g->entries, g->entry_count, sizeof wanted, by_key) : NULL;
}

bool fg_gguf_has(const fg_gguf *gguf, const char *key) {
  return find(gguf, key) != NULL;
}

static fg_status fail_type(const entry *e, const char *expected, fg_error *err) {
  return fg_fail(err, FG_CORRUPT, "GGUF key \"%.*s\" is %s%s, expected %s", shown(e->key), e->key.data,
                 e->is_array ? "an array of " : "", types[e->type].name, expected);
}

// The i-th value as an integer in [low, high].
static bool integer_at(const entry *e, uint64_t i, int64_t low, int64_t high, int64_t *out) {
  const unsigned char *p = e->data + i * types[e->type].bytes;
  switch (e->type) {
  case TYPE_U8: *out = *p; break;
  case TYPE_I8: *out = (int8_t)*p; break;
  case TYPE_U16: *out = fg_le16(p); break;
  case TYPE_I16: *out = (int16_t)fg_le16(p); break;
  case TYPE_U32: *out = fg_le32(p); break;
  case TYPE_I32: *out = (int32_t)fg_le32(p); break;
  case TYPE_I64: *out = (int64_t)fg_le64(p); break;
  case TYPE_U64:
    if (fg_le64(p) > INT64_MAX) return false;
    *out = (int64_t)fg_le64(p);
    break;
  default: return false;
  }
  return *out >= low && *out <= high;
}

static bool float_at(const entry *e, uint64_t i, float *out) {
  if (e->type == TYPE_F32) {
    uint32_t bits = fg_le32(e->data + 4 * i);
    memcpy(out, &bits, sizeof bits);
    return true;
  }
  if (e->type != TYPE_F64) return false;
  uint64_t bits = fg_le64(e->data + 8 * i);
  double wide;
  memcpy(&wide, &bits, sizeof bits);
  *out = (float)wide;
  return true;
}

fg_status fg_gguf_u32(const fg_gguf *gguf, const char *key, uint32_t fallback, uint32_t *out, fg_error *err) {
  const entry *e = find(gguf, key);
  int64_t value = fallback;
  if (e && (e->is_array || !integer_at(e, 0, 0, UINT32_MAX, &value)))
    return fail_type(e, "an integer that fits 32 bits", err);
  *out = (uint32_t)value;
  return FG_OK;
}

fg_status fg_gguf_f32(const fg_gguf *gguf, const char *key, float fallback, float *out, fg_error *err) {
  const entry *e = find(gguf, key);
  *out = fallback;
  return e && (e->is_array || !float_at(e, 0, out)) ? fail_type(e, "a float", err) : FG_OK;
}

fg_status fg_gguf_bool(const fg_gguf *gguf, const char *key, bool fallback, bool *out, fg_error *err) {
  const entry *e = find(gguf, key);
  if (e && (e->is_array || e->type != TYPE_BOOL)) return fail_type(e, "a bool", err);
  *out = e ? *e->data != 0 : fallback;
  return FG_OK;
}

fg_status fg_gguf_text(const fg_gguf *gguf, const char *key, fg_gguf_string *out, fg_error *err) {
  const entry *e = find(gguf, key);
  if (e && (e->is_array || e->type != TYPE_STRING)) return fail_type(e, "a string", err);
  *out = e ? (fg_gguf_string){(const char *)e->data + 8, fg_le64(e->data)} : (fg_gguf_string){NULL, 0};
  return FG_OK;
}

fg_status fg_gguf_array_count(const fg_gguf *gguf, const char *key, uint64_t *count, fg_error *err) {
  const entry *e = find(gguf, key);
  if (e && !e->is_array) return fail_type(e, "an array", err);
  *count = e ? e->count : 0;
  return FG_OK;
}

// The array of a key, which must have exactly `count` elements; NULL when it is missing and count is 0.
static fg_status find_array(const fg_gguf *g, const char *key, uint64_t count, const entry **out,
                            fg_error *err) {
  uint64_t have;
  fg_status status = fg_gguf_array_count(g, key, &have, err);
  if (status) return status;
  *out = find(g, key);
  if (have == count) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "GGUF key \"%s\" has %" PRIu64 " elements, expected %" PRIu64, key, have,
                 count);
}

fg_status fg_gguf_array_strings(const fg_gguf *gguf, const char *key, fg_gguf_string *out, uint64_t count,
                                fg_error *err) {
  const entry *e;
  fg_status status = find_array(gguf, key, count, &e, err);
  if (status || count == 0) return status;
  if (e->type != TYPE_STRING) return fail_type(e, "strings", err);
  const unsigned char *p = e->data;
  for (uint64_t i = 0; i < count; i++) {
    out[i] = (fg_gguf_string){(const char *)p + 8, fg_le64(p)};
    p += 8 + out[i].length;
  }
  return FG_OK;
}

fg_status fg_gguf_array_i32(const fg_gguf *gguf, const char *key, int32_t *out, uint64_t count,
                            fg_error *err) {
  const entry *e;
  fg_status status = find_array(gguf, key, count, &e, err);
  for (uint64_t i = 0; i < count && status == FG_OK; i++) {
    int64_t value;
    if (!integer_at(e, i, INT32_MIN, INT32_MAX, &value))
      return fail_type(e, "integers that fit 32 bits", err);
    out[i] = (int32_t)value;
  }
  return status;
}

fg_status fg_gguf_array_bool(const fg_gguf *gguf, const char *key, bool *out, uint64_t count, fg_error *err) {
  const entry *e;
  fg_status status = find_array(gguf, key, count, &e, err);
  if (status || count == 0) return status;
  if (e->type != TYPE_BOOL) return fail_type(e, "bools", err);
  for (uint64_t i = 0; i < count; i++) out[i] = e->data[i] != 0;
  return FG_OK;
}

fg_status fg_gguf_array_f32(const fg_gguf *gguf, const char *key, float *out, uint64_t count, fg_error *err) {
  const entry *e;
  fg_status status = find_array(gguf, key, count, &e, err);
  for (uint64_t i = 0; i < count && status == FG_OK; i++) {
    if (!float_at(e, i, &out[i])) return fail_type(e, "floats", err);
  }
  return status;
}

const fg_gguf_tensor *fg_gguf_tensors(const fg_gguf *gguf, size_t *count) {
  *count = gguf->tensor_count;
  return gguf->tensors;
}

uint64_t fg_gguf_data_start(const fg_gguf *gguf) {
  return gguf->data_start;
}

uint32_t fg_gguf_alignment(const fg_gguf *gguf) {
  return gguf->alignment;
}
