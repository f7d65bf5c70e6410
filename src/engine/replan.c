#include "engine/replan.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/engine_internal.h"
#include "engine/engine_state.h"
#include "engine/sharing.h"

static const double CHECK_SECONDS = 20;      // of steps, between comparisons of the rates
static const double MEMORY_SECONDS = 2;      // between looks at the machine's memory
static const double DRIFT = 1.25;            // by which a rate must differ
static const double LEAST_GAIN = 0.9;        // of the time that is left
static const double LEAST_READING = 1;       // seconds of reads that say something of the disk
static const double LEAST_WAITING = 0.1;     // of the steps' time, for reads, that says that the disk is slow
static const double NOTHING_LEFT = 1.0 / 64; // of the budget: what the machine must be able to give beyond it
static const double SHRUNK = 0.85;           // of what the machine has, as at the start

fg_drift fg_drift_of(const fg_forecast *f, const fg_measured_time *t) {
  fg_drift d = {1, 1};
  const double computing = t->seconds - t->waiting;
  if (f->expected_compute > 0 && computing > 0) d.compute = computing / f->expected_compute;
  // What waited for the disk is not what computing takes, and the other way round: a read that is not waited
  // for is under way until somebody looks, and the next one until there is room.
  if (t->reading >= LEAST_READING && f->rates.disk_read > 0 && t->read_bytes > 0)
    d.disk = f->rates.disk_read / (t->read_bytes / t->reading);
  if (t->waiting < LEAST_WAITING * t->seconds) d.disk = fmin(d.disk, 1);
  return d;
}

bool fg_replan_pays(double as_it_is, double changed, double change) {
  return changed + change < LEAST_GAIN * as_it_is;
}

static bool is_off(double drift) {
  return drift > DRIFT || drift < 1 / DRIFT;
}

static void correct(fg_profile *p, fg_drift d) {
  for (uint32_t i = 0; i < p->product_count; i++)
    for (int r = 0; r < FG_PROFILE_ROW_POINTS; r++) p->products[i].seconds[r] *= d.compute;
  for (uint32_t i = 0; i < p->attention_count; i++) {
    p->attentions[i].decode *= d.compute;
    p->attentions[i].prefill *= d.compute;
  }
  double *const times[] = {&p->row_value, &p->store_value, &p->logit, &p->launch};
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) *times[i] *= d.compute;
  p->disk_read /= d.disk;
  p->disk_write /= d.disk;
}

// ---- the change
// --------------------------------------------------------------------------------------------

static int by_id(const void *a, const void *b) {
  const fg_sequence *const *x = a, *const *y = b;
  return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

// All sequences that are left, in the order in which they were submitted.
static fg_sequence **take_sequences(fg_engine *e, uint32_t *count, fg_error *err) {
  fg_sequence **all = calloc(e->pending + 1, sizeof(fg_sequence *));
  if (!all) {
    fg_fail(err, FG_NO_SPACE, "no memory for a list of %" PRIu32 " requests", e->pending);
    return NULL;
  }
  *count = 0;
  for (uint32_t i = 0; i < e->sequence_capacity; i++)
    if (e->sequences[i]) all[(*count)++] = e->sequences[i];
  qsort(all, *count, sizeof(fg_sequence *), by_id);
  return all;
}

static fg_status put_sequences(fg_engine *e, fg_sequence *const *all, uint32_t count, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < count; i++) {
    if (status == FG_OK)
      status = fg_scheduler_add(e->scheduler, all[i]->count - all[i]->complete, &all[i]->seq, err);
    if (status == FG_OK) status = fg_engine_keep_sequence(e, all[i], err);
    if (status == FG_OK) fg_sharing_tell(e, all[i]);
    if (status != FG_OK) fg_engine_end_sequence(e, all[i], FG_FINISH_ERROR, err);
  }
  return status;
}

static fg_status change_to(fg_engine *e, const fg_policy *policy, uint64_t host_limit, fg_error *err) {
  uint32_t count;
  fg_sequence **all = take_sequences(e, &count, err);
  if (!all) return FG_NO_SPACE;
  memset(e->sequences, 0, e->sequence_capacity * sizeof(fg_sequence *));
  e->pending = e->beyond_pass = 0;
  fg_engine_close_runner(e);
  e->policy = *policy;
  if (host_limit) fg_budget_set_limit(e->host, host_limit);
  fg_status status = fg_engine_open_runner(e, err);
  if (status == FG_OK) {
    status = put_sequences(e, all, count, err);
  } else {
    for (uint32_t i = 0; i < count; i++) fg_engine_end_sequence(e, all[i], FG_FINISH_ERROR, err);
  }
  free(all);
  e->changes++;
  return status;
}

