// Requests and steps of an open engine. open.c makes and closes one.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/draft.h"
#include "engine/engine_state.h"
#include "engine/guided.h"
#include "engine/kept_prefixes.h"
#include "engine/sharing.h"

fg_sampling fg_sampling_default(void) {
  return (fg_sampling){.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

// ---- submitting -----------------------------------------------------------------------------------------

static fg_status check_request(const fg_engine *e, const fg_request *r, fg_error *err) {
  uint32_t vocab = e->model->graph->vocab;
  if (r->prompt_count == 0) return fg_fail(err, FG_INVALID, "the prompt has no tokens");
  if (r->prompt_count > e->policy.max_len || (r->prompt_count == e->policy.max_len && r->max_tokens > 0))
    return fg_fail(err, FG_INVALID,
                   "the prompt has %" PRIu32 " tokens, the longest sequence is %" PRIu32
                   " with at least one to generate",
                   r->prompt_count, e->policy.max_len);
  for (uint32_t i = 0; i < r->prompt_count; i++)
    if (r->prompt[i] < 0 || (uint32_t)r->prompt[i] >= vocab)
      return fg_fail(err, FG_INVALID,
                     "token id %" PRId32 " of the prompt is outside the vocabulary of %" PRIu32, r->prompt[i],
                     vocab);
  for (uint32_t i = 0; i < r->sampling.bias_count; i++)
    if (r->sampling.bias[i].token < 0 || (uint32_t)r->sampling.bias[i].token >= vocab)
      return fg_fail(err, FG_INVALID,
                     "token id %" PRId32 " of logit_bias is outside the vocabulary of %" PRIu32,
                     r->sampling.bias[i].token, vocab);
  if (r->logprobs > FG_MAX_TOP || r->prompt_logprobs > FG_MAX_TOP)
    return fg_fail(err, FG_INVALID, "at most %d log-probabilities can be asked for with each token",
                   FG_MAX_TOP);
  return FG_OK;
}

// One block: the sequence, its tokens, bias and stop ids.
static fg_sequence *new_sequence(const fg_engine *e, const fg_request *r) {
  uint32_t room = e->policy.max_len - r->prompt_count;
  uint32_t generated = r->max_tokens < room ? r->max_tokens : room;
  size_t tokens = (size_t)r->prompt_count + generated, biases = r->sampling.bias_count,
         stops = r->sampling.stop_id_count;
  fg_sequence *s = calloc(1, sizeof *s + tokens * sizeof(int32_t) + biases * sizeof(fg_logit_bias) +
                                 stops * sizeof(int32_t));
  if (!s) return NULL;
  fg_logit_bias *bias = (fg_logit_bias *)(s + 1);
  int32_t *stop = (int32_t *)(bias + biases);
  s->tokens = stop + stops;
  s->request = *r;
  if (biases) memcpy(bias, r->sampling.bias, biases * sizeof *bias);
  if (stops) memcpy(stop, r->sampling.stop_ids, stops * sizeof *stop);
  memcpy(s->tokens, r->prompt, r->prompt_count * sizeof *s->tokens);
  s->request.prompt = s->tokens;
  s->request.max_tokens = generated;
  s->request.sampling.bias = bias;
  s->request.sampling.stop_ids = stop;
  s->count = s->told = r->prompt_count;
  if (!generated) s->request.guide = NULL;
  s->cursor = fg_guide_begin();
  s->reported = r->logprobs_from > 1 ? r->logprobs_from : 1; // the first token has no predecessor
  return s;
}

// What an answer begins with in any case is computed with the prompt, but where a longer text is turned
// otherwise.
static fg_status force_beginning(const fg_engine *e, fg_sequence *s, fg_error *err) {
  const fg_graph *g = e->model->graph;
  const bool restarts = g->rope_restarts && s->count <= g->rope_original;
  while (!(restarts && s->count == g->rope_original) && fg_guided_force(e, s)) {
  }
  return s->guide_error ? fg_fail(err, s->guide_error->status, "%s", s->guide_error->message) : FG_OK;
}

// Tokens that are computed, or will be.
static uint32_t to_compute(const fg_sequence *s) {
  return s->count - s->complete;
}

static bool is_beyond_pass(const fg_engine *e, const fg_request *r) {
  return e->policy.micro_tokens && (r->prompt_count > e->policy.pass_len || !fg_readout_fits_pass(r));
}

fg_status fg_engine_keep_sequence(fg_engine *e, fg_sequence *s, fg_error *err) {
  if (s->seq >= e->sequence_capacity) {
    uint32_t capacity = s->seq + 64;
    fg_sequence **grown = realloc(e->sequences, capacity * sizeof *grown);
    if (!grown) return fg_fail(err, FG_NO_SPACE, "out of memory for %" PRIu32 " requests", capacity);
    memset(grown + e->sequence_capacity, 0, (capacity - e->sequence_capacity) * sizeof *grown);
    e->sequences = grown;
    e->sequence_capacity = capacity;
  }
  e->sequences[s->seq] = s;
  e->pending++;
  s->looked_for = false;
  s->beyond_pass = is_beyond_pass(e, &s->request);
  e->beyond_pass += s->beyond_pass;
  if (fg_readout_keeps_logits(&s->request)) fg_scheduler_mark_drawn(e->scheduler, s->seq);
  return FG_OK;
}

fg_status fg_engine_submit(fg_engine *e, const fg_request *request, fg_request_id *id, fg_error *err) {
  fg_status status = check_request(e, request, err);
  if (status != FG_OK) return status;
  fg_sequence *s = new_sequence(e, request);
  if (!s)
    return fg_fail(err, FG_NO_SPACE, "out of memory for a request of %" PRIu32 " tokens",
                   request->prompt_count);
  status = force_beginning(e, s, err);
  if (status == FG_OK) status = fg_scheduler_add(e->scheduler, to_compute(s), &s->seq, err);
  if (status == FG_OK) {
    status = fg_engine_keep_sequence(e, s, err);
    if (status != FG_OK) fg_scheduler_remove(e->scheduler, s->seq);
  }
  if (status != FG_OK) {
    fg_guided_free(s);
    free(s);
    return status;
  }
  fg_sharing_tell(e, s);
  s->id = ++e->next_id;
  if (id) *id = s->id;
  return FG_OK;
}

void fg_engine_cancel(fg_engine *e, fg_request_id id) {
  for (uint32_t i = 0; i < e->sequence_capacity; i++) {
    fg_sequence *s = e->sequences[i];
    if (!s || s->id != id || s->cancelled) continue;
    s->cancelled = true;
    e->cancelled++;
  }
}

uint32_t fg_engine_pending(const fg_engine *e) {
  return e->pending;
}

uint32_t fg_engine_wants(const fg_engine *e) {
  uint32_t ready = e->policy.max_seqs * FG_READY_FACTOR;
  return e->pending < ready ? ready - e->pending : 0;
}

// ---- ending ------------------------------------------------------------------------------------------

void fg_engine_end_sequence(fg_engine *e, fg_sequence *s, fg_finish how, const fg_error *error) {
  if (how != FG_FINISH_CANCELLED && how != FG_FINISH_ERROR)
    fg_forecast_end_row(&e->forecast, s->told - s->request.prompt_count, s->request.max_tokens);
  e->cancelled -= s->cancelled;
  if (s->request.on_done) s->request.on_done(s->request.user, how, error);
  fg_guided_free(s);
  free(s);
}

void fg_engine_finish_sequence(fg_engine *e, fg_sequence *s, fg_finish how, const fg_error *error) {
  fg_scheduler_remove(e->scheduler, s->seq);
  e->sequences[s->seq] = NULL;
  e->pending--;
  e->beyond_pass -= s->beyond_pass;
  fg_engine_end_sequence(e, s, how, error);
}

static void drop_cancelled(fg_engine *e) {
  for (uint32_t i = 0; e->cancelled && i < e->sequence_capacity; i++) {
    if (!e->sequences[i] || !e->sequences[i]->cancelled) continue;
    fg_engine_finish_sequence(e, e->sequences[i], FG_FINISH_CANCELLED, NULL);
  }
}

// A failed step ends every request: nothing that was promised to its owner is left for later.
static void fail_all(fg_engine *e, fg_status status, const fg_error *err) {
  fg_error error = {.status = status, .message = "a step of the engine failed"};
  if (err) error = *err;
  for (uint32_t i = 0; i < e->sequence_capacity; i++)
    if (e->sequences[i]) fg_engine_finish_sequence(e, e->sequences[i], FG_FINISH_ERROR, &error);
}

void fg_engine_cancel_all(fg_engine *e) {
  for (uint32_t i = 0; i < e->sequence_capacity; i++)
    if (e->sequences[i]) fg_engine_finish_sequence(e, e->sequences[i], FG_FINISH_CANCELLED, NULL);
}

// ---- a step ------------------------------------------------------------------------------------------

static bool contains(const int32_t *ids, uint32_t count, int32_t id) {
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] == id) return true;
  return false;
}

