// flexgen bench: FlexGen's benchmark. N prompts of random tokens, each continued by a fixed number of tokens.
//
// prefill_s ends with the step that computes the last prompt token, decode_s is the rest. Prefill throughput
// is prompt tokens over prefill_s, decode throughput the tokens after each prompt's first over decode_s, and
// the total generated tokens over both. Steps are mixed, so that only the total compares with other engines.
#include "engine/engine_internal.h"
#include "engine/random.h"
#include "job_size.h"
#include "plan/flexgen_stream.h"
#include "report/stats.h"

#include <stdlib.h>
#include <string.h>

typedef struct benchmark {
  fg_run run;
  const fg_options *options;
  uint32_t prompts, submitted, started, finished; // started: have their first token
  uint64_t prompt_tokens, generated_tokens;
  uint32_t *order;                       // [prompts], by the plan
  int32_t *ids;                          // [longest prompt], scratch
  uint64_t begin_ns, prefill_ns, end_ns; // by the engine's clock
  double busy[FG_UNIT_COUNT];            // seconds, before the first step of a simulation
  fg_error error;                        // of the first request that failed
} benchmark;

typedef struct bench_figures {
  double prefill_s, decode_s, total_s;
  double prefill_per_s, decode_per_s, generated_per_s;
} bench_figures;

static void fill_prompt(const benchmark *b, uint32_t prompt, uint32_t length) {
  uint32_t r[4];
  for (uint32_t i = 0; i < length; i++) {
    if (i % 4 == 0) fg_random(b->options->seed, prompt, 1, i / 4, r);
    b->ids[i] = (int32_t)(r[i % 4] % b->run.info.vocab);
  }
}

typedef struct bench_request {
  benchmark *bench;
  bool started;
} bench_request;

static bool on_token(void *user, const fg_token_info *info) {
  (void)info;
  bench_request *r = user;
  r->bench->generated_tokens++;
  if (!r->started) r->bench->started++;
  r->started = true;
  return true;
}

static void on_done(void *user, fg_finish finish, const fg_error *error) {
  bench_request *r = user;
  r->bench->finished++;
  if (finish == FG_FINISH_ERROR && r->bench->error.status == FG_OK) r->bench->error = *error;
  free(r);
}

static fg_status submit(void *user, bool *more, fg_error *err) {
  benchmark *b = user;
  *more = b->submitted < b->prompts;
  if (!*more) return FG_OK;
  bench_request *r = calloc(1, sizeof *r);
  if (!r) return fg_fail(err, FG_NO_SPACE, "no memory for prompt %u", b->submitted);
  r->bench = b;
  uint32_t prompt = b->order[b->submitted++], length = fg_bench_prompt_length(b->options, prompt);
  fill_prompt(b, prompt, length);
  fg_request request = {
      .prompt = b->ids,
      .prompt_count = length,
      .max_tokens = b->options->gen_len,
      .sampling = fg_sampling_default(),
      .logprobs = -1,
      .prompt_logprobs = -1,
      .user = r,
      .on_token = on_token,
      .on_done = on_done,
  };
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  fg_request_id id;
  fg_status status = fg_engine_submit(b->run.engine, &request, &id, err);
  if (status == FG_OK)
    b->prompt_tokens += length;
  else
    free(r);
  return status;
}

static fg_status stepped(void *user, fg_error *err) {
  benchmark *b = user;
  if (b->error.status != FG_OK) return fg_fail(err, b->error.status, "%s", b->error.message);
  if (!b->prefill_ns && b->started == b->prompts) b->prefill_ns = fg_engine_now_ns(b->run.engine);
  fg_run_progress(&b->run, "prompts", b->finished, b->prompts);
  return FG_OK;
}

static double rate(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0;
}

static bench_figures figures(const benchmark *b) {
  bench_figures f = {
      .prefill_s = (double)(b->prefill_ns - b->begin_ns) * 1e-9,
      .decode_s = (double)(b->end_ns - b->prefill_ns) * 1e-9,
      .total_s = (double)(b->end_ns - b->begin_ns) * 1e-9,
  };
  f.prefill_per_s = rate((double)b->prompt_tokens, f.prefill_s);
  f.decode_per_s = rate((double)(b->generated_tokens - b->prompts), f.decode_s);
  f.generated_per_s = rate((double)b->generated_tokens, f.total_s);
  return f;
}

// ---- a machine that is not there -------------------------------------------------------------------------

// Of the time from the first step to the last.
static void print_utilisation(const benchmark *b) {
  fg_engine_simulation s;
  if (!fg_engine_get_simulation(b->run.engine, &s)) return;
  const double total = (double)(b->end_ns - b->begin_ns) * 1e-9;
  printf("simulated %s, busy:", s.machine);
  for (int u = 0; u < FG_UNIT_COUNT; u++)
    printf("%s %s %.1f %%", u ? "," : "", fg_unit_name((fg_unit)u),
           total > 0 ? 100 * (s.busy[u] - b->busy[u]) / total : 0.0);
  printf("\n");
}

static fg_flexgen_policy flexgen_policy(const fg_options *o) {
  fg_flexgen_policy p = {.batch = o->gpu_batch_size ? o->gpu_batch_size : 4,
                         .batches = o->num_gpu_batches ? o->num_gpu_batches : 1,
                         .percent = {100, 0, 100, 0, 100, 0},
                         .compress_weight = o->compress_weight,
                         .compress_cache = o->compress_cache,
                         .cpu_cache_compute = o->cpu_cache_compute,
                         .pin_weight = o->pin_weight,
                         .overlap = o->overlap};
  for (int i = 0; o->percent.set && i < 6; i++) p.percent[i] = o->percent.values[i];
  return p;
}

