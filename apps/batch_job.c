#include "batch_job.h"

#include "base/size.h"
#include "interrupt.h"

static void show_progress(void *user, const fg_batch_progress *p) {
  fg_console *console = user;
  if (!fg_console_progress_due(console)) return;
  char total[32] = "", failed[48] = "", eta[32], used[16], budget[16];
  if (p->rows_total) snprintf(total, sizeof total, " of %llu", (unsigned long long)p->rows_total);
  if (p->rows_failed)
    snprintf(failed, sizeof failed, " (%llu with errors)", (unsigned long long)p->rows_failed);
  fg_console_progress(console,
                      "rows %llu%s%s; tokens: %llu in (%.1f/s), %llu out (%.1f/s); ETA %s; memory %s of %s",
                      (unsigned long long)p->rows_done, total, failed, (unsigned long long)p->prompt_tokens,
                      p->prompt_tokens_per_s, (unsigned long long)p->generated_tokens,
                      p->generated_tokens_per_s, fg_format_duration(p->eta_seconds, eta),
                      fg_size_format(p->host_used, used), fg_size_format(p->host_budget, budget));
}

// Everything that can change a row's result, as text: the journal of another job is then recognized. The
// model comes in by its fingerprint. Budgets, threads and batch sizes are left out: a job may go on with
// others.
static void options_key(char *out, size_t bytes, const fg_run *run) {
  const fg_options *o = run->options;
  const fg_engine_info *info = &run->info;
  snprintf(out, bytes,
           "device=%s dtype=%s weights=%s cache=%s sparsity=%.17g max-model-len=%u deterministic=%d "
           "seed=%llu shard=%u/%u ids=%d",
           info->device, info->dtype, info->weight_dtype, info->cache_dtype, o->attn_sparsity,
           o->max_model_len, o->deterministic, (unsigned long long)o->seed, o->shard.index, o->shard.count,
           o->deterministic_ids);
}

static json_t *rows_json(const fg_batch_progress *p) {
  return json_pack("{s:I,s:I,s:I}", "done", (json_int_t)p->rows_done, "failed", (json_int_t)p->rows_failed,
                   "total", (json_int_t)p->rows_total);
}

static void say_summary(fg_run *run, const fg_batch_progress *p) {
  fg_engine_stats s;
  fg_engine_get_stats(run->engine, &s);
  char time[32], peak[16], process[16], budget[16], read[16], shared[64] = "", spared[64] = "";
  fg_console_clear(run->console);
  fg_console_say(run->console, 1, "%llu rows, %llu with errors, in %s", (unsigned long long)p->rows_done,
                 (unsigned long long)p->rows_failed, fg_format_duration(p->seconds, time));
  if (s.prompt_tokens_shared)
    snprintf(shared, sizeof shared, " and %llu shared with others",
             (unsigned long long)s.prompt_tokens_shared);
  if (s.drafted_tokens)
    snprintf(spared, sizeof spared, ", %llu of %llu drafted ones right",
             (unsigned long long)s.accepted_tokens, (unsigned long long)s.drafted_tokens);
  fg_console_say(run->console, 1, "%llu prompt tokens (%.1f/s)%s, %llu generated (%.1f/s)%s",
                 (unsigned long long)p->prompt_tokens, p->prompt_tokens_per_s, shared,
                 (unsigned long long)p->generated_tokens, p->generated_tokens_per_s, spared);
  fg_console_say(run->console, 1, "memory: %s reserved and %s resident at most, of %s; %s read from disk",
                 fg_size_format(s.host_peak, peak), fg_size_format(s.process_peak, process),
                 fg_size_format(run->info.host_budget, budget), fg_size_format(s.bytes_read, read));
}

fg_status fg_batch_job(fg_run *run, const char *input, const char *output, bool keep_journal,
                       fg_batch_progress *done, fg_error *err) {
  const fg_options *options = run->options;
  char key[512];
  options_key(key, sizeof key, run);
  const fg_batch_options job = {
      .input = input,
      .output = output,
      .resume = options->resume      ? FG_RESUME_REQUIRE
                : options->overwrite ? FG_RESUME_OVERWRITE
                                     : FG_RESUME_AUTO,
      .retry_errors = options->retry_errors,
      .shard = options->shard.index,
      .shards = options->shard.count,
      .seed = options->seed,
      .deterministic_ids = options->deterministic_ids,
      .keep_journal = keep_journal,
      .options_key = key,
      .stop = fg_interrupt_flag(),
      .progress = show_progress,
      .user = run->console,
  };
  *done = (fg_batch_progress){0};
  fg_status status = fg_batch_run(run->engine, &job, done, err);
  run->rows = rows_json(done);
  if (status == FG_OK || done->rows_done) say_summary(run, done);
  return status;
}
