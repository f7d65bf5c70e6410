// torch archives: the tensors' numbers, the pickle's instructions and the zip's fields are changed one
// kind after the other before each is written, then bytes.
#include <string.h>

#include "fuzz_checkpoint.h"

// ---- the pickle, as a list of instructions -----------------------------------------------------------

enum { MAX_TENSORS = 5, MAX_DIMS = 10, MAX_TOKENS = 512, TOKEN_BYTES = 48, MAX_ENTRIES = 10 };

typedef struct token {
  unsigned char bytes[TOKEN_BYTES];
  size_t count;
} token;

typedef struct program {
  token tokens[MAX_TOKENS];
  size_t count;
  unsigned memo;
} program;

static const token nothing;

static token *add(program *p, const void *bytes, size_t count) {
  token *t = &p->tokens[p->count < MAX_TOKENS - 1 ? p->count++ : MAX_TOKENS - 1];
  *t = nothing;
  t->count = count < TOKEN_BYTES ? count : TOKEN_BYTES;
  memcpy(t->bytes, bytes, t->count);
  return t;
}

static void add_op(program *p, unsigned op) {
  add(p, &(unsigned char){(unsigned char)op}, 1);
}

static void add_with_number(program *p, unsigned op, uint64_t number, size_t bytes) {
  unsigned char raw[9] = {(unsigned char)op};
  for (size_t i = 0; i < bytes; i++) raw[1 + i] = (unsigned char)(number >> 8 * i);
  add(p, raw, 1 + bytes);
}

static void add_text(program *p, const char *text) {
  unsigned char raw[TOKEN_BYTES] = {'X'};
  size_t length = strlen(text);
  raw[1] = (unsigned char)length;
  memcpy(raw + 5, text, length < TOKEN_BYTES - 5 ? length : TOKEN_BYTES - 5);
  add(p, raw, 5 + length);
}

static void add_long(program *p, uint64_t n) {
  unsigned char raw[10] = {0x8a, 8};
  for (size_t i = 0; i < 8; i++) raw[2 + i] = (unsigned char)(n >> 8 * i);
  while (raw[1] > 1 && raw[1 + raw[1]] == 0) raw[1]--;
  add(p, raw, 2 + (size_t)raw[1]);
}

static void add_integer(program *p, uint64_t n) {
  if (n < 256)
    add_with_number(p, 'K', n, 1);
  else if (n < 65536)
    add_with_number(p, 'M', n, 2);
  else if (n < (uint64_t)1 << 31)
    add_with_number(p, 'J', n, 4);
  else
    add_long(p, n);
}

static void add_put(program *p) {
  if (p->memo < 256)
    add_with_number(p, 'q', p->memo, 1);
  else
    add_with_number(p, 'r', p->memo, 4);
  p->memo++;
}

// ---- tensors -----------------------------------------------------------------------------------------

static const struct {
  const char *global;
  unsigned bytes;
} storages[] = {{"ctorch\nFloatStorage\n", 4}, {"ctorch\nHalfStorage\n", 2}, {"ctorch\nBFloat16Storage\n", 2},
                {"ctorch\nLongStorage\n", 8},  {"ctorch\nByteStorage\n", 1}, {"ctorch\nBoolStorage\n", 1}};
static const char *const names[] = {"embed.weight", "lm_head.weight", "a", "b", "norm.bias"};
static const char *const keys[] = {"0", "1", "2", "3", "4"};

typedef struct tensor {
  const char *name, *key;
  unsigned storage; // row of `storages`
  uint64_t elements, entry_bytes, offset;
  uint64_t shape[MAX_DIMS], stride[MAX_DIMS];
  unsigned dims, stride_dims;
  bool parameter;
} tensor;

static void make_tensor(fuzz_random *r, tensor *t, size_t number) {
  uint64_t elements = 1;
  *t = (tensor){.name = names[number],
                .key = keys[number],
                .storage = (unsigned)fuzz_below(r, 6),
                .dims = (unsigned)fuzz_below(r, 4)};
  t->stride_dims = t->dims;
  t->parameter = fuzz_chance(r, 20);
  for (unsigned d = t->dims; d-- > 0;) {
    t->shape[d] = fuzz_below(r, 6);
    t->stride[d] = elements;
    elements *= t->shape[d] ? t->shape[d] : 1;
  }
  if (t->dims > 1 && fuzz_chance(r, 40)) { // transposed
    uint64_t shape = t->shape[0], stride = t->stride[0];
    t->shape[0] = t->shape[t->dims - 1], t->stride[0] = t->stride[t->dims - 1];
    t->shape[t->dims - 1] = shape, t->stride[t->dims - 1] = stride;
  }
  t->offset = fuzz_below(r, 3);
  t->elements = elements + t->offset + fuzz_below(r, 3);
  t->entry_bytes = t->elements * storages[t->storage].bytes;
}

