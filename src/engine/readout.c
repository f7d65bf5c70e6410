#include "engine/readout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/logprob.h"
#include "plan/pass_policy.h"

typedef struct readout_row {
  bool draw;    // keeps its logits
  bool largest; // takes the largest: `best`, of which there are `rank` so far
  bool wants_logprob;
  const uint64_t *allowed; // of `largest`
  float best;
  uint32_t draw_index; // in draws and logits
  uint32_t rank;
  float logprob;
  int32_t token;
  fg_logprob_state score;
} readout_row;

typedef struct readout_draw {
  uint32_t row, top;
  fg_sampler_input input;
} readout_draw;

struct fg_readout {
  uint32_t vocab, max_rows, max_draws, max_top;
  fg_threads *threads;
  fg_budget *budget;
  fg_sampler **samplers; // one a thread
  readout_row *rows;     // [max_rows]
  fg_candidate *top;     // [max_rows, max_top]
  readout_draw *draws;   // [max_draws]
  float *logits;         // [max_draws, vocab]
  uint64_t *allowed;     // [max_draws, words_of(vocab)]
  uint32_t row_count, draw_count, allowed_count;
  const fg_logits_block *block; // the one being handed out
};

static uint32_t words_of(uint32_t vocab) {
  return (vocab + 63) / 64;
}

void fg_readout_costs(uint32_t vocab, uint32_t more_draws, uint32_t threads, fg_plan_input *plan) {
  const uint64_t draw = sizeof(readout_draw) + vocab * sizeof(float) + words_of(vocab) * sizeof(uint64_t);
  plan->host_per_token += sizeof(readout_row) + FG_MAX_TOP * sizeof(fg_candidate);
  plan->host_per_seq += draw;
  plan->host_fixed += more_draws * draw + threads * fg_sampler_bytes(vocab) + 5 * FG_IO_ALIGN;
  plan->pass.token_host += sizeof(readout_row) + FG_PASS_TOP * sizeof(fg_candidate);
  plan->pass.draw_host = draw;
  plan->pass.draws = more_draws;
}

bool fg_readout_fits_pass(const fg_request *r) {
  if (r->guide && r->max_tokens) return false;
  return r->max_tokens <= 1 && r->logprobs <= FG_PASS_TOP && r->prompt_logprobs <= FG_PASS_TOP;
}

bool fg_readout_keeps_logits(const fg_request *r) {
  return r->max_tokens > 0 && !fg_sampler_takes_largest(&r->sampling, 0);
}

fg_status fg_readout_create(fg_readout **out, const fg_readout_shape *shape, fg_threads *threads,
                            fg_budget *budget, fg_error *err) {
  *out = NULL;
  fg_readout *r = calloc(1, sizeof *r);
  uint32_t count = fg_threads_count(threads);
  if (r) r->samplers = calloc(count, sizeof(fg_sampler *));
  if (!r || !r->samplers) {
    free(r);
    return fg_fail(err, FG_NO_SPACE, "out of memory for sampling");
  }
  const uint32_t vocab = r->vocab = shape->vocab;
  r->max_rows = shape->rows;
  r->max_draws = shape->draws;
  r->max_top = shape->top;
  r->threads = threads;
  r->budget = budget;
  const char *what = "sampling";
  fg_status status = fg_budget_alloc(budget, r->max_rows * sizeof *r->rows, what, (void **)&r->rows, err);
  if (status == FG_OK)
    status = fg_budget_alloc(budget, (uint64_t)r->max_rows * r->max_top * sizeof *r->top, what,
                             (void **)&r->top, err);
  if (status == FG_OK)
    status = fg_budget_alloc(budget, r->max_draws * sizeof *r->draws, what, (void **)&r->draws, err);
  if (status == FG_OK)
    status = fg_budget_alloc(budget, (uint64_t)r->max_draws * vocab * sizeof(float), what,
                             (void **)&r->logits, err);
  if (status == FG_OK)
    status = fg_budget_alloc(budget, (uint64_t)r->max_draws * words_of(vocab) * sizeof(uint64_t), what,
                             (void **)&r->allowed, err);
  for (uint32_t i = 0; status == FG_OK && i < count; i++)
    status = fg_sampler_create(&r->samplers[i], vocab, budget, err);
  if (status != FG_OK) {
    fg_readout_destroy(r);
    return status;
  }
  *out = r;
  return FG_OK;
}

void fg_readout_destroy(fg_readout *r) {
  if (!r) return;
  for (uint32_t i = 0; i < fg_threads_count(r->threads); i++)
    if (r->samplers[i]) fg_sampler_destroy(r->samplers[i]);
  free(r->samplers);
  fg_budget_free(r->budget, r->rows);
  fg_budget_free(r->budget, r->top);
  fg_budget_free(r->budget, r->draws);
  fg_budget_free(r->budget, r->logits);
  fg_budget_free(r->budget, r->allowed);
  free(r);
}

