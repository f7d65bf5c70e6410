#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"
#include "text/jinja_template.h"

enum { DEPTH_MAX = 100, SOURCE_MAX = 1 << 20, ARENA_MAX = 256 << 20 };

typedef struct parser {
  fg_jinja_env *env;
  const fg_jinja_token *at;
  int depth, loops; // nesting of everything; of loops, for break and continue
  fg_list names;    // that the template gives values to
} parser;

typedef struct chain { // a list of nodes in the making
  fg_node *first, **last;
} chain;

static void link_node(chain *list, fg_node *node) {
  if (!list->last) list->last = &list->first;
  *list->last = node;
  list->last = &node->next;
}

static fg_status expression(parser *p, fg_node **out);
static fg_status or_expression(parser *p, fg_node **out);
static fg_status unary(parser *p, bool filters, fg_node **out);
static fg_status body(parser *p, const char *const *ends, fg_node **out);

// ---- tokens -------------------------------------------------------------------------------------------

static fg_status make(parser *p, fg_node_kind kind, fg_node **out) {
  *out = fg_arena_alloc(&p->env->arena, sizeof **out);
  if (!*out) return fg_jinja_no_memory(p->env);
  (*out)->kind = kind;
  (*out)->line = p->env->line = p->at->line;
  return FG_OK;
}

static bool is_op(const parser *p, const char *text) {
  return p->at->kind == FG_LEX_OPERATOR && fg_slice_is(p->at->text, text);
}

static bool is_word(const parser *p, const char *text) {
  return p->at->kind == FG_LEX_NAME && fg_slice_is(p->at->text, text);
}

static bool take_op(parser *p, const char *text) {
  if (!is_op(p, text)) return false;
  p->at++;
  return true;
}

static bool take_word(parser *p, const char *text) {
  if (!is_word(p, text)) return false;
  p->at++;
  return true;
}

static fg_status unexpected(parser *p, const char *wanted) {
  static const char *const kinds[] = {"text", "{{", "}}", "{%", "the end of the tag"};
  const fg_jinja_token *t = p->at;
  fg_slice seen = t->text.length          ? t->text
                  : t->kind == FG_LEX_END ? fg_slice_of("the end")
                                          : fg_slice_of(t->kind <= FG_LEX_BLOCK_END ? kinds[t->kind] : "''");
  p->env->line = t->line;
  return fg_jinja_fail(p->env, "expected %s, found %.*s", wanted, seen.length < 60 ? (int)seen.length : 60,
                       seen.data);
}

static fg_status want_op(parser *p, const char *text) {
  return take_op(p, text) ? FG_OK : unexpected(p, text);
}

static fg_status want_name(parser *p, fg_slice *out) {
  if (p->at->kind != FG_LEX_NAME) return unexpected(p, "a name");
  *out = (p->at++)->text;
  return FG_OK;
}

static fg_status want_block_end(parser *p) {
  if (p->at->kind != FG_LEX_BLOCK_END) return unexpected(p, "%}");
  p->at++;
  return FG_OK;
}

static fg_status enter(parser *p) {
  if (++p->depth <= DEPTH_MAX) return FG_OK;
  p->env->line = p->at->line;
  return fg_jinja_fail(p->env, "nested more than %d deep", DEPTH_MAX);
}

static fg_status assigned(parser *p, fg_slice name) {
  return fg_list_push(p->env, &p->names, fg_string(name));
}

static bool is_assigned(const parser *p, fg_slice name) {
  for (size_t i = 0; i < p->names.count; i++) {
    if (fg_slice_equal(p->names.items[i].string, name)) return true;
  }
  return false;
}

// ---- primaries ----------------------------------------------------------------------------------------

static fg_status items(parser *p, const char *close, fg_node **out, bool *comma) {
  chain list = {0};
  fg_status status = FG_OK;
  *comma = false;
  while (status == FG_OK && !is_op(p, close)) {
    fg_node *item;
    status = expression(p, &item);
    if (status) break;
    link_node(&list, item);
    if (!take_op(p, ",")) break;
    *comma = true;
  }
  *out = list.first;
  return status ? status : want_op(p, close);
}