static void mutate_tensor(fuzz_random *r, tensor *t) {
  switch (fuzz_below(r, 9)) {
  case 0: t->elements = fuzz_number(r, t->elements); break;
  case 1: t->offset = fuzz_number(r, t->elements); break;
  case 2: t->shape[fuzz_below(r, 3)] = fuzz_number(r, t->elements); break;
  case 3: t->stride[fuzz_below(r, 3)] = fuzz_number(r, t->elements); break;
  case 4: t->dims = (unsigned)fuzz_below(r, MAX_DIMS + 1); break;
  case 5: t->stride_dims = (unsigned)fuzz_below(r, MAX_DIMS + 1); break;
  case 6: t->storage = (unsigned)fuzz_below(r, 6); break;
  case 7: t->key = keys[fuzz_below(r, 5)]; break; // shared, or of another type
  default: t->name = fuzz_chance(r, 50) ? names[fuzz_below(r, 5)] : ""; break;
  }
}

static void add_dims(program *p, const uint64_t *dims, unsigned count) {
  if (count == 0) {
    add_op(p, ')');
    return;
  }
  if (count > 3) add_op(p, '(');
  for (unsigned d = 0; d < count; d++) add_integer(p, dims[d]);
  add_op(p, count > 3 ? 't' : 0x84 + count);
  add_put(p);
}

static void add_global(program *p, const char *text) {
  add(p, text, strlen(text));
  add_put(p);
}

static void add_dict_object(program *p) {
  add_global(p, "ccollections\nOrderedDict\n");
  add_op(p, ')');
  add_op(p, 'R');
  add_put(p);
}

static void add_tensor(program *p, const tensor *t) {
  add_text(p, t->name);
  add_put(p);
  if (t->parameter) add_global(p, "ctorch._utils\n_rebuild_parameter\n");
  add_global(p, "ctorch._utils\n_rebuild_tensor_v2\n");
  add_op(p, '(');
  add_op(p, '(');
  add_text(p, "storage");
  add_global(p, storages[t->storage].global);
  add_text(p, t->key);
  add_text(p, "cpu");
  add_integer(p, t->elements);
  add_op(p, 't');
  add_put(p);
  add_op(p, 'Q');
  add_integer(p, t->offset);
  add_dims(p, t->shape, t->dims);
  add_dims(p, t->stride, t->stride_dims);
  add_op(p, 0x89);
  add_dict_object(p);
  add_op(p, 't');
  add_op(p, 'R');
  if (!t->parameter) return;
  add_op(p, 0x88);
  add_dict_object(p);
  add_op(p, 0x87);
  add_op(p, 'R');
}

static void make_program(fuzz_random *r, program *p, const tensor *tensors, size_t count) {
  add_with_number(p, 0x80, 2, 1);
  bool wrapped = fuzz_chance(r, 20);
  if (wrapped) add_op(p, '}'), add_text(p, "state_dict");
  if (fuzz_chance(r, 50))
    add_op(p, '}'), add_put(p);
  else
    add_dict_object(p);
  add_op(p, '(');
  for (size_t i = 0; i < count; i++) add_tensor(p, &tensors[i]);
  if (fuzz_chance(r, 30)) add_text(p, "epoch"), add_integer(p, 7);
  add_op(p, 'u');
  if (fuzz_chance(r, 30))
    add_op(p, '}'), add_text(p, "_metadata"), add_op(p, '}'), add_op(p, 's'), add_op(p, 'b');
  if (wrapped) add_op(p, 's');
  add_op(p, '.');
}

static void replace_token(fuzz_random *r, token *t) {
  static const char codes[] = "\x80.c()t\x85\x86\x87]ae}suN\x88\x89qrhjXUJKM\x8aGQR\x81"
                              "biPo0\x93";
  static const char *const globals[] = {"cos\nsystem\n",
                                        "c__builtin__\neval\n",
                                        "ctorch\nSize\n",
                                        "ctorch\nUntypedStorage\n",
                                        "ctorch._tensor\n_rebuild_from_type_v2\n",
                                        "ctorch\nTensor\n",
                                        "c\n\n"};
  if (fuzz_chance(r, 30)) {
    const char *global = globals[fuzz_below(r, sizeof globals / sizeof *globals)];
    t->count = strlen(global);
    memcpy(t->bytes, global, t->count);
  } else {
    t->bytes[0] = (unsigned char)codes[fuzz_below(r, sizeof codes - 1)];
  }
}

