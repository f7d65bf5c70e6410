#include "plan/profile_json.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "device/device.h"

enum { FORMAT = 3 };

static const char *const computes[] = {
    [FG_COMPUTE_F32] = "f32", [FG_COMPUTE_BF16] = "bf16", [FG_COMPUTE_INT8] = "int8"};
enum { COMPUTES = sizeof computes / sizeof *computes };
static_assert((int)COMPUTES == FG_PROFILE_COMPUTES, "a time of input for each arithmetic");

const char *fg_profile_compute_name(int compute) {
  return compute >= 0 && compute < COMPUTES ? computes[compute] : NULL;
}

// ---- the fields of the head, as a table ------------------------------------------------------------------

typedef struct text_field {
  const char *key;
  size_t offset, size;
} text_field;

typedef enum number_range { ANY, POSITIVE, SHARE } number_range; // from 0; above 0; 0 to 1

typedef struct number_field {
  const char *key;
  size_t offset;
  number_range range;
} number_field;

#define TEXT(name)                                                                                           \
  { #name, offsetof(fg_profile, name), sizeof(((fg_profile *)0)->name) }
#define NUMBER(name, span)                                                                                   \
  { #name, offsetof(fg_profile, name), span }
#define IN_STEP(name, compute, point)                                                                        \
  {                                                                                                          \
    "in_step_" #name,                                                                                        \
        offsetof(fg_profile, in_step) + ((compute)*FG_PROFILE_STEP_POINTS + (point)) * sizeof(double), ANY   \
  }
#define INPUT(name, compute)                                                                                 \
  { "input_" #name, offsetof(fg_profile, input_value) + (compute) * sizeof(double), ANY }

static const text_field texts[] = {TEXT(machine), TEXT(kernels), TEXT(version),
                                   TEXT(date),    TEXT(offload), TEXT(disk)};
static const number_field numbers[] = {
    NUMBER(memory_read, POSITIVE),
    NUMBER(memory_copy, POSITIVE),
    NUMBER(disk_read, ANY),
    NUMBER(disk_write, ANY),
    NUMBER(disk_burst, ANY),
    NUMBER(row_value, POSITIVE),
    NUMBER(store_value, POSITIVE),
    NUMBER(logit, ANY),
    NUMBER(launch, POSITIVE),
    NUMBER(read_cost, SHARE),
    NUMBER(read_slowdown, SHARE),
    NUMBER(load, ANY),
    IN_STEP(few_f32, FG_COMPUTE_F32, 0),
    IN_STEP(many_f32, FG_COMPUTE_F32, 1),
    IN_STEP(few_bf16, FG_COMPUTE_BF16, 0),
    IN_STEP(many_bf16, FG_COMPUTE_BF16, 1),
    IN_STEP(few_int8, FG_COMPUTE_INT8, 0),
    IN_STEP(many_int8, FG_COMPUTE_INT8, 1),
    INPUT(f32, FG_COMPUTE_F32),
    INPUT(bf16, FG_COMPUTE_BF16),
    INPUT(int8, FG_COMPUTE_INT8),
};
enum { TEXTS = sizeof texts / sizeof *texts, NUMBERS = sizeof numbers / sizeof *numbers };

static const double *number_at(const fg_profile *p, const number_field *f) {
  return (const double *)(const void *)((const char *)p + f->offset);
}

// ---- writing ---------------------------------------------------------------------------------------------

static json_t *products_json(const fg_profile *p) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < p->product_count; i++) {
    const fg_profile_product *e = &p->products[i];
    json_t *seconds = json_array();
    for (uint32_t r = 0; r < FG_PROFILE_ROW_POINTS; r++)
      json_array_append_new(seconds, json_real(e->seconds[r]));
    json_array_append_new(list,
                          json_pack("{s:s,s:s,s:I,s:o}", "weights", fg_dtype_get(e->dtype)->name, "compute",
                                    computes[e->compute], "k", (json_int_t)e->k, "seconds", seconds));
  }
  return list;
}

static json_t *attentions_json(const fg_profile *p) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < p->attention_count; i++) {
    const fg_profile_attention *e = &p->attentions[i];
    json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:f,s:f}", "cache", fg_dtype_get(e->cache)->name,
                                          "k_dim", (json_int_t)e->k_dim, "group", (json_int_t)e->group,
                                          "decode", e->decode, "prefill", e->prefill));
  }
  return list;
}

static json_t *disks_json(const fg_profile *p) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < p->disk_count; i++) {
    const fg_profile_disk *e = &p->disks[i];
    json_array_append_new(list, json_pack("{s:I,s:I,s:f,s:f}", "bytes", (json_int_t)e->bytes, "depth",
                                          (json_int_t)e->depth, "read", e->read, "write", e->write));
  }
  return list;
}

