#include "format/pickle.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint_files.h"
#include "format/little_endian.h"

// ---- values ----------------------------------------------------------------------------------------

typedef enum kind {
  KIND_OTHER, // a value that no tensor is made of: None, a bool, a float, a negative or huge integer
  KIND_MARK,
  KIND_INT,
  KIND_STRING,  // bytes [first, first + count) of the pickle
  KIND_TUPLE,   // cells [first, first + count)
  KIND_LIST,    // contents are forgotten
  KIND_DICT,    // number of a dictionary
  KIND_GLOBAL,  // row of `globals`
  KIND_STORAGE, // number of a storage
  KIND_TENSOR,  // number of a tensor
} kind;

// Eight bytes, as there may be one for every few bytes of pickle.
typedef struct value {
  uint64_t kind : 8;
  uint64_t number : 56;
} value;
static_assert(sizeof(value) == 8, "a value is one word");

enum { RANGE_BITS = 28 };
static_assert(FG_MAX_PICKLE <= 1 << RANGE_BITS, "an offset in the pickle fits half a value");

static value make(kind k, uint64_t number) {
  return (value){.kind = k, .number = number};
}
static value make_range(kind k, size_t first, size_t count) {
  return make(k, (uint64_t)first << RANGE_BITS | count);
}
static size_t range_first(value v) {
  return (size_t)(v.number >> RANGE_BITS);
}
static size_t range_count(value v) {
  return (size_t)(v.number & ((1u << RANGE_BITS) - 1));
}

// ---- what may be named -----------------------------------------------------------------------------

typedef enum role {
  ROLE_DICT,
  ROLE_TENSOR,
  ROLE_PARAMETER,
  ROLE_TYPED,
  ROLE_SIZE,
  ROLE_CLASS,
  ROLE_STORAGE
} role;

static const struct global {
  const char *module, *name;
  role role;
  fg_dtype dtype; // of storages
} globals[] = {
    {"collections", "OrderedDict", ROLE_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", ROLE_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", ROLE_PARAMETER, 0},
    {"torch._tensor", "_rebuild_from_type_v2", ROLE_TYPED, 0},
    {"torch", "Size", ROLE_SIZE, 0},
    {"torch", "Tensor", ROLE_CLASS, 0},
    {"torch.nn.parameter", "Parameter", ROLE_CLASS, 0},
    {"torch", "FloatStorage", ROLE_STORAGE, FG_F32},
    {"torch", "HalfStorage", ROLE_STORAGE, FG_F16},
    {"torch", "BFloat16Storage", ROLE_STORAGE, FG_BF16},
    {"torch", "DoubleStorage", ROLE_STORAGE, FG_F64},
    {"torch", "ByteStorage", ROLE_STORAGE, FG_U8},
    {"torch", "CharStorage", ROLE_STORAGE, FG_I8},
    {"torch", "ShortStorage", ROLE_STORAGE, FG_I16},
    {"torch", "IntStorage", ROLE_STORAGE, FG_I32},
    {"torch", "LongStorage", ROLE_STORAGE, FG_I64},
    {"torch", "BoolStorage", ROLE_STORAGE, FG_BOOL},
};

// ---- the machine -----------------------------------------------------------------------------------

typedef struct storage {
  fg_dtype dtype;
  value key;
  uint64_t elements;
} storage;

typedef struct tensor {
  uint32_t storage, dims;
  uint64_t offset;
  uint32_t shape, stride; // cells
} tensor;

// An entry of a dictionary that matters: a tensor, or another dictionary.
typedef struct item {
  uint32_t dict;
  value key, value;
} item;

// A stack of things with a place for every one that the pickle could make, or for the cap.
typedef struct pool {
  void *data;
  size_t count, capacity;
} pool;

typedef struct machine {
  unsigned char *pickle;
  size_t bytes, at;
  const char *where;
  bool stopped;
  pool stack, memo, cells; // value
  pool storages, tensors;  // storage, tensor
  pool items;              // item
  pool dict_tensors;       // uint32_t: tensors in each dictionary
} machine;

enum { MAX_STACK = 65536, MAX_DICTS = 2 * FG_MAX_TENSORS };

