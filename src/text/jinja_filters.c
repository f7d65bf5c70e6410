// Filters and tests: tables of what stands behind | and "is".
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

// ---- arguments ----------------------------------------------------------------------------------------

fg_value fg_argument(const fg_call *call, size_t index, const char *keyword, fg_value fallback) {
  size_t positional = call->count - call->keyword_count;
  if (index < positional) return call->args[index];
  for (size_t i = 0; i < call->keyword_count; i++) {
    if (fg_slice_is(call->keywords[i], keyword)) return call->args[positional + i];
  }
  return fallback;
}

fg_status fg_argument_string(const fg_call *call, size_t index, const char *keyword, const char *fallback,
                             fg_slice *out) {
  fg_value none = fallback ? fg_string(fg_slice_of(fallback)) : fg_none();
  fg_value v = fg_argument(call, index, keyword, none);
  if (v.kind != FG_VALUE_STRING) {
    return fg_jinja_fail(call->env, "%s: \"%s\" must be a string, not %s", call->name, keyword,
                         fg_value_type(v));
  }
  *out = v.string;
  return FG_OK;
}

fg_status fg_argument_int(const fg_call *call, size_t index, const char *keyword, int64_t fallback,
                          int64_t *out) {
  fg_value v = fg_argument(call, index, keyword, fg_int(fallback));
  if (v.kind != FG_VALUE_INT) {
    return fg_jinja_fail(call->env, "%s: \"%s\" must be an integer, not %s", call->name, keyword,
                         fg_value_type(v));
  }
  *out = v.integer;
  return FG_OK;
}

// Filters on strings take anything that prints.
static fg_status self_string(const fg_call *call, fg_slice *out) {
  return fg_value_to_string(call->env, call->self, out);
}

// A filter that is the same as a method of strings.
static fg_status as_method(const fg_call *call, fg_value *out) {
  fg_call method = *call;
  fg_slice text;
  fg_status status = self_string(call, &text);
  if (status) return status;
  method.self = fg_string(text);
  return fg_method_find(FG_VALUE_STRING, fg_slice_of(call->name))->run(&method, out);
}

// ---- strings ------------------------------------------------------------------------------------------

static fg_status filter_trim(const fg_call *call, fg_value *out) {
  fg_call method = *call;
  fg_slice text;
  fg_status status = self_string(call, &text);
  if (status) return status;
  method.self = fg_string(text);
  return fg_method_find(FG_VALUE_STRING, fg_slice_of("strip"))->run(&method, out);
}

static fg_status filter_string(const fg_call *call, fg_value *out) {
  fg_slice text;
  fg_status status = self_string(call, &text);
  *out = fg_string(text);
  return status;
}

static fg_status filter_indent(const fg_call *call, fg_value *out) {
  fg_slice text, margin;
  fg_value width = fg_argument(call, 0, "width", fg_int(4));
  bool first = fg_value_truth(fg_argument(call, 1, "first", fg_bool(false)));
  bool blank = fg_value_truth(fg_argument(call, 2, "blank", fg_bool(false)));
  static const char spaces[] = "                                                                ";
  fg_status status = self_string(call, &text);
  if (status) return status;
  bool ok =
      width.kind == FG_VALUE_STRING || (width.kind == FG_VALUE_INT && width.integer < (int64_t)sizeof spaces);
  if (!ok) return fg_jinja_fail(call->env, "indent: \"width\" must be a string or an integer below 65");
  margin = width.kind == FG_VALUE_STRING ? width.string
                                         : (fg_slice){spaces, width.integer > 0 ? (size_t)width.integer : 0};
  fg_text result = {0};
  bool start = true;
  for (const char *at = text.data, *end = at + text.length; at <= end && text.length; start = false) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
    if (start ? first : blank || stop > at) fg_text_append(&result, margin.data, margin.length);
    fg_text_append(&result, at, (size_t)(stop - at));
    if (newline) fg_text_append(&result, "\n", 1);
    at = stop + 1;
  }
  return fg_string_take(call->env, &result, out);
}

