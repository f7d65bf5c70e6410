// tokenizer.model files whose pieces, settings and charsmap are changed before they are written, then bytes.
#include <string.h>

#include "fuzz_tokenizer.h"

enum { PIECES_MAX = 300, UNITS = 512, TEXT_MAX = 40 };

typedef struct piece {
  char text[TEXT_MAX];
  uint64_t type, score; // score: the bits of a float
} piece;

// A setting by the number of its field; present unless left out.
typedef struct setting {
  uint32_t field;
  uint64_t value;
  bool there;
} setting;

typedef struct model {
  piece pieces[PIECES_MAX];
  size_t count;
  setting trainer[4], normalizer[3];
  uint32_t units[UNITS];
  uint64_t unit_bytes, lie; // lie: added to one length
  size_t lie_at, lengths;   // which of the lengths written
  bool charsmap;
} model;

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { WIRE_INTEGER = 0, WIRE_BYTES = 2, WIRE_4_BYTES = 5 };
static const char charsmap_texts[] = "a\0 \0\xe2\x96\x81\0\0zz";

// ---- a valid model --------------------------------------------------------------------------------------

static uint64_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static void add_piece(model *m, const char *text, uint64_t type, float score) {
  piece *p = &m->pieces[m->count++];
  *p = (piece){.type = type, .score = bits_of(score)};
  strncpy(p->text, text, TEXT_MAX - 1);
}

// The rule for one byte in the double array: A node where the root's children are, its value beside.
static void add_rule(model *m, uint8_t byte, uint32_t value_at, uint32_t text_at) {
  uint32_t root = m->units[0] >> 10, node = root ^ byte;
  m->units[node] = (node ^ value_at) << 10 | 1u << 8 | byte;
  m->units[value_at] = 1u << 31 | text_at;
}

static void make_valid(fuzz_random *r, model *m) {
  static const char *const texts[] = {"\xe2\x96\x81",
                                      "t",
                                      "h",
                                      "e",
                                      "a",
                                      "b",
                                      "1",
                                      "\xe4\xb8\xad",
                                      "th",
                                      "the",
                                      "ab",
                                      "abab",
                                      "\xe2\x96\x81t",
                                      "\xe2\x96\x81the",
                                      "b\xe2\x96\x81"};
  bool bytes = fuzz_chance(r, 50);
  add_piece(m, "<unk>", UNKNOWN, 0);
  add_piece(m, "<s>", CONTROL, 0);
  add_piece(m, "</s>", CONTROL, 0);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    add_piece(m, texts[i], NORMAL, -(float)fuzz_below(r, 12));
  if (fuzz_chance(r, 50)) add_piece(m, "<|begin|>", USER_DEFINED, 0);
  if (fuzz_chance(r, 30)) add_piece(m, "zz", UNUSED, -2);
  for (int i = 0; i < 256 && bytes; i++) {
    static const char digits[] = "0123456789ABCDEF";
    char name[] = {'<', '0', 'x', digits[i / 16], digits[i % 16], '>', 0};
    add_piece(m, name, BYTE, 0);
  }
  m->trainer[0] = (setting){3, 1 + fuzz_below(r, 2), true};
  m->trainer[1] = (setting){35, bytes, bytes};
  m->trainer[2] = (setting){40, 0, true};
  m->trainer[3] = (setting){24, 0, false};
  for (uint32_t i = 0; i < 3; i++) m->normalizer[i] = (setting){3 + i, fuzz_below(r, 2), fuzz_chance(r, 70)};
  m->charsmap = fuzz_chance(r, 60);
  m->units[0] = 256u << 10;
  m->unit_bytes = sizeof m->units;
  add_rule(m, 'A', 400, 0);
  add_rule(m, '\t', 401, 2);
  add_rule(m, 'z', 402, 8);
}

// ---- changes ----------------------------------------------------------------------------------------------

static void mutate_piece(fuzz_random *r, model *m) {
  piece *p = &m->pieces[fuzz_below(r, m->count)];
  switch (fuzz_below(r, 6)) {
  case 0: p->type = fuzz_number(r, BYTE); break;
  case 1: p->score = fuzz_number(r, 0x7f800000); break; // infinity
  case 2: p->text[0] = (char)fuzz_below(r, 256); break;
  case 3: *p = m->pieces[fuzz_below(r, m->count)]; break;
  case 4: memset(p->text, (int)(1 + fuzz_below(r, 255)), fuzz_below(r, TEXT_MAX - 1)); break;
  default: p->type = 1 + fuzz_below(r, BYTE); break;
  }
}

