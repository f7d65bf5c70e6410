// tokenizer.h: text to token ids and back, exactly as the model's own tokenizer does it.
//
// A tokenizer is a pipeline: added tokens are cut out of the text, what is left is normalized, split
// into pre-tokens, each pre-token is encoded by the model (BPE, Unigram, WordPiece), and a post-processor
// adds special tokens. It is built from a model's assets: tokenizer.json, or vocab.json + merges.txt or
// SentencePiece's tokenizer.model with tokenizer_config.json, or a GGUF header. A part that is not known
// here fails the load by name: wrong ids without a word would be worse. Facts follow Hugging Face's
// tokenizers library, for tokenizer.model the sentencepiece library.
//
// Threads: immutable after load; encode and decode may run in several threads at once.
#ifndef FG_TEXT_TOKENIZER_H
#define FG_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "format/assets.h"

typedef struct fg_tokenizer fg_tokenizer;

typedef struct fg_ids {
  int32_t *data;
  size_t count, capacity;
} fg_ids;

void fg_ids_free(fg_ids *ids);
fg_status fg_ids_append(fg_ids *ids, const int32_t *more, size_t count, fg_error *err);

// FG_NOT_FOUND when the assets hold no tokenizer at all (a model may do without).
fg_status fg_tokenizer_load(fg_tokenizer **out, const fg_assets *assets, fg_error *err);
void fg_tokenizer_destroy(fg_tokenizer *tokenizer);

// Appends the ids of a UTF-8 text (invalid UTF-8: FG_INVALID). add_special: run the post-processor.
fg_status fg_tokenizer_encode(const fg_tokenizer *tokenizer, const char *text, size_t length,
                              bool add_special, fg_ids *ids, fg_error *err);
// Appends the text; invalid byte sequences become U+FFFD. Ids outside the vocabulary: FG_INVALID.
fg_status fg_tokenizer_decode(const fg_tokenizer *tokenizer, const int32_t *ids, size_t count,
                              bool skip_special, fg_text *text, fg_error *err);

uint32_t fg_tokenizer_size(const fg_tokenizer *tokenizer); // highest id + 1
int32_t fg_tokenizer_bos(const fg_tokenizer *tokenizer);   // -1 = none
int32_t fg_tokenizer_eos(const fg_tokenizer *tokenizer);
bool fg_tokenizer_is_special(const fg_tokenizer *tokenizer, int32_t id);
int32_t fg_tokenizer_id(const fg_tokenizer *tokenizer, const char *token); // exact token, -1 = none
// The bytes that one token stands for (what `bytes` of chat logprobs shows). NULL for an unknown id.
const char *fg_tokenizer_token_bytes(const fg_tokenizer *tokenizer, int32_t id, size_t *length);
// Whether a text is the bytes of its tokens in a row, but for spaces at its beginning; and whether a token is
// one that adds its bytes to a text: not a special one, nor one that a text shows otherwise.
bool fg_tokenizer_joins_bytes(const fg_tokenizer *tokenizer);
bool fg_tokenizer_adds_bytes(const fg_tokenizer *tokenizer, int32_t id);
// Tokens that are found in a text before anything else looks at it.
uint32_t fg_tokenizer_added_count(const fg_tokenizer *tokenizer);
// A special token's text by role ("bos_token", "eos_token", "pad_token", "unk_token"), NULL = none.
const char *fg_tokenizer_special_text(const fg_tokenizer *tokenizer, const char *role);

// ---- text as it comes, token by token ---------------------------------------------------------------
// Emits only whole characters: what a token leaves incomplete waits for the next one.
typedef struct fg_detokenizer fg_detokenizer;

fg_status fg_detokenizer_create(fg_detokenizer **out, const fg_tokenizer *tokenizer, bool skip_special,
                                fg_error *err);
void fg_detokenizer_destroy(fg_detokenizer *detokenizer);
// The last prompt tokens, as context (first spaces of SentencePiece tokenizers depend on it).
fg_status fg_detokenizer_prime(fg_detokenizer *detokenizer, const int32_t *ids, size_t count, fg_error *err);
// Appends to `text` what became certain by this token (perhaps nothing). An id that only the model knows,
// whose vocabulary may be padded, has no text.
fg_status fg_detokenizer_push(fg_detokenizer *detokenizer, int32_t id, fg_text *text, fg_error *err);
// Appends what still waits, incomplete sequences as U+FFFD.
fg_status fg_detokenizer_finish(fg_detokenizer *detokenizer, fg_text *text, fg_error *err);

#endif
