// Methods of strings, lists and dictionaries, and the functions that templates may call.
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "text/jinja.h"
#include "text/unicode.h"

enum { RANGE_MAX = 100000 }; // as in Jinja's sandbox

// ---- strings: cutting ---------------------------------------------------------------------------------

static bool among(uint32_t c, fg_slice set) {
  for (const char *at = set.data; at < set.data + set.length;) {
    if (fg_utf8_take(&at) == c) return true;
  }
  return false;
}

// Of white space, or of the characters given.
static fg_status strip(const fg_call *call, bool left, bool right, fg_value *out) {
  fg_slice s = call->self.string;
  fg_value set = fg_argument(call, 0, "chars", fg_none());
  if (set.kind == FG_VALUE_NONE) {
    *out = fg_string(fg_py_strip(s, left, right));
    return FG_OK;
  }
  if (set.kind != FG_VALUE_STRING)
    return fg_jinja_fail(call->env, "%s: characters must be a string", call->name);
  const char *begin = s.data, *end = s.data + s.length, *next;
  while (left && begin < end && (next = begin, among(fg_utf8_take(&next), set.string))) begin = next;
  while (right && begin < end && (next = end, among(fg_utf8_take_back(&next), set.string))) end = next;
  *out = fg_string((fg_slice){begin, (size_t)(end - begin)});
  return FG_OK;
}
static fg_status method_strip(const fg_call *call, fg_value *out) {
  return strip(call, true, true, out);
}
static fg_status method_lstrip(const fg_call *call, fg_value *out) {
  return strip(call, true, false, out);
}
static fg_status method_rstrip(const fg_call *call, fg_value *out) {
  return strip(call, false, true, out);
}

static const char *search(fg_slice s, fg_slice what) {
  if (what.length > s.length) return NULL;
  return what.length ? memmem(s.data, s.length, what.data, what.length) : s.data;
}

static fg_status push_part(const fg_call *call, fg_value list, const char *begin, const char *end) {
  return fg_list_push(call->env, list.list, fg_string((fg_slice){begin, (size_t)(end - begin)}));
}

static fg_status split_spaces(const fg_call *call, int64_t most, fg_value *out) {
  fg_slice rest = fg_py_strip(call->self.string, true, false);
  fg_status status = FG_OK;
  for (int64_t cuts = 0; rest.length > 0 && status == FG_OK; cuts++) {
    const char *at = rest.data, *end = rest.data + rest.length, *next = at;
    if (most >= 0 && cuts >= most) return push_part(call, *out, at, end);
    while (at < end && (next = at, !fg_py_space(fg_utf8_take(&next)))) at = next;
    status = push_part(call, *out, rest.data, at);
    rest = fg_py_strip((fg_slice){at, (size_t)(end - at)}, true, false);
  }
  return status;
}

static fg_status method_split(const fg_call *call, fg_value *out) {
  fg_value separator = fg_argument(call, 0, "sep", fg_none());
  int64_t most;
  fg_status status = fg_argument_int(call, 1, "maxsplit", -1, &most);
  if (status == FG_OK) status = fg_list_new(call->env, 0, out);
  if (status) return status;
  if (separator.kind == FG_VALUE_NONE) return split_spaces(call, most, out);
  if (separator.kind != FG_VALUE_STRING || separator.string.length == 0) {
    return fg_jinja_fail(call->env, "split: the separator must be a string with something in it");
  }
  fg_slice rest = call->self.string;
  const char *hit;
  for (int64_t cuts = 0;
       status == FG_OK && (most < 0 || cuts < most) && (hit = search(rest, separator.string)); cuts++) {
    status = push_part(call, *out, rest.data, hit);
    const char *behind = hit + separator.string.length;
    rest = (fg_slice){behind, (size_t)(rest.data + rest.length - behind)};
  }
  return status ? status : push_part(call, *out, rest.data, rest.data + rest.length);
}