// Draws the token behind position `next` - 1. Drafted tokens before it count as its output.
static void select_draw(fg_engine *e, fg_sequence *s, uint32_t row, uint32_t next) {
  const fg_request *r = &s->request;
  uint64_t *allowed = r->guide ? fg_readout_allow(e->readout) : NULL;
  if (allowed) fg_guided_allowed(e, s, next - s->count, allowed);
  const fg_sampler_input input = {.vocab = e->model->graph->vocab,
                                  .sampling = &r->sampling,
                                  .prompt = s->tokens,
                                  .prompt_count = r->prompt_count,
                                  .output = s->tokens + r->prompt_count,
                                  .output_count = next - r->prompt_count,
                                  .eos = e->model->eos,
                                  .eos_count = e->model->eos_count,
                                  .allowed = allowed};
  fg_executor_select(e->executor, row);
  fg_readout_draw(e->readout, &input, r->logprobs);
}

// Positions of a chunk whose logits are wanted: prompt tokens to score, forced ones whose log-probability is
// wanted, the last known one and drafted ones to draw from.
static void select_rows(fg_engine *e, const fg_chunk *chunk, uint32_t first_row) {
  fg_sequence *s = e->sequences[chunk->seq];
  const fg_request *r = &s->request;
  for (uint32_t p = chunk->begin; p < chunk->begin + chunk->count; p++) {
    uint32_t row = first_row + (p - chunk->begin), next = p + 1;
    if (next < r->prompt_count) {
      if (r->prompt_logprobs < 0 || next < s->reported) continue;
      fg_executor_select(e->executor, row);
      fg_readout_score(e->readout, s->tokens[next], (uint32_t)r->prompt_logprobs);
    } else if (next < s->count) {
      if (r->logprobs < 0 || next < s->told) continue;
      fg_executor_select(e->executor, row);
      fg_readout_score(e->readout, s->tokens[next], (uint32_t)r->logprobs);
    } else if (r->max_tokens > 0) {
      select_draw(e, s, row, next);
    }
  }
}

