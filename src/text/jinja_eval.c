#include <math.h>
#include <string.h>

#include "text/jinja.h"
#include "text/jinja_template.h"
#include "text/unicode.h"

enum {
  DEPTH_MAX = 800, // of evaluation, some 300 bytes of stack each
  ARGUMENTS_MAX = 32,
  STEPS_MAX = 50 * 1000 * 1000, // about a second
  ARENA_MAX = 256 << 20,
  OUTPUT_MAX = 64 << 20,
};

// Names that have values. A loop's body, a macro and a block have a scope of their own.
typedef struct scope scope;
struct scope {
  scope *outer;
  fg_dict *names;
};

struct fg_macro {
  const fg_node *node;
  scope *scope; // where it was defined
};

typedef enum loop_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } loop_flow;

typedef struct evaluator {
  fg_jinja_env env;
  scope *scope;
  fg_text *out;
  size_t out_start;
} evaluator;

static fg_status eval(evaluator *e, const fg_node *node, fg_value *out);
static fg_status exec_list(evaluator *e, const fg_node *node, loop_flow *flow);

// ---- names --------------------------------------------------------------------------------------------

static fg_status push_scope(evaluator *e, scope *outer) {
  scope *s = fg_arena_alloc(&e->env.arena, sizeof *s);
  fg_value names;
  fg_status status = s ? fg_dict_new(&e->env, FG_VALUE_DICT, &names) : fg_jinja_no_memory(&e->env);
  if (status) return status;
  *s = (scope){outer, names.dict};
  e->scope = s;
  return FG_OK;
}

static fg_status function_value(fg_jinja_env *env, const fg_builtin *builtin, fg_value self, fg_value *out) {
  fg_function *function = fg_arena_alloc(&env->arena, sizeof *function);
  if (!function) return fg_jinja_no_memory(env);
  *function = (fg_function){builtin, self};
  *out = (fg_value){.kind = FG_VALUE_FUNCTION, .function = function};
  return FG_OK;
}

static fg_status eval_name(evaluator *e, fg_slice name, fg_value *out) {
  for (const scope *s = e->scope; s; s = s->outer) {
    const fg_value *value = fg_dict_find_name(&e->env, s->names, name);
    if (!value) continue;
    *out = *value;
    return FG_OK;
  }
  const fg_builtin *builtin = fg_global_find(name);
  *out = fg_undefined(name);
  return builtin ? function_value(&e->env, builtin, fg_none(), out) : FG_OK;
}

static fg_status assign(evaluator *e, const fg_node *target, fg_value value) {
  if (target->kind == FG_NODE_NAME) {
    return fg_dict_set(&e->env, e->scope->names, fg_string(target->name), value);
  }
  if (target->kind == FG_NODE_ATTRIBUTE) {
    fg_value object;
    fg_status status = eval(e, target->a, &object);
    if (status) return status;
    if (object.kind != FG_VALUE_NAMESPACE) {
      return fg_jinja_fail(&e->env, "cannot assign an attribute of a %s", fg_value_type(object));
    }
    return fg_dict_set(&e->env, object.dict, fg_string(target->name), value);
  }
  fg_list *items;
  fg_status status = fg_value_iterate(&e->env, value, &items);
  size_t i = 0;
  for (const fg_node *one = target->list; one && status == FG_OK; one = one->next, i++) {
    if (i >= items->count) break;
    status = assign(e, one, items->items[i]);
    if (!one->next && i + 1 == items->count) return status;
  }
  return status ? status : fg_jinja_fail(&e->env, "%zu values for a different number of names", items->count);
}

// ---- operators ----------------------------------------------------------------------------------------

static bool as_number(fg_value v, double *real, int64_t *integer, bool *is_real) {
  *is_real = v.kind == FG_VALUE_FLOAT;
  *integer = v.kind == FG_VALUE_INT ? v.integer : v.kind == FG_VALUE_BOOL ? v.boolean : 0;
  *real = *is_real ? v.real : (double)*integer;
  return *is_real || v.kind == FG_VALUE_INT || v.kind == FG_VALUE_BOOL;
}