static void mutate(fuzz_random *r, model *m) {
  switch (fuzz_below(r, 10)) {
  case 0: m->units[fuzz_below(r, UNITS)] = (uint32_t)fuzz_number(r, 1u << 31); break;
  case 1: m->units[fuzz_chance(r, 50) ? 0 : 400 + fuzz_below(r, 3)] ^= 1u << fuzz_below(r, 32); break;
  case 2: m->unit_bytes = fuzz_number(r, m->unit_bytes); break;
  case 3:
    m->lie = fuzz_number(r, 0);
    m->lie_at = fuzz_below(r, 20);
    break;
  case 4: m->trainer[fuzz_below(r, 4)].value = fuzz_number(r, 2); break;
  case 5: m->trainer[fuzz_below(r, 4)].there ^= true; break;
  case 6: m->normalizer[fuzz_below(r, 3)].value = fuzz_number(r, 1); break;
  default: mutate_piece(r, m); break;
  }
}

// ---- the message ------------------------------------------------------------------------------------------

static void put_varint(fuzz_bytes *out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) fuzz_put_number(out, (value & 0x7f) | 0x80, 1);
  fuzz_put_number(out, value, 1);
}

static void put_tag(fuzz_bytes *out, uint32_t field, uint32_t wire) {
  put_varint(out, (uint64_t)field << 3 | wire);
}

static void put_bytes(model *m, fuzz_bytes *out, uint32_t field, const void *data, size_t count) {
  put_tag(out, field, WIRE_BYTES);
  put_varint(out, count + (m->lengths++ == m->lie_at ? m->lie : 0));
  fuzz_put(out, data, count);
}

static void put_message(model *m, fuzz_bytes *out, uint32_t field, const fuzz_bytes *message) {
  put_bytes(m, out, field, message->data, message->count);
}

static void put_piece(model *m, const piece *p, fuzz_bytes *out) {
  unsigned char room[128];
  fuzz_bytes inner = {room, 0, sizeof room};
  put_bytes(m, &inner, 1, p->text, strlen(p->text));
  put_tag(&inner, 2, WIRE_4_BYTES);
  fuzz_put_number(&inner, p->score, 4);
  if (p->type != NORMAL) {
    put_tag(&inner, 3, WIRE_INTEGER);
    put_varint(&inner, p->type);
  }
  put_message(m, out, 1, &inner);
}

static void put_settings(const setting *settings, size_t count, fuzz_bytes *out) {
  for (size_t i = 0; i < count; i++) {
    if (!settings[i].there) continue;
    put_tag(out, settings[i].field, WIRE_INTEGER);
    put_varint(out, settings[i].value);
  }
}

static void put_charsmap(model *m, fuzz_bytes *out) {
  unsigned char room[4 + UNITS * 4 + sizeof charsmap_texts];
  fuzz_bytes block = {room, 0, sizeof room};
  fuzz_put_number(&block, m->unit_bytes, 4);
  for (size_t i = 0; i < UNITS; i++) fuzz_put_number(&block, m->units[i], 4);
  fuzz_put(&block, charsmap_texts, sizeof charsmap_texts);
  put_message(m, out, 2, &block);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  model m = {.lie_at = SIZE_MAX};
  make_valid(r, &m);
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) mutate(r, &m);
  for (size_t i = 0; i < m.count; i++) put_piece(&m, &m.pieces[i], out);
  unsigned char room[4096];
  fuzz_bytes inner = {room, 0, sizeof room};
  put_settings(m.trainer, 4, &inner);
  put_message(&m, out, 2, &inner);
  inner.count = 0;
  put_settings(m.normalizer, 3, &inner);
  if (m.charsmap) put_charsmap(&m, &inner);
  put_message(&m, out, 3, &inner);
  if (fuzz_chance(r, 25)) fuzz_noise(r, out);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  return fuzz_tokenizer_run("tokenizer.model", input, "of a message of");
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "tokenizer_model",
      .file_name = "tokenizer.model",
      .make = make,
      .run = run,
  };
  return fuzz_main(argc, argv, &target);
}