static void put_together(fg_engine *e, const fg_step *step) {
  fg_sharing_begin_step(e, step);
  fg_kept_prefixes_begin_step(e, step);
  fg_executor_begin(e->executor, step->dropped, step->dropped_count);
  fg_readout_begin(e->readout);
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *chunk = &step->chunks[i];
    uint32_t page_count;
    const uint32_t *pages = fg_scheduler_pages(e->scheduler, chunk->seq, &page_count);
    const fg_sequence *s = e->sequences[chunk->seq];
    const fg_chunk_tokens tokens = {.ids = s->tokens + chunk->begin,
                                    .begin = chunk->begin,
                                    .count = chunk->count,
                                    .prompt = s->request.prompt_count,
                                    .known = to_compute(s) + chunk->drafts,
                                    .longest = s->request.prompt_count + s->request.max_tokens,
                                    .copied = chunk->copied,
                                    .source = chunk->source};
    uint32_t row = fg_executor_add(e->executor, &tokens, pages, page_count);
    select_rows(e, chunk, row);
  }
}

static const fg_finish GOES_ON = FG_FINISH_ERROR;

// Why a sequence ends with the token that was just told, or GOES_ON.
static fg_finish ends_with(const fg_engine *e, const fg_sequence *s, int32_t token, bool go_on) {
  const fg_sampling *sampling = &s->request.sampling;
  if (!sampling->ignore_eos && contains(e->model->eos, e->model->eos_count, token)) return FG_FINISH_EOS;
  if (contains(sampling->stop_ids, sampling->stop_id_count, token)) return FG_FINISH_STOP_ID;
  if (!go_on) return FG_FINISH_CALLER;
  if (s->told >= s->request.prompt_count + s->request.max_tokens) return FG_FINISH_LENGTH;
  return GOES_ON;
}

// Gives the next token to the sequence's owner.
static fg_finish tell(fg_engine *e, fg_sequence *s, const fg_token_info *info) {
  const fg_request *r = &s->request;
  s->told++;
  e->generated_tokens++;
  const bool go_on = r->on_token ? r->on_token(r->user, info) : true;
  return ends_with(e, s, info->token, go_on);
}

// Those that are known and need no log-probability.
static fg_finish tell_known(fg_engine *e, fg_sequence *s) {
  fg_finish how = GOES_ON;
  while (how == GOES_ON && s->told < s->count && !s->cancelled) {
    e->forced_tokens++;
    how = tell(e, s, &(fg_token_info){.token = s->tokens[s->told]});
  }
  return how;
}

// The sequence has one token more. Where a longer text is turned otherwise, its keys are computed again.
static void go_on_with(fg_engine *e, const fg_sequence *s) {
  const fg_graph *g = e->model->graph;
  fg_scheduler_append(e->scheduler, s->seq);
  if (g->rope_restarts && s->count == g->rope_original + 1) fg_scheduler_restart(e->scheduler, s->seq);
}

