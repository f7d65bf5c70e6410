// tokenizer_internal.h: the pipeline's parts together, for those who build it and those who run it.
//
// A loader (load_json.c, load_files.c, load_spm.c, load_gguf.c) fills an fg_tokenizer in this order:
// pre-tokenizer (it decides whether the vocabulary keeps bytes), vocabulary, merges or scores, the other
// parts, added tokens, roles, fg_tokenizer_seal.
#ifndef FG_TEXT_TOKENIZER_INTERNAL_H
#define FG_TEXT_TOKENIZER_INTERNAL_H

#include <pthread.h>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/json_span.h"
#include "text/normalizer.h"
#include "text/piece_cache.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/vocabulary.h"
#include "text/wordpiece.h"

// "bos_token" and the like: a token's text under the name that templates use.
typedef struct fg_role {
  char *name, *text;
  int32_t id;
} fg_role;

// Work memory of one running encode; kept in the tokenizer for the next one.
typedef struct fg_encoder {
  struct fg_encoder *next;
  fg_piece_cache *cache;
  fg_bpe_work *bpe;
  fg_unigram_work unigram;
  fg_regex_work *regex;
  fg_normal_work normal;
  fg_pretoken_work pretoken;
} fg_encoder;

// A pre-token to ids: what the kinds of models differ in (tokenizer.c).
typedef fg_status fg_model_encode(const fg_tokenizer *tokenizer, fg_encoder *encoder, fg_slice piece,
                                  fg_ids *ids, fg_error *err);
fg_model_encode fg_model_bpe, fg_model_unigram, fg_model_words;

struct fg_tokenizer {
  fg_vocabulary vocabulary;
  fg_model_encode *model; // of the three below, the one that is in use
  fg_bpe bpe;
  fg_unigram unigram;
  fg_wordpiece words;
  fg_normalizer normalizer;
  fg_pretokenizer pretokenizer;
  fg_decoder decoder;
  fg_ids prefix, suffix; // what the post-processor puts around a text

  fg_added_token *added;
  uint32_t added_count, added_capacity;
  int32_t last_added_id;        // the highest, -1 = none
  fg_added_set raw, normalized; // searched in raw and in normalized text

  fg_role *roles;
  uint32_t role_count, role_capacity;

  fg_text pieces;          // what every token contributes to a text, unless the vocabulary keeps that
  uint32_t *piece_offsets; // [size + 1], NULL when the vocabulary does

  pthread_mutex_t lock; // guards idle
  fg_encoder *idle;
};

// Loaders. FG_NOT_FOUND: the assets they read are not there.
fg_status fg_tokenizer_load_json(fg_tokenizer *tokenizer, const fg_assets *assets, fg_error *err);
fg_status fg_tokenizer_load_gguf(fg_tokenizer *tokenizer, const fg_assets *assets, fg_error *err);
fg_status fg_tokenizer_load_files(fg_tokenizer *tokenizer, const fg_assets *assets, fg_error *err);
fg_status fg_tokenizer_load_spm(fg_tokenizer *tokenizer, const fg_assets *assets, fg_error *err);

// ---- for the loaders ----------------------------------------------------------------------------------

// The vocabulary keeps bytes if the model's symbols are bytes; call before the first token is added.
fg_status fg_tokenizer_choose_form(fg_tokenizer *tokenizer, fg_error *err);
// {"token": id, ...}
fg_status fg_tokenizer_read_vocab(fg_tokenizer *tokenizer, fg_json_span json, const char *where,
                                  fg_error *err);

// Adds a copy of a token, or changes one of the same content. Its id is the model's, or the next free one.
fg_status fg_tokenizer_add_token(fg_tokenizer *tokenizer, const fg_added_token *token, fg_error *err);
// {"content", "single_word", "lstrip", "rstrip", "normalized", "special"}; content points into `json`.
fg_status fg_added_token_read(fg_added_token *out, const json_t *json, fg_error *err);
const fg_added_token *fg_tokenizer_added(const fg_tokenizer *tokenizer,
                                         const char *content); // NULL = not added
fg_status fg_tokenizer_set_role(fg_tokenizer *tokenizer, const char *name, const char *text, fg_error *err);

// Added tokens and roles of tokenizer_config.json, special_tokens_map.json and added_tokens.json
// (special_tokens.c). fallback: texts of bos, eos and unk where no file names them; NULL = none.
typedef struct fg_special_texts {
  const char *bos, *eos, *unk;
} fg_special_texts;
fg_status fg_tokenizer_read_specials(fg_tokenizer *tokenizer, const fg_assets *assets,
                                     fg_special_texts fallback, fg_error *err);
// What tokenizer_config.json says of a tokenizer class.
typedef struct fg_class_options {
  char name[64]; // "" = none
  bool add_prefix_space, add_bos, add_eos, legacy;
} fg_class_options;
// `out` holds what counts where the file says nothing.
fg_status fg_tokenizer_read_class(const fg_assets *assets, fg_class_options *out, fg_error *err);
// Puts bos in front of a text and eos behind it.
fg_status fg_tokenizer_add_around(fg_tokenizer *tokenizer, bool bos, bool eos, fg_error *err);

// load_json_models.c: the member "model" of a tokenizer.json.
fg_status fg_tokenizer_read_model(fg_tokenizer *tokenizer, fg_json_span json, const char *where,
                                  fg_error *err);

// post_processor.c
fg_status fg_post_processor_read(fg_tokenizer *tokenizer, const json_t *json, fg_error *err);

// Builds the search sets and whatever else is derived; nothing changes afterwards.
fg_status fg_tokenizer_seal(fg_tokenizer *tokenizer, fg_error *err);

#endif
