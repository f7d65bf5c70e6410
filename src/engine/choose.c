// The policy of a job: by the planner where the machine was measured and the job is known, else by rule.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_internal.h"
#include "engine/engine_state.h"
#include "engine/kept_prefixes.h"
#include "engine/rehearsal.h"
#include "engine/sharing.h"
#include "engine/sparsity.h"
#include "plan/machine_profile.h"
#include "profile/kept.h"

static const double REHEARSED_SECONDS = 10; // of a job that is worth it
static const double REHEARSAL_SHARE = 0.05, REHEARSAL_LEAST = 1.5, REHEARSAL_MOST = 4; // of it; seconds
static const uint64_t REHEARSAL_BYTES = (uint64_t)1 << 30;

// What was measured of this machine and its disk; of other devices than its CPU nothing was.
static bool find_profile(const fg_engine *e, fg_profile *out) {
  if (e->simulation) {
    fg_machine_profile(out, &e->simulation->machine);
    return true;
  }
  if (strcmp(e->device_name, "cpu") != 0 || !e->options.offload_dir) return false;
  const fg_profile_options options = {.offload_dir = e->options.offload_dir,
                                      .threads = fg_threads_count(e->threads)};
  fg_profile machine;
  return fg_profile_describe(&machine, &options, NULL) == FG_OK &&
         fg_profile_find(out, &machine, NULL) == FG_OK;
}

// Of the row's prompt, in pages that it shares with the row before it.
static uint32_t in_shared_pages(const fg_row_length *r, uint32_t page_tokens) {
  return (r->shared < r->prompt ? r->shared : r->prompt) / page_tokens * page_tokens;
}

// Of a typical request, those that it does not share with another one: what the cache holds for each, and
// what steps compute.
static uint32_t own_tokens(const fg_workload *job, const fg_plan_job *rows, uint32_t page_tokens) {
  double shared = 0;
  for (uint32_t i = 0; i < rows->count; i++) shared += in_shared_pages(&rows->rows[i], page_tokens);
  const double mean = floor(shared / rows->count), least = job->generated + 1.0;
  return job->tokens > mean + least ? job->tokens - (uint32_t)mean : (uint32_t)fmin(job->tokens, least);
}

// What decides whether the job may run in layer passes, which would compute what rows share, and what is kept
// of them, for each anew. A token that is generated last is never computed with.
static void look_at_rows(fg_plan_input *in, const fg_workload *job, bool shares) {
  double all = 0, shared = 0, drawn = 0;
  in->only_scored = job->length_count > 0;
  for (uint32_t i = 0; i < job->length_count; i++) {
    const fg_row_length *r = &job->lengths[i];
    const uint32_t tokens = r->prompt + r->generated;
    if (r->generated > 1) in->only_scored = false;
    if (tokens > in->longest_row) in->longest_row = tokens;
    all += r->prompt;
    shared += shares ? fmax(in_shared_pages(r, in->page_tokens), r->kept) : 0;
    drawn += r->drawn && r->generated;
    in->mean_row += tokens;
  }
  if (job->length_count) in->mean_row /= job->length_count;
  if (job->length_count) in->drawn = drawn / job->length_count;
  in->shared = all > 0 ? shared / all : 0;
  in->longest_row = (uint32_t)fmin(in->longest_row, in->context);
}

static bool is_known(fg_engine *e) {
  fg_forecast *f = &e->forecast;
  fg_workload job = e->options.expected;
  if (e->options.survey) job = e->options.survey(e->options.user, e);
  f->input.host -= job.host_bytes < f->input.host ? job.host_bytes : f->input.host;
  if (!f->input.max_len && job.longest) f->input.max_len = (uint32_t)fmin(job.longest, f->input.context);
  look_at_rows(&f->input, &job, !e->options.no_prefix_sharing);
  e->noted_top = (uint32_t)fmin(fmax(job.prompt_top, FG_NOTED_TOP), FG_MAX_TOP);
  if (!e->options.no_prefix_sharing)
    f->input.host_per_page = fg_sharing_page_bytes(e) + fg_kept_prefixes_page_bytes(e);
  if (!fg_forecast_take_job(f, &job)) return false;
  if (e->options.no_prefix_sharing) fg_forecast_share_nothing(f);
  f->input.expected = job;
  f->input.expected.tokens = own_tokens(&job, &f->job, f->input.page_tokens);
  e->options.expected.lengths = f->input.expected.lengths = NULL; // they are the caller's
  return find_profile(e, &f->profile);
}

