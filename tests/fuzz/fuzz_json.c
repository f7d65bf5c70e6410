#include "fuzz_json.h"

#include <stdlib.h>
#include <string.h>

static const char *pick_word(fuzz_random *r, const char *const *words) {
  size_t count = 0;
  while (words[count]) count++;
  return words[fuzz_below(r, count)];
}

static json_t *nested(size_t depth) {
  json_t *value = json_null();
  for (size_t i = 0; i < depth; i++) value = i % 2 ? json_pack("{s:o}", "x", value) : json_pack("[o]", value);
  return value;
}

static json_t *long_string(fuzz_random *r) {
  size_t length = fuzz_below(r, 2000);
  char *text = malloc(length + 1);
  if (!text) return json_null();
  memset(text, 'a' + (int)fuzz_below(r, 26), length);
  json_t *value = json_stringn(text, length);
  free(text);
  return value;
}

static json_t *odd_value(fuzz_random *r, const char *const *words) {
  switch (fuzz_below(r, 12)) {
  case 0: return json_null();
  case 1: return json_boolean(fuzz_chance(r, 50));
  case 2: return json_integer((json_int_t)fuzz_number(r, 0));
  case 3: return json_integer(-(json_int_t)fuzz_below(r, 3));
  case 4: return json_real(fuzz_chance(r, 50) ? 1e308 : -0.5);
  case 5: return json_array();
  case 6: return json_object();
  case 7: return json_string("");
  case 8: return json_stringn("\0\xf0\x9f\x98\x80\xcc\x81 \n", 9);
  case 9: return long_string(r);
  case 10: return nested(fuzz_below(r, 200));
  default: return json_string(pick_word(r, words));
  }
}

// A value of the same type close to the old one; NULL if there is none.
static json_t *near_value(fuzz_random *r, const json_t *old) {
  if (json_is_integer(old))
    return json_integer((json_int_t)fuzz_number(r, (uint64_t)json_integer_value(old)));
  if (json_is_real(old)) return json_real(json_real_value(old) * (double)fuzz_below(r, 5) - 1);
  if (!json_is_string(old)) return NULL;
  size_t length = json_string_length(old);
  char *text = malloc(length + 2);
  if (!text) return NULL;
  size_t at = fuzz_below(r, length + 1);
  memcpy(text, json_string_value(old), at);
  static const char special[] = "\\[](){}?*+.^$|<>%-\" ";
  text[at] = fuzz_chance(r, 50) ? (char)fuzz_below(r, 128) : special[fuzz_below(r, sizeof special - 1)];
  memcpy(text + at + 1, json_string_value(old) + at, length - at);
  json_t *value = json_stringn(text, fuzz_chance(r, 70) ? length + 1 : at); // NULL if that is no UTF-8
  free(text);
  return value;
}

static size_t size_of(const json_t *value) {
  return json_is_array(value) ? json_array_size(value) : json_object_size(value);
}

// The index-th member; its key if the parent is an object.
static json_t *member(json_t *parent, size_t index, const char **key) {
  if (json_is_array(parent)) return json_array_get(parent, index);
  void *at = json_object_iter(parent);
  for (; index > 0; index--) at = json_object_iter_next(parent, at);
  *key = json_object_iter_key(at);
  return json_object_iter_value(at);
}

// Goes down from the root and stops anywhere: parts weigh the same however large they are.
static json_t *walk(fuzz_random *r, json_t *root, size_t *index) {
  json_t *parent = root;
  for (;;) {
    const char *key;
    *index = fuzz_below(r, size_of(parent));
    json_t *child = member(parent, *index, &key);
    if (size_of(child) == 0 || fuzz_chance(r, 20)) return parent;
    parent = child;
  }
}

static void set_member(json_t *parent, size_t index, json_t *value) {
  const char *key = NULL;
  member(parent, index, &key);
  if (!value) return;
  if (json_is_array(parent))
    json_array_set_new(parent, index, value);
  else
    json_object_set_new(parent, key, value);
}

static void remove_member(json_t *parent, size_t index) {
  const char *key = NULL;
  member(parent, index, &key);
  if (json_is_array(parent))
    json_array_remove(parent, index);
  else
    json_object_del(parent, key);
}

void fuzz_json_mutate(fuzz_random *r, json_t *root, const char *const *words) {
  size_t index, other_index;
  const char *key, *word = pick_word(r, words);
  if (size_of(root) == 0) return;
  json_t *parent = walk(r, root, &index), *other = walk(r, root, &other_index);
  json_t *old = member(parent, index, &key), *elsewhere = member(other, other_index, &key);
  switch (fuzz_below(r, 7)) {
  case 0: set_member(parent, index, odd_value(r, words)); break;
  case 1: set_member(parent, index, json_deep_copy(elsewhere)); break;
  case 2: remove_member(parent, index); break;
  case 3: // one more, under a name that means something
    if (json_is_array(parent))
      json_array_insert_new(parent, index, json_deep_copy(old));
    else
      json_object_set_new(parent, word, json_deep_copy(old));
    break;
  case 4:
    if (json_is_array(parent))
      json_array_insert_new(parent, index, odd_value(r, words));
    else
      json_object_set_new(parent, word, odd_value(r, words));
    break;
  case 5:
    if (json_is_string(old))
      set_member(parent, index, json_string(word));
    else
      set_member(parent, index, near_value(r, old));
    break;
  default: set_member(parent, index, near_value(r, old)); break;
  }
}

void fuzz_json_put(fuzz_bytes *out, const json_t *value) {
  char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
  if (text) fuzz_put_text(out, text);
  free(text);
}
