#include "engine/draft.h"

#include "engine/guided.h"

enum {
  ROOM_BYTES = 8 << 20, // of logits that are kept until they are drawn from, about
  LEAST_ROOM = 8,
  MOST_ROOM = 64,   // rows of them
  MOST_ROWS = 64,   // that draft in a step: the oldest
  TOKENS_TIMED = 8, // by which the profile is asked what a token more costs
};

static uint32_t min_u32(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

uint32_t fg_draft_room(const fg_engine *e) {
  if (e->options.no_speculation) return 0;
  const uint32_t fits = (uint32_t)(ROOM_BYTES / sizeof(float) / e->model->graph->vocab);
  return fits < LEAST_ROOM ? LEAST_ROOM : min_u32(fits, MOST_ROOM);
}

// Every chunk is what is missing of an answer, one token as a rule, and the next one is wanted.
static bool only_decodes(const fg_engine *e, const fg_step *step) {
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    const fg_request *r = &e->sequences[c->seq]->request;
    if (!c->last || (c->count != 1 && c->begin < r->prompt_count) || !r->max_tokens) return false;
  }
  return true;
}

// How many tokens may be drafted behind what is known: the last token of all is never, it would be computed
// for nothing. A text that is turned otherwise when it is longer does not get there by drafts.
static uint32_t most_drafts(const fg_engine *e, const fg_sequence *s) {
  const fg_graph *g = e->model->graph;
  uint32_t most = s->request.prompt_count + s->request.max_tokens - s->count - 1;
  if (g->rope_restarts && s->count <= g->rope_original) most = min_u32(most, g->rope_original - s->count);
  return min_u32(most, FG_DRAFT_LONGEST);
}

// What texts suggest, and a draft model for the first ones that suggest nothing: its tokens are made when it
// is known how many are wanted.
static uint32_t look_up(const fg_engine *e, const fg_step *step, fg_draft_offer *offers) {
  uint32_t count = 0, asked = 0;
  for (uint32_t i = 0; i < step->chunk_count && count < MOST_ROWS; i++) {
    fg_sequence *s = e->sequences[step->chunks[i].seq];
    if (s->complete) continue;
    fg_guess guess = fg_lookup(s->tokens, s->count, most_drafts(e, s), s->tokens + s->count);
    guess.count = fg_guided_prefix(s, guess.count);
    if (!guess.count && e->draft_model && asked++ < FG_DRAFT_MODEL_ROWS) guess.count = most_drafts(e, s);
    if (!guess.count) continue;
    offers[count++] =
        (fg_draft_offer){.chunk = i,
                         .guess = guess,
                         .cost = guess.match ? 0 : e->speculation.making,
                         .chance = fg_speculation_chance(&e->speculation, &s->drafts, guess.match)};
  }
  return count;
}

// As many for each as the user wants.
static void take_fixed(fg_draft_offer *offers, uint32_t count, uint32_t each, uint32_t room) {
  for (uint32_t i = 0; i < count; i++) {
    offers[i].taken = min_u32(min_u32(offers[i].guess.count, each), room);
    room -= offers[i].taken;
  }
}

// What was taken of a draft model's offers is made. A model that fails is not asked again.
static void make(fg_engine *e, const fg_step *step, fg_draft_offer *offers, uint32_t count) {
  fg_draft_ask asks[FG_DRAFT_MODEL_ROWS];
  fg_draft_offer *of[FG_DRAFT_MODEL_ROWS];
  uint32_t asked = 0, made = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (offers[i].guess.match || !offers[i].taken) continue;
    const fg_sequence *s = e->sequences[step->chunks[offers[i].chunk].seq];
    of[asked] = &offers[i];
    asks[asked++] = (fg_draft_ask){
        .tokens = s->tokens, .count = s->count, .most = offers[i].taken, .out = s->tokens + s->count};
  }
  if (!asked) return;
  const uint64_t begin = fg_trace_now(e->trace);
  fg_error err;
  const fg_status status = fg_draft_model_ask(e->draft_model, asks, asked, &err);
  for (uint32_t i = 0; i < asked; i++) {
    of[i]->taken = status == FG_OK ? asks[i].made : 0;
    made += of[i]->taken;
  }
  e->drafting_seconds = 1e-9 * (double)(fg_trace_now(e->trace) - begin);
  if (made) fg_speculation_made(&e->speculation, e->drafting_seconds / made);
  if (status == FG_OK) return;
  fg_log_line(&e->log, FG_LOG_WARN, "the draft model is not asked any more: %s", err.message);
  fg_draft_model_close(e->draft_model);
  e->draft_model = NULL;
}

void fg_draft_plan(fg_engine *e, fg_step *step) {
  e->drafting_before += e->drafting_seconds;
  e->drafting_seconds = 0;
  for (uint32_t i = 0; i < step->chunk_count; i++) e->sequences[step->chunks[i].seq]->draft = (fg_guess){0};
  const uint32_t fixed = e->options.speculative_tokens;
  e->decodes_only = only_decodes(e, step);
  if (e->options.no_speculation || !e->decodes_only) return;
  if (!fixed && !fg_speculation_may_pay(&e->speculation, step->tokens)) return;
  fg_draft_offer offers[MOST_ROWS];
  const uint32_t count = look_up(e, step, offers);
  const uint32_t room =
      min_u32(e->policy.max_seqs + fg_draft_room(e) - step->chunk_count, e->policy.max_tokens - step->tokens);
  if (fixed)
    take_fixed(offers, count, fixed, room);
  else
    fg_speculation_choose(&e->speculation, offers, count, step->tokens, room);
  if (e->draft_model) make(e, step, offers, count);
  for (uint32_t i = 0; i < count; i++) {
    fg_sequence *s = e->sequences[step->chunks[offers[i].chunk].seq];
    fg_guess *draft = &s->draft;
    *draft = offers[i].guess;
    if (!draft->match) offers[i].taken = fg_guided_prefix(s, offers[i].taken);
    draft->count = fg_scheduler_draft(e->scheduler, step, offers[i].chunk, offers[i].taken);
  }
}

void fg_draft_end(fg_engine *e, fg_sequence *s, uint32_t right) {
  if (s->draft.count)
    fg_speculation_tried(&e->speculation, &s->drafts, s->draft, right);
  else
    fg_speculation_rested(&s->drafts);
  e->accepted_tokens += right;
  s->draft = (fg_guess){0};
}

void fg_draft_end_step(fg_engine *e, const fg_step *step, fg_draft_time time, const fg_step_work *work,
                       const fg_step_pages *pages) {
  uint32_t drafted = 0;
  if (!e->decodes_only) return; // not of the kind that drafts
  for (uint32_t i = 0; i < step->chunk_count; i++) drafted += step->chunks[i].drafts;
  e->drafted_tokens += drafted;
  e->drafted_steps += drafted > 0;
  const double known = fg_forecast_token_seconds(&e->forecast, work, pages, TOKENS_TIMED);
  time.seconds -= e->drafting_seconds;
  const double plain = fg_speculation_plain_cost(step->tokens, time.seconds - time.waited);
  fg_speculation_timed(&e->speculation, step->tokens, time.seconds, known > 0 ? known : plain);
}
