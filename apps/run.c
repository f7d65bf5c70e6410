// Opening, feeding and closing an engine for a command.
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/folders.h"
#include "base/size.h"
#include "engine/engine_internal.h"
#include "format/store.h"
#include "interrupt.h"
#include "model_input.h"
#include "report/stats.h"

// ---- where things are --------------------------------------------------------------------------------

static bool default_offload_dir(char *out, size_t bytes) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int length = -1;
  if (cache && cache[0] == '/')
    length = snprintf(out, bytes, "%s/flexgen", cache); // relative paths are invalid (XDG)
  else if (home && home[0])
    length = snprintf(out, bytes, "%s/.cache/flexgen", home);
  return length > 0 && (size_t)length < bytes;
}

static void say_size(const char *dir, fg_console *console) {
  fg_store_entry *entries = NULL;
  size_t count = 0;
  if (fg_store_list(dir, &entries, &count, NULL) != FG_OK) return;
  uint64_t bytes = 0;
  for (size_t i = 0; i < count; i++) bytes += entries[i].bytes;
  fg_store_list_free(entries, count);
  char size[16];
  fg_console_say(console, 1, "offload dir %s: %s in %zu store%s", dir, fg_size_format(bytes, size), count,
                 count == 1 ? "" : "s");
}

fg_status fg_offload_dir(char *out, size_t bytes, const fg_options *options, fg_console *console,
                         fg_error *err) {
  if (options->offload_dir) {
    if ((size_t)snprintf(out, bytes, "%s", options->offload_dir) >= bytes)
      return fg_fail(err, FG_INVALID, "--offload-dir is longer than %zu bytes", bytes - 1);
  } else if (!default_offload_dir(out, bytes)) {
    return fg_fail(err, FG_INVALID,
                   "neither XDG_CACHE_HOME nor HOME says where to keep weights; give --offload-dir");
  }
  if (fg_folders_make(out, err) != FG_OK)
    return fg_fail(err, err->status, "%s; choose another offload dir with --offload-dir", err->message);
  say_size(out, console);
  return FG_OK;
}

bool fg_packing_progress(void *user, uint64_t done, uint64_t total) {
  fg_console *console = user;
  if (fg_console_progress_due(console)) {
    char a[16], b[16];
    fg_console_progress(console, "packing: %s of %s, %.0f %%", fg_size_format(done, a),
                        fg_size_format(total, b), total ? 100.0 * (double)done / (double)total : 0.0);
  }
  if (done == total) fg_console_clear(console);
  return *fg_interrupt_flag() == 0;
}

// ---- open, drive, close ------------------------------------------------------------------------------

// What the engine calls, with the run as its user.
static void forward_log(void *user, int level, const char *line) {
  const fg_run *run = user;
  fg_console_log(run->console, level, line);
}

static bool forward_packing(void *user, uint64_t done, uint64_t total) {
  const fg_run *run = user;
  return fg_packing_progress(run->console, done, total);
}

static fg_workload forward_survey(void *user, fg_engine *engine) {
  const fg_run *run = user;
  return run->job.survey(run->job.user, engine);
}

// Who asks about one prompt today asks about it again; of a job of many rows, what they have in common comes
// again.
static bool keeps_prompts(const fg_run *run) {
  const char *wish = run->options->prefix_cache_keep;
  return strcmp(wish ? wish : strcmp(run->command, "generate") == 0 ? "prompts" : "shared", "prompts") == 0;
}

typedef fg_status open_fn(fg_engine **out, const fg_engine_options *options, fg_error *err);

