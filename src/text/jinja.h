// jinja.h: the subset of Jinja that chat templates on the Hub are written in.
//
// A template is read once (jinja_lexer.c, jinja_parser.c) into a tree of nodes and then evaluated for
// each list of messages (jinja_eval.c with the tables of filters, tests, methods and functions in
// jinja_filters.c and jinja_methods.c). The environment is that of transformers: trim_blocks,
// lstrip_blocks, break and continue, generation blocks, no HTML escaping. What is not in the subset is
// refused while reading, with its line. Templates come from strangers: nesting, steps, memory and
// output are bounded.
#ifndef FG_TEXT_JINJA_H
#define FG_TEXT_JINJA_H

#include "text/jinja_value.h"

typedef struct fg_template fg_template;

fg_status fg_template_parse(fg_template **out, const char *source, size_t length, fg_error *err);
void fg_template_destroy(fg_template *template);
// `variables` are the template's global names. Appends to `out`.
fg_status fg_template_render(const fg_template *template, const json_t *variables, fg_text *out,
                             fg_error *err);

// ---- tokens (jinja_lexer.c) ---------------------------------------------------------------------------

typedef enum fg_jinja_token_kind {
  FG_LEX_TEXT,
  FG_LEX_OUTPUT_BEGIN, // {{
  FG_LEX_OUTPUT_END,
  FG_LEX_BLOCK_BEGIN, // {%
  FG_LEX_BLOCK_END,
  FG_LEX_NAME,
  FG_LEX_STRING, // text: without quotes and escapes
  FG_LEX_NUMBER, // value: integer or float
  FG_LEX_OPERATOR,
  FG_LEX_END,
} fg_jinja_token_kind;

typedef struct fg_jinja_token {
  fg_jinja_token_kind kind;
  uint32_t line;
  fg_slice text;
  fg_value value;
} fg_jinja_token;

// Tokens and their strings live in the arena; the last one is FG_LEX_END.
fg_status fg_jinja_lex(fg_jinja_env *env, fg_slice source, fg_jinja_token **tokens);

// ---- the tree (jinja_parser.c) ------------------------------------------------------------------------

typedef enum fg_node_kind {
  // expressions
  FG_NODE_CONSTANT, // value
  FG_NODE_NAME,     // name
  FG_NODE_LIST,     // list: items
  FG_NODE_TUPLE,    // list: items
  FG_NODE_DICT,     // list: FG_NODE_PAIR a: b
  FG_NODE_PAIR,
  FG_NODE_ATTRIBUTE, // a.name
  FG_NODE_ITEM,      // a[b]
  FG_NODE_SLICE,     // a[b:c:d], each may be NULL
  FG_NODE_CALL,      // a(list)
  FG_NODE_KEYWORD,   // an argument: name=a
  FG_NODE_FILTER,    // a | name(list)
  FG_NODE_TEST,      // a is name(list)
  FG_NODE_NOT,       // a
  FG_NODE_NEGATE,    // a
  FG_NODE_AND,       // a, b
  FG_NODE_OR,        // a, b
  FG_NODE_BINARY,    // a op b
  FG_NODE_COMPARE,   // a, then list: FG_NODE_OPERAND op a
  FG_NODE_OPERAND,
  FG_NODE_CONDITION, // b if a else c (c may be NULL)
  // statements
  FG_NODE_TEXT,      // value
  FG_NODE_OUTPUT,    // a
  FG_NODE_IF,        // a: list, else: orelse
  FG_NODE_FOR,       // b in a if c: list, else: orelse
  FG_NODE_SET,       // b = a
  FG_NODE_SET_BLOCK, // b = text of list
  FG_NODE_MACRO,     // name, params: FG_NODE_KEYWORD with a = default or NULL; list: body
  FG_NODE_SCOPE,     // list, with names of its own
  FG_NODE_BREAK,
  FG_NODE_CONTINUE,
} fg_node_kind;

typedef enum fg_jinja_op {
  FG_OP_ADD,
  FG_OP_SUBTRACT,
  FG_OP_MULTIPLY,
  FG_OP_DIVIDE,
  FG_OP_FLOOR_DIVIDE,
  FG_OP_MODULO,
  FG_OP_POWER,
  FG_OP_CONCATENATE,
  FG_OP_EQUAL,
  FG_OP_UNEQUAL,
  FG_OP_LESS,
  FG_OP_LESS_EQUAL,
  FG_OP_GREATER,
  FG_OP_GREATER_EQUAL,
  FG_OP_IN,
  FG_OP_NOT_IN,
} fg_jinja_op;

typedef struct fg_builtin fg_builtin;

typedef struct fg_node fg_node;
struct fg_node {
  fg_node_kind kind;
  fg_jinja_op op;
  uint32_t line;
  fg_slice name;
  fg_value value;
  fg_node *a, *b, *c, *d;
  fg_node *list, *orelse, *params;
  fg_node *next;             // in the list that holds this node
  const fg_builtin *builtin; // of a filter or test
};

// ---- filters, tests, methods, functions ---------------------------------------------------------------

typedef struct fg_call {
  fg_jinja_env *env;
  const char *name; // of what is called, for messages
  fg_value self;    // what a filter or test is applied to, or whose method this is
  const fg_value *args;
  size_t count;
  const fg_slice *keywords; // names of the last `keyword_count` args
  size_t keyword_count;
} fg_call;

typedef fg_status fg_builtin_run(const fg_call *call, fg_value *out);
struct fg_builtin {
  const char *name;
  fg_builtin_run *run;
};

struct fg_function { // FG_VALUE_FUNCTION: a function, or a method with its object
  const fg_builtin *builtin;
  fg_value self;
};

const fg_builtin *fg_filter_find(fg_slice name);
const fg_builtin *fg_test_find(fg_slice name);
const fg_builtin *fg_global_find(fg_slice name);
bool fg_method_exists(fg_slice name);                                // of any type
const fg_builtin *fg_method_find(fg_value_kind kind, fg_slice name); // NULL = this type has none

// An argument by position or keyword; `fallback` if it is not given.
fg_value fg_argument(const fg_call *call, size_t index, const char *keyword, fg_value fallback);
// The same as a string; an error if it is something else.
fg_status fg_argument_string(const fg_call *call, size_t index, const char *keyword, const char *fallback,
                             fg_slice *out);
fg_status fg_argument_int(const fg_call *call, size_t index, const char *keyword, int64_t fallback,
                          int64_t *out);
// v.name as templates see it: a member, or a method.
fg_status fg_value_attribute(fg_jinja_env *env, fg_value v, fg_slice name, fg_value *out);
fg_status fg_value_item(fg_jinja_env *env, fg_value v, fg_value key, fg_value *out);
fg_status fg_value_add(fg_jinja_env *env, fg_value a, fg_value b, fg_value *out); // a + b

#endif