static fg_status real_operation(fg_jinja_env *env, fg_jinja_op op, double x, double y, fg_value *out) {
  if ((op == FG_OP_DIVIDE || op == FG_OP_FLOOR_DIVIDE || op == FG_OP_MODULO) && y == 0) {
    return fg_jinja_fail(env, "division by zero");
  }
  double modulo = op == FG_OP_MODULO ? fmod(x, y) : 0;
  if (modulo != 0 && (modulo < 0) != (y < 0)) modulo += y; // Python's modulo has the divisor's sign
  *out = fg_float(op == FG_OP_ADD            ? x + y
                  : op == FG_OP_SUBTRACT     ? x - y
                  : op == FG_OP_MULTIPLY     ? x * y
                  : op == FG_OP_DIVIDE       ? x / y
                  : op == FG_OP_FLOOR_DIVIDE ? floor(x / y)
                  : op == FG_OP_MODULO       ? modulo
                                             : pow(x, y));
  return FG_OK;
}

static bool integer_power(int64_t base, int64_t exponent, int64_t *out) {
  *out = 1;
  for (int64_t i = 0; i < exponent; i++) {
    if (base == 0 || base == 1 || (base == -1 && i >= 2)) break;
    if (__builtin_mul_overflow(*out, base, out)) return false;
  }
  if (base == 0) *out = exponent == 0;
  if (base == -1) *out = exponent % 2 ? -1 : 1;
  return true;
}

static fg_status integer_operation(fg_jinja_env *env, fg_jinja_op op, int64_t x, int64_t y, fg_value *out) {
  int64_t result = 0;
  bool divides = op == FG_OP_FLOOR_DIVIDE || op == FG_OP_MODULO, overflow = false;
  if (divides && y == 0) return fg_jinja_fail(env, "division by zero");
  if (op == FG_OP_DIVIDE || (op == FG_OP_POWER && y < 0))
    return real_operation(env, op, (double)x, (double)y, out);
  if (divides && y == -1) { // the one quotient that may not fit
    overflow = op == FG_OP_FLOOR_DIVIDE && __builtin_sub_overflow((int64_t)0, x, &result);
  } else if (divides) {
    int64_t quotient = x / y, rest = x % y;
    if (rest != 0 && (rest < 0) != (y < 0)) {
      quotient--;
      rest += y;
    }
    result = op == FG_OP_MODULO ? rest : quotient;
  }
  if (op == FG_OP_ADD) overflow = __builtin_add_overflow(x, y, &result);
  if (op == FG_OP_SUBTRACT) overflow = __builtin_sub_overflow(x, y, &result);
  if (op == FG_OP_MULTIPLY) overflow = __builtin_mul_overflow(x, y, &result);
  if (op == FG_OP_POWER) overflow = !integer_power(x, y, &result);
  *out = fg_int(result);
  return overflow ? fg_jinja_fail(env, "a number beyond 64 bits") : FG_OK;
}

static fg_status join_strings(fg_jinja_env *env, fg_slice a, fg_slice b, fg_value *out) {
  char *both = fg_arena_alloc(&env->arena, a.length + b.length + 1);
  if (!both) return fg_jinja_no_memory(env);
  if (a.length) memcpy(both, a.data, a.length);
  if (b.length) memcpy(both + a.length, b.data, b.length);
  *out = fg_string((fg_slice){both, a.length + b.length});
  return FG_OK;
}

static fg_status join_lists(fg_jinja_env *env, const fg_list *a, const fg_list *b, fg_value *out) {
  fg_status status = fg_list_new(env, a->count + b->count, out);
  for (size_t i = 0; i < a->count && status == FG_OK; i++) status = fg_list_push(env, out->list, a->items[i]);
  for (size_t i = 0; i < b->count && status == FG_OK; i++) status = fg_list_push(env, out->list, b->items[i]);
  if (status == FG_OK) out->list->tuple = a->tuple;
  return status;
}

static fg_status repeat_string(fg_jinja_env *env, fg_slice s, int64_t times, fg_value *out) {
  size_t length = 0;
  if (times > 0 && __builtin_mul_overflow(s.length, (size_t)times, &length)) return fg_jinja_no_memory(env);
  char *many = fg_arena_alloc(&env->arena, length + 1);
  if (!many) return fg_jinja_no_memory(env);
  for (size_t at = 0; at < length; at += s.length) memcpy(many + at, s.data, s.length);
  *out = fg_string((fg_slice){many, length});
  return FG_OK;
}