static fg_status open_engine(fg_run *run, open_fn *open, fg_error *err) {
  const fg_options *o = run->options;
  char *dir = run->offload_dir;
  fg_status status = fg_offload_dir(dir, sizeof run->offload_dir, o, run->console, err);
  if (status != FG_OK) return status;
  // FlexGen's policy is for its own schedule, not for this engine's.
  const bool flexgen = o->schedule && strcmp(o->schedule, "flexgen") == 0;
  fg_engine_options options = {
      .model = o->arguments[0],
      .synthetic = o->synthetic,
      .alias_layers = o->alias_layers,
      .adapter = o->adapter,
      .device = o->device,
      .host_memory = o->host_memory,
      .device_memory = o->device_memory,
      .offload_dir = dir,
      .dtype = o->dtype,
      .weight_dtype = o->weight_dtype,
      .weight_group = o->weight_group,
      .weight_symmetric = o->weight_symmetric,
      .weight_head = o->weight_head,
      .weight_embedding = o->weight_embedding,
      .cache_dtype = o->cache_dtype,
      .attn_sparsity = o->attn_sparsity,
      .cpu_cache_compute = o->cpu_cache_compute,
      .policy = o->policy,
      .percent = o->percent.set && !flexgen ? o->percent.values : NULL,
      .gpu_batch_size = flexgen ? 0 : o->gpu_batch_size,
      .num_gpu_batches = flexgen ? 0 : o->num_gpu_batches,
      .max_num_seqs = o->max_num_seqs,
      .max_num_batched_tokens = o->max_num_batched_tokens,
      .max_model_len = o->max_model_len,
      .expected = run->job.expected,
      .survey = run->job.survey ? forward_survey : NULL,
      .threads = o->threads,
      .deterministic = o->deterministic,
      .no_speculation = !o->speculation,
      .speculative_tokens = o->speculative_tokens,
      .simulate = o->simulate,
      .without = o->without,
      .draft_model = o->draft_model,
      .draft_memory = o->draft_memory,
      .no_prefix_sharing = !o->prefix_sharing,
      .prefix_cache = o->prefix_cache,
      .prefix_cache_size = o->prefix_cache_size,
      .prefix_cache_prompts = keeps_prompts(run),
      .trace_path = o->trace,
      .io = o->io,
      .log = forward_log,
      .log_level = run->console->level,
      .packing = forward_packing,
      .user = run,
  };
  return open(&run->engine, &options, err);
}

static int open_run(fg_run *run, open_fn *open) {
  run->start_ns = fg_now_ns();
  fg_interrupt_install();
  fg_error err = {FG_OK, ""};
  fg_status status = open_engine(run, open, &err);
  fg_console_clear(run->console);
  if (status != FG_OK) {
    fg_console_error(run->console, err.message);
    return status == FG_INVALID ? FG_EXIT_USAGE : FG_EXIT_FAILED;
  }
  fg_engine_describe(run->engine, &run->info);
  run->open_seconds = 1e-9 * (double)(fg_now_ns() - run->start_ns);
  run->opened_ns = fg_engine_now_ns(run->engine);
  return FG_EXIT_DONE;
}

int fg_run_open(fg_run *run, const char *command, const fg_options *options, fg_console *console,
                fg_run_job job) {
  *run = (fg_run){.command = command, .options = options, .console = console, .job = job};
  return open_run(run, fg_engine_open);
}

int fg_run_open_plan(fg_run *run, const char *command, const fg_options *options, fg_console *console,
                     fg_run_job job) {
  *run = (fg_run){.command = command, .options = options, .console = console, .job = job};
  return open_run(run, fg_engine_open_plan);
}