static fg_status dictionary(parser *p, fg_node *node) {
  chain list = {0};
  fg_status status = FG_OK;
  node->kind = FG_NODE_DICT;
  while (status == FG_OK && !is_op(p, "}")) {
    fg_node *pair;
    status = make(p, FG_NODE_PAIR, &pair);
    if (status == FG_OK) status = expression(p, &pair->a);
    if (status == FG_OK) status = want_op(p, ":");
    if (status == FG_OK) status = expression(p, &pair->b);
    if (status) break;
    link_node(&list, pair);
    if (!take_op(p, ",")) break;
  }
  node->list = list.first;
  return status ? status : want_op(p, "}");
}

static fg_status parenthesis(parser *p, fg_node **out) {
  fg_node *node = *out;
  bool comma;
  fg_status status = items(p, ")", &node->list, &comma);
  node->kind = FG_NODE_TUPLE;
  if (status == FG_OK && !comma && node->list) *out = node->list; // just an expression in brackets
  return status;
}

static bool constant_word(fg_slice name, fg_value *out) {
  static const struct {
    const char *word;
    fg_value value;
  } words[] = {
      {"true", {.kind = FG_VALUE_BOOL, .boolean = true}},
      {"True", {.kind = FG_VALUE_BOOL, .boolean = true}},
      {"false", {.kind = FG_VALUE_BOOL, .boolean = false}},
      {"False", {.kind = FG_VALUE_BOOL, .boolean = false}},
      {"none", {.kind = FG_VALUE_NONE}},
      {"None", {.kind = FG_VALUE_NONE}},
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (!fg_slice_is(name, words[i].word)) continue;
    *out = words[i].value;
    return true;
  }
  return false;
}

// Strings side by side are one string.
static fg_status strings(parser *p, fg_node *node) {
  fg_text text = {0};
  for (; p->at->kind == FG_LEX_STRING; p->at++) fg_text_append(&text, p->at->text.data, p->at->text.length);
  return fg_string_take(p->env, &text, &node->value);
}

static fg_status primary(parser *p, fg_node **out) {
  fg_status status = make(p, FG_NODE_CONSTANT, out);
  if (status) return status;
  fg_node *node = *out;
  if (p->at->kind == FG_LEX_STRING) return strings(p, node);
  if (p->at->kind == FG_LEX_NUMBER) {
    node->value = (p->at++)->value;
    return FG_OK;
  }
  if (p->at->kind == FG_LEX_NAME) {
    node->name = (p->at++)->text;
    if (!constant_word(node->name, &node->value)) node->kind = FG_NODE_NAME;
    return FG_OK;
  }
  if (take_op(p, "(")) return parenthesis(p, out);
  if (take_op(p, "{")) return dictionary(p, node);
  bool comma;
  node->kind = FG_NODE_LIST;
  return take_op(p, "[") ? items(p, "]", &node->list, &comma) : unexpected(p, "an expression");
}

// ---- what follows a primary ---------------------------------------------------------------------------

static fg_status arguments(parser *p, fg_node **out) {
  chain list = {0};
  fg_status status = FG_OK;
  bool keyword = false;
  while (status == FG_OK && !is_op(p, ")")) {
    fg_node *argument;
    bool named =
        p->at->kind == FG_LEX_NAME && p->at[1].kind == FG_LEX_OPERATOR && fg_slice_is(p->at[1].text, "=");
    if (!named && keyword) return unexpected(p, "a keyword argument");
    keyword = named;
    if (named) {
      status = make(p, FG_NODE_KEYWORD, &argument);
      if (status == FG_OK) argument->name = p->at->text;
      p->at += 2;
      if (status == FG_OK) status = expression(p, &argument->a);
    } else {
      status = expression(p, &argument);
    }
    if (status) break;
    link_node(&list, argument);
    if (!take_op(p, ",")) break;
  }
  *out = list.first;
  return status ? status : want_op(p, ")");
}

static fg_status subscript(parser *p, fg_node *node) {
  fg_status status = FG_OK;
  node->kind = FG_NODE_ITEM;
  if (!is_op(p, ":")) status = expression(p, &node->b);
  if (status == FG_OK && take_op(p, ":")) {
    node->kind = FG_NODE_SLICE;
    if (!is_op(p, ":") && !is_op(p, "]")) status = expression(p, &node->c);
    if (status == FG_OK && take_op(p, ":") && !is_op(p, "]")) status = expression(p, &node->d);
  }
  return status ? status : want_op(p, "]");
}

