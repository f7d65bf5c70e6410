#include "engine/predict.h"

#include <stdlib.h>

#include "engine/scheduler.h"

// A row under way, by its fg_seq.
typedef struct row {
  uint32_t prompt, generated, left;
} row;

typedef struct walk {
  const fg_predict_options *options;
  const fg_plan_job *job;
  fg_scheduler *scheduler;
  row *rows;
  uint32_t capacity, pending;
  uint64_t added;
  double held;   // tokens in the cache, of running sequences
  double tokens; // of the job that are computed
  fg_prediction sum;
} walk;

static uint32_t min_u32(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

// What the row is cut down to, as the engine does.
static row row_of(const walk *w, uint64_t number) {
  const fg_row_length *r = &w->job->rows[number % w->job->count];
  const uint32_t longest = w->options->policy->max_len;
  row out = {.prompt = r->prompt ? min_u32(r->prompt, longest) : 1};
  out.generated = min_u32(r->generated, longest - out.prompt);
  out.left = out.generated;
  return out;
}

static fg_status add_row(walk *w, fg_error *err) {
  const row r = row_of(w, w->added++);
  fg_seq seq;
  fg_status status = fg_scheduler_add(w->scheduler, r.prompt, &seq, err);
  if (status != FG_OK) return status;
  if (seq >= w->capacity) {
    const uint32_t capacity = 2 * seq + 64;
    row *grown = realloc(w->rows, capacity * sizeof *grown);
    if (!grown) return fg_fail(err, FG_NO_SPACE, "no memory to go through a job of many rows");
    w->rows = grown;
    w->capacity = capacity;
  }
  w->rows[seq] = r;
  w->pending++;
  return FG_OK;
}

static fg_status fill(walk *w, fg_error *err) {
  fg_status status = FG_OK;
  while (status == FG_OK && w->added < w->job->requests &&
         w->pending < w->options->policy->max_seqs * FG_READY_FACTOR)
    status = add_row(w, err);
  return status;
}

void fg_predict_add_chunk(fg_step_work *work, const fg_plan_model *model, const fg_chunk *c, uint32_t prompt,
                          bool selected) {
  const bool decoded = c->count == 1 && c->begin >= prompt;
  work->tokens += c->count;
  work->selected += selected;
  for (uint32_t a = 0; a < model->attention_count; a++)
    *(decoded ? &work->keys[a] : &work->pairs[a]) +=
        fg_plan_visible_keys(model->attention[a].window, c->begin, c->count);
}

void fg_predict_add_pages(fg_step_pages *pages, const fg_chunk *c, uint32_t page_tokens) {
  const uint32_t full = c->begin / page_tokens, then = (c->begin + c->count) / page_tokens;
  pages->sequences++;
  pages->touched += full;
  pages->filled += then - full;
}

void fg_predict_add_traffic(fg_step_work *work, const fg_plan_model *model, const fg_plan_traffic *t,
                            const fg_policy *p, const fg_step_pages *pages) {
  work->read_bytes = t->body_bytes + (work->selected > 0 ? t->tail_bytes : 0) + work->tokens * t->table_bytes;
  if (model->expert_count)
    work->read_bytes += model->expert_bytes * t->missing_experts *
                        fg_plan_experts_touched(model, work->tokens) / model->expert_count;
  // Pages beyond those of fast memory are on disk: written once, read by every step that attends to them.
  const double full = pages->used - pages->sequences, near = p->device_pages + p->host_pages;
  if (!p->disk_pages || full <= near) return;
  const double share = 1 - near / full;
  work->read_bytes += pages->touched * share * t->page_bytes;
  work->written_bytes += pages->filled * share * t->page_bytes;
}

static void finish_rows(walk *w, const fg_step *step) {
  fg_scheduler_done(w->scheduler, step);
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    row *r = &w->rows[c->seq];
    if (c->begin < r->prompt) w->sum.prompt_tokens += min_u32(c->begin + c->count, r->prompt) - c->begin;
    if (!c->last) continue;
    if (r->left) {
      r->left--;
      w->sum.generated_tokens++;
    }
    if (r->left) {
      fg_scheduler_append(w->scheduler, c->seq);
    } else {
      fg_scheduler_remove(w->scheduler, c->seq);
      w->pending--;
    }
  }
}

