// Heads of kept pages of prefixes: numbers that do not go together under a right checksum, and noise.
// Whatever is accepted must lie within the file, and what a folder calls its pages must be what it parses.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "format/prefix_page.h"
#include "fuzz_driver.h"

enum { MOST_HEAD = 64 * 1024, MOST_PIECES = 64, CHECKSUM_AT = 16, CHECKED_FROM = 24 };

static char head[MOST_HEAD];

static fg_prefix_shape make_shape(fuzz_random *r) {
  return (fg_prefix_shape){.page_tokens = 1 + (uint32_t)fuzz_below(r, 40),
                           .layers = 1 + (uint32_t)fuzz_below(r, MOST_PIECES),
                           .layer_bytes = 1 + fuzz_below(r, 9000)};
}

static void make_notes(fuzz_random *r, fg_prefix_note *notes, uint32_t count, uint32_t top) {
  for (uint32_t i = 0; i < count; i++) {
    notes[i] = (fg_prefix_note){.token = (int32_t)fuzz_below(r, 50000),
                                .top_count = (uint32_t)fuzz_below(r, top + 1)};
    if (fuzz_chance(r, 1)) notes[i].top_count = (uint32_t)fuzz_number(r, top);
    if (fuzz_chance(r, 1)) notes[i].token = (int32_t)fuzz_number(r, 1);
    if (fuzz_chance(r, 1)) notes[i].top[0].token = (int32_t)fuzz_number(r, 1);
  }
}

// A whole file, its pieces as long as it says and of any bytes.
static void make_valid(fuzz_random *r, fuzz_bytes *out) {
  static const char name[] =
      "flexgen 1; model 0123456789abcdef, weights 0123456789abcdef; dtype f32; cache f32";
  const fg_prefix_shape shape = make_shape(r);
  const uint32_t blocks = 1 + (uint32_t)fuzz_below(r, 5),
                 top = (uint32_t)fuzz_below(r, FG_PREFIX_NOTE_TOP + 1);
  int32_t tokens[5 * 40];
  fg_prefix_note notes[40];
  uint64_t checksums[MOST_PIECES];
  for (uint32_t i = 0; i < blocks * shape.page_tokens; i++) tokens[i] = (int32_t)fuzz_below(r, 50000);
  for (uint32_t i = 0; i < MOST_PIECES; i++) checksums[i] = fuzz_next(r);
  const fg_prefix_notes noted = {notes, (uint32_t)fuzz_below(r, shape.page_tokens + 1), top};
  make_notes(r, notes, noted.count, top);
  const fg_prefix_text text = {.identity = name + fuzz_below(r, sizeof name),
                               .kind = fuzz_next(r),
                               .tokens = tokens,
                               .count = blocks * shape.page_tokens};
  const uint64_t bytes = fg_prefix_page_head_bytes(&shape, strlen(text.identity), text.count);
  const uint64_t all = fg_prefix_page_file_bytes(&shape, strlen(text.identity), text.count);
  if (bytes > sizeof head) fuzz_broken("a head of %llu bytes", (unsigned long long)bytes);
  fg_prefix_page_write_head(head, &shape, &text, &noted, checksums);
  fuzz_put(out, head, bytes);
  for (uint64_t left = all - bytes; left; left -= left < sizeof head ? left : sizeof head)
    fuzz_put(out, head, left < sizeof head ? left : sizeof head);
}

// Numbers of the fixed part, at their offsets.
static void change_number(fuzz_random *r, fuzz_bytes *out) {
  static const struct {
    size_t at, bytes;
  } fields[] = {{8, 4},  {12, 4}, {24, 8}, {32, 8}, {40, 4}, {44, 4},
                {48, 4}, {52, 4}, {56, 4}, {60, 4}, {64, 4}};
  const size_t i = fuzz_below(r, sizeof fields / sizeof *fields);
  uint64_t was = 0;
  memcpy(&was, out->data + fields[i].at, fields[i].bytes);
  fuzz_set_number(out, fields[i].at, fuzz_number(r, was), fields[i].bytes);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  make_valid(r, out);
  uint32_t bytes;
  memcpy(&bytes, out->data + 12, sizeof bytes);
  for (uint64_t n = fuzz_below(r, 3); n > 0; n--) change_number(r, out);
  if (fuzz_chance(r, 10)) memcpy(&bytes, out->data + 12, sizeof bytes);
  if (bytes >= CHECKED_FROM && bytes <= out->count && fuzz_chance(r, 90))
    fuzz_set_number(out, CHECKSUM_AT, fg_hash(out->data + CHECKED_FROM, bytes - CHECKED_FROM), 8);
  if (fuzz_chance(r, 20)) fuzz_noise(r, out);
}

// Reads all that the page says is there; sanitizers see what is not.
static uint64_t touch(const fg_prefix_page *p) {
  const uint32_t pieces = (p->shape.layers - 1) / p->piece_layers + 1;
  uint64_t sum = fg_hash(p->identity, p->identity_bytes) + fg_hash(p->tokens, p->count * sizeof *p->tokens) +
                 fg_hash(p->notes.notes, p->notes.count * sizeof *p->notes.notes) +
                 fg_hash(p->checksums, pieces * sizeof *p->checksums);
  for (uint32_t i = 0; i < p->notes.count; i++)
    for (uint32_t c = 0; c < p->notes.notes[i].top_count; c++)
      sum += (uint64_t)p->notes.notes[i].top[c].token;
  return sum;
}

static void check_names(const fuzz_bytes *input) {
  char name[FG_PREFIX_NAME_BYTES + 8] = "", same[FG_PREFIX_NAME_BYTES];
  uint64_t hash;
  uint32_t block;
  memcpy(name, input->data, input->count < sizeof name - 1 ? input->count : sizeof name - 1);
  if (fg_prefix_page_parse_name(name, &hash, &block)) {
    fg_prefix_page_name(same, hash, block);
    if (strcmp(name, same) != 0) fuzz_broken("%s is read as %s", name, same);
  }
  (void)fg_prefix_page_parse_folder(name, &hash);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  static volatile uint64_t seen;
  static const char *const late[] = {"numbers that do not", "another size than", "notes that do not"};
  void *copy = aligned_alloc(8, (input->count + 7) / 8 * 8 + 8);
  if (!copy) return FUZZ_REFUSED;
  memcpy(copy, input->data, input->count);
  fg_prefix_page page;
  fg_error err = {0};
  fuzz_outcome outcome = FUZZ_REFUSED;
  check_names(input);
  if (fg_prefix_page_read_head(&page, copy, input->count, input->count, &err) == FG_OK) {
    seen += touch(&page);
    outcome = FUZZ_ACCEPTED;
  }
  for (size_t i = 0; outcome == FUZZ_REFUSED && i < sizeof late / sizeof *late; i++)
    if (strstr(err.message, late[i])) outcome = FUZZ_PAST_HEADER;
  free(copy);
  return outcome;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {.name = "prefix_page", .file_name = "x.page", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
