// Tests: what stands behind "is".
#include "text/jinja.h"

static fg_status kind_is(fg_value *out, bool holds) {
  *out = fg_bool(holds);
  return FG_OK;
}

static fg_status test_defined(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind != FG_VALUE_UNDEFINED);
}
static fg_status test_undefined(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_UNDEFINED);
}
static fg_status test_none(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_NONE);
}
static fg_status test_string(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_STRING);
}
static fg_status test_mapping(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_DICT);
}
static fg_status test_sequence(const fg_call *call, fg_value *out) {
  fg_value_kind kind = call->self.kind;
  return kind_is(out, kind == FG_VALUE_STRING || kind == FG_VALUE_LIST || kind == FG_VALUE_DICT ||
                          kind == FG_VALUE_UNDEFINED);
}
static fg_status test_number(const fg_call *call, fg_value *out) {
  fg_value_kind kind = call->self.kind;
  return kind_is(out, kind == FG_VALUE_INT || kind == FG_VALUE_FLOAT || kind == FG_VALUE_BOOL);
}
static fg_status test_integer(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_INT);
}
static fg_status test_float(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_FLOAT);
}
static fg_status test_boolean(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_BOOL);
}
static fg_status test_true(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_BOOL && call->self.boolean);
}
static fg_status test_false(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_BOOL && !call->self.boolean);
}
static fg_status test_callable(const fg_call *call, fg_value *out) {
  return kind_is(out, call->self.kind == FG_VALUE_FUNCTION || call->self.kind == FG_VALUE_MACRO);
}

// Of what it prints as.
static fg_status of_case(const fg_call *call, const char *method, fg_value *out) {
  fg_call inner = *call;
  fg_slice text;
  fg_status status = fg_value_to_string(call->env, call->self, &text);
  if (status) return status;
  inner.self = fg_string(text);
  return fg_method_find(FG_VALUE_STRING, fg_slice_of(method))->run(&inner, out);
}
static fg_status test_lower(const fg_call *call, fg_value *out) {
  return of_case(call, "islower", out);
}
static fg_status test_upper(const fg_call *call, fg_value *out) {
  return of_case(call, "isupper", out);
}

static fg_value other(const fg_call *call) {
  return fg_argument(call, 0, "other", fg_none());
}

static fg_status test_equal(const fg_call *call, fg_value *out) {
  return kind_is(out, fg_value_equal(call->env, call->self, other(call)));
}
static fg_status test_unequal(const fg_call *call, fg_value *out) {
  return kind_is(out, !fg_value_equal(call->env, call->self, other(call)));
}
static fg_status test_same(const fg_call *call, fg_value *out) {
  return kind_is(out,
                 call->self.kind == other(call).kind && fg_value_equal(call->env, call->self, other(call)));
}
static fg_status test_in(const fg_call *call, fg_value *out) {
  bool found;
  fg_status status = fg_value_contains(call->env, other(call), call->self, &found);
  *out = fg_bool(found);
  return status;
}

static fg_status ordered(const fg_call *call, bool less, bool equal, fg_value *out) {
  int order = 0;
  fg_status status = fg_value_compare(call->env, call->self, other(call), &order);
  *out = fg_bool(order == 0 ? equal : (order < 0) == less);
  return status;
}
static fg_status test_less(const fg_call *call, fg_value *out) {
  return ordered(call, true, false, out);
}
static fg_status test_less_equal(const fg_call *call, fg_value *out) {
  return ordered(call, true, true, out);
}
static fg_status test_greater(const fg_call *call, fg_value *out) {
  return ordered(call, false, false, out);
}
static fg_status test_greater_equal(const fg_call *call, fg_value *out) {
  return ordered(call, false, true, out);
}

static fg_status divisible(const fg_call *call, int64_t by, int64_t rest, fg_value *out) {
  if (call->self.kind != FG_VALUE_INT || by == 0) {
    return fg_jinja_fail(call->env, "%s of a %s", call->name, fg_value_type(call->self));
  }
  int64_t modulo = by == -1 ? 0 : call->self.integer % by;
  return kind_is(out, (modulo < 0 ? -modulo : modulo) == rest);
}
static fg_status test_even(const fg_call *call, fg_value *out) {
  return divisible(call, 2, 0, out);
}
static fg_status test_odd(const fg_call *call, fg_value *out) {
  return divisible(call, 2, 1, out);
}
static fg_status test_divisible_by(const fg_call *call, fg_value *out) {
  int64_t by;
  fg_status status = fg_argument_int(call, 0, "num", 0, &by);
  return status ? status : divisible(call, by, 0, out);
}

static const fg_builtin tests[] = {
    {"boolean", test_boolean},
    {"callable", test_callable},
    {"defined", test_defined},
    {"divisibleby", test_divisible_by},
    {"eq", test_equal},
    {"equalto", test_equal},
    {"even", test_even},
    {"false", test_false},
    {"float", test_float},
    {"ge", test_greater_equal},
    {"greaterthan", test_greater},
    {"gt", test_greater},
    {"in", test_in},
    {"integer", test_integer},
    {"iterable", test_sequence},
    {"le", test_less_equal},
    {"lessthan", test_less},
    {"lower", test_lower},
    {"lt", test_less},
    {"mapping", test_mapping},
    {"ne", test_unequal},
    {"none", test_none},
    {"number", test_number},
    {"odd", test_odd},
    {"sameas", test_same},
    {"sequence", test_sequence},
    {"string", test_string},
    {"true", test_true},
    {"undefined", test_undefined},
    {"upper", test_upper},
};

const fg_builtin *fg_test_find(fg_slice name) {
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
    if (fg_slice_is(name, tests[i].name)) return &tests[i];
  }
  return NULL;
}