fg_status fg_run_drive(fg_run *run, const fg_feed *feed, fg_error *err) {
  bool more = true;
  while (more || fg_engine_pending(run->engine) > 0) {
    if (*fg_interrupt_flag()) return fg_fail(err, FG_CANCELLED, "interrupted");
    fg_status status = FG_OK;
    // At least one: an engine that runs nothing must be able to go on.
    while (status == FG_OK && more &&
           (fg_engine_wants(run->engine) > 0 || fg_engine_pending(run->engine) == 0))
      status = feed->submit(feed->user, &more, err);
    if (status == FG_OK && fg_engine_pending(run->engine) > 0) status = fg_engine_step(run->engine, err);
    if (status == FG_OK && feed->stepped) status = feed->stepped(feed->user, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

void fg_run_progress(fg_run *run, const char *what, uint64_t done, uint64_t total) {
  if (!fg_console_progress_due(run->console)) return;
  fg_engine_stats stats;
  fg_engine_get_stats(run->engine, &stats);
  double seconds = (double)(fg_engine_now_ns(run->engine) - run->opened_ns) * 1e-9;
  char used[16], budget[16], time[32];
  const double left = fg_engine_remaining_seconds(run->engine, total - done);
  fg_console_progress(
      run->console, "%s %llu of %llu; tokens: %llu in (%.1f/s), %llu out (%.1f/s); %s%s%smemory %s of %s",
      what, (unsigned long long)done, (unsigned long long)total, (unsigned long long)stats.prompt_tokens,
      (double)stats.prompt_tokens / seconds, (unsigned long long)stats.generated_tokens,
      (double)stats.generated_tokens / seconds, left < 0 ? "" : "ETA ",
      left < 0 ? "" : fg_format_duration(left, time), left < 0 ? "" : "; ",
      fg_size_format(stats.host_used, used), fg_size_format(run->info.host_budget, budget));
}

static bool write_all(int fd, const char *bytes, size_t count) {
  while (count > 0) {
    ssize_t written = write(fd, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes += written;
    count -= (size_t)written;
  }
  return true;
}

static fg_status replace_file(const char *bytes, size_t count, const char *path, fg_error *err) {
  char *part = NULL;
  if (asprintf(&part, "%s.part", path) < 0) return fg_fail(err, FG_NO_SPACE, "no memory for %s", path);
  int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool written = fd >= 0 && write_all(fd, bytes, count) && fsync(fd) == 0;
  int reason = errno;
  if (fd >= 0) close(fd);
  if (written && rename(part, path) != 0) {
    written = false;
    reason = errno;
  }
  if (!written && fd >= 0) unlink(part);
  free(part);
  return written ? FG_OK : fg_fail(err, FG_IO, "cannot write %s: %s", path, strerror(reason));
}

fg_status fg_write_json(const json_t *object, const char *path, fg_error *err) {
  char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  if (!text) return fg_fail(err, FG_NO_SPACE, "no memory for %s", path);
  fg_status status = replace_file(text, strlen(text), path, err);
  free(text);
  return status;
}

fg_status fg_write_text(const fg_text *text, const char *path, fg_error *err) {
  if (strcmp(path, "-") != 0) return replace_file(text->data, text->length, path, err);
  if (write_all(STDOUT_FILENO, text->data, text->length)) return FG_OK;
  return fg_fail(err, FG_IO, "cannot write standard output: %s", strerror(errno));
}

json_t *fg_run_predicted(const fg_run *run) {
  return fg_stats_predicted(run->engine);
}

json_t *fg_run_stats(const fg_run *run, const char *outcome, double seconds) {
  return fg_stats_json(run->engine, &(fg_stats_run){.command = run->command,
                                                    .outcome = outcome,
                                                    .open_seconds = run->open_seconds,
                                                    .run_seconds = seconds,
                                                    .rows = run->rows});
}

static fg_status write_stats(const fg_run *run, const char *outcome, fg_error *err) {
  if (!run->options->stats) return FG_OK;
  json_t *stats = fg_run_stats(run, outcome, (double)(fg_engine_now_ns(run->engine) - run->opened_ns) * 1e-9);
  fg_status status = fg_write_json(stats, run->options->stats, err);
  json_decref(stats);
  return status;
}

static void say_spared(const fg_run *run) {
  fg_engine_stats s;
  char spared[16], all[16];
  fg_engine_get_stats(run->engine, &s);
  if (!s.sparse_value_bytes) return;
  fg_console_say(run->console, 1, "sparse attention: %s of %s of values not read (%.1f %%)",
                 fg_size_format(s.sparse_spared_bytes, spared), fg_size_format(s.sparse_value_bytes, all),
                 100 * (double)s.sparse_spared_bytes / (double)s.sparse_value_bytes);
}

static void say_kept(const fg_run *run) {
  if (!run->options->prefix_cache) return;
  fg_engine_stats s;
  char loaded[16], saved[16], removed[48] = "";
  fg_engine_get_stats(run->engine, &s);
  if (s.prefix_pages_removed)
    snprintf(removed, sizeof removed, ", %llu pages removed for room",
             (unsigned long long)s.prefix_pages_removed);
  fg_console_say(run->console, 1, "prefix cache: %llu tokens loaded (%s), %llu saved (%s)%s",
                 (unsigned long long)s.prefix_tokens_loaded, fg_size_format(s.prefix_bytes_loaded, loaded),
                 (unsigned long long)s.prefix_tokens_saved, fg_size_format(s.prefix_bytes_saved, saved),
                 removed);
}

int fg_run_close(fg_run *run, fg_status status, const fg_error *err) {
  fg_console_clear(run->console);
  say_spared(run);
  say_kept(run);
  fg_error stats_err = {FG_OK, ""};
  const char *outcome = status == FG_OK ? "done" : status == FG_CANCELLED ? "interrupted" : "failed";
  fg_status stats_status = write_stats(run, outcome, &stats_err);
  fg_engine_close(run->engine);
  json_decref(run->rows);
  if (status == FG_CANCELLED)
    fg_console_error(run->console, "interrupted");
  else if (status != FG_OK)
    fg_console_error(run->console, err->message);
  if (stats_status != FG_OK) fg_console_error(run->console, stats_err.message);
  return status == FG_OK && stats_status == FG_OK ? FG_EXIT_DONE : FG_EXIT_FAILED;
}

// ---- input and output --------------------------------------------------------------------------------

fg_status fg_read_text(const char *path, fg_text *text, fg_error *err) {
  bool standard = strcmp(path, "-") == 0;
  FILE *file = standard ? stdin : fopen(path, "rbe");
  if (!file)
    return fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "cannot open %s: %s", path, strerror(errno));
  char block[1 << 14];
  size_t count;
  while ((count = fread(block, 1, sizeof block, file)) > 0) fg_text_append(text, block, count);
  int reason = ferror(file) ? errno : 0;
  if (!standard) fclose(file);
  if (reason)
    return fg_fail(err, FG_IO, "cannot read %s: %s", standard ? "standard input" : path, strerror(reason));
  if (fg_text_failed(text)) return fg_fail(err, FG_NO_SPACE, "no memory for the text of %s", path);
  return FG_OK;
}

fg_status fg_read_ids(fg_ids *ids, const char *model, const char *path, bool special, fg_error *err) {
  fg_text text = {0};
  fg_assets assets = {0};
  fg_tokenizer *tokenizer = NULL;
  fg_status status = fg_model_assets(&assets, model, err);
  if (status == FG_OK) status = fg_tokenizer_load(&tokenizer, &assets, err);
  fg_assets_free(&assets);
  if (status == FG_OK) status = fg_read_text(path, &text, err);
  if (status == FG_OK)
    status = fg_tokenizer_encode(tokenizer, text.length ? text.data : "", text.length, special, ids, err);
  fg_tokenizer_destroy(tokenizer);
  fg_text_free(&text);
  return status;
}

fg_status fg_print_json(json_t *object, fg_error *err) {
  if (!object) return fg_fail(err, FG_NO_SPACE, "no memory for the JSON output");
  int failed = json_dumpf(object, stdout, JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY);
  json_decref(object);
  putchar('\n');
  return failed ? fg_fail(err, FG_IO, "cannot print JSON: %s", strerror(errno)) : FG_OK;
}
