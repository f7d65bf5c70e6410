#include "job/calibrate.h"

#include <string.h>

#include "base/hash.h"
#include "engine/engine_internal.h"

enum { CALIBRATE_VERSION = 1 }; // to be raised when another result comes of the same ids

typedef struct calibration_run {
  fg_engine *engine;
  const fg_calibrate_text *text;
  size_t next; // first token not yet submitted
  uint32_t window;
  uint64_t done; // tokens of windows that are through
  fg_error error;
} calibration_run;

uint64_t fg_calibrate_key(const fg_calibrate_text *text) {
  const uint64_t how[] = {CALIBRATE_VERSION, FG_CALIBRATE_WINDOW};
  uint64_t key = fg_hash_more(fg_hash(how, sizeof how), text->ids, text->count * sizeof *text->ids);
  return key ? key : 1;
}

// ---- the windows ---------------------------------------------------------------------------------------

static void on_done(void *user, fg_finish finish, const fg_error *error) {
  calibration_run *run = user;
  if (finish == FG_FINISH_ERROR && run->error.status == FG_OK) run->error = *error;
  run->done += run->window;
}

// Log-probabilities of the prompt are asked for so that the head meets every row too.
static fg_status submit(calibration_run *run, fg_error *err) {
  const size_t left = run->text->count - run->next;
  const fg_request request = {.prompt = run->text->ids + run->next,
                              .prompt_count = (uint32_t)(left < run->window ? left : run->window),
                              .sampling = fg_sampling_default(),
                              .logprobs = -1,
                              .prompt_logprobs = 0,
                              .user = run,
                              .on_done = on_done};
  fg_status status = fg_engine_submit(run->engine, &request, NULL, err);
  if (status == FG_OK) run->next += request.prompt_count;
  return status;
}

static fg_status drive(calibration_run *run, fg_calibrate_progress *progress, void *user, fg_error *err) {
  const size_t count = run->text->count;
  fg_status status = FG_OK;
  while (status == FG_OK && (run->next < count || fg_engine_pending(run->engine))) {
    if (progress && !progress(user, run->done < count ? run->done : count, count))
      return fg_fail(err, FG_CANCELLED, "calibrating was interrupted; nothing of it is left");
    while (status == FG_OK && run->next < count &&
           (fg_engine_wants(run->engine) || !fg_engine_pending(run->engine)))
      status = submit(run, err);
    if (status == FG_OK) status = fg_engine_step(run->engine, err);
    if (status == FG_OK && run->error.status != FG_OK)
      status = fg_fail(err, run->error.status, "%s", run->error.message);
  }
  return status;
}

// ---- the whole -----------------------------------------------------------------------------------------

// The matrices are known before the engine is there: what their sums take then counts as the process's own.
static fg_status prepare(fg_calibration *out, const fg_engine_options *options, uint64_t key, fg_error *err) {
  fg_budget *budget = NULL;
  fg_io *io = NULL;
  fg_model *model = NULL;
  const uint64_t limit = options->host_memory ? options->host_memory : fg_machine_memory_available();
  fg_status status = fg_budget_create(&budget, "host memory", "--host-memory", limit, err);
  if (status == FG_OK) status = fg_io_create(&io, &(fg_io_options){.budget = budget}, err);
  const fg_model_options how = {.model = options->model,
                                .synthetic = options->synthetic,
                                .adapter = options->adapter,
                                .io = io,
                                .host = budget};
  if (status == FG_OK) status = fg_model_inspect(&model, &how, err);
  if (status == FG_OK) status = fg_calibration_create(out, model->weights, model->weight_count, key, err);
  fg_model_close(model);
  fg_io_destroy(io);
  fg_budget_destroy(budget);
  return status;
}

static fg_status open_engine(calibration_run *run, const fg_engine_options *given, fg_error *err) {
  fg_engine_options options = *given;
  options.device = "cpu"; // whose activations can be looked at, whatever the store is for
  options.device_memory = 0;
  options.dtype = options.weight_dtype = options.weight_group = options.weight_symmetric = NULL;
  options.weight_head = options.weight_embedding = options.cache_dtype = NULL;
  options.no_speculation = true;    // and without a draft model
  options.no_prefix_sharing = true; // every token shows itself to the matrices
  options.expected =
      (fg_workload){.requests = run->text->count / FG_CALIBRATE_WINDOW + 1, .tokens = FG_CALIBRATE_WINDOW};
  fg_status status = fg_engine_open(&run->engine, &options, err);
  if (status != FG_OK) return status;
  const uint32_t positions = fg_engine_model(run->engine)->max_positions;
  run->window = positions && positions < FG_CALIBRATE_WINDOW ? positions : FG_CALIBRATE_WINDOW;
  fg_engine_info info;
  fg_engine_describe(run->engine, &info);
  if (info.max_model_len >= run->window) return FG_OK;
  return fg_fail(err, FG_NO_SPACE,
                 "calibrating needs sequences of %u tokens, memory is there for %u; give more --host-memory",
                 run->window, info.max_model_len);
}

fg_status fg_calibrate(fg_calibration *out, const fg_engine_options *options, const fg_calibrate_text *text,
                       fg_calibrate_progress *progress, fg_error *err) {
  calibration_run run = {.text = text};
  *out = (fg_calibration){0};
  if (text->count < 2)
    return fg_fail(err, FG_INVALID, "a text of %zu tokens calibrates nothing", text->count);
  fg_status status = prepare(out, options, fg_calibrate_key(text), err);
  if (status == FG_OK) status = open_engine(&run, options, err);
  if (status == FG_OK) status = fg_engine_observe(run.engine, out, err);
  if (status == FG_OK) status = drive(&run, progress, options->user, err);
  fg_engine_close(run.engine); // tells requests that are left that it is over
  if (status == FG_OK) status = fg_calibration_finish(out, err);
  if (status != FG_OK) fg_calibration_free(out);
  return status;
}
