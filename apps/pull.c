// flexgen pull: a model from the Hugging Face Hub, or a server that speaks like it, into the cache that
// Python's huggingface_hub shares. Prints the folder where it is.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "hub/pull.h"
#include "interrupt.h"
#include "run.h"

typedef struct pulling {
  fg_console *console;
  uint64_t start_ns;
} pulling;

static void on_log(void *user, fg_log_level level, const char *line) {
  const pulling *p = user;
  fg_console_log(p->console, (int)level, line);
}

static bool on_stopped(void *user) {
  (void)user;
  return *fg_interrupt_flag() != 0;
}

static void on_progress(void *user, const fg_hub_progress *now) {
  pulling *p = user;
  if (!fg_console_progress_due(p->console)) return;
  char done[16], total[16], rate_text[16], left[32];
  double seconds = (double)(fg_now_ns() - p->start_ns) * 1e-9;
  double rate = (double)now->fetched / seconds;
  double rest = rate > 0 ? (double)(now->total - now->done) / rate : -1;
  fg_console_progress(p->console, "%s of %s, %s/s, %s left, file %zu of %zu: %.80s",
                      fg_size_format(now->done, done), fg_size_format(now->total, total),
                      fg_size_format((uint64_t)rate, rate_text), fg_format_duration(rest, left), now->index,
                      now->count, now->file);
}

// ---- results --------------------------------------------------------------------------------------------

static json_t *result_json(const fg_hub_result *r, const fg_hub_repo *repo) {
  json_t *files = json_array();
  for (size_t i = 0; i < r->count; i++)
    json_array_append_new(files,
                          json_pack("{s:s,s:I,s:I}", "name", r->files[i].path, "bytes",
                                    (json_int_t)r->files[i].bytes, "cached", (json_int_t)r->files[i].have));
  return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:o}", "model", repo->id, "revision", repo->revision,
                   "commit", r->commit, "path", r->snapshot, "bytes", (json_int_t)r->bytes, "cached",
                   (json_int_t)r->have, "downloaded", (json_int_t)r->fetched, "files", files);
}

static void print_plan(const fg_hub_result *r, fg_console *console) {
  char a[16], b[16];
  for (size_t i = 0; i < r->count; i++)
    printf("%10s  %-10s  %s\n", fg_size_format(r->files[i].bytes, a),
           r->files[i].have == r->files[i].bytes ? "is there"
           : r->files[i].have                    ? fg_size_format(r->files[i].have, b)
                                                 : "",
           r->files[i].path);
  fg_console_say(console, 1, "%zu file%s of %s, %s to download", r->count, r->count == 1 ? "" : "s",
                 fg_size_format(r->bytes, a), fg_size_format(r->bytes - r->have, b));
}

static fg_status print_result(const fg_hub_result *r, const fg_hub_repo *repo, const fg_options *o,
                              const pulling *p, fg_error *err) {
  char size[16], time[32];
  if (!o->dry_run)
    fg_console_say(p->console, 1, "%zu file%s, %s downloaded in %s", r->count, r->count == 1 ? "" : "s",
                   fg_size_format(r->fetched, size),
                   fg_format_duration((double)(fg_now_ns() - p->start_ns) * 1e-9, time));
  if (o->json) return fg_print_json(result_json(r, repo), err);
  if (o->dry_run)
    print_plan(r, p->console);
  else
    puts(r->snapshot);
  return FG_OK;
}

// ---- the command ----------------------------------------------------------------------------------------

static fg_status pull(const fg_hub_repo *repo, const fg_hub_settings *settings, const fg_options *o,
                      fg_console *console, fg_error *err) {
  pulling p = {console, fg_now_ns()};
  const fg_log log = {(fg_log_level)console->level, on_log, &p};
  const fg_hub_pull_options options = {
      .settings = settings,
      .repo = repo,
      .wish = {.include = {{o->arguments + 1, o->argument_count - 1}, {o->include.items, o->include.count}},
               .exclude = {o->exclude.items, o->exclude.count}},
      .dry_run = o->dry_run,
      .log = &log,
      .progress = on_progress,
      .stopped = on_stopped,
      .user = &p,
  };
  fg_hub_result result;
  fg_status status = fg_hub_pull(&result, &options, err);
  fg_console_clear(console);
  if (status == FG_OK) status = print_result(&result, repo, o, &p, err);
  if (status == FG_CANCELLED && result.bytes) {
    char have[16], all[16];
    fg_fail(err, status, "interrupted; %s of %s are kept, the same command goes on there",
            fg_size_format(result.have, have), fg_size_format(result.bytes, all));
  }
  fg_hub_result_free(&result);
  return status;
}

int fg_command_pull(const fg_options *options, fg_console *console) {
  fg_hub_repo repo;
  fg_error err = {FG_OK, ""};
  if (options->argument_count == 0) {
    fg_console_error(console, "REPO is missing: flexgen pull ORG/NAME");
    return FG_EXIT_USAGE;
  }
  if (fg_hub_repo_parse(&repo, options->arguments[0], &err) != FG_OK) {
    fg_console_error(console, err.message);
    return FG_EXIT_USAGE;
  }
  fg_interrupt_install();
  fg_hub_settings settings;
  fg_status status = fg_hub_settings_read(&settings, getenv, &err);
  if (status == FG_OK) status = pull(&repo, &settings, options, console, &err);
  if (status == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