// What follows in any case is known from now on.
static fg_finish force(fg_engine *e, fg_sequence *s) {
  while (fg_guided_force(e, s))
    if (!s->complete) go_on_with(e, s);
  return s->request.logprobs < 0 ? tell_known(e, s) : GOES_ON;
}

static void end_unless(fg_engine *e, fg_sequence *s, fg_finish how) {
  if (how != GOES_ON)
    fg_engine_finish_sequence(e, s, how, NULL);
  else if (s->guide_error)
    fg_engine_finish_sequence(e, s, FG_FINISH_ERROR, s->guide_error);
}

// Gives the tokens that were drawn, of drafted ones as far as these are right, to the sequence's owner; `row`
// is that of the first.
static fg_finish take_drawn(fg_engine *e, fg_sequence *s, uint32_t row) {
  uint32_t right = 0;
  fg_finish how = GOES_ON;
  for (bool more = !s->guide_error; more;) {
    fg_token_info info;
    fg_readout_result(e->readout, row + right, &info);
    const bool agrees = right < s->draft.count && s->tokens[s->count] == info.token;
    s->tokens[s->count++] = info.token;
    right += agrees;
    how = tell(e, s, &info);
    if (how == GOES_ON) fg_guided_advance(s);
    if (how == GOES_ON && agrees)
      fg_scheduler_append_drafted(e->scheduler, s->seq);
    else if (how == GOES_ON)
      go_on_with(e, s);
    more = how == GOES_ON && agrees && !s->cancelled && !s->guide_error;
  }
  fg_draft_end(e, s, right);
  return how == GOES_ON && !s->cancelled ? force(e, s) : how;
}

// A token behind the chunk's position that was not drawn: *row is that of its log-probability, if this is
// wanted.
static fg_finish take_known(fg_engine *e, fg_sequence *s, uint32_t next, uint32_t *row, fg_finish how) {
  fg_token_info info;
  if (s->request.logprobs < 0) return how == GOES_ON ? tell_known(e, s) : how;
  fg_readout_result(e->readout, (*row)++, &info);
  if (how != GOES_ON || s->cancelled || next != s->told) return how;
  e->forced_tokens++;
  return tell(e, s, &info);
}

// Gives a chunk's results to its owner; *row counts through the selected rows in the order of selection.
static fg_status deliver(fg_engine *e, const fg_chunk *chunk, uint32_t *row, fg_error *err) {
  fg_sequence *s = e->sequences[chunk->seq];
  const fg_request *r = &s->request;
  const uint32_t told = s->told, count = s->count;
  fg_token_info info;
  fg_finish how = GOES_ON;
  fg_status status = fg_sharing_report(e, s, chunk, err);
  if (status != FG_OK) return status;
  for (uint32_t p = chunk->begin; p < chunk->begin + chunk->count; p++) {
    uint32_t next = p + 1;
    if (next < r->prompt_count) {
      if (r->prompt_logprobs < 0 || next < s->reported) continue;
      fg_readout_result(e->readout, (*row)++, &info);
      fg_sharing_note(e, s, p, &info);
      if (r->on_prompt) r->on_prompt(r->user, next, &info);
      s->reported = next + 1;
    } else if (next < count) {
      if (next >= told) how = take_known(e, s, next, row, how);
    } else {
      const uint32_t first = *row;
      if (r->max_tokens == 0) how = FG_FINISH_LENGTH;
      if (r->max_tokens > 0) *row += 1 + chunk->drafts;
      // Where what was known is shared, the chunk does not come by it.
      if (how == GOES_ON && r->logprobs < 0) how = tell_known(e, s);
      if (how == GOES_ON && !s->cancelled) how = take_drawn(e, s, first);
      break; // what follows are drafted positions
    }
  }
  end_unless(e, s, how);
  return FG_OK;
}

// Prompt tokens behind the chunk's, whose log-probability is wanted.
static uint32_t scored_rows(const fg_sequence *s, const fg_chunk *c) {
  const fg_request *r = &s->request;
  const uint32_t first = c->begin + 1 > s->reported ? c->begin + 1 : s->reported;
  const uint32_t behind = c->begin + c->count + 1, end = behind < r->prompt_count ? behind : r->prompt_count;
  return r->prompt_logprobs >= 0 && first < end ? end - first : 0;
}