// ---- when
// ----------------------------------------------------------------------------------------------------

fg_measured_time fg_engine_measured(const fg_engine *e) {
  uint64_t busy, covered;
  const fg_runner_counts counts = fg_engine_count(e);
  fg_trace_overlap(e->trace, FG_SPAN_READ, FG_SPAN_COMPUTE, &busy, &covered);
  return (fg_measured_time){
      .seconds = 1e-9 * (double)fg_trace_sum(e->trace, FG_SPAN_STEP).nanoseconds - e->drafting_before -
                 e->drafting_seconds,
      .waiting = 1e-9 * (double)fg_trace_sum(e->trace, FG_SPAN_WAIT_READ).nanoseconds,
      .reading = 1e-9 * (double)busy,
      // All that the spans are of: weights, rows of tables, pages of the cache, rows of the residual stream.
      .read_bytes = (double)(fg_io_bytes_read(e->io) + fg_io_bytes_read(e->table_io) + counts.kv_read +
                             counts.hidden.read_bytes),
  };
}

// What is measured from now on is compared with what is expected from now on.
static void begin_window(fg_engine *e) {
  fg_forecast_begin_window(&e->forecast);
  e->mark = fg_engine_measured(e);
}

// Seconds of reading what will be resident, and of reading running sequences' texts again.
static double seconds_of_change(const fg_engine *e, const fg_policy *policy) {
  const fg_step_rates *r = &e->forecast.rates;
  double tokens = 0;
  for (uint32_t i = 0; i < e->sequence_capacity; i++)
    if (e->sequences[i]) tokens += fg_scheduler_computed(e->scheduler, e->sequences[i]->seq);
  const fg_step_work work = {.tokens = policy->max_tokens};
  const double a_step = fg_step_time(r, &work).seconds;
  const double loading = r->disk_read > 0 ? (double)policy->device_weight_bytes / r->disk_read : 0;
  return loading + tokens / policy->max_tokens * a_step;
}

static uint64_t requests_left(const fg_forecast *f) {
  return f->job.requests > f->rows ? f->job.requests - f->rows : 0;
}

// The input of the plan as it was, for the rows that are left: none of them may lose its place.
// Beside what runs steps, the budget holds the process and rows in flight, which stay.
static fg_plan_input input_of_rest(const fg_engine *e, uint64_t limit) {
  fg_plan_input input = e->forecast.input;
  const uint64_t others = fg_budget_used(e->host) - e->runner_bytes;
  const uint64_t left = limit > others ? limit - others : 0;
  if (left < input.host) input.host = left;
  input.max_len = e->policy.max_len;
  return input;
}

static fg_measured_time since_mark(const fg_engine *e) {
  const fg_measured_time now = fg_engine_measured(e), then = e->mark;
  return (fg_measured_time){.seconds = now.seconds - then.seconds,
                            .waiting = now.waiting - then.waiting,
                            .reading = now.reading - then.reading,
                            .read_bytes = now.read_bytes - then.read_bytes};
}

// Looks for a better policy for the rates as they turned out to be.
static fg_status improve(fg_engine *e, fg_drift drift, fg_error *err) {
  fg_forecast *f = &e->forecast;
  const double left = fg_forecast_remaining(f, &f->plan, requests_left(f));
  const fg_plan_input input = input_of_rest(e, fg_budget_limit(e->host));
  fg_plan plan;
  fg_error unused;
  if (left < CHECK_SECONDS || fg_engine_plan_rest(e, &input, &plan, &unused) != FG_OK) return FG_OK;
  const double changed = fg_forecast_remaining(f, &plan, requests_left(f));
  if (!fg_replan_pays(left, changed, seconds_of_change(e, &plan.policy))) return FG_OK;
  fg_log_line(
      &e->log, FG_LOG_INFO,
      "computing takes %.2f and reading %.2f times what the profile says; the policy is made anew: up "
      "to %" PRIu32 " sequences and %" PRIu32 " tokens a step",
      drift.compute, drift.disk, plan.policy.max_seqs, plan.policy.max_tokens);
  fg_status status = change_to(e, &plan.policy, 0, err);
  f->plan = plan;
  return status;
}

static fg_status check_rates(fg_engine *e, fg_error *err) {
  fg_forecast *f = &e->forecast;
  const fg_measured_time since = since_mark(e);
  const fg_drift drift = fg_drift_of(f, &since);
  fg_status status = FG_OK;
  if (is_off(drift.compute) || is_off(drift.disk)) {
    correct(&f->profile, drift);
    fg_forecast_rates_changed(f);
    status = improve(e, drift, err);
  }
  begin_window(e);
  return status;
}