// Who is called must be known: a method of some type, a function, or a name that the template assigns.
static fg_status check_callee(parser *p, const fg_node *callee) {
  bool method =
      callee->kind == FG_NODE_ATTRIBUTE && (fg_method_exists(callee->name) || is_assigned(p, callee->name));
  bool function =
      callee->kind == FG_NODE_NAME && (fg_global_find(callee->name) || is_assigned(p, callee->name));
  if (method || function) return FG_OK;
  p->env->line = callee->line;
  if (callee->kind != FG_NODE_NAME && callee->kind != FG_NODE_ATTRIBUTE) {
    return fg_jinja_fail(p->env, "a call of something that has no name is not supported");
  }
  return fg_jinja_fail(p->env, "%s \"%.*s\" is not supported",
                       callee->kind == FG_NODE_NAME ? "function" : "method", (int)callee->name.length,
                       callee->name.data);
}

static fg_status postfix(parser *p, fg_node **node) {
  fg_status status = FG_OK;
  while (status == FG_OK && (is_op(p, ".") || is_op(p, "[") || is_op(p, "("))) {
    fg_node *outer;
    status = make(p, FG_NODE_ATTRIBUTE, &outer);
    if (status) return status;
    outer->a = *node;
    if (take_op(p, ".")) {
      if (p->at->kind == FG_LEX_NUMBER && p->at->value.kind == FG_VALUE_INT) {
        status = make(p, FG_NODE_CONSTANT, &outer->b);
        outer->kind = FG_NODE_ITEM;
        if (status == FG_OK) outer->b->value = (p->at++)->value;
      } else {
        status = want_name(p, &outer->name);
      }
    } else if (take_op(p, "[")) {
      status = subscript(p, outer);
    } else {
      p->at++;
      outer->kind = FG_NODE_CALL;
      status = check_callee(p, *node);
      if (status == FG_OK) status = arguments(p, &outer->list);
    }
    *node = outer;
  }
  return status;
}

static fg_status not_supported(parser *p, const char *what, fg_slice name) {
  return fg_jinja_fail(p->env, "%s \"%.*s\" is not supported", what, name.length < 60 ? (int)name.length : 60,
                       name.data);
}

static fg_status filter(parser *p, fg_node **node) {
  fg_node *outer;
  fg_status status = make(p, FG_NODE_FILTER, &outer);
  if (status == FG_OK) status = want_name(p, &outer->name);
  if (status) return status;
  p->env->line = outer->line;
  outer->a = *node;
  outer->builtin = fg_filter_find(outer->name);
  if (!outer->builtin) return not_supported(p, "filter", outer->name);
  *node = outer;
  return take_op(p, "(") ? arguments(p, &outer->list) : FG_OK;
}

// Whether a test's single argument may start here without brackets.
static bool starts_argument(const parser *p) {
  if (p->at->kind == FG_LEX_STRING || p->at->kind == FG_LEX_NUMBER) return true;
  if (p->at->kind == FG_LEX_NAME) {
    return !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and") && !is_word(p, "is") &&
           !is_word(p, "if") && !is_word(p, "in") && !is_word(p, "not");
  }
  return is_op(p, "[") || is_op(p, "{");
}

static fg_status test(parser *p, fg_node **node) {
  fg_node *outer, *negated;
  bool negate = take_word(p, "not");
  fg_status status = make(p, FG_NODE_TEST, &outer);
  if (status == FG_OK) status = want_name(p, &outer->name);
  if (status) return status;
  p->env->line = outer->line;
  outer->a = *node;
  outer->builtin = fg_test_find(outer->name);
  if (!outer->builtin) return not_supported(p, "test", outer->name);
  if (take_op(p, "(")) {
    status = arguments(p, &outer->list);
  } else if (starts_argument(p)) {
    status = primary(p, &outer->list);
    if (status == FG_OK) status = postfix(p, &outer->list);
  }
  *node = outer;
  if (status || !negate) return status;
  status = make(p, FG_NODE_NOT, &negated);
  if (status == FG_OK) negated->a = outer;
  *node = negated;
  return status;
}