static fg_status filter_tojson(const fg_call *call, fg_value *out) {
  fg_value indent = fg_argument(call, 1, "indent", fg_none());
  fg_value separators = fg_argument(call, 2, "separators", fg_none());
  fg_json_style style = {
      .ensure_ascii = fg_value_truth(fg_argument(call, 0, "ensure_ascii", fg_bool(false))),
      .sort_keys = fg_value_truth(fg_argument(call, 3, "sort_keys", fg_bool(false))),
      .indent = -1,
      .item_separator = fg_slice_of(indent.kind == FG_VALUE_INT ? "," : ", "),
      .key_separator = fg_slice_of(": "),
  };
  if (indent.kind == FG_VALUE_INT && indent.integer >= 0 && indent.integer <= 64)
    style.indent = (int)indent.integer;
  if (indent.kind != FG_VALUE_NONE && style.indent < 0)
    return fg_jinja_fail(call->env, "tojson: indent must be 0 to 64");
  if (separators.kind == FG_VALUE_LIST && separators.list->count == 2 &&
      separators.list->items[0].kind == FG_VALUE_STRING &&
      separators.list->items[1].kind == FG_VALUE_STRING) {
    style.item_separator = separators.list->items[0].string;
    style.key_separator = separators.list->items[1].string;
  } else if (separators.kind != FG_VALUE_NONE) {
    return fg_jinja_fail(call->env, "tojson: separators must be two strings");
  }
  fg_text text = {0};
  fg_status status = fg_value_to_json(call->env, call->self, &style, 0, &text);
  if (status == FG_OK) return fg_string_take(call->env, &text, out);
  fg_text_free(&text);
  return status;
}

// ---- numbers ------------------------------------------------------------------------------------------

static fg_status filter_int(const fg_call *call, fg_value *out) {
  fg_value v = call->self, fallback = fg_argument(call, 0, "default", fg_int(0));
  *out = fallback;
  if (v.kind == FG_VALUE_INT || v.kind == FG_VALUE_BOOL)
    *out = fg_int(v.kind == FG_VALUE_INT ? v.integer : v.boolean);
  if (v.kind == FG_VALUE_FLOAT && fabs(v.real) < 9e18) *out = fg_int((int64_t)v.real);
  if (v.kind != FG_VALUE_STRING) return FG_OK;
  char digits[64], *end;
  fg_slice s = fg_py_strip(v.string, true, true);
  if (s.length == 0 || s.length >= sizeof digits) return FG_OK;
  memcpy(digits, s.data, s.length);
  digits[s.length] = 0;
  long long integer = strtoll(digits, &end, 10);
  if (*end == 0) {
    *out = fg_int(integer);
    return FG_OK;
  }
  double real = strtod(digits, &end);
  if (*end == 0 && fabs(real) < 9e18) *out = fg_int((int64_t)real);
  return FG_OK;
}

static fg_status filter_float(const fg_call *call, fg_value *out) {
  fg_value v = call->self;
  *out = fg_argument(call, 0, "default", fg_float(0));
  if (v.kind == FG_VALUE_INT || v.kind == FG_VALUE_BOOL)
    *out = fg_float(v.kind == FG_VALUE_INT ? (double)v.integer : v.boolean);
  if (v.kind == FG_VALUE_FLOAT) *out = v;
  char digits[64], *end;
  if (v.kind != FG_VALUE_STRING || v.string.length == 0 || v.string.length >= sizeof digits) return FG_OK;
  memcpy(digits, v.string.data, v.string.length);
  digits[v.string.length] = 0;
  double real = strtod(digits, &end);
  if (*end == 0) *out = fg_float(real);
  return FG_OK;
}

static fg_status filter_abs(const fg_call *call, fg_value *out) {
  fg_value v = call->self;
  if (v.kind == FG_VALUE_FLOAT) {
    *out = fg_float(fabs(v.real));
    return FG_OK;
  }
  if (v.kind != FG_VALUE_INT || v.integer == INT64_MIN)
    return fg_jinja_fail(call->env, "abs of a %s", fg_value_type(v));
  *out = fg_int(v.integer < 0 ? -v.integer : v.integer);
  return FG_OK;
}