static fg_status fail(const machine *m, fg_error *err, fg_status status, const char *what) {
  return fg_fail(err, status, "%s: data.pkl, byte %zu: %s", m->where, m->at, what);
}

// The next free place of a pool, which counts as taken.
static void *take(const machine *m, pool *p, size_t size, const char *what, fg_error *err) {
  if (p->count == p->capacity) {
    fg_fail(err, FG_UNSUPPORTED, "%s: data.pkl, byte %zu: more than %zu %s", m->where, m->at, p->capacity,
            what);
    return NULL;
  }
  return (char *)p->data + size * p->count++;
}

static value *values(const pool *p) {
  return p->data;
}

static fg_status push(machine *m, value v, fg_error *err) {
  value *top = take(m, &m->stack, sizeof v, "values on the stack", err);
  if (!top) return FG_UNSUPPORTED;
  *top = v;
  return FG_OK;
}

// The top of the stack, which must be a value and no mark.
static fg_status peek(const machine *m, value *out, fg_error *err) {
  if (m->stack.count == 0) return fail(m, err, FG_CORRUPT, "stack is empty");
  *out = values(&m->stack)[m->stack.count - 1];
  return out->kind == KIND_MARK ? fail(m, err, FG_CORRUPT, "a mark where a value is expected") : FG_OK;
}

static fg_status pop(machine *m, value *out, fg_error *err) {
  fg_status status = peek(m, out, err);
  if (status == FG_OK) m->stack.count--;
  return status;
}

// Number of values above the topmost mark.
static fg_status count_to_mark(const machine *m, size_t *count, fg_error *err) {
  for (*count = 0; *count < m->stack.count; ++*count) {
    if (values(&m->stack)[m->stack.count - 1 - *count].kind == KIND_MARK) return FG_OK;
  }
  return fail(m, err, FG_CORRUPT, "no mark on the stack");
}

static fg_status new_dict(machine *m, fg_error *err) {
  size_t number = m->dict_tensors.count;
  uint32_t *tensors = take(m, &m->dict_tensors, sizeof *tensors, "dictionaries", err);
  if (!tensors) return FG_UNSUPPORTED;
  *tensors = 0;
  return push(m, make(KIND_DICT, number), err);
}

static fg_status set_item(machine *m, value dict, value key, value v, fg_error *err) {
  if (key.kind != KIND_STRING || (v.kind != KIND_TENSOR && v.kind != KIND_DICT)) return FG_OK;
  item *i = take(m, &m->items, sizeof *i, "entries of dictionaries", err);
  if (!i) return FG_UNSUPPORTED;
  *i = (item){.dict = (uint32_t)dict.number, .key = key, .value = v};
  if (v.kind == KIND_TENSOR) ((uint32_t *)m->dict_tensors.data)[dict.number]++;
  return FG_OK;
}

static fg_status make_tuple(machine *m, size_t count, fg_error *err) {
  size_t first = m->cells.count;
  if (m->stack.count < count) return fail(m, err, FG_CORRUPT, "stack is too short for a tuple");
  const value *from = values(&m->stack) + m->stack.count - count;
  for (size_t i = 0; i < count; i++) {
    if (from[i].kind == KIND_MARK) return fail(m, err, FG_CORRUPT, "a mark in a tuple");
    value *cell = take(m, &m->cells, sizeof *cell, "values in tuples", err);
    if (!cell) return FG_UNSUPPORTED;
    *cell = from[i];
  }
  m->stack.count -= count;
  return push(m, make_range(KIND_TUPLE, first, count), err);
}

// ---- calls -----------------------------------------------------------------------------------------

static bool is_tuple_of(const machine *m, value v, size_t at_least, const value **items) {
  *items = values(&m->cells) + (v.kind == KIND_TUPLE ? range_first(v) : 0);
  return v.kind == KIND_TUPLE && range_count(v) >= at_least;
}

static bool is_global(value v, role r) {
  return v.kind == KIND_GLOBAL && globals[v.number].role == r;
}