void fg_readout_begin(fg_readout *r) {
  r->row_count = r->draw_count = r->allowed_count = 0;
}

void fg_readout_score(fg_readout *r, int32_t token, uint32_t top) {
  readout_row *row = &r->rows[r->row_count];
  *row = (readout_row){.token = token, .wants_logprob = true};
  fg_logprob_begin(&row->score, token, r->top + (size_t)r->row_count * r->max_top, top);
  r->row_count++;
}

uint64_t *fg_readout_allow(fg_readout *r) {
  return r->allowed + (size_t)r->allowed_count++ * words_of(r->vocab);
}

void fg_readout_draw(fg_readout *r, const fg_sampler_input *input, int32_t logprobs) {
  readout_row *row = &r->rows[r->row_count];
  // The rank of the largest of some tokens is not known before the end.
  const bool ranked = input->allowed && logprobs >= 0;
  if (fg_sampler_takes_largest(input->sampling, input->output_count) && !ranked) {
    *row = (readout_row){
        .largest = true, .wants_logprob = logprobs >= 0, .allowed = input->allowed, .best = NAN, .token = -1};
    fg_logprob_begin(&row->score, -1, r->top + (size_t)r->row_count * r->max_top,
                     logprobs > 0 ? (uint32_t)logprobs : 0);
    r->row_count++;
    return;
  }
  *row = (readout_row){.draw = true, .wants_logprob = logprobs >= 0, .draw_index = r->draw_count};
  readout_draw *draw = &r->draws[r->draw_count];
  uint32_t top = logprobs > 0 ? (uint32_t)logprobs : 0;
  *draw = (readout_draw){.row = r->row_count, .top = top < r->vocab ? top : r->vocab, .input = *input};
  draw->input.logits = r->logits + (size_t)r->draw_count * r->vocab;
  r->row_count++;
  r->draw_count++;
}

// As the sampler does it with a whole row: the first of the largest, anything before what is not a number.
static void take_largest(readout_row *row, const float *logits, uint32_t first, uint32_t columns) {
  for (uint32_t i = 0; i < columns; i++) {
    if (row->allowed && !fg_is_allowed(row->allowed, first + i)) continue;
    if (logits[i] == row->best) row->rank++;
    if (!(logits[i] > row->best) && !isnan(row->best)) continue;
    row->best = logits[i];
    row->token = (int32_t)(first + i);
    row->rank = 1;
  }
}

static void take_row(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  fg_readout *r = arg;
  const fg_logits_block *b = r->block;
  readout_row *row = &r->rows[b->first + item];
  const float *logits = b->logits + (size_t)item * b->stride;
  if (row->draw)
    memcpy(r->logits + (size_t)row->draw_index * r->vocab + b->column, logits, b->columns * sizeof(float));
  else if (!row->largest || row->wants_logprob)
    fg_logprob_block(&row->score, logits, b->column, b->columns);
  if (row->largest) take_largest(row, logits, b->column, b->columns);
}

void fg_readout_block(void *readout, const fg_logits_block *block) {
  fg_readout *r = readout;
  r->block = block;
  fg_threads_run(r->threads, block->rows, take_row, r);
}

static void make_draw(void *arg, uint32_t item, uint32_t thread) {
  fg_readout *r = arg;
  readout_draw *draw = &r->draws[item];
  readout_row *row = &r->rows[draw->row];
  row->token = fg_sampler_draw(r->samplers[thread], &draw->input);
  if (!row->wants_logprob) return;
  fg_candidate *top = r->top + (size_t)draw->row * r->max_top;
  row->logprob = fg_logprob(draw->input.logits, r->vocab, row->token, &row->rank, top, draw->top);
  row->score.top = top;
  row->score.top_count = draw->top;
}

void fg_readout_finish(fg_readout *r) {
  fg_threads_run(r->threads, r->draw_count, make_draw, r);
  for (uint32_t i = 0; i < r->row_count; i++) {
    readout_row *row = &r->rows[i];
    if (row->draw || !row->wants_logprob) continue;
    if (row->largest) row->score.target = row->best;
    row->logprob = fg_logprob_end(&row->score);
  }
}

void fg_readout_result(const fg_readout *r, uint32_t index, fg_token_info *info) {
  const readout_row *row = &r->rows[index];
  *info = (fg_token_info){.token = row->token,
                          .logprob = row->logprob,
                          .rank = row->wants_logprob ? row->rank : 0,
                          .top = row->score.top,
                          .top_count = row->wants_logprob ? row->score.top_count : 0};
}