static fg_status filters_and_tests(parser *p, fg_node **node) {
  fg_status status = FG_OK;
  while (status == FG_OK) {
    if (take_op(p, "|")) {
      status = filter(p, node);
    } else if (take_word(p, "is")) {
      status = test(p, node);
    } else if (is_op(p, "(")) { // what a filter gives is called: no template does that
      return unexpected(p, "an operator");
    } else {
      break;
    }
  }
  return status;
}

// ---- operators ----------------------------------------------------------------------------------------

typedef struct operator_row {
  const char *text;
  fg_jinja_op op;
} operator_row;
static const operator_row sums[] = {{"+", FG_OP_ADD}, {"-", FG_OP_SUBTRACT}, {NULL, 0}};
static const operator_row joins[] = {{"~", FG_OP_CONCATENATE}, {NULL, 0}};
static const operator_row products[] = {
    {"*", FG_OP_MULTIPLY}, {"/", FG_OP_DIVIDE}, {"//", FG_OP_FLOOR_DIVIDE}, {"%", FG_OP_MODULO}, {NULL, 0}};
static const operator_row powers[] = {{"**", FG_OP_POWER}, {NULL, 0}};
static const operator_row *const levels[] = {sums, joins, products, powers};
enum { LEVEL_COUNT = sizeof levels / sizeof *levels };

static const operator_row *take_operator(parser *p, const operator_row *rows) {
  for (; rows->text; rows++) {
    if (take_op(p, rows->text)) return rows;
  }
  return NULL;
}

static fg_status binary(parser *p, size_t level, fg_node **out) {
  if (level == LEVEL_COUNT) return unary(p, true, out);
  fg_status status = binary(p, level + 1, out);
  const operator_row *row;
  for (int count = 0; status == FG_OK && (row = take_operator(p, levels[level])) != NULL; count++) {
    fg_node *node;
    if (count == 4 * DEPTH_MAX)
      return fg_jinja_fail(p->env, "more than %d operators in a row", 4 * DEPTH_MAX);
    status = make(p, FG_NODE_BINARY, &node);
    if (status) return status;
    node->op = row->op;
    node->a = *out;
    *out = node;
    status = binary(p, level + 1, &node->b);
  }
  return status;
}

static fg_status unary(parser *p, bool filters, fg_node **out) {
  fg_status status = enter(p);
  if (status) return status;
  if (is_op(p, "-") || is_op(p, "+")) {
    bool minus = is_op(p, "-");
    status = make(p, FG_NODE_NEGATE, out);
    p->at++;
    if (status == FG_OK) status = unary(p, false, minus ? &(*out)->a : out);
  } else {
    status = primary(p, out);
    if (status == FG_OK) status = postfix(p, out);
  }
  if (status == FG_OK && filters) status = filters_and_tests(p, out);
  p->depth--;
  return status;
}

static const operator_row *take_comparison(parser *p) {
  static const operator_row rows[] = {{"==", FG_OP_EQUAL},
                                      {"!=", FG_OP_UNEQUAL},
                                      {"<=", FG_OP_LESS_EQUAL},
                                      {">=", FG_OP_GREATER_EQUAL},
                                      {"<", FG_OP_LESS},
                                      {">", FG_OP_GREATER},
                                      {NULL, 0}};
  static const operator_row in = {"in", FG_OP_IN}, not_in = {"not in", FG_OP_NOT_IN};
  if (take_word(p, "in")) return &in;
  if (is_word(p, "not") && p->at[1].kind == FG_LEX_NAME && fg_slice_is(p->at[1].text, "in")) {
    p->at += 2;
    return &not_in;
  }
  return take_operator(p, rows);
}

static fg_status comparison(parser *p, fg_node **out) {
  fg_status status = binary(p, 0, out);
  const operator_row *row;
  chain list = {0};
  fg_node *compare = NULL;
  while (status == FG_OK && (row = take_comparison(p)) != NULL) {
    fg_node *operand;
    if (!compare) {
      status = make(p, FG_NODE_COMPARE, &compare);
      if (status) return status;
      compare->a = *out;
      *out = compare;
    }
    status = make(p, FG_NODE_OPERAND, &operand);
    if (status) return status;
    operand->op = row->op;
    status = binary(p, 0, &operand->a);
    link_node(&list, operand);
  }
  if (compare) compare->list = list.first;
  return status;
}

