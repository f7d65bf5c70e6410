#include "text/jinja_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum { BLOCK_BYTES = 64 * 1024, JSON_DEPTH_MAX = 100 };

struct fg_arena_block {
  fg_arena_block *next;
  size_t used, size;
  _Alignas(16) char bytes[];
};

void *fg_arena_alloc(fg_arena *arena, size_t bytes) {
  if (bytes > arena->limit - arena->used) return NULL;
  bytes = (bytes + 15) & ~(size_t)15;
  fg_arena_block *block = arena->blocks;
  if (!block || block->size - block->used < bytes) {
    size_t size = bytes > BLOCK_BYTES / 4 ? bytes : BLOCK_BYTES;
    block = malloc(sizeof *block + size);
    if (!block) return NULL;
    *block = (fg_arena_block){.size = size};
    // A block of its own goes behind the one in use, whose rest is then not lost.
    fg_arena_block **at = arena->blocks && size != BLOCK_BYTES ? &arena->blocks->next : &arena->blocks;
    block->next = *at;
    *at = block;
  }
  void *out = block->bytes + block->used;
  block->used += bytes;
  arena->used += bytes < arena->limit - arena->used ? bytes : arena->limit - arena->used;
  return memset(out, 0, bytes);
}

void fg_arena_free(fg_arena *arena) {
  while (arena->blocks) {
    fg_arena_block *block = arena->blocks;
    arena->blocks = block->next;
    free(block);
  }
  arena->used = 0;
}

fg_status fg_jinja_fail(fg_jinja_env *env, const char *format, ...) {
  char message[400];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return fg_fail(env->err, FG_INVALID, "chat template, line %u: %s", env->line, message);
}

fg_status fg_jinja_no_memory(fg_jinja_env *env) {
  return fg_jinja_fail(env, "it needs more than %zu MiB of memory", env->arena.limit >> 20);
}

fg_status fg_jinja_charge(fg_jinja_env *env, size_t steps) {
  if (steps >= env->steps_left) return fg_jinja_fail(env, "it takes too many steps");
  env->steps_left -= steps;
  return FG_OK;
}

