#include "engine/guided.h"

#include <stdlib.h>
#include <string.h>

// What a sequence says for which there is no memory even for why its guide failed.
static const fg_error no_memory = {FG_NO_SPACE, "out of memory for a structured answer"};

static void fail(fg_sequence *s, const fg_error *err) {
  if (s->guide_error) return;
  fg_error *kept = malloc(sizeof *kept);
  if (kept) *kept = *err;
  s->guide_error = kept ? kept : &no_memory;
}

void fg_guided_free(fg_sequence *s) {
  if (s->guide_error != &no_memory) free((void *)(uintptr_t)s->guide_error);
  s->guide_error = NULL;
}

// Known tokens of the answer, and the first `drafted` behind them.
static fg_said said(const fg_sequence *s, uint32_t drafted) {
  const uint32_t prompt = s->request.prompt_count;
  return (fg_said){s->tokens + prompt, s->count + drafted - prompt};
}

static bool contains(const int32_t *ids, uint32_t count, int32_t id) {
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] == id) return true;
  return false;
}

static bool ends(const fg_engine *e, const fg_sequence *s, int32_t token) {
  const fg_sampling *p = &s->request.sampling;
  return s->count + 1 == s->request.prompt_count + s->request.max_tokens ||
         contains(e->model->eos, e->model->eos_count, token) ||
         contains(p->stop_ids, p->stop_id_count, token);
}

bool fg_guided_force(const fg_engine *e, fg_sequence *s) {
  const fg_request *r = &s->request;
  if (!r->guide || s->guide_error || s->complete || s->count == r->prompt_count + r->max_tokens) return false;
  fg_error err;
  int32_t token;
  if (fg_guide_forced(r->guide, &s->cursor, said(s, 0), &token, &err) != FG_OK) {
    fail(s, &err);
    return false;
  }
  const bool last = token >= 0 && ends(e, s, token);
  if (token < 0 || (last && r->logprobs >= 0)) return false;
  s->tokens[s->count++] = token;
  s->complete = last;
  if (!last) fg_guided_advance(s);
  return true;
}

void fg_guided_advance(fg_sequence *s) {
  fg_error err;
  bool taken;
  if (!s->request.guide || s->guide_error) return;
  fg_said before = said(s, 0);
  before.count--;
  fg_status status =
      fg_guide_advance(s->request.guide, &s->cursor, before, s->tokens[s->count - 1], &taken, &err);
  if (status == FG_OK && !taken)
    status = fg_fail(&err, FG_INTERNAL, "token id %d is none that the form of the answer takes",
                     s->tokens[s->count - 1]);
  if (status != FG_OK) fail(s, &err);
}

// Moves a copy of the cursor over drafted tokens as far as they are taken, at most `count`.
static fg_status follow(fg_sequence *s, uint32_t count, fg_guide_cursor *at, uint32_t *taken, fg_error *err) {
  fg_status status = FG_OK;
  *at = s->cursor;
  for (*taken = 0; *taken < count; ++*taken) {
    bool goes_on;
    status =
        fg_guide_advance(s->request.guide, at, said(s, *taken), s->tokens[s->count + *taken], &goes_on, err);
    if (status != FG_OK || !goes_on) return status;
  }
  return status;
}

void fg_guided_allowed(const fg_engine *e, fg_sequence *s, uint32_t drafted, uint64_t *bits) {
  fg_error err;
  fg_guide_cursor at;
  uint32_t taken;
  fg_status status = follow(s, drafted, &at, &taken, &err);
  if (status == FG_OK && taken < drafted)
    status = fg_fail(&err, FG_INTERNAL, "a token was drafted that the form of the answer does not take");
  if (status == FG_OK) status = fg_guide_allowed(s->request.guide, &at, said(s, drafted), bits, &err);
  if (status == FG_OK && drafted == 0) s->cursor = at; // its place, if that had to be found anew
  if (status == FG_OK) return;
  fail(s, &err);
  memset(bits, 0xff, fg_token_words(e->model->graph->vocab) * sizeof *bits); // what is drawn is not told
}

uint32_t fg_guided_prefix(fg_sequence *s, uint32_t count) {
  fg_error err;
  fg_guide_cursor at;
  uint32_t taken = 0;
  if (!s->request.guide || !count) return count;
  return follow(s, count, &at, &taken, &err) == FG_OK ? taken : 0;
}