static fg_status not_expression(parser *p, fg_node **out) {
  if (!is_word(p, "not")) return comparison(p, out);
  fg_status status = enter(p);
  if (status == FG_OK) status = make(p, FG_NODE_NOT, out);
  p->at++;
  if (status == FG_OK) status = not_expression(p, &(*out)->a);
  p->depth--;
  return status;
}

static fg_status logical(parser *p, const char *word, fg_node_kind kind,
                         fg_status (*inner)(parser *, fg_node **), fg_node **out) {
  fg_status status = inner(p, out);
  for (int count = 0; status == FG_OK && take_word(p, word); count++) {
    fg_node *node;
    if (count == 4 * DEPTH_MAX)
      return fg_jinja_fail(p->env, "more than %d operators in a row", 4 * DEPTH_MAX);
    status = make(p, kind, &node);
    if (status) return status;
    node->a = *out;
    *out = node;
    status = inner(p, &node->b);
  }
  return status;
}

static fg_status and_expression(parser *p, fg_node **out) {
  return logical(p, "and", FG_NODE_AND, not_expression, out);
}

static fg_status or_expression(parser *p, fg_node **out) {
  return logical(p, "or", FG_NODE_OR, and_expression, out);
}

static fg_status expression(parser *p, fg_node **out) {
  fg_status status = enter(p);
  if (status == FG_OK) status = or_expression(p, out);
  while (status == FG_OK && take_word(p, "if")) {
    fg_node *node;
    status = make(p, FG_NODE_CONDITION, &node);
    if (status) return status;
    node->b = *out;
    *out = node;
    status = or_expression(p, &node->a);
    if (status == FG_OK && take_word(p, "else")) status = expression(p, &node->c);
  }
  p->depth--;
  return status;
}

// Expressions with commas between: a tuple if there is a comma.
static fg_status tuple(parser *p, fg_status (*inner)(parser *, fg_node **), fg_node **out) {
  fg_status status = inner(p, out);
  if (status || !is_op(p, ",")) return status;
  fg_node *node;
  chain list = {0};
  status = make(p, FG_NODE_TUPLE, &node);
  if (status) return status;
  link_node(&list, *out);
  while (status == FG_OK && take_op(p, ",") && p->at->kind != FG_LEX_BLOCK_END &&
         p->at->kind != FG_LEX_OUTPUT_END) {
    fg_node *item;
    status = inner(p, &item);
    if (status == FG_OK) link_node(&list, item);
  }
  node->list = list.first;
  *out = node;
  return status;
}

// ---- statements ---------------------------------------------------------------------------------------

// A name, a.name of a namespace (in set only), or several names, in brackets or not.
static fg_status target_one(parser *p, bool attribute, fg_node **out) {
  fg_status status = make(p, FG_NODE_NAME, out);
  if (status == FG_OK) status = want_name(p, &(*out)->name);
  if (status == FG_OK) status = assigned(p, (*out)->name);
  if (status || !attribute || !take_op(p, ".")) return status;
  (*out)->kind = FG_NODE_ATTRIBUTE;
  fg_node *object = *out;
  status = make(p, FG_NODE_ATTRIBUTE, out);
  if (status) return status;
  object->kind = FG_NODE_NAME;
  (*out)->a = object;
  status = want_name(p, &(*out)->name);
  return status ? status : assigned(p, (*out)->name); // a namespace may hold a macro
}

static fg_status target(parser *p, bool attribute, fg_node **out) {
  bool brackets = take_op(p, "(");
  fg_status status = target_one(p, attribute, out);
  if (status == FG_OK && is_op(p, ",")) {
    fg_node *node;
    chain list = {0};
    status = make(p, FG_NODE_TUPLE, &node);
    if (status) return status;
    link_node(&list, *out);
    while (status == FG_OK && take_op(p, ",")) {
      fg_node *item;
      status = target_one(p, false, &item);
      if (status == FG_OK) link_node(&list, item);
    }
    node->list = list.first;
    *out = node;
  }
  return status || !brackets ? status : want_op(p, ")");
}

