#include "format/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

#include "format/checkpoint_files.h"
#include "format/little_endian.h"

// The machine's own words, short within this file.
typedef fg_pickle_kind kind;
typedef fg_pickle_value value;
typedef fg_pickle_storage storage;
typedef fg_pickle_view view;
typedef fg_pickle_item item;
typedef fg_pickle_pool pool;
typedef fg_pickle_machine machine;

static value make(kind k, uint64_t number) {
  return (value){.kind = k, .number = number};
}
static value make_range(kind k, size_t first, size_t count) {
  return make(k, (uint64_t)first << FG_PICKLE_RANGE_BITS | count);
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

// ---- stack and pools -------------------------------------------------------------------------------

enum { MAX_STACK = 65536, MAX_DICTS = 2 * FG_MAX_TENSORS };

fg_status fg_pickle_fail(const machine *m, fg_error *err, fg_status status, const char *what) {
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
  if (m->stack.count == 0) return fg_pickle_fail(m, err, FG_CORRUPT, "stack is empty");
  *out = values(&m->stack)[m->stack.count - 1];
  return out->kind == FG_PICKLE_MARK ? fg_pickle_fail(m, err, FG_CORRUPT, "a mark where a value is expected")
                                     : FG_OK;
}

static fg_status pop(machine *m, value *out, fg_error *err) {
  fg_status status = peek(m, out, err);
  if (status == FG_OK) m->stack.count--;
  return status;
}

// Number of values above the topmost mark.
static fg_status count_to_mark(const machine *m, size_t *count, fg_error *err) {
  for (*count = 0; *count < m->stack.count; ++*count) {
    if (values(&m->stack)[m->stack.count - 1 - *count].kind == FG_PICKLE_MARK) return FG_OK;
  }
  return fg_pickle_fail(m, err, FG_CORRUPT, "no mark on the stack");
}

static fg_status new_dict(machine *m, fg_error *err) {
  size_t number = m->dict_tensors.count;
  uint32_t *tensors = take(m, &m->dict_tensors, sizeof *tensors, "dictionaries", err);
  if (!tensors) return FG_UNSUPPORTED;
  *tensors = 0;
  return push(m, make(FG_PICKLE_DICT, number), err);
}

static fg_status set_item(machine *m, value dict, value key, value v, fg_error *err) {
  if (key.kind != FG_PICKLE_STRING || (v.kind != FG_PICKLE_TENSOR && v.kind != FG_PICKLE_DICT)) return FG_OK;
  item *i = take(m, &m->items, sizeof *i, "entries of dictionaries", err);
  if (!i) return FG_UNSUPPORTED;
  *i = (item){.dict = (uint32_t)dict.number, .key = key, .value = v};
  if (v.kind == FG_PICKLE_TENSOR) ((uint32_t *)m->dict_tensors.data)[dict.number]++;
  return FG_OK;
}

static fg_status make_tuple(machine *m, size_t count, fg_error *err) {
  size_t first = m->cells.count;
  if (m->stack.count < count) return fg_pickle_fail(m, err, FG_CORRUPT, "stack is too short for a tuple");
  const value *from = values(&m->stack) + m->stack.count - count;
  for (size_t i = 0; i < count; i++) {
    if (from[i].kind == FG_PICKLE_MARK) return fg_pickle_fail(m, err, FG_CORRUPT, "a mark in a tuple");
    value *cell = take(m, &m->cells, sizeof *cell, "values in tuples", err);
    if (!cell) return FG_UNSUPPORTED;
    *cell = from[i];
  }
  m->stack.count -= count;
  return push(m, make_range(FG_PICKLE_TUPLE, first, count), err);
}

// ---- calls -----------------------------------------------------------------------------------------

static bool is_tuple_of(const machine *m, value v, size_t at_least, const value **items) {
  *items = values(&m->cells) + (v.kind == FG_PICKLE_TUPLE ? fg_pickle_first(v) : 0);
  return v.kind == FG_PICKLE_TUPLE && fg_pickle_count(v) >= at_least;
}

static bool is_global(value v, role r) {
  return v.kind == FG_PICKLE_GLOBAL && globals[v.number].role == r;
}

// A tuple of small enough numbers, as many as `count` says.
static bool is_dims(const machine *m, value v, size_t count) {
  const value *dims;
  if (!is_tuple_of(m, v, count, &dims) || fg_pickle_count(v) != count || count > FG_MAX_DIMS) return false;
  for (size_t i = 0; i < count; i++) {
    if (dims[i].kind != FG_PICKLE_INT) return false;
  }
  return true;
}

// _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)
static fg_status rebuild_tensor(machine *m, value args, fg_error *err) {
  const value *a;
  if (!is_tuple_of(m, args, 4, &a) || a[0].kind != FG_PICKLE_STORAGE || a[1].kind != FG_PICKLE_INT ||
      a[2].kind != FG_PICKLE_TUPLE || !is_dims(m, a[2], fg_pickle_count(a[2])) ||
      !is_dims(m, a[3], fg_pickle_count(a[2]))) {
    return fg_pickle_fail(
        m, err, FG_CORRUPT,
        "a tensor's storage, offset, size (at most 8 dimensions) or stride is not what it should be");
  }
  size_t number = m->tensors.count;
  view *t = take(m, &m->tensors, sizeof *t, "tensors", err);
  if (!t) return FG_UNSUPPORTED;
  *t = (view){
      .storage = (uint32_t)a[0].number,
      .dims = (uint32_t)fg_pickle_count(a[2]),
      .offset = a[1].number,
      .shape = (uint32_t)fg_pickle_first(a[2]),
      .stride = (uint32_t)fg_pickle_first(a[3]),
  };
  return push(m, make(FG_PICKLE_TENSOR, number), err);
}

// _rebuild_parameter(tensor, requires_grad, hooks)
static fg_status rebuild_parameter(machine *m, value args, fg_error *err) {
  const value *a;
  if (!is_tuple_of(m, args, 1, &a) || a[0].kind != FG_PICKLE_TENSOR) {
    return fg_pickle_fail(m, err, FG_CORRUPT, "a parameter that is no tensor");
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
  return fg_pickle_fail(m, err, FG_UNSUPPORTED,
                        "_rebuild_from_type_v2 of something that is neither a tensor nor a parameter");
}

static fg_status call_dict(machine *m, value args, fg_error *err) {
  if (args.kind != FG_PICKLE_TUPLE || fg_pickle_count(args) > 0) {
    return fg_pickle_fail(m, err, FG_UNSUPPORTED, "OrderedDict with arguments");
  }
  return new_dict(m, err);
}

static fg_status call_size(machine *m, value args, fg_error *err) {
  (void)args;
  return push(m, make(FG_PICKLE_OTHER, 0), err);
}

static fg_status call(machine *m, value function, value args, fg_error *err) {
  static fg_status (*const calls[])(machine *, value, fg_error *) = {
      [ROLE_DICT] = call_dict,      [ROLE_TENSOR] = rebuild_tensor, [ROLE_PARAMETER] = rebuild_parameter,
      [ROLE_TYPED] = rebuild_typed, [ROLE_SIZE] = call_size,        [ROLE_CLASS] = NULL,
      [ROLE_STORAGE] = NULL,
  };
  if (function.kind != FG_PICKLE_GLOBAL || !calls[globals[function.number].role]) {
    return fg_pickle_fail(m, err, FG_UNSUPPORTED, "a call of something that is no known function");
  }
  return calls[globals[function.number].role](m, args, err);
}

// ---- instructions ----------------------------------------------------------------------------------
// Each finds its fixed argument at m->arg and its row's operand in m->operand; m->at is behind it.

typedef fg_status instruction(machine *m, fg_error *err);

static fg_status op_proto(machine *m, fg_error *err) {
  return *m->arg == 2 ? FG_OK : fg_pickle_fail(m, err, FG_UNSUPPORTED, "a pickle protocol other than 2");
}

static fg_status op_stop(machine *m, fg_error *err) {
  m->stopped = true;
  return m->stack.count == 1 ? FG_OK
                             : fg_pickle_fail(m, err, FG_CORRUPT, "it ends with more or less than one value");
}

// A line of the pickle without its end, NUL-terminated in `line`.
static fg_status take_line(machine *m, char line[static 64], fg_error *err) {
  const unsigned char *begin = m->pickle + m->at;
  const unsigned char *end = memchr(begin, '\n', m->bytes - m->at);
  if (!end) return fg_pickle_fail(m, err, FG_CORRUPT, "a name without end");
  size_t length = (size_t)(end - begin) < 63 ? (size_t)(end - begin) : 63; // no known name is longer
  for (size_t i = 0; i < length; i++) line[i] = begin[i] >= 0x20 && begin[i] < 0x7f ? (char)begin[i] : '?';
  line[length] = 0;
  m->at += (size_t)(end - begin) + 1;
  return FG_OK;
}

static fg_status op_global(machine *m, fg_error *err) {
  char module[64], name[64];
  fg_status status = take_line(m, module, err);
  if (status == FG_OK) status = take_line(m, name, err);
  if (status) return status;
  for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
    if (strcmp(module, globals[i].module) == 0 && strcmp(name, globals[i].name) == 0) {
      return push(m, make(FG_PICKLE_GLOBAL, i), err);
    }
  }
  return fg_fail(err, FG_UNSUPPORTED,
                 "%s: data.pkl, byte %zu: it names %s.%s, which a file of weights does not need; convert it "
                 "to safetensors",
                 m->where, m->at, module, name);
}

static fg_status op_push(machine *m, fg_error *err) {
  return push(m, make((kind)m->operand, 0), err);
}

static fg_status op_small_tuple(machine *m, fg_error *err) {
  return make_tuple(m, m->operand, err);
}

static fg_status op_tuple(machine *m, fg_error *err) {
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

static fg_status op_empty_dict(machine *m, fg_error *err) {
  return new_dict(m, err);
}

static fg_status expect(const machine *m, kind k, fg_error *err) {
  value v;
  fg_status status = peek(m, &v, err);
  if (status) return status;
  return v.kind == (uint64_t)k ? FG_OK
                               : fg_pickle_fail(m, err, FG_CORRUPT, "items for something that holds none");
}

static fg_status op_append(machine *m, fg_error *err) {
  value v;
  fg_status status = pop(m, &v, err);
  return status ? status : expect(m, FG_PICKLE_LIST, err);
}

static fg_status op_appends(machine *m, fg_error *err) {
  size_t count;
  fg_status status = count_to_mark(m, &count, err);
  if (status) return status;
  m->stack.count -= count + 1;
  return expect(m, FG_PICKLE_LIST, err);
}

// `count` values, keys and values in turn, into the dictionary that stands below them and `marks` marks.
static fg_status set_items(machine *m, size_t count, size_t marks, fg_error *err) {
  const value *pairs = values(&m->stack) + m->stack.count - count;
  if (count % 2) return fg_pickle_fail(m, err, FG_CORRUPT, "a key without a value");
  m->stack.count -= count + marks;
  fg_status status = expect(m, FG_PICKLE_DICT, err);
  if (status) return status;
  value dict = values(&m->stack)[m->stack.count - 1];
  for (size_t i = 0; i < count && status == FG_OK; i += 2)
    status = set_item(m, dict, pairs[i], pairs[i + 1], err);
  return status;
}

static fg_status op_setitem(machine *m, fg_error *err) {
  if (m->stack.count < 3) return fg_pickle_fail(m, err, FG_CORRUPT, "stack is too short for an item");
  return set_items(m, 2, 0, err);
}

static fg_status op_setitems(machine *m, fg_error *err) {
  size_t count;
  fg_status status = count_to_mark(m, &count, err);
  return status ? status : set_items(m, count, 1, err);
}

// Picklers number what they remember in order, so that a gap is a sign of damage.
static fg_status remember(machine *m, size_t index, fg_error *err) {
  value v;
  fg_status status = peek(m, &v, err);
  if (status) return status;
  if (index > m->memo.count) return fg_pickle_fail(m, err, FG_CORRUPT, "memo numbers are not in order");
  if (index == m->memo.count && !take(m, &m->memo, sizeof v, "remembered values", err)) return FG_UNSUPPORTED;
  values(&m->memo)[index] = v;
  return FG_OK;
}

static fg_status recall(machine *m, size_t index, fg_error *err) {
  if (index >= m->memo.count) return fg_pickle_fail(m, err, FG_CORRUPT, "an unknown memo number");
  return push(m, values(&m->memo)[index], err);
}

static fg_status op_binput(machine *m, fg_error *err) {
  return remember(m, *m->arg, err);
}
static fg_status op_binget(machine *m, fg_error *err) {
  return recall(m, *m->arg, err);
}

static fg_status op_long_binput(machine *m, fg_error *err) {
  return remember(m, fg_le32(m->arg), err);
}

static fg_status op_long_binget(machine *m, fg_error *err) {
  return recall(m, fg_le32(m->arg), err);
}

static fg_status take_string(machine *m, size_t length, fg_error *err) {
  if (length > m->bytes - m->at) return fg_pickle_fail(m, err, FG_CORRUPT, "a string reaches beyond the end");
  m->at += length;
  return push(m, make_range(FG_PICKLE_STRING, m->at - length, length), err);
}

static fg_status op_binunicode(machine *m, fg_error *err) {
  return take_string(m, fg_le32(m->arg), err);
}

static fg_status op_short_binstring(machine *m, fg_error *err) {
  return take_string(m, *m->arg, err);
}

static fg_status op_binint(machine *m, fg_error *err) {
  uint32_t n = fg_le32(m->arg);
  return push(m, n > INT32_MAX ? make(FG_PICKLE_OTHER, 0) : make(FG_PICKLE_INT, n), err);
}

static fg_status op_binint1(machine *m, fg_error *err) {
  return push(m, make(FG_PICKLE_INT, *m->arg), err);
}

static fg_status op_binint2(machine *m, fg_error *err) {
  return push(m, make(FG_PICKLE_INT, fg_le16(m->arg)), err);
}

// Two's complement of any length. What is negative or needs more than 55 bits describes no tensor.
static fg_status op_long1(machine *m, fg_error *err) {
  size_t length = *m->arg;
  if (length > m->bytes - m->at)
    return fg_pickle_fail(m, err, FG_CORRUPT, "an integer reaches beyond the end");
  const unsigned char *digits = m->pickle + m->at;
  m->at += length;
  if (length > 7 || (length > 0 && digits[length - 1] > 0x7f)) return push(m, make(FG_PICKLE_OTHER, 0), err);
  uint64_t n = 0;
  for (size_t i = length; i-- > 0;) n = n << 8 | digits[i];
  return push(m, make(FG_PICKLE_INT, n), err);
}

// The persistent id of torch: ("storage", type, key, location, elements).
static fg_status op_binpersid(machine *m, fg_error *err) {
  value id;
  const value *a;
  fg_status status = pop(m, &id, err);
  if (status) return status;
  if (!is_tuple_of(m, id, 5, &a) || a[0].kind != FG_PICKLE_STRING || fg_pickle_count(a[0]) != 7 ||
      memcmp(m->pickle + fg_pickle_first(a[0]), "storage", 7) != 0 || !is_global(a[1], ROLE_STORAGE) ||
      a[2].kind != FG_PICKLE_STRING || a[4].kind != FG_PICKLE_INT) {
    return fg_pickle_fail(m, err, FG_CORRUPT, "a persistent id that is no storage");
  }
  size_t number = m->storages.count;
  storage *s = take(m, &m->storages, sizeof *s, "storages", err);
  if (!s) return FG_UNSUPPORTED;
  *s = (storage){.dtype = globals[a[1].number].dtype, .key = a[2], .elements = a[4].number};
  return push(m, make(FG_PICKLE_STORAGE, number), err);
}

static fg_status op_reduce(machine *m, fg_error *err) {
  value args, function;
  fg_status status = pop(m, &args, err);
  if (status == FG_OK) status = pop(m, &function, err);
  return status ? status : call(m, function, args, err);
}

static fg_status op_newobj(machine *m, fg_error *err) {
  value args, class;
  fg_status status = pop(m, &args, err);
  if (status == FG_OK) status = pop(m, &class, err);
  if (status) return status;
  if (!is_global(class, ROLE_DICT))
    return fg_pickle_fail(m, err, FG_UNSUPPORTED, "a new object that is no OrderedDict");
  return call_dict(m, args, err);
}

// Attributes of a dictionary (torch's _metadata): not needed.
static fg_status op_build(machine *m, fg_error *err) {
  value state;
  fg_status status = pop(m, &state, err);
  return status ? status : expect(m, FG_PICKLE_DICT, err);
}

static const struct {
  instruction *run; // NULL = not known
  uint32_t arg_bytes, operand;
} instructions[256] = {
    [0x80] = {op_proto, 1, 0},
    ['.'] = {op_stop, 0, 0},
    ['c'] = {op_global, 0, 0},
    // values
    ['('] = {op_push, 0, FG_PICKLE_MARK},
    ['N'] = {op_push, 0, FG_PICKLE_OTHER},
    [0x88] = {op_push, 0, FG_PICKLE_OTHER},
    [0x89] = {op_push, 0, FG_PICKLE_OTHER},
    ['G'] = {op_push, 8, FG_PICKLE_OTHER},
    ['J'] = {op_binint, 4, 0},
    ['K'] = {op_binint1, 1, 0},
    ['M'] = {op_binint2, 2, 0},
    [0x8a] = {op_long1, 1, 0},
    ['X'] = {op_binunicode, 4, 0},
    ['U'] = {op_short_binstring, 1, 0},
    // containers
    [')'] = {op_small_tuple, 0, 0},
    [0x85] = {op_small_tuple, 0, 1},
    [0x86] = {op_small_tuple, 0, 2},
    [0x87] = {op_small_tuple, 0, 3},
    ['t'] = {op_tuple, 0, 0},
    [']'] = {op_push, 0, FG_PICKLE_LIST},
    ['a'] = {op_append, 0, 0},
    ['e'] = {op_appends, 0, 0},
    ['}'] = {op_empty_dict, 0, 0},
    ['s'] = {op_setitem, 0, 0},
    ['u'] = {op_setitems, 0, 0},
    // memory
    ['q'] = {op_binput, 1, 0},
    ['r'] = {op_long_binput, 4, 0},
    ['h'] = {op_binget, 1, 0},
    ['j'] = {op_long_binget, 4, 0},
    // objects
    ['Q'] = {op_binpersid, 0, 0},
    ['R'] = {op_reduce, 0, 0},
    [0x81] = {op_newobj, 0, 0},
    ['b'] = {op_build, 0, 0},
};

fg_status fg_pickle_machine_run(machine *m, fg_error *err) {
  while (!m->stopped) {
    if (m->at == m->bytes) return fg_pickle_fail(m, err, FG_CORRUPT, "it ends without STOP");
    unsigned char code = m->pickle[m->at++];
    if (!instructions[code].run) {
      return fg_fail(err, FG_UNSUPPORTED,
                     "%s: data.pkl, byte %zu: instruction 0x%02x has no place in a file of weights", m->where,
                     m->at - 1, code);
    }
    if (instructions[code].arg_bytes > m->bytes - m->at)
      return fg_pickle_fail(m, err, FG_CORRUPT, "it ends within an instruction");
    m->arg = m->pickle + m->at;
    m->operand = instructions[code].operand;
    m->at += instructions[code].arg_bytes;
    fg_status status = instructions[code].run(m, err);
    if (status) return status;
  }
  return FG_OK;
}

// ---- making ------------------------------------------------------------------------------------------

// Room for one thing in every `bytes_each` bytes of pickle, at most `cap` of them.
static bool make_pool(const machine *m, pool *p, size_t size, size_t bytes_each, size_t cap) {
  p->capacity = m->bytes / bytes_each + 256;
  if (p->capacity > cap) p->capacity = cap;
  p->data = malloc(p->capacity * size);
  return p->data != NULL;
}

fg_status fg_pickle_machine_init(machine *m, void *pickle, size_t bytes, const char *where, fg_error *err) {
  *m = (machine){.pickle = pickle, .bytes = bytes, .where = where};
  // The shortest ways to make one: LONG_BINPUT 5 bytes; a tuple's element in what torch writes 5 to 7;
  // a call or an item from remembered values 5; a storage 3; a dictionary 1.
  if (make_pool(m, &m->stack, sizeof(value), 1, MAX_STACK) &&
      make_pool(m, &m->memo, sizeof(value), 5, FG_MAX_PICKLE) &&
      make_pool(m, &m->cells, sizeof(value), 4, FG_MAX_PICKLE) &&
      make_pool(m, &m->storages, sizeof(storage), 3, FG_MAX_TENSORS) &&
      make_pool(m, &m->tensors, sizeof(view), 5, FG_MAX_TENSORS) &&
      make_pool(m, &m->items, sizeof(item), 5, FG_MAX_TENSORS) &&
      make_pool(m, &m->dict_tensors, sizeof(uint32_t), 1, MAX_DICTS)) {
    return FG_OK;
  }
  fg_pickle_machine_free(m);
  return fg_pickle_fail(m, err, FG_NO_SPACE, "no memory to read it");
}

void fg_pickle_machine_free(machine *m) {
  pool *pools[] = {&m->stack, &m->memo, &m->cells, &m->storages, &m->tensors, &m->items, &m->dict_tensors};
  for (size_t i = 0; i < sizeof pools / sizeof *pools; i++) {
    free(pools[i]->data);
    pools[i]->data = NULL;
  }
}