// A tuple of small enough numbers, as many as `count` says.
static bool is_dims(const machine *m, value v, size_t count) {
  const value *dims;
  if (!is_tuple_of(m, v, count, &dims) || range_count(v) != count || count > FG_MAX_DIMS) return false;
  for (size_t i = 0; i < count; i++) {
    if (dims[i].kind != KIND_INT) return false;
  }
  return true;
}

// _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)
static fg_status rebuild_tensor(machine *m, value args, fg_error *err) {
  const value *a;
  if (!is_tuple_of(m, args, 4, &a) || a[0].kind != KIND_STORAGE || a[1].kind != KIND_INT ||
      a[2].kind != KIND_TUPLE || !is_dims(m, a[2], range_count(a[2])) ||
      !is_dims(m, a[3], range_count(a[2]))) {
    return fail(m, err, FG_CORRUPT,
                "a tensor's storage, offset, size (at most 8 dimensions) or stride is not what it should be");
  }
  size_t number = m->tensors.count;
  tensor *t = take(m, &m->tensors, sizeof *t, "tensors", err);
  if (!t) return FG_UNSUPPORTED;
  *t = (tensor){
      .storage = (uint32_t)a[0].number,
      .dims = (uint32_t)range_count(a[2]),
      .offset = a[1].number,
      .shape = (uint32_t)range_first(a[2]),
      .stride = (uint32_t)range_first(a[3]),
  };
  return push(m, make(KIND_TENSOR, number), err);
}

// _rebuild_parameter(tensor, requires_grad, hooks)
static fg_status rebuild_parameter(machine *m, value args, fg_error *err) {
  const value *a;
  if (!is_tuple_of(m, args, 1, &a) || a[0].kind != KIND_TENSOR) {
    return fail(m, err, FG_CORRUPT, "a parameter that is no tensor");
  }
  return push(m, a[0], err);
}

// _rebuild_from_type_v2(function, type, its arguments, attributes): a tensor with attributes.
static fg_status rebuild_typed(machine *m, value args, fg_error *err) {
  const value *a;
  if (is_tuple_of(m, args, 3, &a) && is_global(a[1], ROLE_CLASS)) {
    if (is_global(a[0], ROLE_TENSOR)) return rebuild_tensor(m, a[2], err);
    if (is_global(a[0], ROLE_PARAMETER)) return rebuild_parameter(m, a[2], err);
  }
  return fail(m, err, FG_UNSUPPORTED,
              "_rebuild_from_type_v2 of something that is neither a tensor nor a parameter");
}

static fg_status call_dict(machine *m, value args, fg_error *err) {
  if (args.kind != KIND_TUPLE || range_count(args) > 0) {
    return fail(m, err, FG_UNSUPPORTED, "OrderedDict with arguments");
  }
  return new_dict(m, err);
}

static fg_status call_size(machine *m, value args, fg_error *err) {
  (void)args;
  return push(m, make(KIND_OTHER, 0), err);
}

static fg_status call(machine *m, value function, value args, fg_error *err) {
  static fg_status (*const calls[])(machine *, value, fg_error *) = {
      [ROLE_DICT] = call_dict,      [ROLE_TENSOR] = rebuild_tensor, [ROLE_PARAMETER] = rebuild_parameter,
      [ROLE_TYPED] = rebuild_typed, [ROLE_SIZE] = call_size,        [ROLE_CLASS] = NULL,
      [ROLE_STORAGE] = NULL,
  };
  if (function.kind != KIND_GLOBAL || !calls[globals[function.number].role]) {
    return fail(m, err, FG_UNSUPPORTED, "a call of something that is no known function");
  }
  return calls[globals[function.number].role](m, args, err);
}

// ---- instructions ----------------------------------------------------------------------------------
// Each gets its fixed argument, which has been taken from the pickle; m->at is behind it.

typedef fg_status instruction(machine *m, const unsigned char *arg, fg_error *err);

static fg_status op_proto(machine *m, const unsigned char *arg, fg_error *err) {
  return *arg == 2 ? FG_OK : fail(m, err, FG_UNSUPPORTED, "a pickle protocol other than 2");
}

