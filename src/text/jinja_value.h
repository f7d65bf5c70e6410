// jinja_value.h: the values that a template computes with, and the memory they live in.
//
// Values behave as Python's do where a template can see it: truth, equality, printing, code points as
// the unit of strings. All memory of one rendering (and of one parsed template) comes from an arena
// with a limit and goes at once; strings are slices that nobody owns.
#ifndef FG_TEXT_JINJA_VALUE_H
#define FG_TEXT_JINJA_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "text/unicode.h"

typedef struct fg_arena_block fg_arena_block;
typedef struct fg_arena {
  fg_arena_block *blocks;
  size_t used, limit; // bytes
} fg_arena;

void *fg_arena_alloc(fg_arena *arena, size_t bytes); // zeroed; NULL at the limit
void fg_arena_free(fg_arena *arena);

typedef enum fg_value_kind {
  FG_VALUE_UNDEFINED,
  FG_VALUE_NONE,
  FG_VALUE_BOOL,
  FG_VALUE_INT,
  FG_VALUE_FLOAT,
  FG_VALUE_STRING,
  FG_VALUE_LIST,
  FG_VALUE_DICT,
  FG_VALUE_NAMESPACE, // a dictionary whose members a template may set
  FG_VALUE_FUNCTION,
  FG_VALUE_MACRO,
} fg_value_kind;

typedef struct fg_value fg_value;
typedef struct fg_list fg_list;
typedef struct fg_dict fg_dict;
typedef struct fg_function fg_function;
typedef struct fg_macro fg_macro;

struct fg_value {
  fg_value_kind kind;
  union {
    bool boolean;
    int64_t integer;
    double real;
    fg_slice string; // of undefined: the name that has no value
    fg_list *list;
    fg_dict *dict;
    const fg_function *function;
    const fg_macro *macro;
  };
};

struct fg_list {
  fg_value *items;
  size_t count, capacity;
  bool tuple; // prints in parentheses
};

// In order of insertion.
struct fg_dict {
  fg_list keys, values;
};

// One rendering.
typedef struct fg_jinja_env {
  fg_arena arena;
  fg_error *err;
  uint32_t line;       // of the node at hand, for messages
  uint64_t steps_left; // of work
  int depth;           // of evaluation
} fg_jinja_env;

// FG_INVALID with the line in front of the message.
fg_status fg_jinja_fail(fg_jinja_env *env, const char *format, ...) __attribute__((format(printf, 2, 3)));
fg_status fg_jinja_no_memory(fg_jinja_env *env);
// Charges work that grows with `steps`.
fg_status fg_jinja_charge(fg_jinja_env *env, size_t steps);

static inline fg_slice fg_slice_of(const char *text) {
  return (fg_slice){text, __builtin_strlen(text)};
}
bool fg_slice_equal(fg_slice a, fg_slice b);
static inline bool fg_slice_is(fg_slice a, const char *text) {
  return fg_slice_equal(a, fg_slice_of(text));
}

static inline fg_value fg_none(void) {
  return (fg_value){.kind = FG_VALUE_NONE};
}
static inline fg_value fg_undefined(fg_slice name) {
  return (fg_value){.kind = FG_VALUE_UNDEFINED, .string = name};
}
static inline fg_value fg_bool(bool b) {
  return (fg_value){.kind = FG_VALUE_BOOL, .boolean = b};
}
static inline fg_value fg_int(int64_t i) {
  return (fg_value){.kind = FG_VALUE_INT, .integer = i};
}
static inline fg_value fg_float(double d) {
  return (fg_value){.kind = FG_VALUE_FLOAT, .real = d};
}
static inline fg_value fg_string(fg_slice s) {
  return (fg_value){.kind = FG_VALUE_STRING, .string = s};
}
static inline bool fg_is_dict(fg_value v) {
  return v.kind == FG_VALUE_DICT || v.kind == FG_VALUE_NAMESPACE;
}

// Copies text into the arena and frees it.
fg_status fg_string_take(fg_jinja_env *env, fg_text *text, fg_value *out);
fg_status fg_list_new(fg_jinja_env *env, size_t capacity, fg_value *out);
fg_status fg_list_push(fg_jinja_env *env, fg_list *list, fg_value item);
fg_status fg_dict_new(fg_jinja_env *env, fg_value_kind kind, fg_value *out);
fg_status fg_dict_set(fg_jinja_env *env, fg_dict *dict, fg_value key, fg_value value);
fg_value *fg_dict_find(fg_jinja_env *env, const fg_dict *dict, fg_value key); // NULL = not there
fg_value *fg_dict_find_name(fg_jinja_env *env, const fg_dict *dict, fg_slice name);
fg_status fg_value_from_json(fg_jinja_env *env, const json_t *json, fg_value *out);

bool fg_value_truth(fg_value v);
const char *fg_value_type(fg_value v); // Python's name of the type
bool fg_value_equal(fg_jinja_env *env, fg_value a, fg_value b);
// Numbers with numbers, strings with strings, lists with lists; anything else is an error.
fg_status fg_value_compare(fg_jinja_env *env, fg_value a, fg_value b, int *order);
fg_status fg_value_contains(fg_jinja_env *env, fg_value container, fg_value item, bool *found);
// A list of what a loop over the value sees.
fg_status fg_value_iterate(fg_jinja_env *env, fg_value v, fg_list **out);
fg_status fg_value_length(fg_jinja_env *env, fg_value v, size_t *out);

// str(v) and repr(v).
fg_status fg_value_print(fg_jinja_env *env, fg_value v, fg_text *out);
fg_status fg_value_repr(fg_jinja_env *env, fg_value v, fg_text *out);
fg_status fg_value_to_string(fg_jinja_env *env, fg_value v, fg_slice *out);

// json.dumps. indent < 0 = on one line.
typedef struct fg_json_style {
  bool ensure_ascii, sort_keys;
  int indent;
  fg_slice item_separator, key_separator;
} fg_json_style;
fg_status fg_value_to_json(fg_jinja_env *env, fg_value v, const fg_json_style *style, int level,
                           fg_text *out);

// Python's notion of white space, and the number of code points.
bool fg_py_space(uint32_t c);
fg_slice fg_py_strip(fg_slice s, bool left, bool right);
size_t fg_code_points(fg_slice s);

#endif