static void mutate_program(fuzz_random *r, program *p) {
  size_t i = fuzz_below(r, p->count), j = fuzz_below(r, p->count);
  token *t = &p->tokens[i], moved = *t;
  switch (fuzz_below(r, 6)) {
  case 0: // delete
    memmove(t, t + 1, (p->count - i - 1) * sizeof *t);
    if (p->count > 1) p->count--;
    break;
  case 1: // repeat
    if (p->count < MAX_TOKENS) memmove(t + 1, t, (p->count++ - i) * sizeof *t);
    break;
  case 2: // swap
    *t = p->tokens[j];
    p->tokens[j] = moved;
    break;
  case 3: // copy from elsewhere
    *t = p->tokens[j];
    break;
  case 4: replace_token(r, t); break;
  default: // its argument
    if (t->count > 1) t->bytes[1 + fuzz_below(r, t->count - 1)] = (unsigned char)fuzz_number(r, 0);
    break;
  }
}

// ---- the archive -------------------------------------------------------------------------------------

typedef struct zip_entry {
  char name[32];
  const unsigned char *data;
  uint64_t bytes, stated, header;
  unsigned method, flags, extra; // extra: bytes of padding in the local header
} zip_entry;

typedef struct zip_file {
  zip_entry entries[MAX_ENTRIES];
  size_t count;
  bool zip64;
  uint64_t stated_count, directory, directory_bytes;
} zip_file;

static void add_entry(zip_file *z, const char *name, const char *key, const unsigned char *data,
                      uint64_t bytes) {
  zip_entry *e = &z->entries[z->count++];
  *e = (zip_entry){.data = data, .bytes = bytes, .stated = bytes};
  strcpy(e->name, name);
  strcat(e->name, key);
}

static void mutate_entry(fuzz_random *r, zip_file *z) {
  zip_entry *e = &z->entries[fuzz_below(r, z->count)];
  switch (fuzz_below(r, 7)) {
  case 0: e->stated = fuzz_number(r, e->stated); break;
  case 1: e->bytes = fuzz_below(r, e->bytes + 1); break;
  case 2: e->method = (unsigned)fuzz_below(r, 10); break;
  case 3: e->flags = (unsigned)fuzz_below(r, 10); break;
  case 4: e->name[fuzz_below(r, strlen(e->name) + 1)] = (char)fuzz_number(r, '/'); break;
  case 5: memmove(e->name, z->entries[fuzz_below(r, z->count)].name, sizeof e->name); break;
  default: *e = z->entries[fuzz_below(r, z->count)]; break;
  }
}

static void put_local(zip_entry *e, fuzz_bytes *out) {
  e->header = out->count;
  fuzz_put_number(out, 0x04034b50, 4);
  fuzz_put_number(out, 0, 4);
  fuzz_put_number(out, e->method, 2);
  fuzz_put_number(out, 0, 16);
  fuzz_put_number(out, strlen(e->name), 2);
  fuzz_put_number(out, e->extra, 2);
  fuzz_put_text(out, e->name);
  for (unsigned i = 0; i < e->extra; i++) fuzz_put_number(out, 'Z', 1);
  fuzz_put(out, e->data, e->bytes);
}

static void put_central(const zip_entry *e, bool zip64, fuzz_bytes *out) {
  uint64_t wide = zip64 ? UINT32_MAX : e->stated;
  fuzz_put_number(out, 0x02014b50, 4);
  fuzz_put_number(out, 0, 4);
  fuzz_put_number(out, e->flags, 2);
  fuzz_put_number(out, e->method, 2);
  fuzz_put_number(out, 0, 8);
  fuzz_put_number(out, wide, 4);
  fuzz_put_number(out, wide, 4);
  fuzz_put_number(out, strlen(e->name), 2);
  fuzz_put_number(out, zip64 ? 28 : 0, 2);
  fuzz_put_number(out, 0, 10);
  fuzz_put_number(out, zip64 ? UINT32_MAX : e->header, 4);
  fuzz_put_text(out, e->name);
  if (!zip64) return;
  fuzz_put_number(out, 1 | 24 << 16, 4);
  fuzz_put_number(out, e->stated, 8);
  fuzz_put_number(out, e->stated, 8);
  fuzz_put_number(out, e->header, 8);
}

