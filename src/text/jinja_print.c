// Values as text: str(), repr() and json.dumps() of Python.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/jinja_value.h"
#include "text/unicode.h"

enum { DEPTH_MAX = 100 };

// The shortest digits that read back as the same number, in Python's layout.
static void print_float(double d, fg_text *out) {
  if (isnan(d) || isinf(d)) {
    fg_text_append_string(out, isnan(d) ? "nan" : d < 0 ? "-inf" : "inf");
    return;
  }
  char digits[40];
  int precision = 1;
  do {
    snprintf(digits, sizeof digits, "%.*e", precision - 1, d);
  } while (strtod(digits, NULL) != d && ++precision <= 17);
  int exponent = atoi(strchr(digits, 'e') + 1);
  if (exponent < -4 || exponent >= 16) {
    char *e = strchr(digits, 'e');
    fg_text_printf(out, "%.*se%c%02d", (int)(e - digits), digits, exponent < 0 ? '-' : '+', abs(exponent));
    return;
  }
  int decimals = precision - 1 - exponent;
  fg_text_printf(out, "%.*f", decimals > 0 ? decimals : 1, d);
}

static bool printable(uint32_t c) {
  utf8proc_category_t is = utf8proc_category((utf8proc_int32_t)c);
  if (c == ' ') return true;
  return is != UTF8PROC_CATEGORY_CN && is < UTF8PROC_CATEGORY_ZS;
}