// From the right: with a limit the leftmost part stays whole.
static fg_status method_rsplit(const fg_call *call, fg_value *out) {
  fg_slice separator, rest = call->self.string;
  int64_t most;
  fg_value reversed;
  fg_status status = fg_argument_string(call, 0, "sep", NULL, &separator);
  if (status == FG_OK) status = fg_argument_int(call, 1, "maxsplit", -1, &most);
  if (status == FG_OK && separator.length == 0)
    status = fg_jinja_fail(call->env, "rsplit: an empty separator");
  if (status == FG_OK) status = fg_list_new(call->env, 0, &reversed);
  for (int64_t cuts = 0; status == FG_OK && (most < 0 || cuts < most) && rest.length >= separator.length;
       cuts++) {
    const char *end = rest.data + rest.length, *at = end - separator.length;
    while (at > rest.data && memcmp(at, separator.data, separator.length) != 0) at--;
    if (memcmp(at, separator.data, separator.length) != 0) break;
    status = push_part(call, reversed, at + separator.length, end);
    rest.length = (size_t)(at - rest.data);
  }
  if (status == FG_OK) status = push_part(call, reversed, rest.data, rest.data + rest.length);
  if (status == FG_OK) status = fg_list_new(call->env, reversed.list->count, out);
  for (size_t i = reversed.list ? reversed.list->count : 0; status == FG_OK && i-- > 0;) {
    status = fg_list_push(call->env, out->list, reversed.list->items[i]);
  }
  return status;
}

// What stands in front of the separator, the separator, and what stands behind it.
static fg_status partition(const fg_call *call, bool from_right, fg_value *out) {
  fg_slice separator, s = call->self.string;
  fg_status status = fg_argument_string(call, 0, "sep", NULL, &separator);
  if (status == FG_OK && separator.length == 0)
    status = fg_jinja_fail(call->env, "%s: an empty separator", call->name);
  if (status == FG_OK) status = fg_list_new(call->env, 3, out);
  if (status) return status;
  out->list->tuple = true;
  const char *hit = search(s, separator), *end = s.data + s.length, *next;
  while (hit && from_right) { // to the last one
    next = search((fg_slice){hit + 1, (size_t)(end - hit - 1)}, separator);
    if (!next) break;
    hit = next;
  }
  const char *cut = hit ? hit : from_right ? s.data : end, *behind = hit ? hit + separator.length : cut;
  status = push_part(call, *out, s.data, cut);
  if (status == FG_OK) status = push_part(call, *out, cut, behind);
  return status ? status : push_part(call, *out, behind, end);
}
static fg_status method_partition(const fg_call *call, fg_value *out) {
  return partition(call, false, out);
}
static fg_status method_rpartition(const fg_call *call, fg_value *out) {
  return partition(call, true, out);
}

