#include "format/prefix_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"

static const char MAGIC[8] = {'F', 'G', 'P', 'R', 'E', 'F', 'I', 'X'};

// What a piece is at least, where a page has so much: a read of this size costs a disk its rate and not its
// latency, and a few of them are buffers that nobody misses.
static const uint64_t PIECE_BYTES = 512 * 1024;

// The fixed part of the head, as it stands in the file.
typedef struct fixed {
  char magic[8];
  uint32_t version, head_bytes;
  uint64_t checksum, kind, layer_bytes;
  uint32_t layers, piece_layers, page_tokens, tokens, identity_bytes, notes, top, zero;
} fixed;
_Static_assert(sizeof(fixed) == 72, "the head has no gaps");
_Static_assert(sizeof(fg_prefix_note) == 56, "nor have notes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are read as they stand in the file");

enum { CHECKED_FROM = 24 };

// Offsets of what follows the fixed part.
typedef struct sections {
  uint64_t identity, tokens, notes, checksums, end;
} sections;

static sections sections_of(uint64_t identity_bytes, uint64_t tokens, uint64_t page_tokens, uint64_t pieces) {
  sections s = {.identity = sizeof(fixed)};
  s.tokens = fg_align_up(s.identity + identity_bytes, 8);
  s.notes = fg_align_up(s.tokens + tokens * sizeof(int32_t), 8);
  s.checksums = s.notes + page_tokens * sizeof(fg_prefix_note);
  s.end = fg_align_up(s.checksums + pieces * sizeof(uint64_t), FG_PREFIX_ALIGN);
  return s;
}

// ---- sizes ----------------------------------------------------------------------------------------------

static uint32_t pieces_of(uint32_t layers, uint32_t piece_layers) {
  return (layers - 1) / piece_layers + 1;
}

uint32_t fg_prefix_page_piece_layers(const fg_prefix_shape *s) {
  const uint64_t layers = PIECE_BYTES / s->layer_bytes;
  return layers == 0 ? 1 : layers > s->layers ? s->layers : (uint32_t)layers;
}

uint32_t fg_prefix_page_pieces(const fg_prefix_shape *s) {
  return pieces_of(s->layers, fg_prefix_page_piece_layers(s));
}

uint32_t fg_prefix_page_layers_of(const fg_prefix_shape *s, uint32_t piece) {
  const uint32_t each = fg_prefix_page_piece_layers(s), before = piece * each;
  return s->layers - before < each ? s->layers - before : each;
}

uint64_t fg_prefix_page_piece_bytes(const fg_prefix_shape *s, uint32_t piece) {
  return fg_align_up(fg_prefix_page_layers_of(s, piece) * s->layer_bytes, FG_PREFIX_ALIGN);
}

uint64_t fg_prefix_page_piece_at(const fg_prefix_shape *s, uint32_t piece) {
  return piece * fg_align_up(fg_prefix_page_piece_layers(s) * s->layer_bytes, FG_PREFIX_ALIGN);
}

uint64_t fg_prefix_page_head_bytes(const fg_prefix_shape *s, size_t identity_bytes, uint32_t tokens) {
  return sections_of(identity_bytes, tokens, s->page_tokens, fg_prefix_page_pieces(s)).end;
}

uint64_t fg_prefix_page_file_bytes(const fg_prefix_shape *s, size_t identity_bytes, uint32_t tokens) {
  const uint32_t last = fg_prefix_page_pieces(s) - 1;
  return fg_prefix_page_head_bytes(s, identity_bytes, tokens) + fg_prefix_page_piece_at(s, last) +
         fg_prefix_page_piece_bytes(s, last);
}

// ---- writing --------------------------------------------------------------------------------------------

uint64_t fg_prefix_page_checksum(const void *piece, uint64_t bytes) {
  return fg_hash(piece, bytes);
}

