// Headers whose entries, fields and offsets are changed before they are written as JSON, then bytes.
#include <inttypes.h>
#include <string.h>

#include "fuzz_checkpoint.h"

enum { MAX_ENTRIES = 8, MAX_DIMS = 10 };

typedef struct entry {
  const char *name, *dtype;
  uint64_t shape[MAX_DIMS], begin, end;
  unsigned dims;
  unsigned missing;  // bits: 1 dtype, 2 shape, 4 offsets
  unsigned repeated; // likewise
  const char *extra; // another member, or NULL
} entry;

typedef struct header {
  entry entries[MAX_ENTRIES + 1];
  size_t count;
  uint64_t data_bytes;
} header;

static const struct {
  const char *name;
  unsigned bytes;
} dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I8", 1}, {"I64", 8}, {"U8", 1}, {"BOOL", 1}};

static const char *const odd_dtypes[] = {"F8_E4M3", "F4", "C64", "f32", "", "F32 ", "\\u0046\\u0033\\u0032",
                                         "U128"};
static const char *const names[] = {
    "a", "b", "model.embed.weight", "model.norm.weight", "lm_head.weight", "\\u00e9\\n", "x.bias", "y"};
static const char *const odd_names[] = {"",        "a",       "__metadata__", "\\ud83d\\ude00",
                                        "\\ud83d", "\\u0000", "\xff",         "\t"};
static const char *const extras[] = {"\"x\":null",  "\"x\":[[[{\"y\":[1,2.5e-3,true]}]]]",
                                     "\"dtype\":1", "\"x\":\"\\\"\"",
                                     "\"x\":-",     "\"\":{}"};
#define PICK(r, list) (list)[fuzz_below(r, sizeof(list) / sizeof *(list))]

static void make_valid(fuzz_random *r, header *h) {
  h->count = 1 + fuzz_below(r, MAX_ENTRIES);
  for (size_t i = 0; i < h->count; i++) {
    entry *e = &h->entries[i];
    size_t kind = fuzz_below(r, sizeof dtypes / sizeof *dtypes);
    uint64_t elements = 1;
    *e = (entry){.name = names[i], .dtype = dtypes[kind].name, .dims = (unsigned)fuzz_below(r, 4)};
    for (unsigned d = 0; d < e->dims; d++) elements *= e->shape[d] = fuzz_below(r, 7);
    e->begin = h->data_bytes;
    e->end = h->data_bytes += elements * dtypes[kind].bytes;
  }
}

static void swap_entries(header *h, size_t i, size_t j) {
  entry moved = h->entries[i];
  h->entries[i] = h->entries[j];
  h->entries[j] = moved;
}

static void swap_places(entry *a, entry *b) {
  uint64_t begin = a->begin, end = a->end;
  a->begin = b->begin, a->end = b->end;
  b->begin = begin, b->end = end;
}

static void mutate(fuzz_random *r, header *h) {
  size_t i = fuzz_below(r, h->count), j = fuzz_below(r, h->count);
  entry *e = &h->entries[i];
  switch (fuzz_below(r, 13)) {
  case 0: e->dtype = fuzz_chance(r, 50) ? PICK(r, odd_dtypes) : PICK(r, dtypes).name; break;
  case 1: e->shape[fuzz_below(r, MAX_DIMS)] = fuzz_number(r, e->end - e->begin); break;
  case 2: e->dims = (unsigned)fuzz_below(r, MAX_DIMS + 1); break;
  case 3: e->begin = fuzz_number(r, e->begin); break;
  case 4: e->end = fuzz_number(r, e->end); break;
  case 5: e->begin = fuzz_number(r, h->data_bytes), e->end = e->begin; break;
  case 6: e->name = PICK(r, odd_names); break;
  case 7: e->missing |= 1u << fuzz_below(r, 3); break;
  case 8: e->repeated |= 1u << fuzz_below(r, 3); break;
  case 9: e->extra = PICK(r, extras); break;
  case 10: swap_places(e, &h->entries[j]); break;
  case 11: swap_entries(h, i, j); break; // legal: any order is
  default: h->data_bytes = fuzz_number(r, h->data_bytes) & 0xffff; break;
  }
}

static void put_fields(const entry *e, unsigned which, const char **separator, fuzz_bytes *out) {
  if (which & 1) {
    fuzz_put_format(out, "%s\"dtype\":\"%s\"", *separator, e->dtype);
    *separator = ",";
  }
  if (which & 2) {
    fuzz_put_format(out, "%s\"shape\":[", *separator);
    for (unsigned d = 0; d < e->dims; d++) fuzz_put_format(out, "%s%" PRIu64, d ? "," : "", e->shape[d]);
    fuzz_put_text(out, "]");
    *separator = ",";
  }
  if (which & 4) {
    fuzz_put_format(out, "%s\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]", *separator, e->begin, e->end);
    *separator = ",";
  }
}

static void put_entry(const entry *e, fuzz_bytes *out) {
  const char *separator = "";
  fuzz_put_format(out, "\"%s\":{", e->name);
  put_fields(e, ~e->missing & 7, &separator, out);
  put_fields(e, e->repeated, &separator, out);
  if (e->extra) fuzz_put_format(out, "%s%s", separator, e->extra);
  fuzz_put_text(out, "}");
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  header h = {0};
  make_valid(r, &h);
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) mutate(r, &h);
  fuzz_put_number(out, 0, 8);
  fuzz_put_text(out, "{");
  if (fuzz_chance(r, 30)) fuzz_put_text(out, "\"__metadata__\":{\"format\":\"pt\"},");
  for (size_t i = 0; i < h.count; i++) {
    if (i) fuzz_put_text(out, fuzz_chance(r, 90) ? "," : " ,\n ");
    put_entry(&h.entries[i], out);
  }
  fuzz_put_text(out, "}");
  for (uint64_t n = fuzz_below(r, 9); n > 0; n--) fuzz_put_text(out, " ");
  fuzz_set_number(out, 0, fuzz_chance(r, 95) ? out->count - 8 : fuzz_number(r, out->count - 8), 8);
  for (uint64_t n = h.data_bytes; n > 0; n--) fuzz_put_number(out, n, 1);
  if (fuzz_chance(r, 25)) fuzz_noise(r, out);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)input;
  static const char *const past[] = {"tensor \"", "its tensors end", NULL};
  return fuzz_checkpoint_run(path, past);
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "safetensors",
      .file_name = "x.safetensors",
      .setup = fuzz_checkpoint_setup,
      .make = make,
      .run = run,
      .teardown = fuzz_checkpoint_teardown,
  };
  return fuzz_main(argc, argv, &target);
}