static fg_status shrink_to(fg_engine *e, uint64_t limit, fg_error *err) {
  fg_forecast *f = &e->forecast;
  const uint64_t had = fg_budget_limit(e->host);
  char now[16], before[16];
  const fg_plan_input input = input_of_rest(e, limit);
  fg_plan plan = {0};
  fg_error why;
  fg_status status =
      f->known ? fg_engine_plan_rest(e, &input, &plan, &why) : fg_policy_make(&input, &plan.policy, &why);
  if (status != FG_OK) {
    e->shrink_refused = true;
    fg_log_line(
        &e->log, FG_LOG_WARN,
        "the machine has only %s of memory left for this job, which is too little to go on with; it keeps "
        "its budget of %s",
        fg_size_format(limit, now), fg_size_format(had, before));
    return FG_OK;
  }
  fg_log_line(&e->log, FG_LOG_WARN,
              "the memory budget shrinks from %s to %s: up to %" PRIu32 " sequences a step",
              fg_size_format(had, before), fg_size_format(limit, now), plan.policy.max_seqs);
  f->input.host = input.host;
  status = change_to(e, &plan.policy, limit, err);
  if (f->known) f->plan = plan;
  begin_window(e);
  return status;
}

// Layer passes cannot take what nobody said would come: rows that get more than one token, or ask for many
// candidates, or are longer. Ordinary steps take them all; where there is no room for these, such
// rows end with what would make it.
static fg_status leave_passes(fg_engine *e, fg_error *err) {
  fg_forecast *f = &e->forecast;
  fg_plan_input input = input_of_rest(e, fg_budget_limit(e->host));
  input.pass.possible = false;
  input.micro_tokens = input.hidden_rows = 0;
  fg_plan plan = {0};
  fg_error why;
  fg_status status =
      f->known ? fg_engine_plan_rest(e, &input, &plan, &why) : fg_policy_make(&input, &plan.policy, &why);
  if (status != FG_OK) {
    for (uint32_t i = 0; e->beyond_pass && i < e->sequence_capacity; i++)
      if (e->sequences[i] && e->sequences[i]->beyond_pass)
        fg_engine_finish_sequence(e, e->sequences[i], FG_FINISH_ERROR, &why);
    return FG_OK;
  }
  fg_log_line(&e->log, FG_LOG_INFO,
              "a row came that a layer pass cannot take: ordinary steps from now on, of up to %" PRIu32
              " sequences and %" PRIu32 " tokens",
              plan.policy.max_seqs, plan.policy.max_tokens);
  f->input.pass.possible = false;
  f->input.micro_tokens = f->input.hidden_rows = 0;
  status = change_to(e, &plan.policy, 0, err);
  if (f->known) f->plan = plan;
  begin_window(e);
  return status;
}

// A budget that was taken from what the machine had left gives way when others want it; one that the user set
// is kept. What this process holds and what the machine can still give is then shared out as at the start.
static uint64_t shrunk_limit(const fg_engine *e) {
  const uint64_t limit = fg_budget_limit(e->host), available = fg_machine_memory_available();
  if (e->options.host_memory || (double)available > NOTHING_LEFT * (double)limit) return limit;
  const uint64_t shrunk = (uint64_t)(SHRUNK * ((double)fg_process_rss() + (double)available));
  return shrunk < limit ? shrunk : limit;
}

// The budget as it should be now; looking at the machine takes system calls, so not in every step.
static uint64_t wanted_limit(fg_engine *e) {
  const uint64_t limit = fg_budget_limit(e->host), wished = e->wished_limit, now = fg_now_ns();
  e->wished_limit = 0;
  if (e->simulation) return limit; // its memory is nobody else's
  if (wished) return wished < limit ? wished : limit;
  if (e->shrink_refused || 1e-9 * (double)(now - e->memory_ns) < MEMORY_SECONDS) return limit;
  e->memory_ns = now;
  return shrunk_limit(e);
}

fg_status fg_engine_replan(fg_engine *e, fg_error *err) {
  const uint64_t limit = wanted_limit(e);
  if (limit < fg_budget_limit(e->host)) return shrink_to(e, limit, err);
  if (e->beyond_pass) return leave_passes(e, err);
  // A simulated machine is what its figures say.
  if (e->forecast.known && !e->simulation && e->forecast.taken >= CHECK_SECONDS) return check_rates(e, err);
  return FG_OK;
}

void fg_engine_shrink(fg_engine *e, uint64_t host_memory) {
  e->wished_limit = host_memory;
}
