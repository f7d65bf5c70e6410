// guides.h: all guides of a job, each compiled once.
//
// A guide is asked for by its kind and text; who asks for the same again gets the same. Those that nobody
// holds are kept as long as there is memory, the last ones longest.
//
// Threads: one owner.
#ifndef FG_GUIDE_GUIDES_H
#define FG_GUIDE_GUIDES_H

#include "guide/guide.h"

typedef struct fg_guides fg_guides;

typedef struct fg_guides_options {
  const fg_tokenizer *tokenizer; // outlives the guides
  uint32_t vocab;                // of the model
  const int32_t *eos;
  uint32_t eos_count;
  uint64_t bytes; // for guides and what they keep; the vocabulary's index comes beside it
} fg_guides_options;

fg_status fg_guides_create(fg_guides **out, const fg_guides_options *options, fg_error *err);
void fg_guides_destroy(fg_guides *guides); // NULL is allowed; nobody holds a guide any more

typedef enum fg_form {
  FG_FORM_CHOICE, // text: a JSON list of strings
  FG_FORM_REGEX,  // text: a regular expression that the answer matches as a whole
  FG_FORM_JSON,   // text: a JSON Schema
} fg_form;

enum { FG_FORM_MAX = 1 << 20 }; // bytes of a text

// FG_INVALID, FG_UNSUPPORTED: what is wrong with the text.
fg_status fg_guides_acquire(fg_guides *guides, fg_form form, const char *text, size_t length, fg_guide **out,
                            fg_error *err);
void fg_guides_release(fg_guides *guides, fg_guide *guide);
uint32_t fg_guides_compiled(const fg_guides *guides); // so far, for tests

// What a form comes to, as a grammar.
fg_status fg_form_compile(fg_form form, const char *text, size_t length, fg_grammar *grammar, fg_error *err);

#endif