// With which the sequences of both chunks begin.
static uint32_t common_pages(const fg_engine *e, const fg_chunk *a, const fg_chunk *b) {
  uint32_t most_a, most_b, count = 0;
  const uint32_t *in_a = fg_scheduler_pages(e->scheduler, a->seq, &most_a);
  const uint32_t *in_b = fg_scheduler_pages(e->scheduler, b->seq, &most_b);
  while (count < most_a && count < most_b && in_a[count] == in_b[count]) count++;
  return count;
}

// The step that was just planned, as the forecast sees it.
static fg_step_work work_of(const fg_engine *e, const fg_step *step, fg_step_pages *pages) {
  fg_step_work work = {0};
  *pages = (fg_step_pages){.used = e->policy.pages - fg_scheduler_free_pages(e->scheduler)};
  for (uint32_t i = 0; e->forecast.known && i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    const fg_request *r = &e->sequences[c->seq]->request;
    fg_predict_add_chunk(&work, &e->forecast.model, c, r->prompt_count, c->last && r->max_tokens > 0);
    work.selected += c->drafts;
    work.selected += scored_rows(e->sequences[c->seq], c);
    const uint32_t common = i && e->policy.open_slots ? common_pages(e, c - 1, c) : 0;
    fg_predict_add_pages(pages, c, e->forecast.input.page_tokens, common);
  }
  return work;
}

// A chunk that begins behind what its sequence had reached begins behind pages of others.
static void count_prompt_tokens(fg_engine *e, const fg_step *step) {
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    fg_sequence *s = e->sequences[c->seq];
    const uint32_t prompt = s->request.prompt_count;
    const uint32_t begin = c->begin < prompt ? c->begin : prompt;
    const uint32_t end = c->begin + c->count < prompt ? c->begin + c->count : prompt;
    const uint32_t repeated = s->reached < end ? s->reached : end;
    e->prompt_tokens += end - begin;
    const uint32_t shared = begin > s->reached ? begin - s->reached : 0;
    e->prompt_tokens_shared += shared;
    e->prompt_tokens_copied += c->copied < shared ? c->copied : shared;
    if (repeated > begin) e->prompt_tokens_repeated += repeated - begin;
    if (end > s->reached) s->reached = end;
  }
}

fg_status fg_engine_step(fg_engine *e, fg_error *err) {
  if (e->failed != FG_OK)
    return fg_fail(err, e->failed, "an earlier step failed; the engine can only be closed");
  drop_cancelled(e);
  fg_status status = fg_engine_replan(e, err);
  if (status != FG_OK) {
    fail_all(e, status, err);
    return e->failed = status;
  }
  fg_kept_prefixes_load(e);
  uint64_t begin = fg_trace_now(e->trace), waited = fg_trace_sum(e->trace, FG_SPAN_WAIT_READ).nanoseconds;
  fg_step step;
  fg_scheduler_plan(e->scheduler, &step);
  if (step.chunk_count == 0) return FG_OK;
  fg_draft_plan(e, &step);
  fg_step_pages pages;
  fg_step_work work = work_of(e, &step, &pages);
  put_together(e, &step);
  status = fg_executor_run(e->executor, fg_readout_block, e->readout, err);
  if (status != FG_OK) {
    fail_all(e, status, err);
    return e->failed = status;
  }
  uint64_t computed = fg_trace_now(e->trace);
  fg_readout_finish(e->readout);
  e->steps++;
  e->preemptions += step.preempted;
  fg_kept_prefixes_hold(e, &step);
  count_prompt_tokens(e, &step);
  fg_scheduler_done(e->scheduler, &step);
  uint32_t row = 0;
  for (uint32_t i = 0; status == FG_OK && i < step.chunk_count; i++)
    status = deliver(e, &step.chunks[i], &row, err);
  fg_scheduler_settle(e->scheduler, &step);
  if (status != FG_OK) {
    fail_all(e, status, err);
    return e->failed = status;
  }
  uint64_t end = fg_trace_now(e->trace);
  waited = fg_trace_sum(e->trace, FG_SPAN_WAIT_READ).nanoseconds - waited;
  const fg_draft_time time = {1e-9 * (double)(end - begin), 1e-9 * (double)waited};
  fg_draft_end_step(e, &step, time, &work, &pages);
  fg_forecast_end_step(&e->forecast, &work, &pages, time.seconds);
  fg_trace_span(e->trace, e->sample_track, FG_SPAN_SAMPLE, NULL, -1, 0, computed, end);
  fg_trace_span(e->trace, e->step_track, FG_SPAN_STEP, NULL, -1, 0, begin, end);
  fg_engine_record_step(e, begin, end, step.chunk_count);
  fg_trace_counter(e->trace, "rows running", fg_scheduler_running(e->scheduler));
  fg_kept_prefixes_save(e);
  return FG_OK;
}