static fg_status op_stop(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  m->stopped = true;
  return m->stack.count == 1 ? FG_OK : fail(m, err, FG_CORRUPT, "it ends with more or less than one value");
}

// A line of the pickle without its end, NUL-terminated in `line`.
static fg_status take_line(machine *m, char line[static 64], fg_error *err) {
  const unsigned char *begin = m->pickle + m->at;
  const unsigned char *end = memchr(begin, '\n', m->bytes - m->at);
  if (!end) return fail(m, err, FG_CORRUPT, "a name without end");
  size_t length = (size_t)(end - begin) < 63 ? (size_t)(end - begin) : 63; // no known name is longer
  for (size_t i = 0; i < length; i++) line[i] = begin[i] >= 0x20 && begin[i] < 0x7f ? (char)begin[i] : '?';
  line[length] = 0;
  m->at += (size_t)(end - begin) + 1;
  return FG_OK;
}

static fg_status op_global(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  char module[64], name[64];
  fg_status status = take_line(m, module, err);
  if (status == FG_OK) status = take_line(m, name, err);
  if (status) return status;
  for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
    if (strcmp(module, globals[i].module) == 0 && strcmp(name, globals[i].name) == 0) {
      return push(m, make(KIND_GLOBAL, i), err);
    }
  }
  return fg_fail(err, FG_UNSUPPORTED,
                 "%s: data.pkl, byte %zu: it names %s.%s, which a file of weights does not need; convert it "
                 "to safetensors",
                 m->where, m->at, module, name);
}

static fg_status op_mark(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return push(m, make(KIND_MARK, 0), err);
}

static fg_status op_other(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return push(m, make(KIND_OTHER, 0), err);
}

static fg_status op_empty_tuple(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return make_tuple(m, 0, err);
}

static fg_status op_tuple1(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return make_tuple(m, 1, err);
}

static fg_status op_tuple2(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return make_tuple(m, 2, err);
}

static fg_status op_tuple3(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return make_tuple(m, 3, err);
}

static fg_status op_tuple(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  size_t count;
  value v;
  fg_status status = count_to_mark(m, &count, err);
  if (status == FG_OK) status = make_tuple(m, count, err);
  if (status) return status;
  v = values(&m->stack)[m->stack.count - 1]; // the tuple takes the mark's place
  m->stack.count--;
  values(&m->stack)[m->stack.count - 1] = v;
  return FG_OK;
}

static fg_status op_empty_list(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return push(m, make(KIND_LIST, 0), err);
}

static fg_status op_empty_dict(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  return new_dict(m, err);
}

static fg_status expect(const machine *m, kind k, fg_error *err) {
  value v;
  fg_status status = peek(m, &v, err);
  if (status) return status;
  return v.kind == (uint64_t)k ? FG_OK : fail(m, err, FG_CORRUPT, "items for something that holds none");
}

static fg_status op_append(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  value v;
  fg_status status = pop(m, &v, err);
  return status ? status : expect(m, KIND_LIST, err);
}

static fg_status op_appends(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  size_t count;
  fg_status status = count_to_mark(m, &count, err);
  if (status) return status;
  m->stack.count -= count + 1;
  return expect(m, KIND_LIST, err);
}

// `count` values, keys and values in turn, into the dictionary that stands below them and `marks` marks.
static fg_status set_items(machine *m, size_t count, size_t marks, fg_error *err) {
  const value *pairs = values(&m->stack) + m->stack.count - count;
  if (count % 2) return fail(m, err, FG_CORRUPT, "a key without a value");
  m->stack.count -= count + marks;
  fg_status status = expect(m, KIND_DICT, err);
  if (status) return status;
  value dict = values(&m->stack)[m->stack.count - 1];
  for (size_t i = 0; i < count && status == FG_OK; i += 2)
    status = set_item(m, dict, pairs[i], pairs[i + 1], err);
  return status;
}

static fg_status op_setitem(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  if (m->stack.count < 3) return fail(m, err, FG_CORRUPT, "stack is too short for an item");
  return set_items(m, 2, 0, err);
}

static fg_status op_setitems(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  size_t count;
  fg_status status = count_to_mark(m, &count, err);
  return status ? status : set_items(m, count, 1, err);
}

