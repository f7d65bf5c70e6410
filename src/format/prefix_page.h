// prefix_page.h: a file that holds one page of a KV cache for jobs to come: its form, in memory. Pure.
//
// What a page holds is a function of an *identity*, a *kind* and the tokens from the beginning of the text to
// the page's end. The identity is a line of words that says all that changes a bit of keys and values:
// weights, arithmetic, kernels; who writes pages decides what is in it. The kind tells texts apart that share
// nothing (prefix_index.h). All three stand in the head and are compared when a file is read: its name, which
// is a hash of them, only finds it.
//
// A file is a head and the page's bytes of all layers, in *pieces* of so many whole layers; head and pieces
// each begin at a multiple of 4096 and end with zeros up to one, so that each is one direct read. Numbers are
// little-endian, checksums XXH3. The size of the file follows from the head.
//
//     0   8  "FGPREFIX"
//     8   4  version, 1
//     12  4  bytes of the head, with its zeros
//     16  8  checksum of the head's bytes from 24 on
//     24  8  kind
//     32  8  bytes of a layer's page
//     40  4  layers
//     44  4  layers of a piece; the last one may have fewer
//     48  4  tokens of a page
//     52  4  tokens of the text, a multiple of those of a page
//     56  4  bytes of the identity
//     60  4  notes: positions of the page, from the first on, of which is noted what the model said of the
//     token
//            behind them
//     64  4  candidates that were asked for with each
//     68  4  0
//     72     identity; int32 of each token; room for a note of each token of the page (fg_prefix_note, 56
//     bytes);
//            checksum of each piece. Each of these begins at a multiple of 8.
//
// Whoever reads distrusts: every length is compared with the file's, and nothing is taken that was not
// checked.
#ifndef FG_FORMAT_PREFIX_PAGE_H
#define FG_FORMAT_PREFIX_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/engine.h"
#include "flexgen/error.h"

enum {
  FG_PREFIX_VERSION = 1,
  FG_PREFIX_ALIGN = 4096,
  FG_PREFIX_NOTE_TOP = 5,          // candidates of a note
  FG_PREFIX_MOST_TOKENS = 1 << 18, // of a text: what bounds a head
  FG_PREFIX_MOST_IDENTITY = 1024,
};

typedef struct fg_prefix_shape {
  uint32_t page_tokens, layers;
  uint64_t layer_bytes; // of a layer's page, without padding
} fg_prefix_shape;

// The beginning of a text, up to the end of a page.
typedef struct fg_prefix_text {
  const char *identity;
  uint64_t kind;
  const int32_t *tokens;
  uint32_t count; // a multiple of page_tokens
} fg_prefix_text;

// What the model said of the token behind a position.
typedef struct fg_prefix_note {
  int32_t token;
  float logprob;
  uint32_t rank, top_count;
  fg_candidate top[FG_PREFIX_NOTE_TOP];
} fg_prefix_note;

typedef struct fg_prefix_notes {
  const fg_prefix_note *notes; // of the page's first positions
  uint32_t count, top;         // top: candidates that were asked for
} fg_prefix_notes;

// ---- sizes ----------------------------------------------------------------------------------------------

uint32_t fg_prefix_page_piece_layers(const fg_prefix_shape *shape); // of a piece that is written now
uint32_t fg_prefix_page_pieces(const fg_prefix_shape *shape);
uint32_t fg_prefix_page_layers_of(const fg_prefix_shape *shape, uint32_t piece);
uint64_t fg_prefix_page_piece_bytes(const fg_prefix_shape *shape, uint32_t piece); // with zeros at its end
uint64_t fg_prefix_page_piece_at(const fg_prefix_shape *shape, uint32_t piece);    // behind the head
uint64_t fg_prefix_page_head_bytes(const fg_prefix_shape *shape, size_t identity_bytes, uint32_t tokens);
uint64_t fg_prefix_page_file_bytes(const fg_prefix_shape *shape, size_t identity_bytes, uint32_t tokens);

// ---- writing --------------------------------------------------------------------------------------------

// head: [fg_prefix_page_head_bytes]; checksums: [pieces].
void fg_prefix_page_write_head(char *head, const fg_prefix_shape *shape, const fg_prefix_text *text,
                               const fg_prefix_notes *notes, const uint64_t *checksums);
uint64_t fg_prefix_page_checksum(const void *piece, uint64_t bytes); // bytes: with zeros at its end

// ---- reading --------------------------------------------------------------------------------------------

// A head that was read; points into its bytes, which are at a multiple of 8.
typedef struct fg_prefix_page {
  fg_prefix_shape shape;
  uint32_t piece_layers;
  uint64_t kind;
  const char *identity; // [identity_bytes], without 0
  uint32_t identity_bytes;
  const int32_t *tokens;
  uint32_t count;
  fg_prefix_notes notes;
  const uint64_t *checksums;
} fg_prefix_page;

// `bytes`: of the file's beginning, in memory; `file_bytes`: the whole file's. FG_CORRUPT says what is wrong;
// FG_UNSUPPORTED: another version.
fg_status fg_prefix_page_read_head(fg_prefix_page *out, const void *head, uint64_t bytes, uint64_t file_bytes,
                                   fg_error *err);
// Whether it is that page: shape, identity, kind and every token.
bool fg_prefix_page_is(const fg_prefix_page *page, const fg_prefix_shape *shape, const fg_prefix_text *text);

// ---- names ----------------------------------------------------------------------------------------------

// The hash of a text, block by block: of nothing but identity and kind first, then of one block more.
uint64_t fg_prefix_page_root(const char *identity, uint64_t kind);
uint64_t fg_prefix_page_chain(uint64_t before, const int32_t *tokens, uint32_t page_tokens);

enum { FG_PREFIX_NAME_BYTES = 40, FG_PREFIX_FOLDER_BYTES = 17 };
// "HASH-BLOCK.page": the hash in 16 hexadecimal digits, and which block of its text the page is, from 0.
void fg_prefix_page_name(char name[static FG_PREFIX_NAME_BYTES], uint64_t hash, uint32_t block);
bool fg_prefix_page_parse_name(const char *name, uint64_t *hash, uint32_t *block);
// The folder of an identity's pages: 16 hexadecimal digits.
void fg_prefix_page_folder(char name[static FG_PREFIX_FOLDER_BYTES], const char *identity);
bool fg_prefix_page_parse_folder(const char *name, uint64_t *hash);

#endif
