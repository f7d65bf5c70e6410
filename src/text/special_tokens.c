// Which tokens are special and what they are for, from the files beside a vocabulary, in the order in
// which transformers looks at them: tokenizer_config.json's added_tokens_decoder; without it
// special_tokens_map.json and added_tokens.json; then the roles; then further special tokens.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"

enum { ROLES_MAX = 64 };

typedef struct role_value {
  char name[40];
  json_t *value; // a string or an added token
} role_value;

typedef struct specials {
  fg_tokenizer *tokenizer;
  const char *where;
  fg_json_span decoder, extra, additional; // of tokenizer_config.json
  role_value roles[ROLES_MAX];
  size_t role_count;
} specials;

static fg_added_token special_string(const char *content) {
  return (fg_added_token){.content = (char *)content, .special = true};
}

// A string, or an object with the flags; special either way.
static fg_status read_special(const json_t *json, fg_added_token *out, fg_error *err) {
  if (json_is_string(json)) {
    *out = special_string(json_string_value(json));
    return FG_OK;
  }
  fg_status status = fg_added_token_read(out, json, err);
  out->special = true;
  return status;
}

// ---- roles --------------------------------------------------------------------------------------------

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), n = strlen(end);
  return length >= n && strcmp(text + length - n, end) == 0;
}

static fg_status keep_role(specials *s, const char *name, json_t *value, fg_error *err) {
  size_t i = 0;
  while (i < s->role_count && strcmp(s->roles[i].name, name) != 0) i++;
  if (i == ROLES_MAX || strlen(name) >= sizeof s->roles[i].name) {
    json_decref(value);
    return fg_fail(err, FG_UNSUPPORTED, "%s: more than %d roles, or a name as long as \"%.60s\"", s->where,
                   ROLES_MAX, name);
  }
  if (i == s->role_count) {
    s->role_count++;
    strcpy(s->roles[i].name, name);
  } else {
    json_decref(s->roles[i].value);
  }
  s->roles[i].value = value;
  return FG_OK;
}

static fg_status visit_member(void *user, const char *key, fg_json_span value, fg_error *err) {
  specials *s = user;
  if (strcmp(key, "added_tokens_decoder") == 0) s->decoder = value;
  if (strcmp(key, "extra_special_tokens") == 0) s->extra = value;
  if (strcmp(key, "additional_special_tokens") == 0) s->additional = value;
  bool role = ends_with(key, "_token") && value.length > 0 && (*value.text == '"' || *value.text == '{');
  if (!role) return FG_OK;
  json_t *json;
  fg_status status = fg_json_tree(value, s->where, &json, err);
  return status ? status : keep_role(s, key, json, err);
}

static fg_status add_role(specials *s, const role_value *role, fg_error *err) {
  fg_added_token token;
  fg_status status = read_special(role->value, &token, err);
  if (status) return status;
  const fg_added_token *known = fg_tokenizer_added(s->tokenizer, token.content);
  if (known) {
    token.single_word = known->single_word;
    token.lstrip = known->lstrip;
    token.rstrip = known->rstrip;
    token.normalized = known->normalized;
  }
  status = fg_tokenizer_add_token(s->tokenizer, &token, err);
  return status ? status : fg_tokenizer_set_role(s->tokenizer, role->name, token.content, err);
}

// ---- lists --------------------------------------------------------------------------------------------

static fg_status visit_extra(void *user, const char *key, fg_json_span value, fg_error *err) {
  specials *s = user;
  json_t *json;
  fg_added_token token;
  fg_status status = fg_json_tree(value, s->where, &json, err);
  if (status) return status;
  status = read_special(json, &token, err);
  if (status == FG_OK) status = fg_tokenizer_add_token(s->tokenizer, &token, err);
  if (status == FG_OK && key) status = fg_tokenizer_set_role(s->tokenizer, key, token.content, err);
  json_decref(json);
  return status;
}

// Added tokens by id, sorted before they are added: the order decides the ids of new ones.
typedef struct by_id {
  fg_added_token token;
  json_t *json;
  uint32_t id;
} by_id;
typedef struct id_list {
  specials *specials;
  by_id *items;
  size_t count, capacity;
} id_list;

static fg_status append_by_id(id_list *list, by_id item, fg_error *err) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? list->capacity * 2 : 64;
    by_id *items = realloc(list->items, capacity * sizeof *items);
    if (!items) {
      json_decref(item.json);
      return fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
    }
    list->items = items;
    list->capacity = capacity;
  }
  list->items[list->count++] = item;
  return FG_OK;
}

// "id": {flags}
static fg_status visit_decoder(void *user, const char *key, fg_json_span value, fg_error *err) {
  id_list *list = user;
  by_id item = {0};
  char *end;
  unsigned long id = key ? strtoul(key, &end, 10) : 0;
  if (!key || *end || id >= FG_VOCABULARY_MAX) {
    return fg_fail(err, FG_CORRUPT, "%s: added_tokens_decoder with id \"%.60s\"", list->specials->where,
                   key ? key : "");
  }
  item.id = (uint32_t)id;
  fg_status status = fg_json_tree(value, list->specials->where, &item.json, err);
  if (status == FG_OK) status = fg_added_token_read(&item.token, item.json, err);
  if (status) {
    json_decref(item.json);
    return status;
  }
  return append_by_id(list, item, err);
}

// "token": id; special if it has a role.
static fg_status visit_legacy(void *user, const char *key, fg_json_span value, fg_error *err) {
  id_list *list = user;
  by_id item = {.json = json_string(key ? key : "")};
  if (!item.json) return fg_fail(err, FG_CORRUPT, "added_tokens.json holds no object of tokens");
  item.id = (uint32_t)strtoul(value.text, NULL, 10);
  item.token.content = (char *)json_string_value(item.json);
  for (size_t i = 0; i < list->specials->role_count; i++) {
    fg_added_token role;
    if (read_special(list->specials->roles[i].value, &role, NULL) == FG_OK &&
        strcmp(role.content, item.token.content) == 0) {
      item.token.special = true;
    }
  }
  item.token.normalized = !item.token.special;
  return append_by_id(list, item, err);
}