// Python rounds the number that the double stands for, halves to even: so does printing it.
static fg_status filter_round(const fg_call *call, fg_value *out) {
  fg_slice method;
  int64_t precision;
  char digits[400];
  fg_status status = fg_argument_int(call, 0, "precision", 0, &precision);
  if (status == FG_OK) status = fg_argument_string(call, 1, "method", "common", &method);
  if (status) return status;
  bool number = call->self.kind == FG_VALUE_INT || call->self.kind == FG_VALUE_FLOAT;
  if (!number || precision < 0 || precision > 15) {
    return fg_jinja_fail(call->env, "round: %s to %lld digits", fg_value_type(call->self),
                         (long long)precision);
  }
  double value = call->self.kind == FG_VALUE_INT ? (double)call->self.integer : call->self.real;
  double scale = pow(10, (double)precision);
  if (fg_slice_is(method, "common")) {
    snprintf(digits, sizeof digits, "%.*f", (int)precision, value);
    *out = call->self.kind == FG_VALUE_INT ? call->self : fg_float(strtod(digits, NULL));
    return FG_OK;
  }
  if (!fg_slice_is(method, "ceil") && !fg_slice_is(method, "floor")) {
    return fg_jinja_fail(call->env, "round: method must be common, ceil or floor");
  }
  *out = fg_float((fg_slice_is(method, "ceil") ? ceil(value * scale) : floor(value * scale)) / scale);
  return FG_OK;
}

// ---- lists --------------------------------------------------------------------------------------------

static fg_status filter_length(const fg_call *call, fg_value *out) {
  size_t length = 0;
  fg_status status = fg_value_length(call->env, call->self, &length);
  *out = fg_int((int64_t)length);
  return status;
}

static fg_status self_list(const fg_call *call, fg_list **out) {
  return fg_value_iterate(call->env, call->self, out);
}

static fg_status edge(const fg_call *call, bool last, fg_value *out) {
  fg_list *list;
  fg_status status = self_list(call, &list);
  if (status) return status;
  *out = list->count ? list->items[last ? list->count - 1 : 0]
                     : fg_undefined(fg_slice_of("an item of an empty list"));
  return FG_OK;
}
static fg_status filter_first(const fg_call *call, fg_value *out) {
  return edge(call, false, out);
}
static fg_status filter_last(const fg_call *call, fg_value *out) {
  return edge(call, true, out);
}

static fg_status filter_list(const fg_call *call, fg_value *out) {
  fg_list *list;
  fg_status status = self_list(call, &list);
  if (status == FG_OK) status = fg_list_new(call->env, list->count, out);
  for (size_t i = 0; status == FG_OK && i < list->count; i++)
    status = fg_list_push(call->env, out->list, list->items[i]);
  return status;
}

// Follows "a.b.0" through members and items.
static fg_status walk(fg_jinja_env *env, fg_value v, fg_value path, fg_value *out) {
  *out = v;
  if (path.kind == FG_VALUE_INT) return fg_value_item(env, v, path, out);
  if (path.kind != FG_VALUE_STRING) return fg_jinja_fail(env, "an attribute must be a name");
  fg_slice rest = path.string;
  while (rest.length > 0) {
    const char *dot = memchr(rest.data, '.', rest.length);
    fg_slice name = {rest.data, dot ? (size_t)(dot - rest.data) : rest.length};
    bool digits = name.length > 0 && name.length < 10;
    int64_t index = 0;
    for (size_t i = 0; i < name.length; i++) {
      digits = digits && name.data[i] >= '0' && name.data[i] <= '9';
      index = digits ? index * 10 + (name.data[i] - '0') : 0;
    }
    fg_status status = fg_value_item(env, *out, digits ? fg_int(index) : fg_string(name), out);
    if (status) return status;
    rest = dot ? (fg_slice){dot + 1, rest.length - name.length - 1} : (fg_slice){0};
  }
  return FG_OK;
}

static fg_status filter_join(const fg_call *call, fg_value *out) {
  fg_slice separator;
  fg_list *list;
  fg_value attribute = fg_argument(call, 1, "attribute", fg_none());
  fg_text text = {0};
  fg_status status = fg_argument_string(call, 0, "d", "", &separator);
  if (status == FG_OK) status = self_list(call, &list);
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    fg_value item = list->items[i];
    if (attribute.kind != FG_VALUE_NONE) status = walk(call->env, item, attribute, &item);
    if (i) fg_text_append(&text, separator.data, separator.length);
    if (status == FG_OK) status = fg_value_print(call->env, item, &text);
  }
  if (status == FG_OK) return fg_string_take(call->env, &text, out);
  fg_text_free(&text);
  return status;
}

