#include "engine/forecast.h"

#include <stdlib.h>

enum { STEPS_LEFT = 300 }; // gone through for what is left: it is asked for while the job runs

static const double LEAST_WINDOW = 2; // expected seconds of steps that say more than those before

bool fg_forecast_take_job(fg_forecast *f, const fg_workload *w) {
  const uint32_t count = w->length_count ? w->length_count : 1;
  if (!w->length_count && !w->tokens) return false;
  fg_row_length *rows = calloc(count, sizeof *rows);
  if (!rows) return false;
  for (uint32_t i = 0; i < w->length_count; i++) rows[i] = w->lengths[i];
  if (!w->length_count)
    rows[0] = (fg_row_length){.prompt = w->tokens > w->generated ? w->tokens - w->generated : 1,
                              .generated = w->generated};
  f->job = (fg_plan_job){
      .rows = rows, .count = count, .requests = w->requests ? w->requests : count, .shares = true};
  return true;
}

void fg_forecast_share_nothing(fg_forecast *f) {
  fg_row_length *rows = (fg_row_length *)(uintptr_t)f->job.rows; // owned
  for (uint32_t i = 0; i < f->job.count; i++) rows[i].shared = rows[i].kept = 0;
  f->job.shares = false;
}

void fg_forecast_free(fg_forecast *f) {
  free((fg_row_length *)(uintptr_t)f->job.rows);
  f->job = (fg_plan_job){0};
}

void fg_forecast_end_step(fg_forecast *f, fg_step_work *work, const fg_step_pages *pages, double seconds) {
  if (!f->known) return;
  const fg_step_pages placed = fg_predict_place_pages(pages, &f->plan.policy);
  fg_predict_add_traffic(work, &f->model, &f->plan.traffic, &f->plan.policy, &placed);
  const fg_step_seconds s = fg_step_time(&f->rates, work);
  f->expected += s.seconds;
  f->expected_compute += s.compute;
  f->taken += seconds;
  f->all_expected += s.seconds;
  f->all_taken += seconds;
}

double fg_forecast_token_seconds(const fg_forecast *f, const fg_step_work *work, const fg_step_pages *pages,
                                 double more) {
  if (!f->known) return 0;
  fg_step_work with = *work;
  const fg_step_pages placed = fg_predict_place_pages(pages, &f->plan.policy);
  fg_predict_add_traffic(&with, &f->model, &f->plan.traffic, &f->plan.policy, &placed);
  const double without = fg_step_time(&f->rates, &with).seconds;
  with.tokens += more;
  with.selected += more;
  return (fg_step_time(&f->rates, &with).seconds - without) / more;
}

void fg_forecast_end_row(fg_forecast *f, uint32_t generated, uint32_t allowed) {
  f->rows++;
  f->generated += generated;
  f->allowed += allowed;
}

double fg_forecast_pace(const fg_forecast *f) {
  const bool enough = f->expected >= LEAST_WINDOW || !f->pace;
  if (!f->known || (enough && f->expected <= 0)) return 1;
  return enough ? f->taken / f->expected : f->pace;
}

void fg_forecast_begin_window(fg_forecast *f) {
  f->pace = fg_forecast_pace(f);
  f->expected = f->expected_compute = f->taken = 0;
}

fg_step_rates fg_forecast_rates_by(const fg_forecast *f, const fg_profile *profile) {
  fg_step_rates rates = fg_step_rates_of(profile, &f->model);
  rates.scale = f->scale;
  return rates;
}

void fg_forecast_rates_changed(fg_forecast *f) {
  f->rates = fg_forecast_rates_by(f, &f->profile);
  f->expected = f->expected_compute = f->taken = f->pace = 0;
}

// Answers end before they are as long as they may be: by as much as those that are finished did.
static void shorten(const fg_forecast *f, fg_row_length *rows) {
  const double share = f->rows && f->allowed ? (double)f->generated / (double)f->allowed : 1;
  for (uint32_t i = 0; i < f->job.count; i++) {
    const uint32_t whole = f->job.rows[i].generated, part = (uint32_t)(share * whole + 0.5);
    rows[i] = f->job.rows[i];
    rows[i].generated = whole && !part ? 1 : part;
  }
}

double fg_forecast_remaining(const fg_forecast *f, const fg_plan *plan, uint64_t requests) {
  if (!f->known) return -1;
  if (!requests) return 0;
  fg_row_length *rows = calloc(f->job.count, sizeof *rows);
  if (!rows) return -1;
  shorten(f, rows);
  const fg_plan_job left = {.rows = rows,
                            .count = f->job.count,
                            .requests = requests,
                            .shares = f->job.shares,
                            .done = f->job.requests > requests ? f->job.requests - requests : 0};
  const fg_predict_options options = {.rates = &f->rates,
                                      .policy = &plan->policy,
                                      .traffic = plan->traffic,
                                      .page_tokens = f->input.page_tokens,
                                      .most_steps = STEPS_LEFT};
  fg_prediction p;
  const fg_status status = fg_predict(&p, &options, &left, NULL);
  free(rows);
  return status == FG_OK ? p.seconds * fg_forecast_pace(f) : -1;
}