static bool at_word_tag(const parser *p, const char *word) {
  return p->at->kind == FG_LEX_BLOCK_BEGIN && p->at[1].kind == FG_LEX_NAME &&
         fg_slice_is(p->at[1].text, word);
}

static fg_status close_tag(parser *p) {
  p->at += 2; // {% word, which the body stopped at
  return want_block_end(p);
}

static fg_status if_statement(parser *p, fg_node *node) {
  static const char *const ends[] = {"elif", "else", "endif", NULL};
  for (;;) {
    node->kind = FG_NODE_IF;
    fg_status status = tuple(p, expression, &node->a);
    if (status == FG_OK) status = want_block_end(p);
    if (status == FG_OK) status = body(p, ends, &node->list);
    if (status) return status;
    if (!at_word_tag(p, "elif")) break;
    p->at += 2;
    status = make(p, FG_NODE_IF, &node->orelse);
    if (status) return status;
    node = node->orelse;
  }
  fg_status status = FG_OK;
  if (at_word_tag(p, "else")) {
    status = close_tag(p);
    if (status == FG_OK) status = body(p, ends + 2, &node->orelse);
  }
  return status ? status : close_tag(p);
}

static fg_status for_statement(parser *p, fg_node *node) {
  static const char *const ends[] = {"else", "endfor", NULL};
  node->kind = FG_NODE_FOR;
  fg_status status = target(p, false, &node->b);
  if (status == FG_OK && !take_word(p, "in")) status = unexpected(p, "in");
  if (status == FG_OK) status = tuple(p, or_expression, &node->a);
  if (status == FG_OK && take_word(p, "if")) status = expression(p, &node->c);
  if (status == FG_OK && is_word(p, "recursive"))
    return unexpected(p, "%} (recursive loops are not supported)");
  if (status == FG_OK) status = want_block_end(p);
  p->loops++;
  if (status == FG_OK) status = body(p, ends, &node->list);
  p->loops--;
  if (status == FG_OK && at_word_tag(p, "else")) {
    status = close_tag(p);
    if (status == FG_OK) status = body(p, ends + 1, &node->orelse);
  }
  return status ? status : close_tag(p);
}

static fg_status set_statement(parser *p, fg_node *node) {
  static const char *const ends[] = {"endset", NULL};
  fg_status status = target(p, true, &node->b);
  if (status) return status;
  if (take_op(p, "=")) {
    node->kind = FG_NODE_SET;
    status = tuple(p, expression, &node->a);
    return status ? status : want_block_end(p);
  }
  node->kind = FG_NODE_SET_BLOCK;
  status = want_block_end(p);
  if (status == FG_OK) status = body(p, ends, &node->list);
  return status ? status : close_tag(p);
}

static fg_status macro_statement(parser *p, fg_node *node) {
  static const char *const ends[] = {"endmacro", NULL};
  chain params = {0};
  node->kind = FG_NODE_MACRO;
  fg_status status = want_name(p, &node->name);
  if (status == FG_OK) status = assigned(p, node->name);
  if (status == FG_OK) status = want_op(p, "(");
  while (status == FG_OK && !is_op(p, ")")) {
    fg_node *param;
    status = make(p, FG_NODE_KEYWORD, &param);
    if (status == FG_OK) status = want_name(p, &param->name);
    if (status == FG_OK) status = assigned(p, param->name);
    if (status == FG_OK && take_op(p, "=")) status = expression(p, &param->a);
    if (status) break;
    link_node(&params, param);
    if (!take_op(p, ",")) break;
  }
  node->params = params.first;
  if (status == FG_OK) status = want_op(p, ")");
  if (status == FG_OK) status = want_block_end(p);
  int loops = p->loops;
  p->loops = 0;
  if (status == FG_OK) status = body(p, ends, &node->list);
  p->loops = loops;
  return status ? status : close_tag(p);
}

static fg_status generation_statement(parser *p, fg_node *node) {
  static const char *const ends[] = {"endgeneration", NULL};
  node->kind = FG_NODE_SCOPE;
  fg_status status = want_block_end(p);
  if (status == FG_OK) status = body(p, ends, &node->list);
  return status ? status : close_tag(p);
}