// Picklers number what they remember in order, so that a gap is a sign of damage.
static fg_status remember(machine *m, size_t index, fg_error *err) {
  value v;
  fg_status status = peek(m, &v, err);
  if (status) return status;
  if (index > m->memo.count) return fail(m, err, FG_CORRUPT, "memo numbers are not in order");
  if (index == m->memo.count && !take(m, &m->memo, sizeof v, "remembered values", err)) return FG_UNSUPPORTED;
  values(&m->memo)[index] = v;
  return FG_OK;
}

static fg_status recall(machine *m, size_t index, fg_error *err) {
  if (index >= m->memo.count) return fail(m, err, FG_CORRUPT, "an unknown memo number");
  return push(m, values(&m->memo)[index], err);
}

static fg_status op_binput(machine *m, const unsigned char *arg, fg_error *err) {
  return remember(m, *arg, err);
}
static fg_status op_binget(machine *m, const unsigned char *arg, fg_error *err) {
  return recall(m, *arg, err);
}

static fg_status op_long_binput(machine *m, const unsigned char *arg, fg_error *err) {
  return remember(m, fg_le32(arg), err);
}

static fg_status op_long_binget(machine *m, const unsigned char *arg, fg_error *err) {
  return recall(m, fg_le32(arg), err);
}

static fg_status take_string(machine *m, size_t length, fg_error *err) {
  if (length > m->bytes - m->at) return fail(m, err, FG_CORRUPT, "a string reaches beyond the end");
  m->at += length;
  return push(m, make_range(KIND_STRING, m->at - length, length), err);
}

static fg_status op_binunicode(machine *m, const unsigned char *arg, fg_error *err) {
  return take_string(m, fg_le32(arg), err);
}

static fg_status op_short_binstring(machine *m, const unsigned char *arg, fg_error *err) {
  return take_string(m, *arg, err);
}

static fg_status op_binint(machine *m, const unsigned char *arg, fg_error *err) {
  uint32_t n = fg_le32(arg);
  return push(m, n > INT32_MAX ? make(KIND_OTHER, 0) : make(KIND_INT, n), err);
}

static fg_status op_binint1(machine *m, const unsigned char *arg, fg_error *err) {
  return push(m, make(KIND_INT, *arg), err);
}

static fg_status op_binint2(machine *m, const unsigned char *arg, fg_error *err) {
  return push(m, make(KIND_INT, fg_le16(arg)), err);
}

// Two's complement of any length. What is negative or needs more than 55 bits describes no tensor.
static fg_status op_long1(machine *m, const unsigned char *arg, fg_error *err) {
  size_t length = *arg;
  if (length > m->bytes - m->at) return fail(m, err, FG_CORRUPT, "an integer reaches beyond the end");
  const unsigned char *digits = m->pickle + m->at;
  m->at += length;
  if (length > 7 || (length > 0 && digits[length - 1] > 0x7f)) return push(m, make(KIND_OTHER, 0), err);
  uint64_t n = 0;
  for (size_t i = length; i-- > 0;) n = n << 8 | digits[i];
  return push(m, make(KIND_INT, n), err);
}

// The persistent id of torch: ("storage", type, key, location, elements).
static fg_status op_binpersid(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  value id;
  const value *a;
  fg_status status = pop(m, &id, err);
  if (status) return status;
  if (!is_tuple_of(m, id, 5, &a) || a[0].kind != KIND_STRING || range_count(a[0]) != 7 ||
      memcmp(m->pickle + range_first(a[0]), "storage", 7) != 0 || !is_global(a[1], ROLE_STORAGE) ||
      a[2].kind != KIND_STRING || a[4].kind != KIND_INT) {
    return fail(m, err, FG_CORRUPT, "a persistent id that is no storage");
  }
  size_t number = m->storages.count;
  storage *s = take(m, &m->storages, sizeof *s, "storages", err);
  if (!s) return FG_UNSUPPORTED;
  *s = (storage){.dtype = globals[a[1].number].dtype, .key = a[2], .elements = a[4].number};
  return push(m, make(KIND_STORAGE, number), err);
}