bool fg_slice_equal(fg_slice a, fg_slice b) {
  return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

// ---- making -------------------------------------------------------------------------------------------

fg_status fg_string_take(fg_jinja_env *env, fg_text *text, fg_value *out) {
  char *copy = fg_text_failed(text) ? NULL : fg_arena_alloc(&env->arena, text->length + 1);
  if (copy && text->length) memcpy(copy, text->data, text->length);
  *out = fg_string((fg_slice){copy, text->length});
  fg_text_free(text);
  return copy ? FG_OK : fg_jinja_no_memory(env);
}

static fg_status list_reserve(fg_jinja_env *env, fg_list *list, size_t capacity) {
  if (capacity <= list->capacity) return FG_OK;
  fg_value *items = fg_arena_alloc(&env->arena, capacity * sizeof *items);
  if (!items) return fg_jinja_no_memory(env);
  if (list->count) memcpy(items, list->items, list->count * sizeof *items);
  list->items = items;
  list->capacity = capacity;
  return FG_OK;
}

fg_status fg_list_new(fg_jinja_env *env, size_t capacity, fg_value *out) {
  *out = (fg_value){.kind = FG_VALUE_LIST, .list = fg_arena_alloc(&env->arena, sizeof(fg_list))};
  return out->list ? list_reserve(env, out->list, capacity) : fg_jinja_no_memory(env);
}

fg_status fg_list_push(fg_jinja_env *env, fg_list *list, fg_value item) {
  if (list->count == list->capacity) {
    fg_status status = list_reserve(env, list, list->capacity ? list->capacity * 2 : 8);
    if (status) return status;
  }
  list->items[list->count++] = item;
  return FG_OK;
}

fg_status fg_dict_new(fg_jinja_env *env, fg_value_kind kind, fg_value *out) {
  *out = (fg_value){.kind = kind, .dict = fg_arena_alloc(&env->arena, sizeof(fg_dict))};
  return out->dict ? FG_OK : fg_jinja_no_memory(env);
}

fg_value *fg_dict_find(fg_jinja_env *env, const fg_dict *dict, fg_value key) {
  for (size_t i = 0; i < dict->keys.count; i++) {
    if (fg_value_equal(env, dict->keys.items[i], key)) return &dict->values.items[i];
  }
  return NULL;
}

fg_value *fg_dict_find_name(fg_jinja_env *env, const fg_dict *dict, fg_slice name) {
  return fg_dict_find(env, dict, fg_string(name));
}

fg_status fg_dict_set(fg_jinja_env *env, fg_dict *dict, fg_value key, fg_value value) {
  fg_status status = fg_jinja_charge(env, dict->keys.count / 8);
  if (status) return status;
  fg_value *there = fg_dict_find(env, dict, key);
  if (there) {
    *there = value;
    return FG_OK;
  }
  status = fg_list_push(env, &dict->keys, key);
  return status ? status : fg_list_push(env, &dict->values, value);
}

static fg_status from_json(fg_jinja_env *env, const json_t *json, int depth, fg_value *out) {
  if (depth > JSON_DEPTH_MAX)
    return fg_jinja_fail(env, "its variables are nested more than %d deep", JSON_DEPTH_MAX);
  fg_status status = FG_OK;
  switch (json_typeof(json)) {
  case JSON_OBJECT: {
    const char *key;
    json_t *member;
    status = fg_dict_new(env, FG_VALUE_DICT, out);
    if (status) return status;
    json_object_foreach((json_t *)json, key, member) { // keys are unique, so they are just listed
      fg_value value;
      status = from_json(env, member, depth + 1, &value);
      if (status == FG_OK) status = fg_list_push(env, &out->dict->keys, fg_string(fg_slice_of(key)));
      if (status == FG_OK) status = fg_list_push(env, &out->dict->values, value);
      if (status) return status;
    }
    return FG_OK;
  }
  case JSON_ARRAY:
    status = fg_list_new(env, json_array_size(json), out);
    for (size_t i = 0; status == FG_OK && i < json_array_size(json); i++) {
      fg_value item;
      status = from_json(env, json_array_get(json, i), depth + 1, &item);
      if (status == FG_OK) status = fg_list_push(env, out->list, item);
    }
    return status;
  case JSON_STRING: *out = fg_string((fg_slice){json_string_value(json), json_string_length(json)}); break;
  case JSON_INTEGER: *out = fg_int(json_integer_value(json)); break;
  case JSON_REAL: *out = fg_float(json_real_value(json)); break;
  case JSON_TRUE:
  case JSON_FALSE: *out = fg_bool(json_is_true(json)); break;
  case JSON_NULL: *out = fg_none(); break;
  }
  return FG_OK;
}

fg_status fg_value_from_json(fg_jinja_env *env, const json_t *json, fg_value *out) {
  return from_json(env, json, 0, out);
}

// ---- asking -------------------------------------------------------------------------------------------

const char *fg_value_type(fg_value v) {
  static const char *const names[] = {
      [FG_VALUE_UNDEFINED] = "undefined", [FG_VALUE_NONE] = "None",
      [FG_VALUE_BOOL] = "bool",           [FG_VALUE_INT] = "int",
      [FG_VALUE_FLOAT] = "float",         [FG_VALUE_STRING] = "str",
      [FG_VALUE_LIST] = "list",           [FG_VALUE_DICT] = "dict",
      [FG_VALUE_NAMESPACE] = "namespace", [FG_VALUE_FUNCTION] = "function",
      [FG_VALUE_MACRO] = "macro",
  };
  return names[v.kind];
}

bool fg_value_truth(fg_value v) {
  switch (v.kind) {
  case FG_VALUE_UNDEFINED:
  case FG_VALUE_NONE: return false;
  case FG_VALUE_BOOL: return v.boolean;
  case FG_VALUE_INT: return v.integer != 0;
  case FG_VALUE_FLOAT: return v.real != 0;
  case FG_VALUE_STRING: return v.string.length > 0;
  case FG_VALUE_LIST: return v.list->count > 0;
  case FG_VALUE_DICT: return v.dict->keys.count > 0;
  default: return true;
  }
}

// True, integers and floats compare as numbers.
static bool number(fg_value v, double *out) {
  if (v.kind == FG_VALUE_BOOL) *out = v.boolean;
  if (v.kind == FG_VALUE_INT) *out = (double)v.integer;
  if (v.kind == FG_VALUE_FLOAT) *out = v.real;
  return v.kind == FG_VALUE_BOOL || v.kind == FG_VALUE_INT || v.kind == FG_VALUE_FLOAT;
}

static bool lists_equal(fg_jinja_env *env, const fg_list *a, const fg_list *b) {
  if (a->count != b->count || a->tuple != b->tuple) return false;
  for (size_t i = 0; i < a->count; i++) {
    if (!fg_value_equal(env, a->items[i], b->items[i])) return false;
  }
  return true;
}

static bool dicts_equal(fg_jinja_env *env, const fg_dict *a, const fg_dict *b) {
  if (a->keys.count != b->keys.count) return false;
  for (size_t i = 0; i < a->keys.count; i++) {
    const fg_value *other = fg_dict_find(env, b, a->keys.items[i]);
    if (!other || !fg_value_equal(env, a->values.items[i], *other)) return false;
  }
  return true;
}

bool fg_value_equal(fg_jinja_env *env, fg_value a, fg_value b) {
  double x, y;
  if (a.kind == FG_VALUE_INT && b.kind == FG_VALUE_INT) return a.integer == b.integer;
  if (number(a, &x)) return number(b, &y) && x == y;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
  case FG_VALUE_STRING: return fg_slice_equal(a.string, b.string);
  case FG_VALUE_LIST: return lists_equal(env, a.list, b.list);
  case FG_VALUE_DICT: return dicts_equal(env, a.dict, b.dict);
  case FG_VALUE_NAMESPACE: return a.dict == b.dict;
  case FG_VALUE_FUNCTION: return a.function == b.function;
  case FG_VALUE_MACRO: return a.macro == b.macro;
  default: return true; // undefined and undefined, None and None
  }
}