json_t *fg_profile_to_json(const fg_profile *p) {
  json_t *all = json_object();
  int failed = json_object_set_new(all, "profile_format", json_integer(FORMAT));
  for (size_t i = 0; i < TEXTS; i++)
    failed |= json_object_set_new(all, texts[i].key, json_string((const char *)p + texts[i].offset));
  failed |= json_object_set_new(all, "quick", json_boolean(p->quick));
  failed |= json_object_set_new(all, "disk_direct", json_boolean(p->disk_direct));
  failed |= json_object_set_new(all, "threads", json_integer(p->threads));
  failed |= json_object_set_new(all, "memory_bytes", json_integer((json_int_t)p->memory_bytes));
  for (size_t i = 0; i < NUMBERS; i++)
    failed |= json_object_set_new(all, numbers[i].key, json_real(*number_at(p, &numbers[i])));
  failed |= json_object_set_new(all, "products", products_json(p));
  failed |= json_object_set_new(all, "attentions", attentions_json(p));
  failed |= json_object_set_new(all, "disks", disks_json(p));
  if (!failed) return all;
  json_decref(all);
  return NULL;
}

// ---- reading ---------------------------------------------------------------------------------------------

typedef struct reader {
  const char *where;
  fg_error *err;
} reader;

static fg_status damaged(const reader *r, const char *what, const char *problem) {
  return fg_fail(r->err, FG_CORRUPT,
                 "%s: \"%s\" %s; this profile is damaged: run flexgen profile --force again", r->where, what,
                 problem);
}

static fg_status read_number(const reader *r, const json_t *object, const char *key, number_range range,
                             double *out) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_number(value)) return damaged(r, key, "is no number");
  *out = json_number_value(value);
  if (!isfinite(*out) || *out < 0 || (range == POSITIVE && *out == 0) || (range == SHARE && *out > 1))
    return damaged(r, key, "is out of its range");
  return FG_OK;
}

static fg_status read_count(const reader *r, const json_t *object, const char *key, uint64_t most,
                            uint64_t *out) {
  const json_t *value = json_object_get(object, key);
  json_int_t number = json_integer_value(value);
  if (!json_is_integer(value) || number < 1 || (uint64_t)number > most)
    return damaged(r, key, "is no number in its range");
  *out = (uint64_t)number;
  return FG_OK;
}

static fg_status read_text(const reader *r, const json_t *object, const text_field *f, fg_profile *out) {
  const json_t *value = json_object_get(object, f->key);
  const char *text = json_string_value(value);
  // A text with a NUL inside would be shorter here than there.
  if (!text || strlen(text) != json_string_length(value) || strlen(text) >= f->size)
    return damaged(r, f->key, "is no text of its size");
  memcpy((char *)out + f->offset, text, strlen(text) + 1);
  return FG_OK;
}

static fg_status read_dtype(const reader *r, const json_t *object, const char *key, fg_dtype *out) {
  const char *name = json_string_value(json_object_get(object, key));
  if (!name || !fg_dtype_parse(name, out)) return damaged(r, key, "is no known type");
  return FG_OK;
}

static fg_status read_bool(const reader *r, const json_t *object, const char *key, bool *out) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_boolean(value)) return damaged(r, key, "is neither true nor false");
  *out = json_is_true(value);
  return FG_OK;
}

static fg_status read_compute(const reader *r, const json_t *object, int *out) {
  const char *name = json_string_value(json_object_get(object, "compute"));
  for (int i = 0; name && i < COMPUTES; i++)
    if (strcmp(name, computes[i]) == 0) {
      *out = i;
      return FG_OK;
    }
  return damaged(r, "compute", "is no known arithmetic");
}

// Of what a layer's rows may be long; a KV cache's heads are far below it.
enum { LONGEST_ROW = 1 << 24, MOST_DEPTH = 1 << 16 };

static fg_status read_product(const reader *r, const json_t *entry, fg_profile *p) {
  fg_profile_product *e = &p->products[p->product_count++];
  uint64_t k = 0;
  fg_status status = read_dtype(r, entry, "weights", &e->dtype);
  if (!status) status = read_compute(r, entry, &e->compute);
  if (!status) status = read_count(r, entry, "k", LONGEST_ROW, &k);
  e->k = (uint32_t)k;
  const json_t *seconds = json_object_get(entry, "seconds");
  if (!status && json_array_size(seconds) != FG_PROFILE_ROW_POINTS)
    status = damaged(r, "seconds", "has not a number for each count of rows");
  for (uint32_t i = 0; !status && i < FG_PROFILE_ROW_POINTS; i++) {
    const json_t *value = json_array_get(seconds, i);
    e->seconds[i] = json_number_value(value);
    if (!json_is_number(value) || !isfinite(e->seconds[i]) || e->seconds[i] <= 0)
      status = damaged(r, "seconds", "holds what is no time");
  }
  return status;
}

