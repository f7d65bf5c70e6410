// readout.h: what becomes of a step's logits.
//
// Before a step runs, each selected row is given a purpose: score a known token, or draw the next one. While
// it runs, blocks of logits arrive; a scored row keeps only running sums and its best candidates, and so does
// one that takes the largest logit; a row that is drawn otherwise keeps its logits. At the end the draws are
// made, in parallel, one row a thread. Row numbers are those of fg_executor_select.
//
// Under a policy of layer passes there are many rows, of which few keep their logits
// (fg_readout_keeps_logits), and none more than FG_PASS_TOP candidates: fg_readout_fits_pass says which
// requests that excludes.
//
// A draw may be among some tokens only: the caller sets bits in a row that fg_readout_allow hands out.
//
// Threads: one owner.
#ifndef FG_ENGINE_READOUT_H
#define FG_ENGINE_READOUT_H

#include "base/budget.h"
#include "base/threads.h"
#include "engine/executor.h"
#include "engine/sampler.h"
#include "flexgen/engine.h"

enum { FG_MAX_TOP = 64 }; // most likely tokens that can be asked for with one token

typedef struct fg_readout fg_readout;

// Of a step, at most: rows that are selected; of these such as keep their logits; candidates of each.
typedef struct fg_readout_shape {
  uint32_t vocab, rows, draws, top;
} fg_readout_shape;

fg_status fg_readout_create(fg_readout **out, const fg_readout_shape *shape, fg_threads *threads,
                            fg_budget *budget, fg_error *err);
void fg_readout_destroy(fg_readout *readout); // NULL is allowed
// What create charges, with a draw for each sequence and some more: adds to the plan's numbers.
void fg_readout_costs(uint32_t vocab, uint32_t more_draws, uint32_t threads, fg_plan_input *plan);

bool fg_readout_fits_pass(const fg_request *request);
// Whether its first token is drawn from a row of logits that is kept.
bool fg_readout_keeps_logits(const fg_request *request);

void fg_readout_begin(fg_readout *readout);
// top: number of candidates wanted with the token.
void fg_readout_score(fg_readout *readout, int32_t token, uint32_t top);
// A bit for each token, for the next draw's `allowed`; as many as there are draws.
uint64_t *fg_readout_allow(fg_readout *readout);
// `input` without logits; what it points to must stay until finish. logprobs < 0: only the token is wanted.
void fg_readout_draw(fg_readout *readout, const fg_sampler_input *input, int32_t logprobs);

void fg_readout_block(void *readout, const fg_logits_block *block); // an fg_logits_fn
void fg_readout_finish(fg_readout *readout);
// Valid until the next begin.
void fg_readout_result(const fg_readout *readout, uint32_t row, fg_token_info *info);

#endif