static fg_status plan_with(fg_plan *plan, const fg_engine *e, const fg_plan_input *input,
                           const fg_profile *profile, const fg_plan_job *job, fg_error *err) {
  const fg_forecast *f = &e->forecast;
  fg_solver solver;
  fg_status status = fg_solver_open(&solver, err);
  if (status != FG_OK) return status;
  const fg_step_rates rates = fg_forecast_rates_by(f, profile);
  const fg_planner_input wanted = {.plan = *input,
                                   .model = &f->model,
                                   .rates = &rates,
                                   .job = job,
                                   .solver = &solver,
                                   .drafts = !e->options.no_speculation};
  status = fg_planner_choose(plan, &wanted, err);
  fg_solver_close(&solver);
  return status;
}

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

// A job that takes a while is worth the time of trying some steps of it, if the weights are there.
static bool rehearse(fg_engine *e) {
  fg_forecast *f = &e->forecast;
  const double seconds = f->plan.predicted.seconds;
  if (e->simulation || seconds < REHEARSED_SECONDS || !e->model->store->file) return false;
  const fg_rehearsal_options options = {
      .graph = e->model->graph,
      .store = e->model->store,
      .device = e->device_name,
      .settings = fg_engine_device_options(e, 0),
      .input = &f->input,
      .profile = &f->profile,
      .backend = e->io_backend,
      .rotates_cache = e->rotates_cache,
      .attn_sparsity = fg_sparsity_of(e->options.attn_sparsity),
      .memory = min_u64(f->input.host, REHEARSAL_BYTES),
      .tokens = f->plan.policy.micro_tokens ? f->plan.policy.micro_tokens : f->plan.policy.max_tokens,
      .context = f->input.expected.tokens,
      .seconds = fmin(fmax(REHEARSAL_SHARE * seconds, REHEARSAL_LEAST), REHEARSAL_MOST),
  };
  fg_error why;
  if (fg_rehearse(&f->scale, &options, &why) == FG_OK) {
    for (uint32_t i = 0; i < f->scale.count; i++)
      fg_log_line(&e->log, FG_LOG_DEBUG,
                  "tried: a step of %.0f tokens takes %.2f times what the profile says", f->scale.tokens[i],
                  f->scale.times[i]);
    return f->scale.count > 0;
  }
  fg_log_line(&e->log, FG_LOG_WARN, "the plan goes by the profile alone: %s", why.message);
  return false;
}

fg_status fg_engine_choose_policy(fg_engine *e, fg_error *err) {
  fg_forecast *f = &e->forecast;
  const bool known = is_known(e);
  fg_status status = fg_policy_make(&f->input, &e->policy, err);
  if (status != FG_OK || !known) return status;
  status = fg_plan_model_of(&f->model, e->model->graph, e->model->store, (int)e->compute, err);
  if (status != FG_OK) return status;
  fg_error why;
  if (plan_with(&f->plan, e, &f->input, &f->profile, &f->job, &why) != FG_OK) {
    fg_log_line(&e->log, FG_LOG_WARN, "memory is divided by a simple rule: %s", why.message);
    return FG_OK;
  }
  if (rehearse(e)) plan_with(&f->plan, e, &f->input, &f->profile, &f->job, &why);
  f->known = true;
  f->rates = fg_forecast_rates_by(f, &f->profile);
  e->policy = f->plan.policy;
  return FG_OK;
}