// One step; false when nothing is left.
static bool take_step(walk *w) {
  fg_step step;
  fg_scheduler_plan(w->scheduler, &step);
  if (!step.chunk_count) return false;
  const fg_plan_model *model = w->options->rates->model;
  const fg_policy *policy = w->options->policy;
  fg_step_work work = {0};
  fg_step_pages pages = {.used = policy->pages - fg_scheduler_free_pages(w->scheduler)};
  for (uint32_t i = 0; i < step.chunk_count; i++) {
    const row *r = &w->rows[step.chunks[i].seq];
    fg_predict_add_chunk(&work, model, &step.chunks[i], r->prompt, step.chunks[i].last && r->generated);
    fg_predict_add_pages(&pages, &step.chunks[i], w->options->page_tokens);
  }
  fg_predict_add_traffic(&work, model, &w->options->traffic, policy, &pages);
  const fg_step_seconds s = fg_step_time(w->options->rates, &work);
  w->sum.seconds += s.seconds;
  w->sum.compute_seconds += s.compute;
  w->sum.disk_seconds += s.disk;
  w->sum.read_bytes += work.read_bytes;
  w->sum.written_bytes += work.written_bytes;
  w->sum.preempted += step.preempted;
  w->sum.steps++;
  finish_rows(w, &step);
  return true;
}

static double all_tokens(const fg_prediction *p) {
  return p->prompt_tokens + p->generated_tokens;
}

// Tokens of the whole job, from its sample.
static void whole_job(const walk *w, double *prompt, double *generated) {
  *prompt = *generated = 0;
  const uint64_t requests = w->job->requests, count = w->job->count;
  for (uint64_t i = 0; i < count && i < requests; i++) {
    const row r = row_of(w, i);
    const uint64_t turns = requests / count + (i < requests % count);
    const double times = (double)turns;
    *prompt += times * r.prompt;
    *generated += times * r.generated;
  }
}

// What is left goes on as from `half` to now.
static void extrapolate(walk *w, const fg_prediction *half) {
  fg_prediction *s = &w->sum;
  double prompt, generated;
  whole_job(w, &prompt, &generated);
  const double walked = all_tokens(s) - all_tokens(half), left = prompt + generated - all_tokens(s);
  if (walked <= 0 || left <= 0) return;
  const double times = left / walked;
  s->seconds += times * (s->seconds - half->seconds);
  s->compute_seconds += times * (s->compute_seconds - half->compute_seconds);
  s->disk_seconds += times * (s->disk_seconds - half->disk_seconds);
  s->steps += times * (s->steps - half->steps);
  s->preempted += times * (s->preempted - half->preempted);
  s->read_bytes += times * (s->read_bytes - half->read_bytes);
  s->written_bytes += times * (s->written_bytes - half->written_bytes);
  s->prompt_tokens = prompt;
  s->generated_tokens = generated;
}

static fg_status go_through(walk *w, fg_error *err) {
  const uint32_t most = w->options->most_steps, middle = most / 2;
  fg_prediction half = {0};
  for (;;) {
    fg_status status = fill(w, err);
    if (status != FG_OK) return status;
    if (!take_step(w)) return FG_OK;
    if (!most) continue;
    if (w->sum.steps == middle) half = w->sum;
    if (w->sum.steps < most) continue;
    extrapolate(w, &half);
    return FG_OK;
  }
}

fg_status fg_predict(fg_prediction *out, const fg_predict_options *options, const fg_plan_job *job,
                     fg_error *err) {
  const fg_policy *p = options->policy;
  walk w = {.options = options, .job = job};
  const fg_scheduler_limits limits = {.max_tokens = p->max_tokens,
                                      .max_seqs = p->max_seqs,
                                      .pages = p->pages,
                                      .page_tokens = options->page_tokens,
                                      .max_len = p->max_len};
  fg_status status = fg_scheduler_create(&w.scheduler, &limits, err);
  if (status == FG_OK && job->count) status = go_through(&w, err);
  *out = w.sum;
  out->read_bytes += options->traffic.open_bytes + options->traffic.ring_bytes;
  fg_scheduler_destroy(w.scheduler);
  free(w.rows);
  return status;
}
