// GGUF headers whose keys, values, tensors and counts are changed before they are written, then bytes.
#include <string.h>

#include "format/assets.h"
#include "format/gguf.h"
#include "fuzz_checkpoint.h"

enum { MAX_KEYS = 10, MAX_TENSORS = 6, MAX_DIMS = 6 };

typedef struct key {
  const char *name;
  uint32_t type, element; // element: of an array
  uint64_t count, number;
  uint64_t lie; // added to the written length or count
} key;

typedef struct tensor {
  const char *name;
  uint64_t shape[MAX_DIMS], offset;
  uint32_t dims, type;
} tensor;

typedef struct header {
  key keys[MAX_KEYS];
  tensor tensors[MAX_TENSORS];
  size_t key_count, tensor_count;
  uint64_t stated_keys, stated_tensors, version, alignment, data_bytes;
} header;

static const char *const key_names[] = {"general.architecture",
                                        "llama.block_count",
                                        "llama.rope.freq_base",
                                        "a",
                                        "tokenizer.ggml.tokens",
                                        "split.no",
                                        "split.count",
                                        "split.tensors.count",
                                        "b.c",
                                        "general.name"};
static const char *const tensor_names[] = {
    "token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight", "output.weight", "t", "u"};
static const uint32_t readable[] = {0, 1, 30, 2, 3, 8};
static const unsigned value_bytes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
#define PICK(r, list) (list)[fuzz_below(r, sizeof(list) / sizeof *(list))]

static uint64_t tensor_bytes(const tensor *t) {
  static const struct {
    uint32_t block, bytes;
  } types[] = {[0] = {1, 4}, [1] = {1, 2}, [2] = {32, 18}, [3] = {32, 20}, [8] = {32, 34}, [30] = {1, 2}};
  uint64_t elements = 1;
  for (uint32_t d = 0; d < t->dims; d++) elements *= t->shape[d];
  return elements / types[t->type].block * types[t->type].bytes;
}

static void make_valid(fuzz_random *r, header *h) {
  h->version = 2 + fuzz_below(r, 2);
  h->alignment = fuzz_chance(r, 70) ? 32 : (uint64_t)8 << fuzz_below(r, 5);
  h->stated_keys = h->key_count = fuzz_below(r, MAX_KEYS + 1);
  for (size_t i = 0; i < h->key_count; i++) {
    bool split = strncmp(key_names[i], "split.", 6) == 0; // one part, unless a mutation says otherwise
    uint32_t scalar = (uint32_t)fuzz_below(r, 12);
    uint32_t kind = fuzz_chance(r, 30) ? 9 : scalar + (scalar >= 9);
    h->keys[i] = (key){.name = key_names[i],
                       .type = split ? 4 : kind,
                       .element = scalar + (scalar >= 9),
                       .count = fuzz_below(r, 6),
                       .number = split ? strcmp(key_names[i], "split.count") == 0 : fuzz_below(r, 2)};
  }
  h->stated_tensors = h->tensor_count = fuzz_below(r, MAX_TENSORS + 1);
  for (size_t i = 0; i < h->tensor_count; i++) {
    tensor *t = &h->tensors[i];
    *t = (tensor){.name = tensor_names[i],
                  .dims = 1 + (uint32_t)fuzz_below(r, 4),
                  .type = PICK(r, readable),
                  .offset = h->data_bytes};
    for (uint32_t d = 0; d < t->dims; d++) t->shape[d] = d ? fuzz_below(r, 4) : 32 * fuzz_below(r, 3);
    h->data_bytes += (tensor_bytes(t) + h->alignment - 1) / h->alignment * h->alignment;
  }
}

static void mutate_key(fuzz_random *r, header *h) {
  key *k = &h->keys[fuzz_below(r, MAX_KEYS)];
  switch (fuzz_below(r, 7)) {
  case 0: k->type = (uint32_t)fuzz_below(r, 16); break;
  case 1: k->element = (uint32_t)fuzz_below(r, 16); break;
  case 2: k->number = fuzz_number(r, k->number); break;
  case 3: k->lie = fuzz_number(r, 0); break;
  case 4: k->count = fuzz_below(r, 40); break;
  case 5: k->name = PICK(r, key_names); break;
  default: k->name = ""; break;
  }
}

static void mutate_tensor(fuzz_random *r, header *h) {
  tensor *t = &h->tensors[fuzz_below(r, MAX_TENSORS)];
  switch (fuzz_below(r, 6)) {
  case 0: t->type = (uint32_t)fuzz_number(r, 8); break;
  case 1: t->dims = (uint32_t)fuzz_below(r, MAX_DIMS + 1); break;
  case 2: t->shape[fuzz_below(r, 4)] = fuzz_number(r, 32); break;
  case 3: t->offset = fuzz_number(r, t->offset); break;
  case 4: t->name = PICK(r, tensor_names); break;
  default:
    t->name = fuzz_chance(r, 50) ? "" : "blk.0.attn_q.weight.and.a.tail.that.is.longer.than.sixty.four.bytes";
    break;
  }
}

