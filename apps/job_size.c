#include "job_size.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine_internal.h"
#include "engine/random.h"
#include "job/workload.h"
#include "plan/row_order.h"

typedef struct job_size {
  const fg_options *options;
  fg_workload_survey survey;
} job_size;

// ---- bench ---------------------------------------------------------------------------------------------

uint32_t fg_bench_prompts(const fg_options *o) {
  if (o->num_prompts) return o->num_prompts;
  if (o->gpu_batch_size) return o->gpu_batch_size * (o->num_gpu_batches ? o->num_gpu_batches : 1);
  return 32;
}

uint32_t fg_bench_longest_prompt(const fg_options *o) {
  return o->input_len_range.high ? o->input_len_range.high : o->prompt_len;
}

bool fg_bench_pads(const fg_options *o) {
  return o->without && strstr(o->without, "ragged");
}

// The random numbers of a prompt are keyed by (seed, prompt); position 0 gives its length, the rest its ids.
uint32_t fg_bench_prompt_length(const fg_options *o, uint32_t prompt) {
  uint32_t r[4];
  if (!o->input_len_range.high) return o->prompt_len;
  if (fg_bench_pads(o)) return fg_bench_longest_prompt(o);
  fg_random(o->seed, prompt, 0, 0, r);
  return o->input_len_range.low + r[0] % (o->input_len_range.high - o->input_len_range.low + 1);
}

static fg_row_length bench_row(const fg_options *o, uint32_t prompt) {
  return (fg_row_length){.prompt = fg_bench_prompt_length(o, prompt), .generated = o->gen_len};
}

fg_status fg_bench_order(uint32_t *order, const fg_options *o, fg_row_order wish, fg_error *err) {
  fg_row_length rows[FG_WORKLOAD_LENGTHS];
  const uint32_t prompts = fg_bench_prompts(o);
  fg_status status = FG_OK;
  for (uint32_t first = 0, count = 0; status == FG_OK && first < prompts; first += count) {
    count = prompts - first < FG_WORKLOAD_LENGTHS ? prompts - first : FG_WORKLOAD_LENGTHS;
    for (uint32_t i = 0; i < count; i++) rows[i] = bench_row(o, first + i);
    status = fg_row_order_find(order + first, NULL, rows, count, wish, err);
    for (uint32_t i = 0; i < count; i++) order[first + i] += first;
  }
  return status;
}

static fg_run_job of_bench(job_size *size, const fg_options *o) {
  const uint32_t prompts = fg_bench_prompts(o);
  fg_workload *w = &size->survey.workload;
  *w = (fg_workload){.requests = prompts, .generated = o->gen_len, .lengths = size->survey.lengths};
  w->length_count = prompts < FG_WORKLOAD_LENGTHS ? prompts : FG_WORKLOAD_LENGTHS;
  double sum = 0;
  for (uint32_t i = 0; i < w->length_count; i++) {
    size->survey.lengths[i] = bench_row(o, i);
    sum += size->survey.lengths[i].prompt;
  }
  w->longest = fg_bench_longest_prompt(o) + o->gen_len;
  w->tokens = (uint32_t)(sum / w->length_count + 0.5) + o->gen_len;
  return (fg_run_job){.expected = *w};
}

// ---- a file --------------------------------------------------------------------------------------------

static uint32_t kept(const void *user, const fg_request *request) {
  return fg_engine_kept_tokens(user, request);
}

static fg_workload look(void *user, const fg_engine *engine) {
  job_size *size = user;
  fg_request_context context = {.tokenizer = fg_engine_tokenizer(engine), .chat = fg_engine_chat(engine)};
  fg_engine_describe(engine, &context.info);
  // Memory may yet allow less than the model does.
  context.info.max_model_len = fg_engine_model(engine)->max_positions;
  if (!context.info.max_model_len) context.info.max_model_len = UINT32_MAX / 4;
  const fg_workload_source source = {.context = &context,
                                     .path = size->options->input,
                                     .shards = size->options->shard.count,
                                     .kept = kept,
                                     .user = engine};
  fg_workload_look(&size->survey, &source);
  return size->survey.workload;
}

static fg_run_job of_file(job_size *size, const fg_options *options) {
  size->options = options;
  return (fg_run_job){.survey = look, .user = size};
}

// ---- both ----------------------------------------------------------------------------------------------

int fg_run_open_job(fg_run *run, const char *command, const fg_options *options, fg_console *console,
                    bool plan_only) {
  job_size *size = calloc(1, sizeof *size); // of some KiB, and wanted until the engine is open
  if (!size) {
    fg_console_error(console, "no memory to look at the job");
    return FG_EXIT_FAILED;
  }
  const fg_run_job job = options->input ? of_file(size, options) : of_bench(size, options);
  int code = plan_only ? fg_run_open_plan(run, command, options, console, job)
                       : fg_run_open(run, command, options, console, job);
  run->job = (fg_run_job){0};
  free(size);
  return code;
}