static fg_status operate(fg_jinja_env *env, fg_jinja_op op, fg_value a, fg_value b, fg_value *out) {
  double x, y;
  int64_t i, k;
  bool a_real, b_real;
  if (op == FG_OP_CONCATENATE) {
    fg_slice left, right;
    fg_status status = fg_value_to_string(env, a, &left);
    if (status == FG_OK) status = fg_value_to_string(env, b, &right);
    return status ? status : join_strings(env, left, right, out);
  }
  if (op == FG_OP_ADD && a.kind == FG_VALUE_STRING && b.kind == FG_VALUE_STRING) {
    return join_strings(env, a.string, b.string, out);
  }
  if (op == FG_OP_ADD && a.kind == FG_VALUE_LIST && b.kind == FG_VALUE_LIST)
    return join_lists(env, a.list, b.list, out);
  if (op == FG_OP_MULTIPLY && a.kind == FG_VALUE_STRING && b.kind == FG_VALUE_INT) {
    return repeat_string(env, a.string, b.integer, out);
  }
  if (as_number(a, &x, &i, &a_real) && as_number(b, &y, &k, &b_real)) {
    return a_real || b_real ? real_operation(env, op, x, y, out) : integer_operation(env, op, i, k, out);
  }
  if (a.kind == FG_VALUE_UNDEFINED || b.kind == FG_VALUE_UNDEFINED) {
    fg_slice name = a.kind == FG_VALUE_UNDEFINED ? a.string : b.string;
    return fg_jinja_fail(env, "'%.*s' is undefined", (int)name.length, name.data);
  }
  static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
  return fg_jinja_fail(env, "unsupported operand types for %s: '%s' and '%s'", names[op], fg_value_type(a),
                       fg_value_type(b));
}

fg_status fg_value_add(fg_jinja_env *env, fg_value a, fg_value b, fg_value *out) {
  return operate(env, FG_OP_ADD, a, b, out);
}

static fg_status compare(fg_jinja_env *env, fg_jinja_op op, fg_value a, fg_value b, bool *out) {
  if (op == FG_OP_IN || op == FG_OP_NOT_IN) {
    fg_status status = fg_value_contains(env, b, a, out);
    *out = *out != (op == FG_OP_NOT_IN);
    return status;
  }
  if (op == FG_OP_EQUAL || op == FG_OP_UNEQUAL) {
    *out = fg_value_equal(env, a, b) == (op == FG_OP_EQUAL);
    return FG_OK;
  }
  int order = 0;
  fg_status status = fg_value_compare(env, a, b, &order);
  *out = op == FG_OP_LESS         ? order < 0
         : op == FG_OP_LESS_EQUAL ? order <= 0
         : op == FG_OP_GREATER    ? order > 0
                                  : order >= 0;
  return status;
}

static fg_status eval_compare(evaluator *e, const fg_node *node, fg_value *out) {
  fg_value left, right;
  bool holds = true;
  fg_status status = eval(e, node->a, &left);
  for (const fg_node *operand = node->list; operand && holds && status == FG_OK; operand = operand->next) {
    status = eval(e, operand->a, &right);
    if (status == FG_OK) status = compare(&e->env, operand->op, left, right, &holds);
    left = right;
  }
  *out = fg_bool(holds);
  return status;
}

// ---- calls --------------------------------------------------------------------------------------------

typedef struct arguments {
  fg_value values[ARGUMENTS_MAX];
  fg_slice keywords[ARGUMENTS_MAX];
  size_t count, keyword_count;
} arguments;

static fg_status eval_arguments(evaluator *e, const fg_node *list, arguments *args) {
  args->count = args->keyword_count = 0;
  for (const fg_node *node = list; node; node = node->next) {
    if (args->count == ARGUMENTS_MAX) return fg_jinja_fail(&e->env, "more than %d arguments", ARGUMENTS_MAX);
    bool keyword = node->kind == FG_NODE_KEYWORD;
    if (keyword) args->keywords[args->keyword_count++] = node->name;
    fg_status status = eval(e, keyword ? node->a : node, &args->values[args->count++]);
    if (status) return status;
  }
  return FG_OK;
}