static fg_status filter_reverse(const fg_call *call, fg_value *out) {
  fg_status status = filter_list(call, out);
  if (status) return status;
  fg_list *list = out->list;
  for (size_t i = 0; i < list->count / 2; i++) {
    fg_value kept = list->items[i];
    list->items[i] = list->items[list->count - 1 - i];
    list->items[list->count - 1 - i] = kept;
  }
  if (call->self.kind != FG_VALUE_STRING) return FG_OK;
  fg_call join = {.env = call->env, .name = "reverse", .self = *out};
  return filter_join(&join, out);
}

// What items are ordered by: an attribute, in lower case unless asked otherwise.
static fg_status sort_key(const fg_call *call, fg_value item, fg_value attribute, bool exact, fg_value *out) {
  *out = item;
  fg_status status = attribute.kind == FG_VALUE_NONE ? FG_OK : walk(call->env, item, attribute, out);
  if (status || exact || out->kind != FG_VALUE_STRING) return status;
  fg_call lower = {.env = call->env, .name = "lower", .self = *out};
  return as_method(&lower, out);
}

// Stable, by merging: [from, to) of keys and items.
static fg_status merge_sort(const fg_call *call, fg_value *keys, fg_value *items, fg_value *spare,
                            size_t count, int sign) {
  if (count < 2) return FG_OK;
  size_t half = count / 2, a = 0, b = half;
  fg_status status = merge_sort(call, keys, items, spare, half, sign);
  if (status == FG_OK) status = merge_sort(call, keys + half, items + half, spare, count - half, sign);
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    int order = 0;
    bool left = b == count;
    if (!left && a < half) {
      status = fg_value_compare(call->env, keys[a], keys[b], &order);
      left = order * sign <= 0;
    }
    size_t from = left ? a++ : b++;
    spare[2 * i] = keys[from];
    spare[2 * i + 1] = items[from];
  }
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    keys[i] = spare[2 * i];
    items[i] = spare[2 * i + 1];
  }
  return status ? status : fg_jinja_charge(call->env, count);
}

static fg_status sort_by_keys(const fg_call *call, fg_list *keys, fg_list *items, bool reverse) {
  fg_value *spare = fg_arena_alloc(&call->env->arena, (2 * items->count + 1) * sizeof *spare);
  if (!spare) return fg_jinja_no_memory(call->env);
  return merge_sort(call, keys->items, items->items, spare, items->count, reverse ? -1 : 1);
}

static fg_status filter_sort(const fg_call *call, fg_value *out) {
  bool reverse = fg_value_truth(fg_argument(call, 0, "reverse", fg_bool(false)));
  bool exact = fg_value_truth(fg_argument(call, 1, "case_sensitive", fg_bool(false)));
  fg_value attribute = fg_argument(call, 2, "attribute", fg_none()), keys;
  fg_status status = filter_list(call, out);
  if (status == FG_OK) status = fg_list_new(call->env, out->list->count, &keys);
  for (size_t i = 0; status == FG_OK && i < out->list->count; i++) {
    fg_value key;
    status = sort_key(call, out->list->items[i], attribute, exact, &key);
    if (status == FG_OK) status = fg_list_push(call->env, keys.list, key);
  }
  return status ? status : sort_by_keys(call, keys.list, out->list, reverse);
}

static fg_status filter_unique(const fg_call *call, fg_value *out) {
  bool exact = fg_value_truth(fg_argument(call, 0, "case_sensitive", fg_bool(false)));
  fg_value attribute = fg_argument(call, 1, "attribute", fg_none()), seen, key;
  fg_list *list;
  fg_status status = self_list(call, &list);
  if (status == FG_OK) status = fg_list_new(call->env, 0, out);
  if (status == FG_OK) status = fg_dict_new(call->env, FG_VALUE_DICT, &seen);
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    status = sort_key(call, list->items[i], attribute, exact, &key);
    if (status || fg_dict_find(call->env, seen.dict, key)) continue;
    status = fg_dict_set(call->env, seen.dict, key, fg_none());
    if (status == FG_OK) status = fg_list_push(call->env, out->list, list->items[i]);
  }
  return status;
}