static void put_end(const zip_file *z, fuzz_bytes *out) {
  uint64_t end64 = out->count;
  if (z->zip64) {
    fuzz_put_number(out, 0x06064b50, 4);
    fuzz_put_number(out, 44, 8);
    fuzz_put_number(out, 0, 12);
    fuzz_put_number(out, z->stated_count, 8);
    fuzz_put_number(out, z->stated_count, 8);
    fuzz_put_number(out, z->directory_bytes, 8);
    fuzz_put_number(out, z->directory, 8);
    fuzz_put_number(out, 0x07064b50, 4);
    fuzz_put_number(out, 0, 4);
    fuzz_put_number(out, end64, 8);
    fuzz_put_number(out, 1, 4);
  }
  fuzz_put_number(out, 0x06054b50, 4);
  fuzz_put_number(out, 0, 4);
  fuzz_put_number(out, z->zip64 ? UINT16_MAX : z->stated_count, 2);
  fuzz_put_number(out, z->zip64 ? UINT16_MAX : z->stated_count, 2);
  fuzz_put_number(out, z->zip64 ? UINT32_MAX : z->directory_bytes, 4);
  fuzz_put_number(out, z->zip64 ? UINT32_MAX : z->directory, 4);
  fuzz_put_number(out, 0, 2);
}

static void put_zip(fuzz_random *r, zip_file *z, fuzz_bytes *out) {
  z->zip64 = fuzz_chance(r, 25);
  for (size_t i = 0; i < z->count; i++) put_local(&z->entries[i], out);
  if (fuzz_chance(r, 5)) z->entries[fuzz_below(r, z->count)].header = fuzz_number(r, out->count);
  z->directory = out->count;
  for (size_t i = 0; i < z->count; i++) put_central(&z->entries[i], z->zip64, out);
  z->directory_bytes = out->count - z->directory;
  z->stated_count = z->count;
  if (fuzz_chance(r, 2)) z->stated_count = fuzz_number(r, z->count);
  if (fuzz_chance(r, 2)) z->directory = fuzz_number(r, z->directory);
  if (fuzz_chance(r, 2)) z->directory_bytes = fuzz_number(r, z->directory_bytes);
  put_end(z, out);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  static program p;
  static unsigned char pickle[MAX_TOKENS * TOKEN_BYTES];
  static const unsigned char weights[4096] = {1, 2, 3};
  tensor tensors[MAX_TENSORS];
  zip_file z = {0};
  fuzz_bytes text = {.data = pickle, .capacity = sizeof pickle};
  size_t count = 1 + fuzz_below(r, MAX_TENSORS);
  uint64_t stage = fuzz_below(r, 4); // what is changed: tensors, instructions, archive or bytes
  p.count = p.memo = 0;
  for (size_t i = 0; i < count; i++) make_tensor(r, &tensors[i], i);
  for (uint64_t n = stage == 0 ? fuzz_below(r, 3) : 0; n > 0; n--)
    mutate_tensor(r, &tensors[fuzz_below(r, count)]);
  make_program(r, &p, tensors, count);
  for (uint64_t n = stage == 1 ? 1 + fuzz_below(r, 3) : 0; n > 0; n--) mutate_program(r, &p);
  for (size_t i = 0; i < p.count; i++) fuzz_put(&text, p.tokens[i].bytes, p.tokens[i].count);
  if (stage == 3 && fuzz_chance(r, 60)) fuzz_noise(r, &text);
  add_entry(&z, "m/data.pkl", "", text.data, text.count);
  if (fuzz_chance(r, 50)) add_entry(&z, "m/byteorder", "", (const unsigned char *)"little", 6);
  for (size_t i = 0; i < count; i++) {
    add_entry(&z, "m/data/", keys[i], weights,
              tensors[i].entry_bytes < sizeof weights ? tensors[i].entry_bytes : sizeof weights);
    z.entries[z.count - 1].extra = (unsigned)fuzz_below(r, 64);
  }
  if (stage == 2 && fuzz_chance(r, 70)) mutate_entry(r, &z);
  put_zip(r, &z, out);
  if (stage == 3 && fuzz_chance(r, 40)) fuzz_noise(r, out);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)input;
  static const char *const past[] = {"data.pkl, byte", "tensor \"", NULL};
  return fuzz_checkpoint_run(path, past);
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "torch_bin",
      .file_name = "x.bin",
      .setup = fuzz_checkpoint_setup,
      .make = make,
      .run = run,
      .teardown = fuzz_checkpoint_teardown,
  };
  return fuzz_main(argc, argv, &target);
}