static fg_status op_reduce(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  value args, function;
  fg_status status = pop(m, &args, err);
  if (status == FG_OK) status = pop(m, &function, err);
  return status ? status : call(m, function, args, err);
}

static fg_status op_newobj(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  value args, class;
  fg_status status = pop(m, &args, err);
  if (status == FG_OK) status = pop(m, &class, err);
  if (status) return status;
  if (!is_global(class, ROLE_DICT))
    return fail(m, err, FG_UNSUPPORTED, "a new object that is no OrderedDict");
  return call_dict(m, args, err);
}

// Attributes of a dictionary (torch's _metadata): not needed.
static fg_status op_build(machine *m, const unsigned char *arg, fg_error *err) {
  (void)arg;
  value state;
  fg_status status = pop(m, &state, err);
  return status ? status : expect(m, KIND_DICT, err);
}

static const struct {
  instruction *run; // NULL = not known
  uint32_t arg_bytes;
} instructions[256] = {
    [0x80] = {op_proto, 1},      ['.'] = {op_stop, 0},        ['c'] = {op_global, 0},
    ['('] = {op_mark, 0},        [')'] = {op_empty_tuple, 0}, ['t'] = {op_tuple, 0},
    [0x85] = {op_tuple1, 0},     [0x86] = {op_tuple2, 0},     [0x87] = {op_tuple3, 0},
    [']'] = {op_empty_list, 0},  ['a'] = {op_append, 0},      ['e'] = {op_appends, 0},
    ['}'] = {op_empty_dict, 0},  ['s'] = {op_setitem, 0},     ['u'] = {op_setitems, 0},
    ['N'] = {op_other, 0},       [0x88] = {op_other, 0},      [0x89] = {op_other, 0},
    ['q'] = {op_binput, 1},      ['r'] = {op_long_binput, 4}, ['h'] = {op_binget, 1},
    ['j'] = {op_long_binget, 4}, ['X'] = {op_binunicode, 4},  ['U'] = {op_short_binstring, 1},
    ['J'] = {op_binint, 4},      ['K'] = {op_binint1, 1},     ['M'] = {op_binint2, 2},
    [0x8a] = {op_long1, 1},      ['G'] = {op_other, 8},       ['Q'] = {op_binpersid, 0},
    ['R'] = {op_reduce, 0},      [0x81] = {op_newobj, 0},     ['b'] = {op_build, 0},
};

static fg_status run(machine *m, fg_error *err) {
  while (!m->stopped) {
    if (m->at == m->bytes) return fail(m, err, FG_CORRUPT, "it ends without STOP");
    unsigned char code = m->pickle[m->at++];
    if (!instructions[code].run) {
      return fg_fail(err, FG_UNSUPPORTED,
                     "%s: data.pkl, byte %zu: instruction 0x%02x has no place in a file of weights", m->where,
                     m->at - 1, code);
    }
    if (instructions[code].arg_bytes > m->bytes - m->at)
      return fail(m, err, FG_CORRUPT, "it ends within an instruction");
    const unsigned char *arg = m->pickle + m->at;
    m->at += instructions[code].arg_bytes;
    fg_status status = instructions[code].run(m, arg, err);
    if (status) return status;
  }
  return FG_OK;
}

// ---- the result ------------------------------------------------------------------------------------

// The dictionary of tensors: the outermost one, or the only one directly in it that holds any.
static fg_status find_dict(const machine *m, uint64_t *out, fg_error *err) {
  const uint32_t *tensors = m->dict_tensors.data;
  const item *items = m->items.data;
  value root = values(&m->stack)[0];
  if (root.kind != KIND_DICT) return fail(m, err, FG_UNSUPPORTED, "it holds no dictionary of tensors");
  *out = root.number;
  if (tensors[root.number] > 0) return FG_OK;
  for (size_t i = 0; i < m->items.count; i++) {
    if (items[i].dict != root.number || items[i].value.kind != KIND_DICT ||
        tensors[items[i].value.number] == 0)
      continue;
    if (*out != root.number) return fail(m, err, FG_UNSUPPORTED, "it holds several dictionaries of tensors");
    *out = items[i].value.number;
  }
  return *out != root.number ? FG_OK : fail(m, err, FG_UNSUPPORTED, "its dictionary holds no tensors");
}

