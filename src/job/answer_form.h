// answer_form.h: the form that a request wants its answers to have.
//
// OpenAI's response_format and vLLM's guided_choice, guided_regex, guided_json and structured_outputs come to
// one of the forms of guide/guides.h. A request carries its text only; the guide is made when it is first
// needed, and kept for all requests of the same form (fg_form_store).
#ifndef FG_JOB_ANSWER_FORM_H
#define FG_JOB_ANSWER_FORM_H

#include <jansson.h>

#include "guide/guides.h"
#include "job/job_memory.h"

typedef struct fg_answer_form {
  const char *field; // of the request; NULL: any form
  fg_form form;
  char *text; // owned
  size_t length;
} fg_answer_form;

// One of the fields that name a form. FG_INVALID, FG_UNSUPPORTED: the message says why, without the field's
// name.
typedef fg_status fg_answer_form_reader(fg_answer_form *out, const char *field, const json_t *value,
                                        fg_error *err);
fg_answer_form_reader fg_read_response_format, fg_read_structured_outputs, fg_read_guided_choice,
    fg_read_guided_regex, fg_read_guided_json;
void fg_answer_form_free(fg_answer_form *form);

// The guides of a job, and their memory. Threads: one owner.
typedef struct fg_form_store {
  fg_job_memory *memory;
  fg_guides *guides; // NULL until one is wanted
  uint64_t taken;
} fg_form_store;

// What guides are for.
typedef struct fg_form_model {
  const fg_tokenizer *tokenizer;
  uint32_t vocab;
  const int32_t *eos;
  uint32_t eos_count;
} fg_form_model;

// FG_NO_SPACE: the message names the memory. `model` must outlive the store.
fg_status fg_form_store_acquire(fg_form_store *store, const fg_form_model *model, const fg_answer_form *form,
                                fg_guide **out, fg_error *err);
void fg_form_store_release(fg_form_store *store, fg_guide *guide); // NULL is allowed
void fg_form_store_close(fg_form_store *store);

#endif