static fg_status run_builtin(evaluator *e, const fg_builtin *builtin, fg_value self, const fg_node *list,
                             fg_value *out) {
  arguments args;
  fg_status status = eval_arguments(e, list, &args);
  fg_call call = {&e->env, builtin->name, self, args.values, args.count, args.keywords, args.keyword_count};
  *out = fg_none();
  return status ? status : builtin->run(&call, out);
}

// The value for one parameter: by position, by keyword, or its default.
static fg_status bind(evaluator *e, const fg_node *param, size_t index, const arguments *args, size_t *used) {
  size_t positional = args->count - args->keyword_count;
  fg_value value = fg_undefined(param->name);
  fg_status status = FG_OK;
  bool given = index < positional;
  if (given) value = args->values[index];
  for (size_t i = 0; i < args->keyword_count; i++) {
    if (!fg_slice_equal(args->keywords[i], param->name)) continue;
    if (given)
      return fg_jinja_fail(&e->env, "two values for parameter \"%.*s\"", (int)param->name.length,
                           param->name.data);
    value = args->values[positional + i];
    given = true;
  }
  *used += given;
  if (!given && param->a) status = eval(e, param->a, &value);
  return status ? status : fg_dict_set(&e->env, e->scope->names, fg_string(param->name), value);
}

// Runs statements into a text of their own.
static fg_status capture(evaluator *e, const fg_node *list, fg_value *out) {
  fg_text text = {0}, *outer = e->out;
  size_t outer_start = e->out_start;
  loop_flow flow = FLOW_ON;
  e->out = &text;
  e->out_start = 0;
  fg_status status = exec_list(e, list, &flow);
  e->out = outer;
  e->out_start = outer_start;
  if (status == FG_OK) return fg_string_take(&e->env, &text, out);
  fg_text_free(&text);
  return status;
}

static fg_status run_macro(evaluator *e, const fg_macro *macro, const fg_node *list, fg_value *out) {
  arguments args;
  scope *outer = e->scope;
  size_t index = 0, used = 0;
  fg_status status = eval_arguments(e, list, &args);
  if (status == FG_OK) status = push_scope(e, macro->scope);
  for (const fg_node *param = macro->node->params; param && status == FG_OK; param = param->next, index++) {
    status = bind(e, param, index, &args, &used);
  }
  if (status == FG_OK && used != args.count) {
    status = fg_jinja_fail(&e->env, "macro \"%.*s\" got arguments that it does not take",
                           (int)macro->node->name.length, macro->node->name.data);
  }
  if (status == FG_OK) status = capture(e, macro->node->list, out);
  e->scope = outer;
  return status;
}

static fg_status eval_call(evaluator *e, const fg_node *node, fg_value *out) {
  fg_value callee;
  fg_status status = eval(e, node->a, &callee);
  e->env.line = node->line;
  if (status) return status;
  if (callee.kind == FG_VALUE_MACRO) return run_macro(e, callee.macro, node->list, out);
  if (callee.kind == FG_VALUE_FUNCTION) {
    return run_builtin(e, callee.function->builtin, callee.function->self, node->list, out);
  }
  fg_slice name = node->a->name;
  if (callee.kind == FG_VALUE_UNDEFINED)
    return fg_jinja_fail(&e->env, "'%.*s' is undefined", (int)name.length, name.data);
  return fg_jinja_fail(&e->env, "'%.*s' is a %s, not a function", (int)name.length, name.data,
                       fg_value_type(callee));
}

// ---- attributes and slices ----------------------------------------------------------------------------

fg_status fg_value_attribute(fg_jinja_env *env, fg_value v, fg_slice name, fg_value *out) {
  *out = fg_undefined(name);
  if (v.kind == FG_VALUE_UNDEFINED) {
    return fg_jinja_fail(env, "'%.*s' is undefined, so it has no '%.*s'", (int)v.string.length, v.string.data,
                         (int)name.length, name.data);
  }
  const fg_builtin *method = fg_method_find(v.kind, name);
  if (method) return function_value(env, method, v, out);
  const fg_value *member = fg_is_dict(v) ? fg_dict_find_name(env, v.dict, name) : NULL;
  if (member) *out = *member;
  return FG_OK;
}