// Behind a string stands an instruction, which has been run by now: the name's NUL can take its place.
static fg_status end_name(machine *m, value name, const char **out, fg_error *err) {
  unsigned char *begin = m->pickle + range_first(name);
  size_t length = range_count(name);
  if (length == 0 || length > FG_MAX_TENSOR_NAME || memchr(begin, 0, length)) {
    return fail(m, err, FG_CORRUPT, "a tensor's name is empty, longer than 1024 bytes or has a NUL");
  }
  begin[length] = 0;
  *out = (const char *)begin;
  return FG_OK;
}

static fg_status visit_item(machine *m, const item *i, fg_pickle_visit *visit, void *user, fg_error *err) {
  const tensor *t = (const tensor *)m->tensors.data + i->value.number;
  const storage *s = (const storage *)m->storages.data + t->storage;
  fg_pickle_tensor out = {
      .dtype = s->dtype,
      .key = (const char *)m->pickle + range_first(s->key),
      .key_length = range_count(s->key),
      .storage_elements = s->elements,
      .offset = t->offset,
      .dims = t->dims,
  };
  for (uint32_t d = 0; d < t->dims; d++) {
    out.shape[d] = values(&m->cells)[t->shape + d].number;
    out.stride[d] = values(&m->cells)[t->stride + d].number;
  }
  fg_status status = end_name(m, i->key, &out.name, err);
  return status ? status : visit(user, &out, err);
}

static fg_status visit_tensors(machine *m, fg_pickle_visit *visit, void *user, fg_error *err) {
  const item *items = m->items.data;
  uint64_t dict = 0;
  fg_status status = find_dict(m, &dict, err);
  for (size_t i = 0; i < m->items.count && status == FG_OK; i++) {
    if (items[i].dict == dict && items[i].value.kind == KIND_TENSOR)
      status = visit_item(m, &items[i], visit, user, err);
  }
  return status;
}

// Room for one thing in every `bytes_each` bytes of pickle, at most `cap` of them.
static bool make_pool(const machine *m, pool *p, size_t size, size_t bytes_each, size_t cap) {
  p->capacity = m->bytes / bytes_each + 256;
  if (p->capacity > cap) p->capacity = cap;
  p->data = malloc(p->capacity * size);
  return p->data != NULL;
}

fg_status fg_pickle_tensors(void *pickle, size_t bytes, const char *where, fg_pickle_visit *visit, void *user,
                            fg_error *err) {
  machine m = {.pickle = pickle, .bytes = bytes, .where = where};
  // The shortest ways to make one: LONG_BINPUT 5 bytes; a tuple's element in what torch writes 5 to 7;
  // a call or an item from remembered values 5; a storage 3; a dictionary 1.
  bool ok = make_pool(&m, &m.stack, sizeof(value), 1, MAX_STACK) &&
            make_pool(&m, &m.memo, sizeof(value), 5, FG_MAX_PICKLE) &&
            make_pool(&m, &m.cells, sizeof(value), 4, FG_MAX_PICKLE) &&
            make_pool(&m, &m.storages, sizeof(storage), 3, FG_MAX_TENSORS) &&
            make_pool(&m, &m.tensors, sizeof(tensor), 5, FG_MAX_TENSORS) &&
            make_pool(&m, &m.items, sizeof(item), 5, FG_MAX_TENSORS) &&
            make_pool(&m, &m.dict_tensors, sizeof(uint32_t), 1, MAX_DICTS);
  fg_status status = ok ? run(&m, err) : fail(&m, err, FG_NO_SPACE, "no memory to read it");
  if (status == FG_OK) status = visit_tensors(&m, visit, user, err);
  pool *pools[] = {&m.stack, &m.memo, &m.cells, &m.storages, &m.tensors, &m.items, &m.dict_tensors};
  for (size_t i = 0; i < sizeof pools / sizeof *pools; i++) free(pools[i]->data);
  return status;
}