static bool ends_line(uint32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static fg_status method_splitlines(const fg_call *call, fg_value *out) {
  bool keep = fg_value_truth(fg_argument(call, 0, "keepends", fg_bool(false)));
  const char *line = call->self.string.data, *end = line + call->self.string.length;
  fg_status status = fg_list_new(call->env, 0, out);
  for (const char *at = line; at < end && status == FG_OK;) {
    const char *stop = at;
    uint32_t c = fg_utf8_take(&at);
    if (!ends_line(c)) continue;
    if (c == '\r' && at < end && *at == '\n') at++;
    status = push_part(call, *out, line, keep ? at : stop);
    line = at;
  }
  return status || line == end ? status : push_part(call, *out, line, end);
}

// ---- strings: asking ----------------------------------------------------------------------------------

// One string or a tuple of them.
static fg_status matches_any(const fg_call *call, bool at_end, fg_value *out) {
  fg_value what = fg_argument(call, 0, "prefix", fg_none());
  fg_value one[1] = {what};
  fg_list single = {one, 1, 1, false}, *list = what.kind == FG_VALUE_LIST ? what.list : &single;
  fg_slice s = call->self.string;
  *out = fg_bool(false);
  for (size_t i = 0; i < list->count; i++) {
    if (list->items[i].kind != FG_VALUE_STRING) {
      return fg_jinja_fail(call->env, "%s: expected a string, not %s", call->name,
                           fg_value_type(list->items[i]));
    }
    fg_slice w = list->items[i].string;
    if (w.length > s.length) continue;
    fg_slice part = {s.data + (at_end ? s.length - w.length : 0), w.length};
    if (fg_slice_equal(part, w)) *out = fg_bool(true);
  }
  return FG_OK;
}
static fg_status method_startswith(const fg_call *call, fg_value *out) {
  return matches_any(call, false, out);
}
static fg_status method_endswith(const fg_call *call, fg_value *out) {
  return matches_any(call, true, out);
}

static fg_status method_find(const fg_call *call, fg_value *out) {
  fg_slice what, s = call->self.string;
  fg_status status = fg_argument_string(call, 0, "sub", NULL, &what);
  if (status) return status;
  const char *hit = search(s, what);
  *out = fg_int(hit ? (int64_t)fg_code_points((fg_slice){s.data, (size_t)(hit - s.data)}) : -1);
  return FG_OK;
}

static fg_status method_string_index(const fg_call *call, fg_value *out) {
  fg_status status = method_find(call, out);
  return status || out->integer >= 0 ? status : fg_jinja_fail(call->env, "index: substring not found");
}

static fg_status method_rfind(const fg_call *call, fg_value *out) {
  fg_slice what, s = call->self.string;
  fg_status status = fg_argument_string(call, 0, "sub", NULL, &what);
  if (status) return status;
  *out = fg_int(-1);
  for (const char *at = s.data + s.length; what.length <= s.length && at >= s.data; at--) {
    if ((size_t)(s.data + s.length - at) < what.length ||
        (what.length && memcmp(at, what.data, what.length) != 0))
      continue;
    *out = fg_int((int64_t)fg_code_points((fg_slice){s.data, (size_t)(at - s.data)}));
    break;
  }
  return FG_OK;
}

static fg_status method_count(const fg_call *call, fg_value *out) {
  fg_slice what, rest = call->self.string;
  fg_status status = fg_argument_string(call, 0, "sub", NULL, &what);
  if (status) return status;
  int64_t count = what.length ? 0 : (int64_t)fg_code_points(rest) + 1;
  for (const char *hit; what.length && (hit = search(rest, what)); count++) {
    rest = (fg_slice){hit + what.length, (size_t)(rest.data + rest.length - hit - what.length)};
  }
  *out = fg_int(count);
  return FG_OK;
}

static fg_status all_chars(const fg_call *call, bool (*test)(uint32_t), fg_value *out) {
  fg_slice s = call->self.string;
  bool all = s.length > 0;
  for (const char *at = s.data; at < s.data + s.length && all;) all = test(fg_utf8_take(&at));
  *out = fg_bool(all);
  return FG_OK;
}
static bool is_digit(uint32_t c) {
  return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}
static bool is_letter(uint32_t c) {
  return fg_classify(c) == FG_CHAR_LETTER;
}
static fg_status method_isdigit(const fg_call *call, fg_value *out) {
  return all_chars(call, is_digit, out);
}
static fg_status method_isalpha(const fg_call *call, fg_value *out) {
  return all_chars(call, is_letter, out);
}
static bool is_letter_or_number(uint32_t c) {
  return is_letter(c) || fg_is_number(c);
}
static fg_status method_isalnum(const fg_call *call, fg_value *out) {
  return all_chars(call, is_letter_or_number, out);
}

// Some letter is of this case, and none of the other one.
static fg_status all_of_case(const fg_call *call, bool upper, fg_value *out) {
  fg_slice s = call->self.string;
  bool some = false, other = false;
  for (const char *at = s.data; at < s.data + s.length;) {
    utf8proc_category_t is = utf8proc_category((utf8proc_int32_t)fg_utf8_take(&at));
    some = some || is == (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL);
    other =
        other || is == (upper ? UTF8PROC_CATEGORY_LL : UTF8PROC_CATEGORY_LU) || is == UTF8PROC_CATEGORY_LT;
  }
  *out = fg_bool(some && !other);
  return FG_OK;
}
static fg_status method_isupper(const fg_call *call, fg_value *out) {
  return all_of_case(call, true, out);
}
static fg_status method_islower(const fg_call *call, fg_value *out) {
  return all_of_case(call, false, out);
}
static fg_status method_isspace(const fg_call *call, fg_value *out) {
  return all_chars(call, fg_py_space, out);
}

// ---- strings: changing --------------------------------------------------------------------------------

// Simple case mapping, but for the German sharp s, whose upper case is two letters.
static void put_upper(fg_text *out, uint32_t c) {
  if (c == 0xdf) {
    fg_text_append_string(out, "SS");
  } else {
    fg_utf8_append(out, (uint32_t)utf8proc_toupper((utf8proc_int32_t)c));
  }
}

static void put_lower(fg_text *out, uint32_t c) {
  uint32_t lower[2];
  size_t count = fg_lowercase(c, lower);
  for (size_t i = 0; i < count; i++) fg_utf8_append(out, lower[i]);
}

typedef enum letter_case { CASE_LOWER, CASE_UPPER, CASE_CAPITALIZE, CASE_TITLE } letter_case;

static fg_status change_case(const fg_call *call, letter_case casing, fg_value *out) {
  fg_text text = {0};
  fg_slice s = call->self.string;
  bool starts = true; // a string for capitalize, a word for title
  for (const char *at = s.data; at < s.data + s.length;) {
    uint32_t c = fg_utf8_take(&at);
    bool upper = casing == CASE_UPPER || (casing != CASE_LOWER && starts);
    upper ? put_upper(&text, c) : put_lower(&text, c);
    starts = casing == CASE_TITLE && !is_letter(c);
  }
  return fg_string_take(call->env, &text, out);
}
static fg_status method_lower(const fg_call *call, fg_value *out) {
  return change_case(call, CASE_LOWER, out);
}
static fg_status method_upper(const fg_call *call, fg_value *out) {
  return change_case(call, CASE_UPPER, out);
}
static fg_status method_capitalize(const fg_call *call, fg_value *out) {
  return change_case(call, CASE_CAPITALIZE, out);
}
static fg_status method_title(const fg_call *call, fg_value *out) {
  return change_case(call, CASE_TITLE, out);
}

static fg_status method_replace(const fg_call *call, fg_value *out) {
  fg_slice old, new, rest = call->self.string;
  int64_t most = -1;
  fg_value count = fg_argument(call, 2, "count", fg_none());
  fg_status status = fg_argument_string(call, 0, "old", NULL, &old);
  if (status == FG_OK) status = fg_argument_string(call, 1, "new", NULL, &new);
  if (status == FG_OK && count.kind == FG_VALUE_INT) most = count.integer;
  if (status == FG_OK && old.length == 0) status = fg_jinja_fail(call->env, "replace: nothing to search for");
  if (status) return status;
  fg_text text = {0};
  for (const char *hit; most != 0 && (hit = search(rest, old)); most--) {
    fg_text_append(&text, rest.data, (size_t)(hit - rest.data));
    fg_text_append(&text, new.data, new.length);
    rest = (fg_slice){hit + old.length, (size_t)(rest.data + rest.length - hit - old.length)};
    if (text.length > call->env->arena.limit) break; // refused by the arena below
  }
  fg_text_append(&text, rest.data, rest.length);
  return fg_string_take(call->env, &text, out);
}

static fg_status remove_affix(const fg_call *call, bool at_end, fg_value *out) {
  fg_slice affix, s = call->self.string;
  fg_value holds;
  fg_status status = fg_argument_string(call, 0, "prefix", NULL, &affix);
  if (status == FG_OK) status = matches_any(call, at_end, &holds);
  if (status) return status;
  size_t cut = holds.boolean ? affix.length : 0;
  *out = fg_string((fg_slice){s.data + (at_end ? 0 : cut), s.length - cut});
  return FG_OK;
}
static fg_status method_removeprefix(const fg_call *call, fg_value *out) {
  return remove_affix(call, false, out);
}
static fg_status method_removesuffix(const fg_call *call, fg_value *out) {
  return remove_affix(call, true, out);
}

static fg_status method_join(const fg_call *call, fg_value *out) {
  fg_list *list;
  fg_text text = {0};
  fg_status status = fg_value_iterate(call->env, fg_argument(call, 0, "iterable", fg_none()), &list);
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    if (list->items[i].kind != FG_VALUE_STRING) {
      status =
          fg_jinja_fail(call->env, "join: item %zu is a %s, not a string", i, fg_value_type(list->items[i]));
      break;
    }
    if (i) fg_text_append(&text, call->self.string.data, call->self.string.length);
    fg_text_append(&text, list->items[i].string.data, list->items[i].string.length);
  }
  if (status == FG_OK) return fg_string_take(call->env, &text, out);
  fg_text_free(&text);
  return status;
}

