// flexgen serve: a model behind an OpenAI-compatible HTTP server.
#include "serve/server.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "interrupt.h"
#include "job/window.h"
#include "run.h"

static fg_workload leave_memory(void *user, const fg_engine *engine) {
  (void)user;
  fg_engine_info info;
  fg_engine_describe(engine, &info);
  // Batches read ahead as `flexgen batch` does.
  const uint64_t batches = fg_window_share(info.host_budget);
  return (fg_workload){.host_bytes = fg_server_memory(info.host_budget) + batches};
}

// Each connection is an open file.
static void allow_open_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

// The command line's keys, or that of the environment, which no list of processes shows.
typedef struct key_list {
  const char *one;
  const char *const *keys;
  uint32_t count;
} key_list;

static void find_keys(key_list *out, const fg_options *o) {
  *out = (key_list){.keys = (const char *const *)o->api_keys.items, .count = o->api_keys.count};
  out->one = getenv("FLEXGEN_API_KEY");
  if (out->count || !out->one || !*out->one) return;
  out->keys = &out->one;
  out->count = 1;
}

// Of the user's state, which is no cache: results of batches are in it.
static bool default_data_dir(char *out, size_t bytes) {
  const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
  int length = -1;
  if (state && state[0] == '/')
    length = snprintf(out, bytes, "%s/flexgen/server", state);
  else if (home && home[0])
    length = snprintf(out, bytes, "%s/.local/state/flexgen/server", home);
  return length > 0 && (size_t)length < bytes;
}

enum { MOST_FILES = 1024 }; // each takes half a KiB of memory

static fg_status serve(fg_run *run, fg_error *err) {
  const fg_options *o = run->options;
  key_list keys;
  find_keys(&keys, o);
  char folder[PATH_MAX];
  const bool has_default = default_data_dir(folder, sizeof folder);
  const fg_server_options options = {
      .host = o->host,
      .port = (uint16_t)o->port,
      .keys = keys.keys,
      .key_count = keys.count,
      .model_names = (const char *const *)o->served_model_names.items,
      .model_name_count = o->served_model_names.count,
      .max_connections = o->max_connections,
      .max_queue = o->max_queue,
      .max_body = o->max_body_size,
      .header_seconds = o->header_timeout,
      .idle_seconds = o->keep_alive_timeout,
      .seed = o->seed,
      .data_folder = o->data_dir   ? o->data_dir
                     : has_default ? folder
                                   : NULL,
      .data_optional = !o->data_dir,
      .file_limits = {.file_bytes = o->max_file_size, .total_bytes = o->max_storage, .files = MOST_FILES},
      .batch_expiry_seconds = o->batch_expiry,
      .access_log = o->access_log,
      .open_seconds = run->open_seconds,
      .log = fg_console_log,
      .user = run->console,
  };
  fg_server *server;
  fg_status status = fg_server_create(&server, run->engine, &options, err);
  if (status != FG_OK) return status;
  fg_interrupt_wake(fg_server_wake_fd(server));
  const bool six = strchr(o->host, ':');
  fg_console_say(run->console, 1, "listening on http://%s%s%s:%u", six ? "[" : "", o->host, six ? "]" : "",
                 fg_server_port(server));
  status = fg_server_run(server, fg_interrupt_flag(), err);
  fg_interrupt_wake(-1);
  fg_server_destroy(server);
  return status;
}

int fg_command_serve(const fg_options *options, fg_console *console) {
  fg_run run;
  fg_error err = {FG_OK, ""};
  if (options->json && options->access_log && strcmp(options->access_log, "-") == 0) {
    fg_console_error(console, "--access-log - and --json both write to standard output; give the log a file");
    return FG_EXIT_USAGE;
  }
  signal(SIGPIPE, SIG_IGN); // a client that is gone is no reason to end
  allow_open_files();
  const int code = fg_run_open(&run, "serve", options, console, (fg_run_job){.survey = leave_memory});
  if (code != FG_EXIT_DONE) return code;
  fg_status status = serve(&run, &err);
  fg_error printing;
  const double seconds = 1e-9 * (double)(fg_now_ns() - run.opened_ns);
  if (options->json && fg_print_json(fg_run_stats(&run, "interrupted", seconds), &printing) != FG_OK)
    fg_console_error(console, printing.message);
  return fg_run_close(&run, status, &err);
}
