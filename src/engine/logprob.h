// logprob.h: log softmax of a row of logits in one pass, without sorting and without a second copy.
//
// A row may come whole or in column blocks, so that logits [rows, vocab] never exist whole. Columns are
// dealt to 16 lanes by their number; each lane keeps the largest logit so far and, in double, the sum of
// exponentials relative to it, column after column; the end joins the lanes in order. So where the
// blocks end cannot change a bit of the result, and neither can the instruction set.
#ifndef FG_ENGINE_LOGPROB_H
#define FG_ENGINE_LOGPROB_H

#include <stdint.h>

#include "flexgen/engine.h"

enum { FG_LOGPROB_LANES = 16 };

typedef struct fg_logprob_state {
  float max[FG_LOGPROB_LANES];
  double sum[FG_LOGPROB_LANES]; // of exp(logit - max)
  float target;                 // logit of `token`, once its block was seen
  int32_t token;
  fg_candidate *top; // the caller's array of `count`: a heap of logits until the end
  uint32_t count, top_count;
} fg_logprob_state;

// token < 0: only the top is wanted. count 0: only the token's.
void fg_logprob_begin(fg_logprob_state *state, int32_t token, fg_candidate *top, uint32_t count);
// Columns [first, first + columns); blocks come in ascending order, none twice.
void fg_logprob_block(fg_logprob_state *state, const float *logits, uint32_t first, uint32_t columns);
// Sorts the top_count candidates, most likely first (ties: lower id first), turns their logits into
// log-probabilities and returns the token's. Equal logits give equal log-probabilities.
float fg_logprob_end(fg_logprob_state *state);

// How many of the logits are at least `target`: added over all columns, the rank of the token whose
// logit it is (1 = most likely). Needs the target first, so it is a pass of its own.
uint32_t fg_logprob_at_least(const float *logits, uint32_t columns, float target);

// All of it for a row that is there whole: the log-probability of `token`, its rank and the `count` most
// likely tokens. rank and top may be NULL.
float fg_logprob(const float *logits, uint32_t vocab, int32_t token, uint32_t *rank, fg_candidate *top,
                 uint32_t count);

// out[i] = exp(values[i] - largest), for values at most `largest`: within 2 units in the last place, 0 where
// the difference is below -87. Plain multiplications and additions, so the same bits on every machine.
void fg_exp_row(const float *values, uint32_t count, float largest, float *out);

#endif
