// sampler.h: from one row of logits to a token. Pure; the same numbers give the same token anywhere.
//
// Order of the steps (as vLLM): log-probabilities of the raw logits are taken first; then min_tokens masks
// the ends, logit_bias is added, penalties applied; temperature 0 takes the largest (ties: lowest id);
// else divide by the temperature, min_p, top_k (ties with the k-th stay), top_p (ties at the edge: lower
// id first), and draw. The draw is keyed by (seed, row, sample, position) through a counter-based generator
// (Philox 4x32-10, Salmon et al. 2011), so it needs no state and no order.
#ifndef FG_ENGINE_SAMPLER_H
#define FG_ENGINE_SAMPLER_H

#include "base/budget.h"
#include "flexgen/engine.h"

typedef struct fg_sampler_input {
  const float *logits;          // [vocab], not changed
  uint32_t vocab;
  const fg_sampling *sampling;
  const int32_t *prompt, *output; // for penalties
  uint32_t prompt_count, output_count;
  const int32_t *eos;
  uint32_t eos_count;
} fg_sampler_input;

// Scratch for one thread: made once, no allocation per token.
typedef struct fg_sampler fg_sampler;
fg_status fg_sampler_create(fg_sampler **out, uint32_t vocab, fg_budget *budget, fg_error *err);
void fg_sampler_destroy(fg_sampler *s);

// The next token of a sequence with `output_count` tokens already generated.
int32_t fg_sampler_draw(fg_sampler *s, const fg_sampler_input *input);

// log softmax in one pass: logprob of `token`, its rank (how many are >= its own), and the `count` most likely
// tokens, ties by lower id, without sorting the whole row. Any of rank, top may be NULL.
float fg_logprob(const float *logits, uint32_t vocab, int32_t token, uint32_t *rank, fg_candidate *top, uint32_t count);

// The same over a row that comes in column blocks, so that logits [rows, vocab] never exist whole.
typedef struct fg_logprob_state {
  float max, target;
  double sum;
  uint32_t at_least;            // logits >= target seen so far, valid when the target came first: see fg_logprob_begin
  uint32_t top_count;
  fg_candidate *top;            // caller's array of `count`, kept sorted; logits until the end
  uint32_t count;
  int32_t token;
} fg_logprob_state;

void fg_logprob_begin(fg_logprob_state *state, int32_t token, fg_candidate *top, uint32_t count);
void fg_logprob_block(fg_logprob_state *state, const float *logits, uint32_t first, uint32_t columns);
float fg_logprob_end(fg_logprob_state *state); // turns top into log-probabilities, returns the token's

// Uniform numbers in [0, 1) for a key: 4 words of Philox.
void fg_random(uint64_t seed, uint64_t row, uint64_t sample, uint64_t position, uint32_t out[4]);

#endif
