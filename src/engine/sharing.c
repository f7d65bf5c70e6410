#include "engine/sharing.h"

#include <inttypes.h>

#include "base/size.h"
#include "engine/sparsity.h"

static fg_notes_shape notes_shape(const fg_engine *e) {
  return (fg_notes_shape){.page_tokens = e->model->graph->kv.page_tokens, .top = e->noted_top};
}

// Of a number of pages that costs most for each: the index has a power of two of buckets.
uint64_t fg_sharing_page_bytes(const fg_engine *e) {
  const fg_scheduler_limits with = {.pages = 1025,
                                    .page_tokens = e->model->graph->kv.page_tokens,
                                    .max_tokens = 1,
                                    .max_seqs = 1,
                                    .max_len = 1,
                                    .share = FG_SHARING_AFTER};
  fg_scheduler_limits without = with;
  without.share = FG_SHARING_OFF;
  const uint64_t index = fg_scheduler_bytes(&with) - fg_scheduler_bytes(&without);
  return index / with.pages + 1 + fg_prompt_notes_page_bytes(notes_shape(e));
}

// ---- what may be shared ----------------------------------------------------------------------------------

// Log-probabilities of all of the prompt are wanted, which those of its kind can tell each other.
static bool scores_all(const fg_request *r) {
  return r->prompt_logprobs >= 0 && r->logprobs_from <= 1;
}

// Pages of another length of prompt differ, and those of a text that may begin again are its own.
static bool length_kind(const fg_engine *e, const fg_request *r, uint64_t *kind) {
  const fg_graph *g = e->model->graph;
  *kind = 0;
  if (!g->rope_original) return true;
  if (g->rope_restarts) return (uint64_t)r->prompt_count + r->max_tokens <= g->rope_original;
  if (r->prompt_count > g->rope_original) *kind = r->prompt_count;
  return true;
}

bool fg_sharing_kind(const fg_engine *e, const fg_request *r, uint64_t *kind) {
  uint64_t length;
  if (!length_kind(e, r, &length)) return false;
  *kind = length << 32 | (scores_all(r) ? 1 + (uint32_t)r->prompt_logprobs : 0);
  return true;
}

bool fg_sharing_kind_is_noted(uint64_t kind) {
  return (uint32_t)kind != 0;
}

uint32_t fg_sharing_unnoted_blocks(const fg_engine *e, const fg_request *r, uint32_t reported) {
  if (r->prompt_logprobs < 0 || scores_all(r)) return UINT32_MAX;
  return (reported - 1) / e->model->graph->kv.page_tokens;
}

void fg_sharing_tell(fg_engine *e, const fg_sequence *s) {
  const bool sparse = fg_sparsity_of(e->options.attn_sparsity) != 0;
  fg_seq_text text = {.tokens = s->tokens, .most = sparse ? s->request.prompt_count : UINT32_MAX};
  if (fg_sharing_kind(e, &s->request, &text.kind)) fg_scheduler_share(e->scheduler, s->seq, &text);
}

static fg_note_place place_of(const fg_engine *e, const fg_request *r, const uint32_t *pages,
                              uint32_t position) {
  const uint32_t tokens = e->model->graph->kv.page_tokens;
  return (fg_note_place){pages[position / tokens], position % tokens, (uint32_t)r->prompt_logprobs};
}

// Whether the page's writer scores the token behind `position` in the step that is planned, as `r` wants it.
static bool will_be_noted(const fg_engine *e, fg_seq writer, const fg_request *r, uint32_t position) {
  const fg_sequence *w = e->sequences[writer];
  const uint32_t next = position + 1;
  return position >= fg_scheduler_computed(e->scheduler, writer) && next < w->request.prompt_count &&
         next >= w->reported && w->request.prompt_logprobs == r->prompt_logprobs &&
         r->prompt_logprobs <= (int32_t)e->noted_top && w->tokens[next] == r->prompt[next];
}

// Whether the page that holds the position has, or gets in the step that is planned, what `r` wants of it.
static bool is_told(const fg_engine *e, const fg_request *r, uint32_t page, uint32_t position) {
  const uint32_t offset = position % e->model->graph->kv.page_tokens;
  for (uint32_t source; offset < fg_scheduler_copied(e->scheduler, page, &source);) page = source;
  const fg_seq writer = fg_scheduler_writer(e->scheduler, page);
  const fg_note_place at = {page, offset, (uint32_t)r->prompt_logprobs};
  fg_token_info info;
  if (writer != FG_NO_SEQ && position >= fg_scheduler_computed(e->scheduler, writer))
    return will_be_noted(e, writer, r, position);
  return fg_prompt_notes_get(e->notes, at, r->prompt[position + 1], &info);
}