static fg_status loop_control(parser *p, fg_node *node, fg_node_kind kind) {
  node->kind = kind;
  if (p->loops == 0) return unexpected(p, "a loop around break or continue");
  return want_block_end(p);
}
static fg_status break_statement(parser *p, fg_node *node) {
  return loop_control(p, node, FG_NODE_BREAK);
}
static fg_status continue_statement(parser *p, fg_node *node) {
  return loop_control(p, node, FG_NODE_CONTINUE);
}

typedef struct statement_row {
  const char *word;
  fg_status (*parse)(parser *p, fg_node *node);
} statement_row;
static const statement_row statements[] = {
    {"if", if_statement},
    {"for", for_statement},
    {"set", set_statement},
    {"macro", macro_statement},
    {"break", break_statement},
    {"continue", continue_statement},
    {"generation", generation_statement},
};

static fg_status statement(parser *p, fg_node *node) {
  fg_slice word;
  fg_status status = want_name(p, &word);
  if (status) return status;
  for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
    if (fg_slice_is(word, statements[i].word)) return statements[i].parse(p, node);
  }
  p->env->line = node->line;
  return not_supported(p, "statement", word);
}

static fg_status body_item(parser *p, fg_node **out) {
  fg_status status = make(p, FG_NODE_TEXT, out);
  if (status) return status;
  fg_node *node = *out;
  const fg_jinja_token *token = p->at++;
  switch (token->kind) {
  case FG_LEX_TEXT: node->value = fg_string(token->text); return FG_OK;
  case FG_LEX_BLOCK_BEGIN: return statement(p, node);
  default: break;
  }
  node->kind = FG_NODE_OUTPUT;
  status = tuple(p, expression, &node->a);
  if (status) return status;
  if (p->at->kind != FG_LEX_OUTPUT_END) return unexpected(p, "}}");
  p->at++;
  return FG_OK;
}

// Up to a tag whose word is one of `ends`, which is left alone; with no ends, to the template's end.
static fg_status body(parser *p, const char *const *ends, fg_node **out) {
  chain list = {0};
  fg_status status = enter(p);
  while (status == FG_OK) {
    const char *const *end = ends;
    while (*end && !at_word_tag(p, *end)) end++;
    if (*end || (!*ends && p->at->kind == FG_LEX_END)) break;
    if (p->at->kind == FG_LEX_END) status = unexpected(p, *ends);
    fg_node *node;
    if (status == FG_OK) status = body_item(p, &node);
    if (status == FG_OK) link_node(&list, node);
  }
  p->depth--;
  *out = list.first;
  return status;
}

// A macro may be called above the place where it is defined.
static fg_status find_macros(parser *p, const fg_jinja_token *tokens) {
  fg_status status = FG_OK;
  for (const fg_jinja_token *t = tokens; t->kind != FG_LEX_END && status == FG_OK; t++) {
    bool macro = t->kind == FG_LEX_BLOCK_BEGIN && t[1].kind == FG_LEX_NAME && fg_slice_is(t[1].text, "macro");
    if (macro && t[2].kind == FG_LEX_NAME) status = assigned(p, t[2].text);
  }
  return status;
}

fg_status fg_template_parse(fg_template **out, const char *source, size_t length, fg_error *err) {
  static const char *const no_ends[] = {NULL};
  *out = NULL;
  if (length > SOURCE_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "a chat template of %zu bytes (at most %d)", length, SOURCE_MAX);
  }
  fg_template *template = calloc(1, sizeof *template);
  if (!template) return fg_fail(err, FG_NO_SPACE, "out of memory for a chat template");
  fg_jinja_env env = {.arena.limit = ARENA_MAX, .err = err, .steps_left = UINT64_MAX};
  fg_jinja_token *tokens = NULL;
  fg_status status = fg_jinja_lex(&env, (fg_slice){source, length}, &tokens);
  parser p = {.env = &env, .at = tokens};
  if (status == FG_OK) status = find_macros(&p, tokens);
  if (status == FG_OK) status = body(&p, no_ends, &template->body);
  template->arena = env.arena;
  if (status) {
    fg_template_destroy(template);
    return err ? (err->status = FG_UNSUPPORTED) : FG_UNSUPPORTED;
  }
  *out = template;
  return FG_OK;
}

void fg_template_destroy(fg_template *template) {
  if (!template) return;
  fg_arena_free(&template->arena);
  free(template);
}
