// decoder.h: tokens back to text, as a stream.
//
// A decoder is a list of steps, each of which takes tokens and passes tokens on; behind the last one
// they are joined. A step passes on at once what no later token can change, so a whole decode and a
// token-by-token one are the same code. A token may come in fragments (behind Fuse everything is one
// token). A new type is a row in decoder.c.
#ifndef FG_TEXT_DECODER_H
#define FG_TEXT_DECODER_H

#include <jansson.h>

#include "base/text_buffer.h"
#include "text/pattern.h"
#include "text/unicode.h"

enum { FG_DECODE_STEPS_MAX = 16 };

typedef struct fg_decode_type fg_decode_type;

typedef struct fg_decode_step {
  const fg_decode_type *type;
  char *content;      // Replace; a prefix, suffix or padding; SentencePiece: what stands for an unknown token
  char *other;        // CTC: between words; SentencePiece: the unknown token
  fg_pattern pattern; // Replace
  uint32_t character; // Strip, Metaspace
  size_t start, stop; // Strip
  bool drop_first;    // Metaspace, SentencePiece: no space in front of the first token
  bool drop_more;     // SentencePiece: nor in front of those that are empty without it
  bool bytes;         // SentencePiece: tokens named like <0x41> are bytes
  bool cleanup;       // WordPiece, CTC: as English is written
} fg_decode_step;

// SentencePiece's own way to decode; the texts are copied.
typedef struct fg_spm_decode {
  fg_slice unk, unk_surface;
  bool drop_first, drop_more, bytes;
} fg_spm_decode;

typedef struct fg_decoder {
  fg_decode_step steps[FG_DECODE_STEPS_MAX];
  size_t count;
} fg_decoder;

// `json` may be null: then tokens are joined with spaces, as the library does.
fg_status fg_decoder_read(fg_decoder *out, const json_t *json, fg_error *err);
fg_status fg_decoder_add_spm(fg_decoder *decoder, const fg_spm_decode *spm, fg_error *err);
void fg_decoder_free(fg_decoder *decoder);
// Whether the first step takes tokens as bytes (see vocabulary.h).
bool fg_decoder_takes_bytes(const fg_decoder *decoder);
// Whether a text is its tokens' contributions in a row, but for its first spaces.
bool fg_decoder_joins(const fg_decoder *decoder);
// The bytes that one token contributes in the middle of a text; `text` as in the vocabulary's file.
fg_status fg_decoder_token_bytes(const fg_decoder *decoder, const char *text, size_t length, fg_text *out,
                                 fg_error *err);

typedef struct fg_decode_state {
  fg_text held;  // what later tokens may still change
  size_t tokens; // that went by
  size_t cut;    // characters taken off the current token
  bool inside;   // a fragment of the current token has come
} fg_decode_state;

// A text in the making.
typedef struct fg_decoding {
  const fg_decoder *decoder;
  fg_regex_work *regex; // created when a step needs it
  fg_text *out;         // where certain text goes
  bool bare;            // token_bytes: no effects of a text's beginning and end
  fg_decode_state states[FG_DECODE_STEPS_MAX];
} fg_decoding;

fg_decoding fg_decoding_start(const fg_decoder *decoder, fg_text *out);
void fg_decoding_free(fg_decoding *decoding);
// `bytes`: the token is given as the bytes it stands for; only if fg_decoder_takes_bytes.
fg_status fg_decoding_push(fg_decoding *decoding, const char *token, size_t length, bool bytes,
                           fg_error *err);
// Drops what is held; the next token does not join what came before.
void fg_decoding_forget(fg_decoding *decoding);
fg_status fg_decoding_finish(fg_decoding *decoding, fg_error *err);

#endif