static void repr_string(fg_slice s, fg_text *out) {
  bool single = s.length && memchr(s.data, '\'', s.length), twice = s.length && memchr(s.data, '"', s.length);
  char quote = single && !twice ? '"' : '\'';
  fg_text_append(out, &quote, 1);
  for (const char *at = s.data; at < s.data + s.length;) {
    const char *start = at;
    uint32_t c = fg_utf8_take(&at);
    static const char plain[] = "\n\r\t\\", letters[] = "nrt\\";
    const char *hit = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
    if (hit || c == (uint32_t)quote) {
      fg_text_printf(out, "\\%c", hit ? letters[hit - plain] : quote);
    } else if (printable(c)) {
      fg_text_append(out, start, (size_t)(at - start));
    } else {
      fg_text_printf(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
    }
  }
  fg_text_append(out, &quote, 1);
}

static fg_status repr(fg_jinja_env *env, fg_value v, int depth, fg_text *out);

static fg_status repr_list(fg_jinja_env *env, const fg_list *list, int depth, fg_text *out) {
  fg_text_append_string(out, list->tuple ? "(" : "[");
  fg_status status = FG_OK;
  for (size_t i = 0; i < list->count && status == FG_OK; i++) {
    if (i) fg_text_append_string(out, ", ");
    status = repr(env, list->items[i], depth + 1, out);
  }
  fg_text_append_string(out, list->tuple ? (list->count == 1 ? ",)" : ")") : "]");
  return status;
}

static fg_status repr_dict(fg_jinja_env *env, const fg_dict *dict, int depth, fg_text *out) {
  fg_text_append_string(out, "{");
  fg_status status = FG_OK;
  for (size_t i = 0; i < dict->keys.count && status == FG_OK; i++) {
    if (i) fg_text_append_string(out, ", ");
    status = repr(env, dict->keys.items[i], depth + 1, out);
    fg_text_append_string(out, ": ");
    if (status == FG_OK) status = repr(env, dict->values.items[i], depth + 1, out);
  }
  fg_text_append_string(out, "}");
  return status;
}

static fg_status repr(fg_jinja_env *env, fg_value v, int depth, fg_text *out) {
  if (depth > DEPTH_MAX) return fg_jinja_fail(env, "a value is nested more than %d deep", DEPTH_MAX);
  fg_status status = fg_jinja_charge(env, 1);
  if (status) return status;
  switch (v.kind) {
  case FG_VALUE_UNDEFINED:
    return fg_jinja_fail(env, "'%.*s' is undefined", (int)v.string.length, v.string.data);
  case FG_VALUE_NONE: fg_text_append_string(out, "None"); return FG_OK;
  case FG_VALUE_BOOL: fg_text_append_string(out, v.boolean ? "True" : "False"); return FG_OK;
  case FG_VALUE_INT: fg_text_printf(out, "%lld", (long long)v.integer); return FG_OK;
  case FG_VALUE_FLOAT: print_float(v.real, out); return FG_OK;
  case FG_VALUE_STRING: repr_string(v.string, out); return FG_OK;
  case FG_VALUE_LIST: return repr_list(env, v.list, depth, out);
  case FG_VALUE_DICT: return repr_dict(env, v.dict, depth, out);
  default: return fg_jinja_fail(env, "a %s cannot be printed", fg_value_type(v));
  }
}

fg_status fg_value_repr(fg_jinja_env *env, fg_value v, fg_text *out) {
  return repr(env, v, 0, out);
}

fg_status fg_value_print(fg_jinja_env *env, fg_value v, fg_text *out) {
  if (v.kind == FG_VALUE_UNDEFINED) return FG_OK;
  if (v.kind != FG_VALUE_STRING) return fg_value_repr(env, v, out);
  fg_text_append(out, v.string.data, v.string.length);
  return FG_OK;
}

fg_status fg_value_to_string(fg_jinja_env *env, fg_value v, fg_slice *out) {
  fg_text text = {0};
  fg_value string = v;
  fg_status status = FG_OK;
  if (v.kind != FG_VALUE_STRING) {
    status = fg_value_print(env, v, &text);
    if (status) {
      fg_text_free(&text);
      return status;
    }
    status = fg_string_take(env, &text, &string);
  }
  *out = string.string;
  return status;
}

// ---- JSON ---------------------------------------------------------------------------------------------

static void json_text(fg_slice s, bool ensure_ascii, fg_text *out) {
  fg_text_append_string(out, "\"");
  for (const char *at = s.data; at < s.data + s.length;) {
    const char *start = at;
    uint32_t c = fg_utf8_take(&at);
    static const char plain[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    const char *hit = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
    if (hit) {
      fg_text_printf(out, "\\%c", letters[hit - plain]);
    } else if (c >= 0x10000 && ensure_ascii) {
      fg_text_printf(out, "\\u%04x\\u%04x", 0xd800u + ((c - 0x10000) >> 10),
                     0xdc00u + ((c - 0x10000) & 0x3ff));
    } else if (c < 0x20 || (c >= 0x7f && ensure_ascii)) {
      fg_text_printf(out, "\\u%04x", (unsigned)c);
    } else {
      fg_text_append(out, start, (size_t)(at - start));
    }
  }
  fg_text_append_string(out, "\"");
}

static void json_break(const fg_json_style *style, int level, fg_text *out) {
  if (style->indent < 0) return;
  fg_text_append_string(out, "\n");
  for (int i = 0; i < level * style->indent; i++) fg_text_append_string(out, " ");
}

static void json_separator(const fg_json_style *style, size_t index, int level, fg_text *out) {
  if (index) fg_text_append(out, style->item_separator.data, style->item_separator.length);
  json_break(style, level, out);
}

// Keys are strings in JSON; Python turns numbers, booleans and None into theirs.
static fg_status json_key(fg_jinja_env *env, fg_value key, const fg_json_style *style, fg_text *out) {
  if (key.kind == FG_VALUE_STRING) {
    json_text(key.string, style->ensure_ascii, out);
    return FG_OK;
  }
  if (key.kind < FG_VALUE_NONE || key.kind > FG_VALUE_FLOAT) {
    return fg_jinja_fail(env, "a %s is no key of a JSON object", fg_value_type(key));
  }
  fg_text_append_string(out, "\"");
  fg_status status = fg_value_to_json(env, key, style, 0, out);
  fg_text_append_string(out, "\"");
  return status;
}

static size_t *sorted(fg_jinja_env *env, const fg_dict *dict, bool sort, fg_status *status) {
  size_t count = dict->keys.count, *order = fg_arena_alloc(&env->arena, (count + 1) * sizeof *order);
  *status = order ? fg_jinja_charge(env, sort ? count * count : 0) : fg_jinja_no_memory(env);
  for (size_t i = 0; *status == FG_OK && i < count; i++) {
    size_t at = i;
    int less = -1;
    for (; sort && at > 0; at--) { // by insertion: objects of tools are small
      *status = fg_value_compare(env, dict->keys.items[i], dict->keys.items[order[at - 1]], &less);
      if (*status || less >= 0) break;
      order[at] = order[at - 1];
    }
    order[at] = i;
  }
  return order;
}

static fg_status json_dict(fg_jinja_env *env, const fg_dict *dict, const fg_json_style *style, int level,
                           fg_text *out) {
  fg_status status;
  size_t *order = sorted(env, dict, style->sort_keys, &status);
  fg_text_append_string(out, "{");
  for (size_t i = 0; i < dict->keys.count && status == FG_OK; i++) {
    json_separator(style, i, level + 1, out);
    status = json_key(env, dict->keys.items[order[i]], style, out);
    fg_text_append(out, style->key_separator.data, style->key_separator.length);
    if (status == FG_OK) status = fg_value_to_json(env, dict->values.items[order[i]], style, level + 1, out);
  }
  if (dict->keys.count) json_break(style, level, out);
  fg_text_append_string(out, "}");
  return status;
}

fg_status fg_value_to_json(fg_jinja_env *env, fg_value v, const fg_json_style *style, int level,
                           fg_text *out) {
  if (level > DEPTH_MAX) return fg_jinja_fail(env, "a value is nested more than %d deep", DEPTH_MAX);
  fg_status status = fg_jinja_charge(env, 1);
  if (status) return status;
  switch (v.kind) {
  case FG_VALUE_NONE: fg_text_append_string(out, "null"); return FG_OK;
  case FG_VALUE_BOOL: fg_text_append_string(out, v.boolean ? "true" : "false"); return FG_OK;
  case FG_VALUE_STRING: json_text(v.string, style->ensure_ascii, out); return FG_OK;
  case FG_VALUE_DICT: return json_dict(env, v.dict, style, level, out);
  case FG_VALUE_INT:
  case FG_VALUE_FLOAT: return fg_value_repr(env, v, out);
  case FG_VALUE_LIST:
    fg_text_append_string(out, "[");
    for (size_t i = 0; i < v.list->count && status == FG_OK; i++) {
      json_separator(style, i, level + 1, out);
      status = fg_value_to_json(env, v.list->items[i], style, level + 1, out);
    }
    if (v.list->count) json_break(style, level, out);
    fg_text_append_string(out, "]");
    return status;
  default: return fg_jinja_fail(env, "a value of type %s is not JSON", fg_value_type(v));
  }
}