static fg_status run_flexgen(benchmark *b, fg_error *err) {
  const fg_options *o = b->options;
  const fg_flexgen_policy policy = flexgen_policy(o);
  const uint32_t block = policy.batch * policy.batches;
  if (b->prompts % block)
    return fg_fail(err, FG_INVALID, "--num-prompts %u: FlexGen runs whole blocks, of %u prompts here",
                   b->prompts, block);
  const fg_flexgen_run run = {.policy = &policy,
                              .prompt = fg_bench_longest_prompt(o),
                              .generated = o->gen_len,
                              .blocks = b->prompts / block};
  fg_flexgen_time time;
  b->begin_ns = fg_engine_now_ns(b->run.engine);
  fg_status status = fg_engine_run_flexgen(b->run.engine, &run, &time, err);
  b->end_ns = fg_engine_now_ns(b->run.engine);
  b->prefill_ns = b->begin_ns + (uint64_t)(time.prefill * 1e9);
  b->prompt_tokens = (uint64_t)b->prompts * run.prompt;
  b->generated_tokens = (uint64_t)b->prompts * run.generated;
  return status;
}

static void note_busy(benchmark *b) {
  fg_engine_simulation s;
  (void)fg_engine_get_simulation(b->run.engine, &s);
  memcpy(b->busy, s.busy, sizeof b->busy);
}

static fg_status print_figures(benchmark *b, fg_error *err) {
  fg_engine_stats s;
  fg_engine_get_stats(b->run.engine, &s);
  bench_figures f = figures(b);
  if (!b->options->json) {
    printf("model %s: %.3f GiB of weights, %.3f GiB resident\n", b->run.info.name,
           (double)b->run.info.weight_bytes / (1 << 30),
           (double)b->run.info.resident_weight_bytes / (1 << 30));
    printf("prefill: %.3f s, %.3f token/s (%llu tokens)\n", f.prefill_s, f.prefill_per_s,
           (unsigned long long)b->prompt_tokens);
    printf("decode: %.3f s, %.3f token/s\n", f.decode_s, f.decode_per_s);
    printf("total: %.3f s, %.3f generated token/s (%llu tokens)\n", f.total_s, f.generated_per_s,
           (unsigned long long)b->generated_tokens);
    printf("peak memory: %.3f GiB; read from disk: %.3f GiB\n", (double)s.process_peak / (1 << 30),
           (double)s.bytes_read / (1 << 30));
    print_utilisation(b);
    return FG_OK;
  }
  json_t *policy = fg_engine_policy_json(b->run.engine);
  // Said only of a model of which it is so: for all others the object is what it has always been.
  const uint32_t aliased = b->run.info.aliased_layers;
  return fg_print_json(
      json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:o*,s:o,s:o,s:o*}", "prompt_tokens",
                (json_int_t)b->prompt_tokens, "generated_tokens", (json_int_t)b->generated_tokens,
                "prefill_s", f.prefill_s, "decode_s", f.decode_s, "total_s", f.total_s,
                "prefill_tokens_per_s", f.prefill_per_s, "decode_tokens_per_s", f.decode_per_s,
                "generated_tokens_per_s", f.generated_per_s, "peak_memory_bytes", (json_int_t)s.process_peak,
                "bytes_read", (json_int_t)s.bytes_read, "aliased_layers",
                aliased ? json_integer((json_int_t)aliased) : NULL, "policy", policy ? policy : json_null(),
                "predicted", fg_run_predicted(&b->run), "simulation", fg_stats_simulation(b->run.engine)),
      err);
}

int fg_command_bench(const fg_options *options, fg_console *console) {
  benchmark b = {.options = options, .prompts = fg_bench_prompts(options)};
  uint64_t tokens = (uint64_t)fg_bench_longest_prompt(options) + options->gen_len;
  if (tokens > UINT32_MAX) {
    fg_console_error(console, "the prompt and --gen-len are too long together");
    return FG_EXIT_USAGE;
  }
  const bool flexgen = options->schedule && strcmp(options->schedule, "flexgen") == 0;
  if (flexgen && !options->simulate) {
    fg_console_error(console, "--schedule flexgen is simulated; name a machine with --simulate");
    return FG_EXIT_USAGE;
  }
  int code = flexgen ? fg_run_open_plan(&b.run, "bench", options, console, (fg_run_job){0})
                     : fg_run_open_job(&b.run, "bench", options, console, false);
  if (code != FG_EXIT_DONE) return code;
  fg_error err = {FG_OK, ""};
  fg_status status = FG_OK;
  b.ids = calloc(fg_bench_longest_prompt(options), sizeof *b.ids);
  b.order = calloc(b.prompts, sizeof *b.order);
  if (b.ids && b.order)
    status = fg_bench_order(b.order, options, b.run.info.order, &err);
  else
    status = fg_fail(&err, FG_NO_SPACE, "no memory for %u prompts of %u tokens", b.prompts,
                     fg_bench_longest_prompt(options));
  note_busy(&b);
  b.begin_ns = fg_engine_now_ns(b.run.engine);
  fg_feed feed = {submit, stepped, &b};
  if (status == FG_OK && flexgen) status = run_flexgen(&b, &err);
  if (status == FG_OK && !flexgen) {
    status = fg_run_drive(&b.run, &feed, &err);
    b.end_ns = fg_engine_now_ns(b.run.engine);
  }
  fg_console_clear(console);
  if (status == FG_OK) status = print_figures(&b, &err);
  free(b.ids);
  free(b.order);
  return fg_run_close(&b.run, status, &err);
}