void fg_prefix_page_write_head(char *head, const fg_prefix_shape *shape, const fg_prefix_text *text,
                               const fg_prefix_notes *notes, const uint64_t *checksums) {
  const size_t identity_bytes = strlen(text->identity);
  const uint32_t pieces = fg_prefix_page_pieces(shape);
  const sections at = sections_of(identity_bytes, text->count, shape->page_tokens, pieces);
  memset(head, 0, at.end);
  fixed f = {.version = FG_PREFIX_VERSION,
             .head_bytes = (uint32_t)at.end,
             .kind = text->kind,
             .layer_bytes = shape->layer_bytes,
             .layers = shape->layers,
             .piece_layers = fg_prefix_page_piece_layers(shape),
             .page_tokens = shape->page_tokens,
             .tokens = text->count,
             .identity_bytes = (uint32_t)identity_bytes,
             .notes = notes->count,
             .top = notes->top};
  memcpy(f.magic, MAGIC, sizeof MAGIC);
  memcpy(head, &f, sizeof f);
  memcpy(head + at.identity, text->identity, identity_bytes);
  memcpy(head + at.tokens, text->tokens, text->count * sizeof(int32_t));
  if (notes->count) memcpy(head + at.notes, notes->notes, notes->count * sizeof *notes->notes);
  memcpy(head + at.checksums, checksums, pieces * sizeof *checksums);
  f.checksum = fg_hash(head + CHECKED_FROM, at.end - CHECKED_FROM);
  memcpy(head, &f, sizeof f);
}

// ---- reading --------------------------------------------------------------------------------------------

static fg_status damaged(fg_error *err, const char *what) {
  return fg_fail(err, FG_CORRUPT, "damaged page of a prefix: %s", what);
}

// Numbers that sizes are made of; afterwards no product of them overflows.
static bool has_sizes(const fixed *f) {
  return f->layer_bytes > 0 && f->layer_bytes <= UINT32_MAX && f->layers > 0 && f->layers <= UINT16_MAX &&
         f->piece_layers > 0 && f->piece_layers <= f->layers && f->page_tokens > 0 && f->tokens > 0 &&
         f->tokens <= FG_PREFIX_MOST_TOKENS && f->tokens % f->page_tokens == 0 &&
         f->identity_bytes <= FG_PREFIX_MOST_IDENTITY && f->notes <= f->page_tokens &&
         f->top <= FG_PREFIX_NOTE_TOP;
}

static uint64_t bytes_behind_head(const fixed *f) {
  const uint64_t piece = fg_align_up(f->piece_layers * f->layer_bytes, FG_PREFIX_ALIGN);
  const uint32_t whole = f->layers / f->piece_layers, rest = f->layers % f->piece_layers;
  return whole * piece + fg_align_up(rest * f->layer_bytes, FG_PREFIX_ALIGN);
}

static bool note_holds(const fg_prefix_note *note, uint32_t top) {
  if (note->token < 0 || note->top_count > top) return false;
  for (uint32_t i = 0; i < note->top_count; i++)
    if (note->top[i].token < 0) return false;
  return true;
}

static bool notes_hold(const fg_prefix_notes *n) {
  for (uint32_t i = 0; i < n->count; i++)
    if (!note_holds(&n->notes[i], n->top)) return false;
  return true;
}

