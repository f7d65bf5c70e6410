// sampler.h: from one row of logits to a token. Pure; the same numbers give the same token anywhere.
//
// Order of the steps (as vLLM): log-probabilities are taken from the raw logits (logprob.h); then min_tokens
// masks the ends, logit_bias is added, penalties applied (repetition over prompt and output, frequency and
// presence over output); temperature below 1e-5 takes the largest (ties: lowest id); else divide by the
// temperature (at least 0.01), min_p, top_k (ties with the k-th stay), top_p of what is left (ties at the
// edge: lower id first), and draw.
//
// The draw inverts the cumulative distribution over ids in ascending order with one uniform number, keyed by
// (seed, row, sample, position) through a counter-based generator (random.h): no state, no order. The
// sum runs over the whole row in double, so it knows nothing of blocks or threads.
//
// Where only some tokens are allowed, the others are no candidates from behind the penalties on: they have no
// part in any filter, and none of them is ever drawn, whatever the logits are.
#ifndef FG_ENGINE_SAMPLER_H
#define FG_ENGINE_SAMPLER_H

#include <stdbool.h>

#include "base/budget.h"
#include "engine/logprob.h"
#include "engine/random.h"
#include "flexgen/engine.h"

typedef struct fg_sampler_input {
  const float *logits; // [vocab], not changed
  uint32_t vocab;      // at most the sampler's
  const fg_sampling *sampling;
  const int32_t *prompt, *output; // for penalties
  uint32_t prompt_count, output_count;
  const int32_t *eos;
  uint32_t eos_count;
  const uint64_t *allowed; // a bit for each token, at least one set; NULL: all are
} fg_sampler_input;

static inline bool fg_is_allowed(const uint64_t *allowed, uint32_t token) {
  return !allowed || (allowed[token / 64] >> token % 64 & 1);
}

// Scratch for one thread: made once, no allocation per token.
typedef struct fg_sampler fg_sampler;
fg_status fg_sampler_create(fg_sampler **out, uint32_t vocab, fg_budget *budget, fg_error *err);
void fg_sampler_destroy(fg_sampler *s);
uint64_t fg_sampler_bytes(uint32_t vocab); // what create charges

// Whether the next token is the one with the largest logit as it comes (of equal ones the lowest id), and so
// no row of logits is needed whole.
bool fg_sampler_takes_largest(const fg_sampling *sampling, uint32_t output_count);

// The next token of a sequence with `output_count` tokens already generated.
int32_t fg_sampler_draw(fg_sampler *s, const fg_sampler_input *input);

#endif
