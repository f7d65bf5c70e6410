// flexgen batch: the main job.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch_job.h"
#include "job_size.h"
#include "run.h"

static fg_status check_options(const fg_options *o, fg_error *err) {
  if (!o->input) return fg_fail(err, FG_INVALID, "-i IN.jsonl is missing (- is standard input)");
  if (!o->output) return fg_fail(err, FG_INVALID, "-o OUT.jsonl is missing (- is standard output)");
  if (o->resume && o->overwrite)
    return fg_fail(err, FG_INVALID, "--resume and --overwrite exclude each other");
  if (o->json && strcmp(o->output, "-") == 0)
    return fg_fail(err, FG_INVALID, "--json and -o - both want standard output; give -o a file");
  return FG_OK;
}

// What can be seen to fail is told before a model is opened, and perhaps packed.
static fg_status check_input(const fg_options *o, fg_error *err) {
  if (strcmp(o->input, "-") == 0 || access(o->input, R_OK) == 0) return FG_OK;
  return fg_fail(err, FG_NOT_FOUND, "%s: cannot read it: %s", o->input, strerror(errno));
}

int fg_command_batch(const fg_options *options, fg_console *console) {
  fg_error err = {FG_OK, ""};
  if (check_options(options, &err) != FG_OK) {
    fg_console_error(console, err.message);
    return FG_EXIT_USAGE;
  }
  if (check_input(options, &err) != FG_OK) {
    fg_console_error(console, err.message);
    return FG_EXIT_FAILED;
  }
  fg_run run;
  int code = fg_run_open_job(&run, "batch", options, console, false);
  if (code != FG_EXIT_DONE) return code;
  fg_batch_progress done;
  fg_status status = fg_batch_job(&run, options->input, options->output, false, &done, &err);
  if (status == FG_OK && options->json)
    status = fg_print_json(fg_run_stats(&run, "done", done.seconds), &err);
  code = fg_run_close(&run, status, &err);
  return code == FG_EXIT_DONE && options->fail_on_row_error && done.rows_failed ? FG_EXIT_ROWS : code;
}