static fg_status extreme(const fg_call *call, int sign, fg_value *out) {
  fg_list *list;
  fg_status status = self_list(call, &list);
  *out = fg_undefined(fg_slice_of("an item of an empty list"));
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    int order = 1;
    if (i) status = fg_value_compare(call->env, list->items[i], *out, &order);
    if (i ? order * sign > 0 : true) *out = list->items[i];
  }
  return status;
}
// Of numbers; of an attribute of each, if one is named.
static fg_status filter_sum(const fg_call *call, fg_value *out) {
  fg_value attribute = fg_argument(call, 0, "attribute", fg_none());
  fg_list *list;
  fg_status status = self_list(call, &list);
  *out = fg_argument(call, 1, "start", fg_int(0));
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    fg_value item = list->items[i];
    if (attribute.kind != FG_VALUE_NONE) status = walk(call->env, item, attribute, &item);
    if (status == FG_OK) status = fg_value_add(call->env, *out, item, out);
  }
  return status;
}

static fg_status filter_max(const fg_call *call, fg_value *out) {
  return extreme(call, 1, out);
}
static fg_status filter_min(const fg_call *call, fg_value *out) {
  return extreme(call, -1, out);
}

// ---- dictionaries -------------------------------------------------------------------------------------

static fg_status filter_items(const fg_call *call, fg_value *out) {
  if (call->self.kind == FG_VALUE_UNDEFINED) return fg_list_new(call->env, 0, out);
  const fg_builtin *items = fg_method_find(call->self.kind, fg_slice_of("items"));
  if (!items) return fg_jinja_fail(call->env, "items of a %s", fg_value_type(call->self));
  return items->run(call, out);
}

static fg_status filter_dictsort(const fg_call *call, fg_value *out) {
  bool exact = fg_value_truth(fg_argument(call, 0, "case_sensitive", fg_bool(false)));
  fg_value by = fg_argument(call, 1, "by", fg_string(fg_slice_of("key"))), keys;
  bool reverse = fg_value_truth(fg_argument(call, 2, "reverse", fg_bool(false)));
  bool value = by.kind == FG_VALUE_STRING && fg_slice_is(by.string, "value");
  fg_status status = filter_items(call, out);
  if (status == FG_OK) status = fg_list_new(call->env, out->list->count, &keys);
  for (size_t i = 0; status == FG_OK && i < out->list->count; i++) {
    fg_value key;
    status = sort_key(call, out->list->items[i].list->items[value], fg_none(), exact, &key);
    if (status == FG_OK) status = fg_list_push(call->env, keys.list, key);
  }
  return status ? status : sort_by_keys(call, keys.list, out->list, reverse);
}

static fg_status filter_default(const fg_call *call, fg_value *out) {
  bool falsy = fg_value_truth(fg_argument(call, 1, "boolean", fg_bool(false)));
  bool use = call->self.kind == FG_VALUE_UNDEFINED || (falsy && !fg_value_truth(call->self));
  *out = use ? fg_argument(call, 0, "default_value", fg_string(fg_slice_of(""))) : call->self;
  return FG_OK;
}

static fg_status filter_safe(const fg_call *call, fg_value *out) {
  *out = call->self;
  return FG_OK;
}

// ---- filters that apply others ------------------------------------------------------------------------

static fg_status find_named(const fg_call *call, fg_value name, const fg_builtin *(*find)(fg_slice),
                            const char *what, const fg_builtin **out) {
  *out = name.kind == FG_VALUE_STRING ? find(name.string) : NULL;
  if (*out) return FG_OK;
  fg_slice s = name.kind == FG_VALUE_STRING ? name.string : fg_slice_of(fg_value_type(name));
  return fg_jinja_fail(call->env, "%s: %s \"%.*s\" is not supported", call->name, what, (int)s.length,
                       s.data);
}

// The call's arguments from `skip` on, for another builtin.
static fg_call forward(const fg_call *call, const fg_builtin *builtin, fg_value self, size_t skip) {
  fg_call inner = *call;
  inner.name = builtin->name;
  inner.self = self;
  inner.args += skip;
  inner.count -= skip;
  return inner;
}