static bool position(int64_t index, size_t count, size_t *out) {
  if (index < 0) index += (int64_t)count;
  *out = (size_t)index;
  return index >= 0 && (uint64_t)index < count;
}

fg_status fg_value_item(fg_jinja_env *env, fg_value v, fg_value key, fg_value *out) {
  size_t index;
  *out = fg_undefined(key.kind == FG_VALUE_STRING ? key.string : fg_slice_of("an item"));
  if (v.kind == FG_VALUE_DICT) {
    const fg_value *member = fg_dict_find(env, v.dict, key);
    if (member) {
      *out = *member;
      return FG_OK;
    }
  }
  if (v.kind == FG_VALUE_LIST && (key.kind == FG_VALUE_INT || key.kind == FG_VALUE_BOOL)) {
    if (position(key.kind == FG_VALUE_INT ? key.integer : key.boolean, v.list->count, &index))
      *out = v.list->items[index];
    return FG_OK;
  }
  if (v.kind == FG_VALUE_STRING && key.kind == FG_VALUE_INT) {
    fg_list *characters;
    fg_status status = fg_value_iterate(env, v, &characters);
    if (status == FG_OK && position(key.integer, characters->count, &index)) *out = characters->items[index];
    return status;
  }
  return key.kind == FG_VALUE_STRING || v.kind == FG_VALUE_UNDEFINED
             ? fg_value_attribute(env, v, key.kind == FG_VALUE_STRING ? key.string : fg_slice_of("an item"),
                                  out)
             : FG_OK;
}

static fg_status eval_bound(evaluator *e, const fg_node *node, int64_t fallback, int64_t *out) {
  *out = fallback;
  if (!node) return FG_OK;
  fg_value value;
  fg_status status = eval(e, node, &value);
  if (status || value.kind == FG_VALUE_NONE) return status;
  if (value.kind != FG_VALUE_INT) return fg_jinja_fail(&e->env, "a slice's bounds must be integers");
  *out = value.integer;
  return FG_OK;
}

static int64_t clamp(int64_t bound, int64_t count, int64_t low, int64_t high) {
  if (bound < 0) bound += count;
  return bound < low ? low : bound > high ? high : bound;
}

