// sentencepiece.h: a SentencePiece model as a tokenizer, from wherever its pieces come: tokenizer.model
// (load_spm.c) or a GGUF header (load_gguf.c).
//
// The whole text is one pre-token: spaces become ▁, the rules of the charsmap are applied, and the model,
// byte pairs by score or unigrams, cuts what comes out.
#ifndef FG_TEXT_SENTENCEPIECE_H
#define FG_TEXT_SENTENCEPIECE_H

#include "text/tokenizer_internal.h"

typedef enum fg_spm_type { // the numbers of both file formats
  FG_SPM_NORMAL = 1,
  FG_SPM_UNKNOWN,
  FG_SPM_CONTROL,
  FG_SPM_USER_DEFINED,
  FG_SPM_UNUSED,
  FG_SPM_BYTE,
} fg_spm_type;

typedef enum fg_spm_model { FG_SPM_UNIGRAM = 1, FG_SPM_BPE, FG_SPM_WORD, FG_SPM_CHAR } fg_spm_model;

typedef struct fg_spm_piece {
  fg_slice text;
  float score;
  fg_spm_type type;
} fg_spm_piece;

typedef struct fg_spm {
  fg_spm_piece *pieces;
  size_t count, capacity;
  fg_spm_model model;
  fg_slice charsmap;    // empty = no rules
  fg_slice unk_surface; // what an unknown token decodes to
  bool byte_fallback, remove_extra, escape;
  bool add_prefix, prefix_at_start_only;
  bool any_types; // types say nothing about whether a piece may come out of a text (GGUF)
} fg_spm;

// What SentencePiece's own files leave out.
fg_spm fg_spm_defaults(void);
fg_status fg_spm_add(fg_spm *spm, fg_spm_piece piece, fg_error *err);
void fg_spm_free(fg_spm *spm);

// Everything but special tokens. The texts are copied.
fg_status fg_tokenizer_of_spm(fg_tokenizer *tokenizer, const fg_spm *spm, fg_error *err);

#endif
