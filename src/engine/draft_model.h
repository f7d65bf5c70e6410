// draft_model.h: a small model that guesses how rows go on whose text does not say it.
//
// It is an engine of its own in the same process, with its part of the host memory, which the large one
// reserves as a lump. It is asked with the whole text of a row and answers greedily; what it has computed of
// the text before is in its cache as a prefix that it shares, so it computes little more than what is new.
//
// Threads: the owner of the large engine.
#ifndef FG_ENGINE_DRAFT_MODEL_H
#define FG_ENGINE_DRAFT_MODEL_H

#include "base/budget.h"
#include "flexgen/engine.h"

typedef struct fg_draft_model fg_draft_model;

enum { FG_DRAFT_MODEL_ROWS = 8 }; // that are asked for at once

// By the options of the large engine, which name it. Takes at most options->draft_memory of `host`, or a
// quarter of the limit where that is 0.
fg_status fg_draft_model_open(fg_draft_model **out, const fg_engine_options *options, fg_budget *host,
                              fg_error *err);
void fg_draft_model_close(fg_draft_model *m); // NULL is allowed
// What it may take at most.
uint64_t fg_draft_model_share(const fg_engine_options *options, const fg_budget *host);
// Resident bytes of the process that are reserved by opening it.
uint64_t fg_draft_model_resident(const fg_draft_model *m);
// Whether its tokens are those of `engine`.
fg_status fg_draft_model_check(const fg_draft_model *m, const fg_engine *engine, fg_error *err);

// A row's text, and at most `most` tokens that may follow it.
typedef struct fg_draft_ask {
  const int32_t *tokens;
  uint32_t count, most, made; // made: of `out`; 0 where the text is too long
  int32_t *out;
} fg_draft_ask;

fg_status fg_draft_model_ask(fg_draft_model *m, fg_draft_ask *asks, uint32_t count, fg_error *err);

#endif