// ---- dictionaries and lists ---------------------------------------------------------------------------

static fg_status method_keys(const fg_call *call, fg_value *out) {
  *out = (fg_value){.kind = FG_VALUE_LIST, .list = &call->self.dict->keys};
  return FG_OK;
}

static fg_status method_values(const fg_call *call, fg_value *out) {
  *out = (fg_value){.kind = FG_VALUE_LIST, .list = &call->self.dict->values};
  return FG_OK;
}

static fg_status method_items(const fg_call *call, fg_value *out) {
  const fg_dict *dict = call->self.dict;
  fg_status status = fg_list_new(call->env, dict->keys.count, out);
  for (size_t i = 0; i < dict->keys.count && status == FG_OK; i++) {
    fg_value pair;
    status = fg_list_new(call->env, 2, &pair);
    if (status) return status;
    pair.list->tuple = true;
    status = fg_list_push(call->env, pair.list, dict->keys.items[i]);
    if (status == FG_OK) status = fg_list_push(call->env, pair.list, dict->values.items[i]);
    if (status == FG_OK) status = fg_list_push(call->env, out->list, pair);
  }
  return status;
}

static fg_status method_get(const fg_call *call, fg_value *out) {
  const fg_value *value = fg_dict_find(call->env, call->self.dict, fg_argument(call, 0, "key", fg_none()));
  *out = value ? *value : fg_argument(call, 1, "default", fg_none());
  return FG_OK;
}