static int compare_ids(const void *a, const void *b) {
  const by_id *x = a, *y = b;
  return (x->id > y->id) - (x->id < y->id);
}

static fg_status add_list(specials *s, fg_json_span json, fg_json_visit *visit, fg_error *err) {
  id_list list = {.specials = s};
  fg_status status = fg_json_each(json, s->where, visit, &list, err);
  if (list.count) qsort(list.items, list.count, sizeof *list.items, compare_ids);
  for (size_t i = 0; i < list.count; i++) {
    if (status == FG_OK) status = fg_tokenizer_add_token(s->tokenizer, &list.items[i].token, err);
    json_decref(list.items[i].json);
  }
  free(list.items);
  return status;
}

// ---- the files ----------------------------------------------------------------------------------------

static fg_status visit_file(specials *s, const fg_assets *assets, const char *name, fg_error *err) {
  const fg_asset *asset = fg_assets_find(assets, name);
  s->where = name;
  if (!asset) return FG_OK;
  return fg_json_each((fg_json_span){asset->data, asset->bytes}, name, visit_member, s, err);
}

static fg_status add_all(specials *s, const fg_assets *assets, fg_special_texts fallback, fg_error *err) {
  const struct {
    const char *role, *text;
  } needed[] = {{"bos_token", fallback.bos}, {"eos_token", fallback.eos}, {"unk_token", fallback.unk}};
  fg_status status = FG_OK;
  for (size_t i = 0; i < sizeof needed / sizeof *needed && status == FG_OK; i++) {
    if (!needed[i].text) continue;
    json_t *value = json_string(needed[i].text);
    status = value ? keep_role(s, needed[i].role, value, err)
                   : fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
  }
  if (status == FG_OK) status = visit_file(s, assets, "tokenizer_config.json", err);
  if (status == FG_OK && s->decoder.text) status = add_list(s, s->decoder, visit_decoder, err);
  if (status == FG_OK && !s->decoder.text) {
    status = visit_file(s, assets, "special_tokens_map.json", err);
    const fg_asset *legacy = fg_assets_find(assets, "added_tokens.json");
    s->where = "added_tokens.json";
    if (status == FG_OK && legacy) {
      status = add_list(s, (fg_json_span){legacy->data, legacy->bytes}, visit_legacy, err);
    }
  }
  for (size_t i = 0; i < s->role_count && status == FG_OK; i++) status = add_role(s, &s->roles[i], err);
  bool has_extra = s->extra.text && s->extra.length > 2 && (*s->extra.text == '[' || *s->extra.text == '{');
  fg_json_span extra = has_extra ? s->extra : s->additional;
  if (status == FG_OK && extra.text && (*extra.text == '[' || *extra.text == '{')) {
    status = fg_json_each(extra, s->where, visit_extra, s, err);
  }
  return status;
}

fg_status fg_tokenizer_read_specials(fg_tokenizer *t, const fg_assets *assets, fg_special_texts fallback,
                                     fg_error *err) {
  specials *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
  s->tokenizer = t;
  fg_status status = add_all(s, assets, fallback, err);
  for (size_t i = 0; i < s->role_count; i++) json_decref(s->roles[i].value);
  const char *where = s->where;
  free(s);
  return status ? fg_fail_prefix(err, "%s", where) : FG_OK;
}

// ---- what the tokenizer's class adds ------------------------------------------------------------------

static void read_flag(fg_json_span span, bool *out) {
  if (span.length == 4 && memcmp(span.text, "true", 4) == 0) *out = true;
  if (span.length == 5 && memcmp(span.text, "false", 5) == 0) *out = false;
}

fg_status fg_tokenizer_read_class(const fg_assets *assets, fg_class_options *out, fg_error *err) {
  static const char name[] = "tokenizer_config.json";
  static const char *const keys[] = {"tokenizer_class", "add_prefix_space", "add_bos_token", "add_eos_token",
                                     "legacy"};
  enum { CLASS, ADD_PREFIX_SPACE, ADD_BOS, ADD_EOS, LEGACY, KEY_COUNT };
  const fg_asset *asset = fg_assets_find(assets, name);
  if (!asset) return FG_OK;
  fg_json_span spans[KEY_COUNT];
  fg_status status =
      fg_json_pick((fg_json_span){asset->data, asset->bytes}, name, keys, KEY_COUNT, spans, err);
  if (status) return status;
  read_flag(spans[ADD_PREFIX_SPACE], &out->add_prefix_space);
  read_flag(spans[ADD_BOS], &out->add_bos);
  read_flag(spans[ADD_EOS], &out->add_eos);
  read_flag(spans[LEGACY], &out->legacy);
  fg_json_span class = spans[CLASS];
  if (!class.text || *class.text != '"') return FG_OK;
  snprintf(out->name, sizeof out->name, "%.*s", (int)(class.length < 64 ? class.length - 2 : 62),
           class.text + 1);
  return FG_OK;
}

fg_status fg_tokenizer_add_around(fg_tokenizer *t, bool add_bos, bool add_eos, fg_error *err) {
  int32_t bos = fg_tokenizer_bos(t), eos = fg_tokenizer_eos(t);
  fg_status status = add_bos && bos >= 0 ? fg_ids_append(&t->prefix, &bos, 1, err) : FG_OK;
  return status == FG_OK && add_eos && eos >= 0 ? fg_ids_append(&t->suffix, &eos, 1, err) : status;
}
