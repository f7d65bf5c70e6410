#include "engine/predict.h"

#include <math.h>
#include <stdlib.h>

#include "engine/scheduler.h"
#include "engine/walk_pages.h"
#include "plan/row_order.h"

// A row under way, by its fg_seq. The scheduler knows nothing of its first `shared` tokens, whole pages that
// another row has. Behind them stand tokens that are copied of another row's page, or else in pages of its
// own that are read from the folder of kept prefixes.
typedef struct row {
  uint32_t prompt, generated, left, shared, copied, kept;
  bool drawn, begun;
  fg_row_homes homes; // of its own pages
} row;

typedef struct walk {
  const fg_predict_options *options;
  const fg_plan_job *job;
  fg_scheduler *scheduler;
  uint32_t *order, *shared; // of the job's rows, as they run
  row *rows;
  uint32_t capacity, pending;
  uint64_t added;
  fg_walk_pages pages;
  double shared_on_disk; // of the pages of a shared prefix, this part
  fg_prediction sum;
} walk;

static uint32_t min_u32(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

// Of a row's first tokens, those that it need not compute; its last token is its own: it gives the next one.
// Layer passes share nothing. What is copied, and how much may wait in the cache for a row to come, depends
// on whether all pages are in one memory.
static void set_spared(const walk *w, row *r, uint32_t shared, uint32_t kept) {
  const fg_policy *p = w->options->policy;
  const uint32_t page = w->options->page_tokens;
  if (p->micro_tokens) return;
  const uint32_t same = min_u32(shared, r->prompt - 1);
  uint32_t held = min_u32(kept, r->prompt - 1) / page;
  held = min_u32(held, fg_policy_kept_pages(p, page));
  r->shared = same / page * page;
  if (held * page > r->shared)
    r->kept = held * page - r->shared;
  else if (!p->open_slots)
    r->copied = same - r->shared;
}

// What the row is cut down to, as the engine does.
static row row_of(const walk *w, uint64_t number) {
  const uint64_t place = (w->job->done + number) % w->job->count;
  const fg_row_length *r = &w->job->rows[w->order[place]];
  const fg_policy *p = w->options->policy;
  const uint32_t longest = p->micro_tokens ? p->pass_len : p->max_len;
  row out = {.prompt = r->prompt ? min_u32(r->prompt, longest) : 1};
  out.generated = min_u32(r->generated, longest - out.prompt);
  out.drawn = r->drawn && out.generated;
  out.left = out.generated;
  set_spared(w, &out, number ? w->shared[place] : 0, r->kept);
  return out;
}

static fg_status add_row(walk *w, fg_error *err) {
  const row r = row_of(w, w->added++);
  fg_seq seq;
  fg_status status = fg_scheduler_add(w->scheduler, r.prompt - r.shared, &seq, err);
  if (status != FG_OK) return status;
  if (seq >= w->capacity) {
    const uint32_t capacity = 2 * seq + 64;
    row *grown = realloc(w->rows, capacity * sizeof *grown);
    if (!grown) return fg_fail(err, FG_NO_SPACE, "no memory to go through a job of many rows");
    w->rows = grown;
    w->capacity = capacity;
  }
  if (r.drawn) fg_scheduler_mark_drawn(w->scheduler, seq);
  fg_scheduler_bring(w->scheduler, seq, r.copied + r.kept);
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

void fg_predict_add_pages(fg_step_pages *pages, const fg_chunk *c, uint32_t page_tokens, uint32_t common) {
  const uint32_t full = c->begin / page_tokens, then = (c->begin + c->count) / page_tokens;
  pages->sequences++;
  pages->touched += full - min_u32(full, common);
  pages->filled += then - full;
}

// Any page beyond those of the device's memory is as likely elsewhere as another.
static void set_crossing(fg_step_pages *out, const fg_step_pages *all, const fg_policy *p) {
  const double full = all->used - all->sequences;
  const double share = full > p->device_pages ? 1 - p->device_pages / full : 0;
  out->in = all->touched * share;
  out->out = all->filled * share;
}

fg_step_pages fg_predict_place_pages(const fg_step_pages *pages, const fg_policy *p) {
  fg_step_pages out = *pages;
  const double full = pages->used - pages->sequences, near = p->device_pages + p->host_pages;
  const double share = p->disk_pages && full > near ? 1 - near / full : 0;
  out.read = pages->touched * share;
  out.written = pages->filled * share;
  set_crossing(&out, pages, p);
  return out;
}

void fg_predict_add_traffic(fg_step_work *work, const fg_plan_model *model, const fg_plan_traffic *t,
                            const fg_policy *p, const fg_step_pages *pages) {
  work->weights_ahead = t->weights_ahead;
  work->pages_ahead = t->pages_ahead;
  work->read_bytes = t->body_bytes + (work->selected > 0 ? t->tail_bytes : 0) + work->tokens * t->table_bytes;
  if (model->expert_count)
    work->read_bytes += model->expert_bytes * t->missing_experts *
                        fg_plan_experts_touched(model, work->tokens) / model->expert_count;
  // Rows of the residual stream beyond those of fast memory: each layer and the ends read and write them.
  const double spilled = p->hidden_disk_rows ? work->tokens - p->hidden_rows : 0;
  if (spilled > 0) {
    work->read_bytes += spilled * t->hidden_row_bytes * (model->layers + 1);
    work->written_bytes += spilled * t->hidden_row_bytes * (model->layers + 1);
  }
  work->link_bytes =
      t->link_body_bytes + (work->selected > 0 ? t->link_tail_bytes : 0) + work->tokens * t->link_token_bytes;
  const bool crosses = t->link_token_bytes > 0; // the device has a memory of its own
  const double moved = crosses ? pages->in + pages->out : pages->read + pages->written;
  if (moved <= 0) return;
  work->link_cache_bytes = crosses ? pages->in * t->page_bytes : 0;
  work->link_bytes += work->link_cache_bytes;
  work->link_out_bytes = crosses ? pages->out * t->page_bytes : 0;
  work->cache_bytes = pages->read * t->page_bytes;
  work->read_bytes += work->cache_bytes;
  work->written_bytes = pages->written * t->page_bytes;
  const double by_pages = p->frame_pages ? moved / p->frame_pages : 0;
  const double by_sequences = pages->sequences / FG_FRAME_CHUNKS;
  work->batches = fmax(0, ceil(fmax(by_pages, by_sequences)) - 1);
}

// Tokens that it does not compute. What is read of the folder of kept prefixes is read between two steps.
static void begin_row(walk *w, row *r) {
  fg_prediction *s = &w->sum;
  const double bytes = (double)r->kept / w->options->page_tokens * w->options->traffic.page_bytes;
  const double rate = w->options->rates->disk_read, seconds = rate > 0 ? bytes / rate : 0;
  s->prompt_tokens += r->shared + r->copied + r->kept;
  s->shared_tokens += r->shared + r->copied;
  s->copied_tokens += r->copied;
  s->kept_tokens += r->kept;
  s->read_bytes += bytes;
  s->disk_seconds += seconds;
  s->seconds += seconds;
  r->begun = true;
}

static void finish_rows(walk *w, const fg_step *step) {
  fg_scheduler_done(w->scheduler, step);
  fg_scheduler_settle(w->scheduler, step);
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    row *r = &w->rows[c->seq];
    const uint32_t own = r->prompt - r->shared;
    if (c->begin < own) w->sum.prompt_tokens += min_u32(c->begin + c->count, own) - c->begin;
    if (!r->begun) begin_row(w, r);
    if (!c->last) continue;
    if (r->left) {
      r->left--;
      w->sum.generated_tokens++;
    }
    if (r->left) {
      fg_scheduler_append(w->scheduler, c->seq);
    } else {
      fg_scheduler_remove(w->scheduler, c->seq);
      fg_walk_pages_leave(&w->pages, &r->homes);
      w->pending--;
    }
  }
}

// Whether a drafted token that is right every second time makes tokens come faster (speculation.h).
static bool drafts_pay(const fg_step_rates *rates, const fg_step_work *work, double seconds) {
  static const double CHANCE = 0.5;
  enum { DRAFTED = 8 }; // by which it is asked what a token more costs
  fg_step_work with = *work;
  with.tokens += DRAFTED;
  with.selected += DRAFTED;
  const double cost = (fg_step_time(rates, &with).seconds - seconds) / DRAFTED;
  return CHANCE * seconds > work->tokens * cost;
}

// What the chunk of a row, by its own tokens, reads of the disk and writes to it. Pages that are shared are
// read for the first chunk. A row that gave way begins again.
static void place_pages(walk *w, row *r, const fg_chunk *c, bool first, fg_step_pages *pages) {
  const uint32_t page = w->options->page_tokens, full = c->begin / page, then = (c->begin + c->count) / page;
  if (r->homes.memory + r->homes.disk > full) fg_walk_pages_leave(&w->pages, &r->homes);
  const uint32_t shared = r->shared / page;
  pages->written += fg_walk_pages_fill(&w->pages, &r->homes, full); // those that were brought
  pages->read += r->homes.disk + (first ? shared * w->shared_on_disk : 0);
  pages->written += fg_walk_pages_fill(&w->pages, &r->homes, then);
}

// One step; false when nothing is left.
static bool take_step(walk *w) {
  fg_step step;
  fg_scheduler_plan(w->scheduler, &step);
  if (!step.chunk_count) return false;
  const fg_plan_model *model = w->options->rates->model;
  const fg_policy *policy = w->options->policy;
  fg_step_work work = {0};
  fg_step_pages pages = {0}, all = {.used = policy->pages - fg_scheduler_free_pages(w->scheduler)};
  bool decodes = true;
  fg_walk_pages_bound(&w->pages, fg_scheduler_free_pages(w->scheduler));
  for (uint32_t i = 0; i < step.chunk_count; i++) {
    fg_chunk c = step.chunks[i];
    row *r = &w->rows[c.seq];
    if (policy->disk_pages) place_pages(w, r, &c, i == 0, &pages);
    c.begin += r->shared;
    decodes = decodes && c.count == 1 && c.begin >= r->prompt;
    fg_predict_add_chunk(&work, model, &c, r->prompt, c.last && r->generated);
    fg_predict_add_pages(&all, &c, w->options->page_tokens, i ? r->shared / w->options->page_tokens : 0);
  }
  pages.sequences = all.sequences;
  set_crossing(&pages, &all, policy);
  fg_predict_add_traffic(&work, model, &w->options->traffic, policy, &pages);
  const fg_step_seconds s = fg_step_time(w->options->rates, &work);
  if (w->options->drafts && decodes && drafts_pay(w->options->rates, &work, s.seconds))
    w->sum.drafting_steps++;
  w->sum.seconds += s.seconds;
  w->sum.compute_seconds += s.compute;
  w->sum.disk_seconds += s.disk;
  w->sum.link_seconds += s.link;
  w->sum.read_bytes += work.read_bytes;
  w->sum.written_bytes += work.written_bytes;
  w->sum.preempted += step.preempted;
  w->sum.steps++;
  finish_rows(w, &step);
  return true;
}

// Those that are computed.
static double all_tokens(const fg_prediction *p) {
  return p->prompt_tokens - p->shared_tokens - p->kept_tokens + p->generated_tokens;
}

// Tokens of the whole job, from its sample.
static fg_prediction whole_job(const walk *w) {
  fg_prediction all = {0};
  const uint64_t requests = w->job->requests, count = w->job->count;
  for (uint64_t i = 0; i < count && i < requests; i++) {
    const row r = row_of(w, i);
    const uint64_t turns = requests / count + (i < requests % count);
    const double times = (double)turns;
    all.prompt_tokens += times * r.prompt;
    all.shared_tokens += times * (r.shared + r.copied);
    all.copied_tokens += times * r.copied;
    all.kept_tokens += times * r.kept;
    all.generated_tokens += times * r.generated;
  }
  return all;
}

// What is left goes on as from `half` to now.
static void extrapolate(walk *w, const fg_prediction *half) {
  fg_prediction *s = &w->sum;
  const fg_prediction all = whole_job(w);
  const double walked = all_tokens(s) - all_tokens(half), left = all_tokens(&all) - all_tokens(s);
  if (walked <= 0 || left <= 0) return;
  const double times = left / walked;
  s->seconds += times * (s->seconds - half->seconds);
  s->compute_seconds += times * (s->compute_seconds - half->compute_seconds);
  s->disk_seconds += times * (s->disk_seconds - half->disk_seconds);
  s->link_seconds += times * (s->link_seconds - half->link_seconds);
  s->steps += times * (s->steps - half->steps);
  s->preempted += times * (s->preempted - half->preempted);
  s->drafting_steps += times * (s->drafting_steps - half->drafting_steps);
  s->read_bytes += times * (s->read_bytes - half->read_bytes);
  s->written_bytes += times * (s->written_bytes - half->written_bytes);
  s->prompt_tokens = all.prompt_tokens;
  s->shared_tokens = all.shared_tokens;
  s->copied_tokens = all.copied_tokens;
  s->kept_tokens = all.kept_tokens;
  s->generated_tokens = all.generated_tokens;
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

// Pages of the longest prefix that rows share: they are held for as long as one of the rows runs, and so
// beside what each row holds. A row alone must have room.
static uint32_t shared_pages(const walk *w) {
  const fg_policy *p = w->options->policy;
  const uint32_t page = w->options->page_tokens, longest = (p->max_len + page - 1) / page;
  uint32_t most = 0;
  for (uint32_t i = 0; i < w->job->count && !p->micro_tokens; i++)
    if (w->shared[i] > most) most = w->shared[i];
  most = min_u32(most, p->max_len) / page;
  return p->pages > longest ? min_u32(most, p->pages - longest) : 0;
}

static fg_status open_walk(walk *w, fg_error *err) {
  const fg_plan_job *job = w->job;
  const fg_policy *p = w->options->policy;
  w->order = malloc((job->count + 1) * sizeof *w->order);
  w->shared = malloc((job->count + 1) * sizeof *w->shared);
  if (!w->order || !w->shared) return fg_fail(err, FG_NO_SPACE, "no memory to go through a job of many rows");
  fg_status status = fg_row_order_find(w->order, w->shared, job->rows, job->count, p->order, err);
  if (status != FG_OK) return status;
  const uint32_t held = shared_pages(w), near = p->device_pages + p->host_pages;
  w->pages = (fg_walk_pages){.room = near > held ? near - held : 0,
                             .most_left = job->shares ? fg_policy_kept_pages(p, w->options->page_tokens) : 0};
  w->shared_on_disk = held > near ? 1 - (double)near / held : 0;
  const fg_scheduler_limits limits = {.max_tokens = p->max_tokens,
                                      .max_seqs = p->max_seqs,
                                      .pages = p->pages - held,
                                      .page_tokens = w->options->page_tokens,
                                      .max_len = p->max_len};
  status = fg_scheduler_create(&w->scheduler, &limits, err);
  if (status == FG_OK && p->micro_tokens) fg_scheduler_admit_whole(w->scheduler, p->pass_draws);
  return status;
}

fg_status fg_predict(fg_prediction *out, const fg_predict_options *options, const fg_plan_job *job,
                     fg_error *err) {
  walk w = {.options = options, .job = job};
  fg_status status = open_walk(&w, err);
  if (status == FG_OK && job->count) status = go_through(&w, err);
  *out = w.sum;
  out->read_bytes += options->traffic.open_bytes + options->traffic.ring_bytes;
  fg_scheduler_destroy(w.scheduler);
  free(w.order);
  free(w.shared);
  free(w.rows);
  return status;
}