static fg_status method_index(const fg_call *call, fg_value *out) {
  fg_value what = fg_argument(call, 0, "value", fg_none());
  for (size_t i = 0; i < call->self.list->count; i++) {
    if (!fg_value_equal(call->env, call->self.list->items[i], what)) continue;
    *out = fg_int((int64_t)i);
    return FG_OK;
  }
  return fg_jinja_fail(call->env, "index: the value is not in the list");
}

static fg_status method_list_count(const fg_call *call, fg_value *out) {
  fg_value what = fg_argument(call, 0, "value", fg_none());
  int64_t count = 0;
  for (size_t i = 0; i < call->self.list->count; i++) {
    count += fg_value_equal(call->env, call->self.list->items[i], what);
  }
  *out = fg_int(count);
  return FG_OK;
}

static fg_status method_copy(const fg_call *call, fg_value *out) {
  const fg_dict *from = call->self.dict;
  fg_status status = fg_dict_new(call->env, FG_VALUE_DICT, out);
  for (size_t i = 0; i < from->keys.count && status == FG_OK; i++) {
    status = fg_dict_set(call->env, out->dict, from->keys.items[i], from->values.items[i]);
  }
  return status;
}

typedef struct method_row {
  fg_value_kind kind;
  fg_builtin builtin;
} method_row;
static const method_row methods[] = {
    {FG_VALUE_STRING, {"capitalize", method_capitalize}},
    {FG_VALUE_STRING, {"count", method_count}},
    {FG_VALUE_STRING, {"endswith", method_endswith}},
    {FG_VALUE_STRING, {"find", method_find}},
    {FG_VALUE_STRING, {"index", method_string_index}},
    {FG_VALUE_STRING, {"isalnum", method_isalnum}},
    {FG_VALUE_STRING, {"isalpha", method_isalpha}},
    {FG_VALUE_STRING, {"isdigit", method_isdigit}},
    {FG_VALUE_STRING, {"islower", method_islower}},
    {FG_VALUE_STRING, {"isspace", method_isspace}},
    {FG_VALUE_STRING, {"isupper", method_isupper}},
    {FG_VALUE_STRING, {"join", method_join}},
    {FG_VALUE_STRING, {"lower", method_lower}},
    {FG_VALUE_STRING, {"lstrip", method_lstrip}},
    {FG_VALUE_STRING, {"partition", method_partition}},
    {FG_VALUE_STRING, {"removeprefix", method_removeprefix}},
    {FG_VALUE_STRING, {"removesuffix", method_removesuffix}},
    {FG_VALUE_STRING, {"replace", method_replace}},
    {FG_VALUE_STRING, {"rfind", method_rfind}},
    {FG_VALUE_STRING, {"rpartition", method_rpartition}},
    {FG_VALUE_STRING, {"rsplit", method_rsplit}},
    {FG_VALUE_STRING, {"rstrip", method_rstrip}},
    {FG_VALUE_STRING, {"split", method_split}},
    {FG_VALUE_STRING, {"splitlines", method_splitlines}},
    {FG_VALUE_STRING, {"startswith", method_startswith}},
    {FG_VALUE_STRING, {"strip", method_strip}},
    {FG_VALUE_STRING, {"title", method_title}},
    {FG_VALUE_STRING, {"upper", method_upper}},
    {FG_VALUE_DICT, {"copy", method_copy}},
    {FG_VALUE_DICT, {"get", method_get}},
    {FG_VALUE_DICT, {"items", method_items}},
    {FG_VALUE_DICT, {"keys", method_keys}},
    {FG_VALUE_DICT, {"values", method_values}},
    {FG_VALUE_LIST, {"count", method_list_count}},
    {FG_VALUE_LIST, {"index", method_index}},
};

