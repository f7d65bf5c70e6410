// run.h: what commands that run a model share: an open engine, the loop that feeds it, and the end.
//
// fg_run_open turns options into an engine and says where stores are kept; fg_run_drive hands it requests as
// it wants them and steps until all is done; fg_run_close writes --stats, closes, and gives the exit status.
#ifndef FG_APPS_RUN_H
#define FG_APPS_RUN_H

#include <jansson.h>
#include <limits.h>

#include "base/text_buffer.h"
#include "command.h"
#include "flexgen/engine.h"
#include "text/tokenizer.h"

// What a command knows of its job before it runs.
typedef struct fg_run_job {
  fg_workload expected;
  // Asked in place of `expected` once the tokenizer is there. May be NULL.
  fg_workload (*survey)(void *user, const fg_engine *engine);
  void *user;
} fg_run_job;

typedef struct fg_run {
  const char *command; // for --stats
  const fg_options *options;
  fg_console *console;
  fg_engine *engine;
  fg_engine_info info;
  uint64_t start_ns, opened_ns; // opened_ns: by the engine's clock
  double open_seconds;          // that opening took
  json_t *rows;                 // what the command adds to --stats, or NULL; owned
  fg_run_job job;
  char offload_dir[PATH_MAX]; // the engine names files in it as long as it is open
} fg_run;

// The directory for packed stores: the option or the user's cache, made if it is not there. Says on `console`
// which it is and how much it holds.
fg_status fg_offload_dir(char *out, size_t bytes, const fg_options *options, fg_console *console,
                         fg_error *err);
// "packing 43 %" for whoever packs; `console` is the user. False once interrupted.
bool fg_packing_progress(void *console, uint64_t done, uint64_t total);

// An exit status other than 0 has been explained on the console and leaves nothing to close.
int fg_run_open(fg_run *run, const char *command, const fg_options *options, fg_console *console,
                fg_run_job job);
// The same, but only to be asked for its plan (fg_engine_open_plan).
int fg_run_open_plan(fg_run *run, const char *command, const fg_options *options, fg_console *console,
                     fg_run_job job);
// What was planned as an object, null where nothing is known; new reference.
json_t *fg_run_predicted(const fg_run *run);

// What fg_run_drive asks of a command.
typedef struct fg_feed {
  // Submits one request; *more = false, and nothing submitted, when there is none left.
  fg_status (*submit)(void *user, bool *more, fg_error *err);
  // After each step; FG_OK goes on. May be NULL.
  fg_status (*stepped)(void *user, fg_error *err);
  void *user;
} fg_feed;

// FG_CANCELLED when a signal came.
fg_status fg_run_drive(fg_run *run, const fg_feed *feed, fg_error *err);
// Shows how many tokens went through so far.
void fg_run_progress(fg_run *run, const char *what, uint64_t done, uint64_t total);

// `status` is how the command ended. The exit status for main.
int fg_run_close(fg_run *run, fg_status status, const fg_error *err);

// Figures of the run as an object for --stats; new reference, NULL without memory.
json_t *fg_run_stats(const fg_run *run, const char *outcome, double seconds);

// Writes `object` to a file: a reader sees a whole one or none.
fg_status fg_write_json(const json_t *object, const char *path, fg_error *err);
// The same of a text; "-" is standard output.
fg_status fg_write_text(const fg_text *text, const char *path, fg_error *err);
// Reads a whole file ("-": standard input).
fg_status fg_read_text(const char *path, fg_text *text, fg_error *err);
// The same as ids of the model's tokenizer; special: those that a prompt gets are added.
fg_status fg_read_ids(fg_ids *ids, const char *model, const char *path, bool special, fg_error *err);
// Prints `object` with a newline to standard output and releases it; a NULL object is FG_NO_SPACE.
fg_status fg_print_json(json_t *object, fg_error *err);

#endif