static fg_status filter_map(const fg_call *call, fg_value *out) {
  fg_value attribute = fg_argument(call, SIZE_MAX, "attribute", fg_undefined(fg_slice_of("attribute")));
  fg_value fallback = fg_argument(call, SIZE_MAX, "default", fg_undefined(fg_slice_of("default")));
  bool by_attribute = attribute.kind != FG_VALUE_UNDEFINED;
  const fg_builtin *filter = NULL;
  fg_list *list;
  fg_status status = self_list(call, &list);
  if (status == FG_OK && !by_attribute) {
    status = find_named(call, fg_argument(call, 0, "filter", fg_none()), fg_filter_find, "filter", &filter);
  }
  if (status == FG_OK) status = fg_list_new(call->env, list->count, out);
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    fg_value item;
    if (by_attribute) {
      status = walk(call->env, list->items[i], attribute, &item);
      if (status == FG_OK && item.kind == FG_VALUE_UNDEFINED) item = fallback;
    } else {
      fg_call inner = forward(call, filter, list->items[i], 1);
      status = filter->run(&inner, &item);
    }
    if (status == FG_OK) status = fg_list_push(call->env, out->list, item);
  }
  return status;
}

// select, reject and their attr forms: the items for which a test (or truth) gives `wanted`.
static fg_status pick(const fg_call *call, bool by_attribute, bool wanted, fg_value *out) {
  size_t skip = by_attribute;
  const fg_builtin *test = NULL;
  fg_list *list;
  bool named = call->count - call->keyword_count > skip;
  fg_status status = self_list(call, &list);
  if (status == FG_OK && named) status = find_named(call, call->args[skip], fg_test_find, "test", &test);
  if (status == FG_OK && by_attribute && call->count == call->keyword_count) {
    status = fg_jinja_fail(call->env, "%s without an attribute", call->name);
  }
  if (status == FG_OK) status = fg_list_new(call->env, 0, out);
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    fg_value item = list->items[i], holds;
    if (by_attribute) status = walk(call->env, item, call->args[0], &item);
    if (status) break;
    if (test) {
      fg_call inner = forward(call, test, item, skip + 1);
      status = test->run(&inner, &holds);
    } else {
      holds = fg_bool(fg_value_truth(item));
    }
    if (status == FG_OK && fg_value_truth(holds) == wanted)
      status = fg_list_push(call->env, out->list, list->items[i]);
  }
  return status;
}
static fg_status filter_select(const fg_call *call, fg_value *out) {
  return pick(call, false, true, out);
}
static fg_status filter_reject(const fg_call *call, fg_value *out) {
  return pick(call, false, false, out);
}
static fg_status filter_selectattr(const fg_call *call, fg_value *out) {
  return pick(call, true, true, out);
}
static fg_status filter_rejectattr(const fg_call *call, fg_value *out) {
  return pick(call, true, false, out);
}

static const fg_builtin filters[] = {
    {"abs", filter_abs},       {"capitalize", as_method},   {"count", filter_length},
    {"d", filter_default},     {"default", filter_default}, {"dictsort", filter_dictsort},
    {"first", filter_first},   {"float", filter_float},     {"indent", filter_indent},
    {"int", filter_int},       {"items", filter_items},     {"join", filter_join},
    {"last", filter_last},     {"length", filter_length},   {"list", filter_list},
    {"lower", as_method},      {"map", filter_map},         {"max", filter_max},
    {"min", filter_min},       {"reject", filter_reject},   {"rejectattr", filter_rejectattr},
    {"replace", as_method},    {"reverse", filter_reverse}, {"round", filter_round},
    {"safe", filter_safe},     {"select", filter_select},   {"selectattr", filter_selectattr},
    {"sort", filter_sort},     {"string", filter_string},   {"sum", filter_sum},
    {"title", as_method},      {"tojson", filter_tojson},   {"trim", filter_trim},
    {"unique", filter_unique}, {"upper", as_method},
};

static const fg_builtin *find(const fg_builtin *table, size_t count, fg_slice name) {
  for (size_t i = 0; i < count; i++) {
    if (fg_slice_is(name, table[i].name)) return &table[i];
  }
  return NULL;
}

const fg_builtin *fg_filter_find(fg_slice name) {
  return find(filters, sizeof filters / sizeof *filters, name);
}