// Those before the first token that gives a log-probability which is wanted and known to nobody. Of tokens of
// an answer that are known before they are told, nobody knows it.
static uint32_t may_share(void *user, fg_seq seq, const uint32_t *pages, uint32_t tokens) {
  const fg_engine *e = user;
  const fg_sequence *s = e->sequences[seq];
  const fg_request *r = &s->request;
  const uint32_t page_tokens = e->model->graph->kv.page_tokens;
  if (r->logprobs >= 0 && s->told < s->count && s->told - 1 < tokens) tokens = s->told - 1;
  if (r->prompt_logprobs < 0) return tokens;
  for (uint32_t next = s->reported; next < r->prompt_count && next <= tokens; next++)
    if (!is_told(e, r, pages[(next - 1) / page_tokens], next - 1)) return next - 1;
  return tokens;
}

// ---- a runner --------------------------------------------------------------------------------------------

void fg_sharing_open(fg_engine *e, fg_scheduler_limits *limits) {
  if (e->options.no_prefix_sharing || e->policy.micro_tokens) return; // layer passes keep no pages
  fg_scheduler_limits off = *limits;
  limits->share = e->policy.open_slots ? FG_SHARING_AFTER : FG_SHARING_WITHIN;
  limits->cached_pages = fg_policy_kept_pages(&e->policy, limits->page_tokens);
  limits->may_share = may_share;
  limits->user = e;
  const uint64_t bytes = fg_scheduler_bytes(limits) - fg_scheduler_bytes(&off);
  fg_error err;
  fg_status status = fg_budget_reserve(e->host, bytes, "the index of shared prefixes", &err);
  if (status == FG_OK) {
    e->sharing_bytes = bytes;
    status = fg_prompt_notes_create(&e->notes, limits->pages, notes_shape(e), e->host, &err);
  }
  if (status == FG_OK) return;
  fg_sharing_close(e);
  *limits = off;
  fg_log_line(&e->log, FG_LOG_WARN, "common beginnings of prompts are computed for each anew: %s",
              err.message);
}

void fg_sharing_close(fg_engine *e) {
  fg_prompt_notes_destroy(e->notes);
  fg_budget_release(e->host, e->sharing_bytes);
  e->notes = NULL;
  e->sharing_bytes = 0;
}

// ---- steps -----------------------------------------------------------------------------------------------

void fg_sharing_begin_step(fg_engine *e, const fg_step *step) {
  const uint32_t tokens = e->model->graph->kv.page_tokens;
  for (uint32_t i = 0; e->notes && i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    uint32_t count;
    const uint32_t *pages = fg_scheduler_pages(e->scheduler, c->seq, &count);
    const uint32_t begun = (c->begin - c->copied + tokens - 1) / tokens;
    for (uint32_t page = begun; page * tokens < c->begin + c->count; page++)
      fg_prompt_notes_begin(e->notes, pages[page]);
  }
}

fg_status fg_sharing_report(fg_engine *e, fg_sequence *s, const fg_chunk *chunk, fg_error *err) {
  const fg_request *r = &s->request;
  uint32_t count;
  const uint32_t *pages = fg_scheduler_pages(e->scheduler, s->seq, &count);
  if (e->notes && chunk->copied && (r->prompt_logprobs < 0 || s->reported <= chunk->begin)) {
    const uint32_t page = pages[chunk->begin / e->model->graph->kv.page_tokens];
    fg_prompt_notes_copy(e->notes, chunk->source, page, chunk->copied);
  }
  for (; r->prompt_logprobs >= 0 && s->reported <= chunk->begin && s->reported < r->prompt_count;
       s->reported++) {
    const fg_note_place at = place_of(e, r, pages, s->reported - 1);
    fg_token_info info;
    if (!e->notes || !fg_prompt_notes_get(e->notes, at, s->tokens[s->reported], &info))
      return fg_fail(err, FG_INTERNAL, "nothing is known of prompt token %" PRIu32 ", which was not computed",
                     s->reported);
    if (r->on_prompt) r->on_prompt(r->user, s->reported, &info);
  }
  return FG_OK;
}

void fg_sharing_note(fg_engine *e, const fg_sequence *s, uint32_t position, const fg_token_info *info) {
  uint32_t count;
  if (!e->notes) return;
  const uint32_t *pages = fg_scheduler_pages(e->scheduler, s->seq, &count);
  fg_prompt_notes_put(e->notes, place_of(e, &s->request, pages, position), info);
}