static void describe(const fg_plan *plan, fg_engine_forecast *out) {
  const fg_prediction *p = &plan->predicted;
  const double per_second = p->seconds > 0 ? 1 / p->seconds : 0;
  *out = (fg_engine_forecast){.known = true,
                              .seconds = p->seconds,
                              .steps = p->steps,
                              .prompt_tokens_per_s = p->prompt_tokens * per_second,
                              .generated_tokens_per_s = p->generated_tokens * per_second,
                              .shared_tokens = p->shared_tokens,
                              .copied_tokens = p->copied_tokens,
                              .kept_tokens = p->kept_tokens,
                              .drafting_steps = p->drafting_steps,
                              .bytes_read = p->read_bytes,
                              .bytes_written = p->written_bytes,
                              .host_bytes = plan->policy.host_needed,
                              .device_bytes = plan->policy.device_needed,
                              .bound_by = plan->bound == FG_LANE_DISK ? "disk"
                                          : plan->bound == FG_LANE_IN ? "link"
                                                                      : "compute",
                              .pace = 1};
}

void fg_engine_get_forecast(const fg_engine *e, fg_engine_forecast *out) {
  *out = (fg_engine_forecast){0};
  if (!e->forecast.known) return;
  describe(&e->forecast.plan, out);
  out->host_bytes += e->process_bytes;
  const fg_forecast *f = &e->forecast;
  out->pace = f->all_expected > 0 ? f->all_taken / f->all_expected : 1;
}

// What is done of the requests that run, in requests.
static double done_of_running(const fg_engine *e) {
  double done = 0;
  for (uint32_t i = 0; i < e->sequence_capacity; i++) {
    const fg_sequence *s = e->sequences[i];
    if (!s) continue;
    done += (double)fg_scheduler_computed(e->scheduler, s->seq) /
            ((double)s->request.prompt_count + (double)s->request.max_tokens);
  }
  return done;
}

double fg_engine_remaining_seconds(const fg_engine *e, uint64_t requests) {
  const double all = fg_forecast_remaining(&e->forecast, &e->forecast.plan, requests);
  return all > 0 ? all * (1 - fmin(1, done_of_running(e) / (double)requests)) : all;
}

fg_status fg_engine_plan_rest(const fg_engine *e, const fg_plan_input *input, fg_plan *plan, fg_error *err) {
  const fg_forecast *f = &e->forecast;
  fg_plan_job rest = f->job;
  rest.done = rest.requests > f->rows ? f->rows : rest.requests - 1;
  rest.requests -= rest.done;
  return plan_with(plan, e, input, &f->profile, &rest, err);
}

// A copy of the rows, which share nothing.
static fg_row_length *rows_apart(const fg_plan_job *job) {
  fg_row_length *rows = calloc(job->count, sizeof *rows);
  for (uint32_t i = 0; rows && i < job->count; i++)
    rows[i] = (fg_row_length){
        .prompt = job->rows[i].prompt, .generated = job->rows[i].generated, .drawn = job->rows[i].drawn};
  return rows;
}

bool fg_engine_what_if(const fg_engine *e, const fg_engine_change *change, fg_engine_forecast *out) {
  const fg_forecast *f = &e->forecast;
  *out = (fg_engine_forecast){0};
  if (!f->known || (change->nothing_shared && f->plan.predicted.shared_tokens <= 0)) return false;
  fg_plan_input input = f->input;
  fg_profile profile = f->profile;
  fg_plan_job job = f->job;
  const double disk = change->disk_factor > 0 ? change->disk_factor : 1;
  fg_row_length *apart = change->nothing_shared ? rows_apart(&job) : NULL;
  if (apart) job.rows = apart, job.shares = false;
  input.host += change->more_memory;
  profile.disk_read *= disk;
  profile.disk_write *= disk;
  fg_plan plan;
  const bool found =
      (apart || !change->nothing_shared) && plan_with(&plan, e, &input, &profile, &job, NULL) == FG_OK;
  free(apart);
  if (found) describe(&plan, out);
  return found;
}