static void mutate(fuzz_random *r, header *h) {
  switch (fuzz_below(r, 12)) {
  case 0: h->version = fuzz_number(r, 3); break;
  case 1: h->stated_keys = fuzz_number(r, h->key_count); break;
  case 2: h->stated_tensors = fuzz_number(r, h->tensor_count); break;
  case 3: h->alignment = fuzz_number(r, 32); break;
  case 4: h->data_bytes = fuzz_number(r, h->data_bytes) & 0xffff; break;
  case 5:
  case 6:
  case 7: mutate_key(r, h); break;
  default: mutate_tensor(r, h); break;
  }
}

static void put_string(const char *text, uint64_t lie, fuzz_bytes *out) {
  fuzz_put_number(out, strlen(text) + lie, 8);
  fuzz_put_text(out, text);
}

static void put_value(const key *k, uint32_t type, fuzz_bytes *out) {
  if (type == 8)
    put_string("text", k->lie, out);
  else if (type < 13)
    fuzz_put_number(out, k->number, value_bytes[type]);
}

static void put_key(const key *k, fuzz_bytes *out) {
  put_string(k->name, 0, out);
  fuzz_put_number(out, k->type, 4);
  if (k->type != 9) {
    put_value(k, k->type, out);
    return;
  }
  fuzz_put_number(out, k->element, 4);
  fuzz_put_number(out, k->count + k->lie, 8);
  for (uint64_t i = 0; i < k->count; i++) put_value(k, k->element, out);
}

static void put_tensor(const tensor *t, fuzz_bytes *out) {
  put_string(t->name, 0, out);
  fuzz_put_number(out, t->dims, 4);
  for (uint32_t d = 0; d < t->dims; d++) fuzz_put_number(out, t->shape[d], 8);
  fuzz_put_number(out, t->type, 4);
  fuzz_put_number(out, t->offset, 8);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  header h = {0};
  make_valid(r, &h);
  bool says_alignment = h.alignment != 32;
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) mutate(r, &h);
  fuzz_put_text(out, "GGUF");
  fuzz_put_number(out, h.version, 4);
  fuzz_put_number(out, h.stated_tensors, 8);
  fuzz_put_number(out, h.stated_keys + says_alignment, 8);
  for (size_t i = 0; i < h.key_count; i++) put_key(&h.keys[i], out);
  if (says_alignment) put_key(&(key){.name = "general.alignment", .type = 4, .number = h.alignment}, out);
  for (size_t i = 0; i < h.tensor_count; i++) put_tensor(&h.tensors[i], out);
  while (h.alignment && h.alignment <= 4096 && out->count % h.alignment) fuzz_put_number(out, 0, 1);
  for (uint64_t n = h.data_bytes; n > 0; n--) fuzz_put_number(out, n, 1);
  if (fuzz_chance(r, 30)) fuzz_noise(r, out);
}

// Asks for every key in every way, as the readers of configurations and tokenizers do.
static void ask(const fg_gguf *g) {
  fg_error err;
  for (size_t i = 0; i < sizeof key_names / sizeof *key_names; i++) {
    uint32_t number;
    float real, reals[64];
    bool yes, flags[64];
    int32_t numbers[64];
    uint64_t count = 0;
    fg_gguf_string text = {0}, texts[64];
    fg_gguf_u32(g, key_names[i], 0, &number, &err);
    fg_gguf_f32(g, key_names[i], 0, &real, &err);
    fg_gguf_bool(g, key_names[i], false, &yes, &err);
    fg_gguf_text(g, key_names[i], &text, &err);
    if (fg_gguf_array_count(g, key_names[i], &count, &err) || count > 64) continue;
    fg_gguf_array_i32(g, key_names[i], numbers, count, &err);
    fg_gguf_array_bool(g, key_names[i], flags, count, &err);
    fg_gguf_array_f32(g, key_names[i], reals, count, &err);
    if (fg_gguf_array_strings(g, key_names[i], texts, count, &err)) continue;
    for (uint64_t n = 0; n < count; n++) {
      if (texts[n].length && memchr(texts[n].data, 0xff, texts[n].length)) continue; // touches every byte
    }
  }
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)input;
  static const char *const past[] = {"tensor",          "key \"",         "key of",
                                     "within a key",    "within a value", "within an array",
                                     "within the list", "part",           NULL};
  fg_assets assets;
  fg_error err = {0};
  if (fg_assets_load(&assets, path, &err) == FG_OK) {
    fg_gguf *g;
    const fg_asset *bytes = fg_assets_find(&assets, FG_ASSET_GGUF_HEADER);
    if (fg_gguf_parse(&g, bytes->data, bytes->bytes, &err) == FG_OK) {
      ask(g);
      fg_gguf_destroy(g);
    }
    fg_assets_free(&assets);
  }
  return fuzz_checkpoint_run(path, past);
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "gguf",
      .file_name = "x.gguf",
      .setup = fuzz_checkpoint_setup,
      .make = make,
      .run = run,
      .teardown = fuzz_checkpoint_teardown,
  };
  return fuzz_main(argc, argv, &target);
}