static fg_status read_attention(const reader *r, const json_t *entry, fg_profile *p) {
  fg_profile_attention *e = &p->attentions[p->attention_count++];
  uint64_t dim = 0, group = 0;
  fg_status status = read_dtype(r, entry, "cache", &e->cache);
  if (!status) status = read_count(r, entry, "k_dim", LONGEST_ROW, &dim);
  if (!status) status = read_count(r, entry, "group", LONGEST_ROW, &group);
  if (!status) status = read_number(r, entry, "decode", POSITIVE, &e->decode);
  if (!status) status = read_number(r, entry, "prefill", POSITIVE, &e->prefill);
  e->k_dim = (uint32_t)dim;
  e->group = (uint32_t)group;
  return status;
}

static fg_status read_disk(const reader *r, const json_t *entry, fg_profile *p) {
  fg_profile_disk *e = &p->disks[p->disk_count++];
  uint64_t depth = 0;
  fg_status status = read_count(r, entry, "bytes", (uint64_t)1 << 40, &e->bytes);
  if (!status) status = read_count(r, entry, "depth", MOST_DEPTH, &depth);
  if (!status) status = read_number(r, entry, "read", ANY, &e->read);
  if (!status) status = read_number(r, entry, "write", ANY, &e->write);
  e->depth = (uint32_t)depth;
  return status;
}

static const struct {
  const char *key;
  size_t most;
  fg_status (*read)(const reader *r, const json_t *entry, fg_profile *p);
} lists[] = {{"products", FG_PROFILE_MAX_PRODUCTS, read_product},
             {"attentions", FG_PROFILE_MAX_ATTENTIONS, read_attention},
             {"disks", FG_PROFILE_MAX_DISKS, read_disk}};

static fg_status read_lists(const reader *r, const json_t *json, fg_profile *p) {
  fg_status status = FG_OK;
  for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
    const json_t *list = json_object_get(json, lists[l].key);
    if (!json_is_array(list)) return damaged(r, lists[l].key, "is no list");
    if (json_array_size(list) > lists[l].most) return damaged(r, lists[l].key, "has too many entries");
    for (size_t i = 0; !status && i < json_array_size(list); i++)
      status = lists[l].read(r, json_array_get(list, i), p);
    if (status) return status;
  }
  return status;
}

fg_status fg_profile_from_json(fg_profile *out, const json_t *json, const char *where, fg_error *err) {
  reader r = {where, err};
  *out = (fg_profile){0};
  if (!json_is_object(json)) return damaged(&r, "profile_format", "is missing");
  if (json_integer_value(json_object_get(json, "profile_format")) != FORMAT)
    return damaged(&r, "profile_format", "is not the one that this version writes");
  fg_status status = FG_OK;
  uint64_t threads = 0;
  for (size_t i = 0; !status && i < TEXTS; i++) status = read_text(&r, json, &texts[i], out);
  if (!status) status = read_bool(&r, json, "quick", &out->quick);
  if (!status) status = read_bool(&r, json, "disk_direct", &out->disk_direct);
  if (!status) status = read_count(&r, json, "threads", 1 << 16, &threads);
  if (!status) status = read_count(&r, json, "memory_bytes", INT64_MAX, &out->memory_bytes);
  out->threads = (uint32_t)threads;
  for (size_t i = 0; !status && i < NUMBERS; i++)
    status = read_number(&r, json, numbers[i].key, numbers[i].range,
                         (double *)(void *)((char *)out + numbers[i].offset));
  return status ? status : read_lists(&r, json, out);
}

fg_status fg_profile_read(fg_profile *out, const char *path, fg_error *err) {
  fg_error cause = {FG_OK, ""};
  json_t *json = fg_json_read_file(path, FG_PROFILE_MAX_BYTES, &cause);
  *out = (fg_profile){0};
  if (!json) {
    const char *way_out =
        cause.status == FG_CORRUPT ? "; this profile is damaged: run flexgen profile --force again" : "";
    return fg_fail(err, cause.status, "%.400s%s", cause.message, way_out);
  }
  fg_status status = fg_profile_from_json(out, json, path, err);
  json_decref(json);
  return status;
}