static fg_status eval_slice(evaluator *e, const fg_node *node, fg_value *out) {
  fg_value v;
  fg_list *items;
  int64_t start, stop, step;
  fg_status status = eval(e, node->a, &v);
  if (status == FG_OK && v.kind != FG_VALUE_LIST && v.kind != FG_VALUE_STRING) {
    return fg_jinja_fail(&e->env, "a %s cannot be sliced", fg_value_type(v));
  }
  if (status == FG_OK) status = fg_value_iterate(&e->env, v, &items);
  if (status == FG_OK) status = eval_bound(e, node->d, 1, &step);
  if (status) return status;
  if (step == 0 || step == INT64_MIN)
    return fg_jinja_fail(&e->env, "a slice's step cannot be %lld", (long long)step);
  int64_t count = (int64_t)items->count, far = INT64_MAX / 2;
  status = eval_bound(e, node->b, step > 0 ? 0 : far, &start);
  if (status == FG_OK) status = eval_bound(e, node->c, step > 0 ? far : -far, &stop);
  if (status == FG_OK) status = fg_list_new(&e->env, 0, out);
  if (status) return status;
  start = clamp(start, count, step > 0 ? 0 : -1, step > 0 ? count : count - 1);
  stop = clamp(stop, count, step > 0 ? 0 : -1, step > 0 ? count : count - 1);
  for (int64_t i = start; status == FG_OK && (step > 0 ? i < stop : i > stop);) {
    status = fg_list_push(&e->env, out->list, items->items[i]);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  if (v.kind == FG_VALUE_LIST || status) return status;
  fg_text text = {0};
  for (size_t i = 0; i < out->list->count; i++) {
    fg_text_append(&text, out->list->items[i].string.data, out->list->items[i].string.length);
  }
  return fg_string_take(&e->env, &text, out);
}

// ---- expressions --------------------------------------------------------------------------------------

static fg_status eval_list(evaluator *e, const fg_node *node, fg_value *out) {
  fg_status status = fg_list_new(&e->env, 0, out);
  for (const fg_node *item = node->list; item && status == FG_OK; item = item->next) {
    fg_value value;
    status = eval(e, item, &value);
    if (status == FG_OK) status = fg_list_push(&e->env, out->list, value);
  }
  if (status == FG_OK) out->list->tuple = node->kind == FG_NODE_TUPLE;
  return status;
}

static fg_status eval_dict(evaluator *e, const fg_node *node, fg_value *out) {
  fg_status status = fg_dict_new(&e->env, FG_VALUE_DICT, out);
  for (const fg_node *pair = node->list; pair && status == FG_OK; pair = pair->next) {
    fg_value key, value;
    status = eval(e, pair->a, &key);
    if (status == FG_OK) status = eval(e, pair->b, &value);
    if (status == FG_OK) status = fg_dict_set(&e->env, out->dict, key, value);
  }
  return status;
}

static fg_status eval_negate(evaluator *e, const fg_node *node, fg_value *out) {
  fg_value value;
  fg_status status = eval(e, node->a, &value);
  return status ? status : operate(&e->env, FG_OP_SUBTRACT, fg_int(0), value, out);
}

static fg_status eval_logical(evaluator *e, const fg_node *node, fg_value *out) {
  fg_status status = eval(e, node->a, out);
  if (status || fg_value_truth(*out) == (node->kind == FG_NODE_OR)) return status;
  return eval(e, node->b, out);
}

static fg_status eval_condition(evaluator *e, const fg_node *node, fg_value *out) {
  fg_value condition;
  fg_status status = eval(e, node->a, &condition);
  if (status) return status;
  if (fg_value_truth(condition)) return eval(e, node->b, out);
  *out = fg_undefined(fg_slice_of("the other case"));
  return node->c ? eval(e, node->c, out) : FG_OK;
}

static fg_status eval_two(evaluator *e, const fg_node *node, fg_value *out) {
  fg_value a, b;
  fg_status status = eval(e, node->a, &a);
  if (status == FG_OK) status = eval(e, node->b, &b);
  e->env.line = node->line;
  if (status) return status;
  return node->kind == FG_NODE_ITEM ? fg_value_item(&e->env, a, b, out)
                                    : operate(&e->env, node->op, a, b, out);
}

static fg_status eval_applied(evaluator *e, const fg_node *node, fg_value *out) {
  fg_value value;
  fg_status status = eval(e, node->a, &value);
  e->env.line = node->line;
  if (status) return status;
  if (node->kind == FG_NODE_ATTRIBUTE) return fg_value_attribute(&e->env, value, node->name, out);
  if (node->kind != FG_NODE_NOT) return run_builtin(e, node->builtin, value, node->list, out);
  *out = fg_bool(!fg_value_truth(value));
  return FG_OK;
}

static fg_status eval_node(evaluator *e, const fg_node *node, fg_value *out) {
  switch (node->kind) {
  case FG_NODE_CONSTANT: *out = node->value; return FG_OK;
  case FG_NODE_NAME: return eval_name(e, node->name, out);
  case FG_NODE_LIST:
  case FG_NODE_TUPLE: return eval_list(e, node, out);
  case FG_NODE_DICT: return eval_dict(e, node, out);
  case FG_NODE_ATTRIBUTE:
  case FG_NODE_FILTER:
  case FG_NODE_TEST:
  case FG_NODE_NOT: return eval_applied(e, node, out);
  case FG_NODE_ITEM:
  case FG_NODE_BINARY: return eval_two(e, node, out);
  case FG_NODE_SLICE: return eval_slice(e, node, out);
  case FG_NODE_CALL: return eval_call(e, node, out);
  case FG_NODE_NEGATE: return eval_negate(e, node, out);
  case FG_NODE_AND:
  case FG_NODE_OR: return eval_logical(e, node, out);
  case FG_NODE_COMPARE: return eval_compare(e, node, out);
  case FG_NODE_CONDITION: return eval_condition(e, node, out);
  default:
    return fg_fail(e->env.err, FG_INTERNAL, "chat template, line %u: node %d is no expression", node->line,
                   node->kind);
  }
}

static fg_status eval(evaluator *e, const fg_node *node, fg_value *out) {
  e->env.line = node->line;
  fg_status status = fg_jinja_charge(&e->env, 1);
  if (status == FG_OK && e->env.depth == DEPTH_MAX)
    status = fg_jinja_fail(&e->env, "it calls itself too deeply");
  if (status) return status;
  e->env.depth++;
  status = eval_node(e, node, out);
  e->env.depth--;
  return status;
}

// ---- statements ---------------------------------------------------------------------------------------

static fg_status check_output(evaluator *e) {
  if (fg_text_failed(e->out)) return fg_jinja_no_memory(&e->env);
  if (e->out->length - e->out_start > OUTPUT_MAX)
    return fg_jinja_fail(&e->env, "it writes more than %d MiB", OUTPUT_MAX >> 20);
  return FG_OK;
}

static fg_status exec_output(evaluator *e, const fg_node *node) {
  fg_value value;
  fg_status status = eval(e, node->a, &value);
  if (status == FG_OK) status = fg_value_print(&e->env, value, e->out);
  return status ? status : check_output(e);
}

static fg_status exec_if(evaluator *e, const fg_node *node, loop_flow *flow) {
  fg_value condition;
  for (;;) {
    fg_status status = eval(e, node->a, &condition);
    if (status) return status;
    if (fg_value_truth(condition)) return exec_list(e, node->list, flow);
    bool elif = node->orelse && node->orelse->kind == FG_NODE_IF && !node->orelse->next;
    if (!elif) return exec_list(e, node->orelse, flow);
    node = node->orelse;
  }
}

static fg_status set_member(evaluator *e, fg_dict *dict, const char *name, fg_value value) {
  return fg_dict_set(&e->env, dict, fg_string(fg_slice_of(name)), value);
}

static fg_status loop_variable(evaluator *e, const fg_list *items, size_t index, fg_value *loop) {
  int64_t i = (int64_t)index, count = (int64_t)items->count;
  const struct {
    const char *name;
    fg_value value;
  } members[] = {
      {"index", fg_int(i + 1)},
      {"index0", fg_int(i)},
      {"revindex", fg_int(count - i)},
      {"revindex0", fg_int(count - i - 1)},
      {"first", fg_bool(i == 0)},
      {"last", fg_bool(i + 1 == count)},
      {"length", fg_int(count)},
      {"depth", fg_int(1)}, // loops that call themselves are refused
      {"depth0", fg_int(0)},
      {"previtem", i > 0 ? items->items[i - 1] : fg_undefined(fg_slice_of("loop.previtem"))},
      {"nextitem", i + 1 < count ? items->items[i + 1] : fg_undefined(fg_slice_of("loop.nextitem"))},
  };
  if (!loop->dict) {
    fg_status status = fg_dict_new(&e->env, FG_VALUE_DICT, loop);
    if (status) return status;
  }
  fg_status status = FG_OK;
  for (size_t k = 0; k < sizeof members / sizeof *members && status == FG_OK; k++) {
    status = set_member(e, loop->dict, members[k].name, members[k].value);
  }
  return status;
}

// The items that pass the loop's condition.
static fg_status loop_items(evaluator *e, const fg_node *node, fg_list **out) {
  fg_value over, kept;
  fg_status status = eval(e, node->a, &over);
  if (status == FG_OK) status = fg_value_iterate(&e->env, over, out);
  if (status || !node->c) return status;
  const fg_list *all = *out;
  scope *outer = e->scope;
  status = fg_list_new(&e->env, 0, &kept);
  if (status == FG_OK) status = push_scope(e, outer);
  for (size_t i = 0; i < all->count && status == FG_OK; i++) {
    fg_value condition;
    status = assign(e, node->b, all->items[i]);
    if (status == FG_OK) status = eval(e, node->c, &condition);
    if (status == FG_OK && fg_value_truth(condition))
      status = fg_list_push(&e->env, kept.list, all->items[i]);
  }
  e->scope = outer;
  *out = kept.list;
  return status;
}

static fg_status exec_for(evaluator *e, const fg_node *node, loop_flow *outer_flow) {
  fg_list *items;
  fg_status status = loop_items(e, node, &items);
  if (status) return status;
  if (items->count == 0) return exec_list(e, node->orelse, outer_flow);
  scope *outer = e->scope;
  fg_value loop = {.kind = FG_VALUE_DICT};
  loop_flow flow = FLOW_ON;
  status = push_scope(e, outer);
  for (size_t i = 0; i < items->count && status == FG_OK && flow != FLOW_BREAK; i++) {
    flow = FLOW_ON;
    e->scope->names->keys.count = e->scope->names->values.count = 0; // every round starts anew
    status = loop_variable(e, items, i, &loop);
    if (status == FG_OK) status = set_member(e, e->scope->names, "loop", loop);
    if (status == FG_OK) status = assign(e, node->b, items->items[i]);
    if (status == FG_OK) status = exec_list(e, node->list, &flow);
  }
  e->scope = outer;
  return status;
}

static fg_status exec_set(evaluator *e, const fg_node *node) {
  fg_value value;
  fg_status status = node->kind == FG_NODE_SET ? eval(e, node->a, &value) : capture(e, node->list, &value);
  e->env.line = node->line;
  return status ? status : assign(e, node->b, value);
}

static fg_status exec_macro(evaluator *e, const fg_node *node) {
  fg_macro *macro = fg_arena_alloc(&e->env.arena, sizeof *macro);
  if (!macro) return fg_jinja_no_memory(&e->env);
  *macro = (fg_macro){node, e->scope};
  fg_value value = {.kind = FG_VALUE_MACRO, .macro = macro};
  return fg_dict_set(&e->env, e->scope->names, fg_string(node->name), value);
}

static fg_status exec_scope(evaluator *e, const fg_node *node, loop_flow *flow) {
  scope *outer = e->scope;
  fg_status status = push_scope(e, outer);
  if (status == FG_OK) status = exec_list(e, node->list, flow);
  e->scope = outer;
  return status;
}

static fg_status exec(evaluator *e, const fg_node *node, loop_flow *flow) {
  switch (node->kind) {
  case FG_NODE_TEXT:
    fg_text_append(e->out, node->value.string.data, node->value.string.length);
    return check_output(e);
  case FG_NODE_OUTPUT: return exec_output(e, node);
  case FG_NODE_IF: return exec_if(e, node, flow);
  case FG_NODE_FOR: return exec_for(e, node, flow);
  case FG_NODE_SET:
  case FG_NODE_SET_BLOCK: return exec_set(e, node);
  case FG_NODE_MACRO: return exec_macro(e, node);
  case FG_NODE_SCOPE: return exec_scope(e, node, flow);
  case FG_NODE_BREAK: *flow = FLOW_BREAK; return FG_OK;
  case FG_NODE_CONTINUE: *flow = FLOW_CONTINUE; return FG_OK;
  default:
    return fg_fail(e->env.err, FG_INTERNAL, "chat template, line %u: node %d is no statement", node->line,
                   node->kind);
  }
}

static fg_status exec_list(evaluator *e, const fg_node *node, loop_flow *flow) {
  if (e->env.depth == DEPTH_MAX) return fg_jinja_fail(&e->env, "it calls itself too deeply");
  e->env.depth++;
  fg_status status = FG_OK;
  for (; node && status == FG_OK && *flow == FLOW_ON; node = node->next) {
    e->env.line = node->line;
    status = fg_jinja_charge(&e->env, 1);
    if (status == FG_OK) status = exec(e, node, flow);
  }
  e->env.depth--;
  return status;
}

fg_status fg_template_render(const fg_template *template, const json_t *variables, fg_text *out,
                             fg_error *err) {
  evaluator e = {.env = {.arena.limit = ARENA_MAX, .err = err, .line = 1, .steps_left = STEPS_MAX}};
  e.out = out;
  e.out_start = out->length;
  fg_value names = {.kind = FG_VALUE_NONE};
  loop_flow flow = FLOW_ON;
  fg_status status = fg_value_from_json(&e.env, variables, &names);
  if (status == FG_OK && names.kind != FG_VALUE_DICT)
    status = fg_jinja_fail(&e.env, "its variables are no object");
  scope globals = {NULL, names.dict};
  if (status == FG_OK) status = push_scope(&e, &globals);
  if (status == FG_OK) status = exec_list(&e, template->body, &flow);
  fg_arena_free(&e.env.arena);
  return status;
}