const fg_builtin *fg_method_find(fg_value_kind kind, fg_slice name) {
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    if (methods[i].kind == kind && fg_slice_is(name, methods[i].builtin.name)) return &methods[i].builtin;
  }
  return NULL;
}

bool fg_method_exists(fg_slice name) {
  return fg_method_find(FG_VALUE_STRING, name) || fg_method_find(FG_VALUE_DICT, name) ||
         fg_method_find(FG_VALUE_LIST, name);
}

// ---- functions ----------------------------------------------------------------------------------------

static fg_status raise_exception(const fg_call *call, fg_value *out) {
  fg_slice message = {0};
  fg_status status = fg_value_to_string(call->env, fg_argument(call, 0, "message", fg_none()), &message);
  *out = fg_none();
  return status ? status : fg_fail(call->env->err, FG_INVALID, "%.*s", (int)message.length, message.data);
}

static fg_status strftime_now(const fg_call *call, fg_value *out) {
  fg_slice format;
  char pattern[128], text[512];
  struct tm now;
  time_t seconds = time(NULL);
  fg_status status = fg_argument_string(call, 0, "format", NULL, &format);
  if (status) return status;
  if (format.length >= sizeof pattern || !localtime_r(&seconds, &now)) {
    return fg_jinja_fail(call->env, "strftime_now: a format of %zu bytes", format.length);
  }
  memcpy(pattern, format.data, format.length);
  pattern[format.length] = 0;
  fg_text copy = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // the template's own format; the buffer is bounded
  fg_text_append(&copy, text, strftime(text, sizeof text, pattern, &now));
#pragma GCC diagnostic pop
  return fg_string_take(call->env, &copy, out);
}

static fg_status namespace_or_dict(const fg_call *call, fg_value_kind kind, fg_value *out) {
  fg_status status = fg_dict_new(call->env, kind, out);
  size_t positional = call->count - call->keyword_count;
  if (status == FG_OK && positional > 0) {
    if (positional > 1 || !fg_is_dict(call->args[0]))
      return fg_jinja_fail(call->env, "%s: expected a dict", call->name);
    const fg_dict *from = call->args[0].dict;
    for (size_t i = 0; i < from->keys.count && status == FG_OK; i++) {
      status = fg_dict_set(call->env, out->dict, from->keys.items[i], from->values.items[i]);
    }
  }
  for (size_t i = 0; i < call->keyword_count && status == FG_OK; i++) {
    status = fg_dict_set(call->env, out->dict, fg_string(call->keywords[i]), call->args[positional + i]);
  }
  return status;
}
static fg_status new_namespace(const fg_call *call, fg_value *out) {
  return namespace_or_dict(call, FG_VALUE_NAMESPACE, out);
}
static fg_status new_dict(const fg_call *call, fg_value *out) {
  return namespace_or_dict(call, FG_VALUE_DICT, out);
}

static fg_status range(const fg_call *call, fg_value *out) {
  int64_t start = 0, stop, step;
  bool one = call->count < 2;
  fg_status status = fg_argument_int(call, one ? 0 : 1, "stop", 0, &stop);
  if (status == FG_OK && !one) status = fg_argument_int(call, 0, "start", 0, &start);
  if (status == FG_OK) status = fg_argument_int(call, 2, "step", 1, &step);
  if (status == FG_OK) status = fg_list_new(call->env, 0, out);
  if (status) return status;
  if (step == 0) return fg_jinja_fail(call->env, "range: a step of 0");
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (out->list->count == RANGE_MAX)
      return fg_jinja_fail(call->env, "range: more than %d numbers", RANGE_MAX);
    status = fg_list_push(call->env, out->list, fg_int(i));
    if (status || __builtin_add_overflow(i, step, &i)) break;
  }
  return status;
}

static const fg_builtin globals[] = {
    {"dict", new_dict}, {"namespace", new_namespace},   {"raise_exception", raise_exception},
    {"range", range},   {"strftime_now", strftime_now},
};

const fg_builtin *fg_global_find(fg_slice name) {
  for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
    if (fg_slice_is(name, globals[i].name)) return &globals[i];
  }
  return NULL;
}