fg_status fg_prefix_page_read_head(fg_prefix_page *out, const void *head, uint64_t bytes, uint64_t file_bytes,
                                   fg_error *err) {
  const char *begin = head;
  fixed f;
  if (bytes < sizeof f) return damaged(err, "it ends within its head");
  memcpy(&f, begin, sizeof f);
  if (memcmp(f.magic, MAGIC, sizeof MAGIC) != 0) return damaged(err, "it does not begin like one");
  if (f.version != FG_PREFIX_VERSION)
    return fg_fail(err, FG_UNSUPPORTED, "page of a prefix in version %" PRIu32 ", this is %d", f.version,
                   FG_PREFIX_VERSION);
  if (f.head_bytes > bytes || f.head_bytes % FG_PREFIX_ALIGN || f.head_bytes < sizeof f)
    return damaged(err, "its head has another size than it says");
  if (fg_hash(begin + CHECKED_FROM, f.head_bytes - CHECKED_FROM) != f.checksum)
    return damaged(err, "checksum of its head");
  if (!has_sizes(&f)) return damaged(err, "numbers that do not go together");
  const sections at =
      sections_of(f.identity_bytes, f.tokens, f.page_tokens, pieces_of(f.layers, f.piece_layers));
  if (at.end != f.head_bytes) return damaged(err, "its head has another size than it says");
  if (f.head_bytes + bytes_behind_head(&f) != file_bytes)
    return damaged(err, "the file has another size than it says");
  *out = (fg_prefix_page){.shape = {f.page_tokens, f.layers, f.layer_bytes},
                          .piece_layers = f.piece_layers,
                          .kind = f.kind,
                          .identity = begin + at.identity,
                          .identity_bytes = f.identity_bytes,
                          .tokens = (const int32_t *)(begin + at.tokens),
                          .count = f.tokens,
                          .notes = {(const fg_prefix_note *)(begin + at.notes), f.notes, f.top},
                          .checksums = (const uint64_t *)(begin + at.checksums)};
  return notes_hold(&out->notes) ? FG_OK : damaged(err, "notes that do not go together");
}

bool fg_prefix_page_is(const fg_prefix_page *p, const fg_prefix_shape *s, const fg_prefix_text *t) {
  return p->shape.page_tokens == s->page_tokens && p->shape.layers == s->layers &&
         p->shape.layer_bytes == s->layer_bytes && p->piece_layers == fg_prefix_page_piece_layers(s) &&
         p->kind == t->kind && p->identity_bytes == strlen(t->identity) &&
         memcmp(p->identity, t->identity, p->identity_bytes) == 0 && p->count == t->count &&
         memcmp(p->tokens, t->tokens, t->count * sizeof *t->tokens) == 0;
}

// ---- names ----------------------------------------------------------------------------------------------

uint64_t fg_prefix_page_root(const char *identity, uint64_t kind) {
  return fg_hash_more(fg_hash(identity, strlen(identity)), &kind, sizeof kind);
}

uint64_t fg_prefix_page_chain(uint64_t before, const int32_t *tokens, uint32_t page_tokens) {
  return fg_hash_more(before, tokens, page_tokens * sizeof *tokens);
}

void fg_prefix_page_name(char name[static FG_PREFIX_NAME_BYTES], uint64_t hash, uint32_t block) {
  snprintf(name, FG_PREFIX_NAME_BYTES, "%016" PRIx64 "-%" PRIu32 ".page", hash, block);
}

static bool parse_hash(const char *text, uint64_t *hash) {
  *hash = 0;
  for (int i = 0; i < 16; i++) {
    const char c = text[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    *hash = *hash << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return true;
}

// What it parses it also writes: no other spelling of a number.
bool fg_prefix_page_parse_name(const char *name, uint64_t *hash, uint32_t *block) {
  uint64_t number = 0;
  if (strlen(name) >= FG_PREFIX_NAME_BYTES || !parse_hash(name, hash) || name[16] != '-') return false;
  for (const char *c = name + 17; *c >= '0' && *c <= '9' && number <= UINT32_MAX; c++)
    number = number * 10 + (uint64_t)(*c - '0');
  if (number > UINT32_MAX) return false;
  *block = (uint32_t)number;
  char same[FG_PREFIX_NAME_BYTES];
  fg_prefix_page_name(same, *hash, *block);
  return strcmp(same, name) == 0;
}

void fg_prefix_page_folder(char name[static FG_PREFIX_FOLDER_BYTES], const char *identity) {
  snprintf(name, FG_PREFIX_FOLDER_BYTES, "%016" PRIx64, fg_hash(identity, strlen(identity)));
}

bool fg_prefix_page_parse_folder(const char *name, uint64_t *hash) {
  return parse_hash(name, hash) && name[16] == '\0';
}