fg_status fg_value_compare(fg_jinja_env *env, fg_value a, fg_value b, int *order) {
  double x, y;
  if (a.kind == FG_VALUE_INT && b.kind == FG_VALUE_INT) {
    *order = (a.integer > b.integer) - (a.integer < b.integer);
    return FG_OK;
  }
  if (number(a, &x) && number(b, &y)) {
    *order = (x > y) - (x < y);
    return FG_OK;
  }
  if (a.kind == FG_VALUE_STRING && b.kind == FG_VALUE_STRING) { // bytes of UTF-8 order as code points do
    size_t least = a.string.length < b.string.length ? a.string.length : b.string.length;
    int first = least ? memcmp(a.string.data, b.string.data, least) : 0;
    *order = first ? first : (a.string.length > b.string.length) - (a.string.length < b.string.length);
    return FG_OK;
  }
  if (a.kind == FG_VALUE_LIST && b.kind == FG_VALUE_LIST) {
    for (size_t i = 0; i < a.list->count && i < b.list->count; i++) {
      if (fg_value_equal(env, a.list->items[i], b.list->items[i])) continue;
      return fg_value_compare(env, a.list->items[i], b.list->items[i], order);
    }
    *order = (a.list->count > b.list->count) - (a.list->count < b.list->count);
    return FG_OK;
  }
  return fg_jinja_fail(env, "'%s' and '%s' cannot be ordered", fg_value_type(a), fg_value_type(b));
}

fg_status fg_value_contains(fg_jinja_env *env, fg_value container, fg_value item, bool *found) {
  *found = false;
  if (container.kind == FG_VALUE_STRING) {
    if (item.kind != FG_VALUE_STRING) {
      return fg_jinja_fail(env, "'in <string>' requires a string, not '%s'", fg_value_type(item));
    }
    *found = item.string.length == 0 ||
             (container.string.length > 0 &&
              memmem(container.string.data, container.string.length, item.string.data, item.string.length));
    return FG_OK;
  }
  if (fg_is_dict(container)) {
    *found = fg_dict_find(env, container.dict, item) != NULL;
    return fg_jinja_charge(env, container.dict->keys.count / 8);
  }
  fg_list *list;
  fg_status status = fg_value_iterate(env, container, &list);
  for (size_t i = 0; status == FG_OK && i < list->count && !*found; i++) {
    *found = fg_value_equal(env, list->items[i], item);
  }
  return status ? status : fg_jinja_charge(env, list->count / 8);
}

fg_status fg_value_iterate(fg_jinja_env *env, fg_value v, fg_list **out) {
  fg_value list;
  switch (v.kind) {
  case FG_VALUE_LIST: *out = v.list; return FG_OK;
  case FG_VALUE_DICT: *out = &v.dict->keys; return FG_OK;
  case FG_VALUE_UNDEFINED:
  case FG_VALUE_STRING: break;
  default: return fg_jinja_fail(env, "'%s' object is not iterable", fg_value_type(v));
  }
  fg_status status = fg_list_new(env, 0, &list);
  const char *at = v.string.data, *end = v.kind == FG_VALUE_STRING ? at + v.string.length : at;
  while (status == FG_OK && at < end) {
    size_t size = fg_utf8_length(*at);
    status = fg_list_push(env, list.list, fg_string((fg_slice){at, size}));
    at += size;
  }
  *out = list.list;
  return status;
}

fg_status fg_value_length(fg_jinja_env *env, fg_value v, size_t *out) {
  if (v.kind == FG_VALUE_STRING) {
    *out = fg_code_points(v.string);
    return FG_OK;
  }
  fg_list *list;
  fg_status status = fg_value_iterate(env, v, &list);
  if (status) return fg_jinja_fail(env, "object of type '%s' has no len()", fg_value_type(v));
  *out = list->count;
  return FG_OK;
}

// ---- Python's strings ---------------------------------------------------------------------------------

bool fg_py_space(uint32_t c) {
  return fg_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

fg_slice fg_py_strip(fg_slice s, bool left, bool right) {
  const char *begin = s.data, *end = s.data + s.length, *next;
  while (left && begin < end && (next = begin, fg_py_space(fg_utf8_take(&next)))) begin = next;
  while (right && begin < end && (next = end, fg_py_space(fg_utf8_take_back(&next)))) end = next;
  return (fg_slice){begin, (size_t)(end - begin)};
}

size_t fg_code_points(fg_slice s) {
  size_t count = 0;
  for (size_t i = 0; i < s.length; i++) count += ((unsigned char)s.data[i] & 0xc0) != 0x80;
  return count;
}
