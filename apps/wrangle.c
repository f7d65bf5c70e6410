// flexgen wrangle: a question about each row of a table, answered beside it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch_job.h"
#include "job_size.h"
#include "model_input.h"
#include "wrangle/results.h"
#include "wrangle_job.h"

// The batch job's own output while it runs, and the table until it is whole.
typedef struct wrangle_paths {
  char *answers, *journal, *part;
} wrangle_paths;

typedef struct wrangle {
  fg_options options; // as the batch job sees them
  fg_console *console;
  fg_pulled_paths pulled;
  wrangle_paths paths;
  fg_wrangle_job job;
  fg_run run;
  fg_batch_progress done;
  fg_results results;
} wrangle;

// ---- files -----------------------------------------------------------------------------------------------

static fg_status name_paths(wrangle_paths *p, const char *output, fg_error *err) {
  const struct {
    char **path;
    const char *suffix;
  } names[] = {{&p->answers, ".answers"}, {&p->journal, ".answers.journal"}, {&p->part, ".part"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (asprintf(names[i].path, "%s%s", output, names[i].suffix) < 0) {
      *names[i].path = NULL;
      return fg_fail(err, FG_NO_SPACE, "out of memory for a path");
    }
  return FG_OK;
}

static void free_paths(wrangle_paths *p) {
  free(p->answers);
  free(p->journal);
  free(p->part);
}

// A table that is there is the end of an earlier run, unless answers stand beside it that are to be gone on
// with.
static fg_status check_output(const wrangle *w, fg_error *err) {
  const char *output = w->options.output;
  struct stat st;
  if (stat(output, &st) != 0) return FG_OK;
  if (!S_ISREG(st.st_mode)) return fg_fail(err, FG_INVALID, "%s: it is no ordinary file", output);
  if (w->options.overwrite || access(w->paths.answers, F_OK) == 0) return FG_OK;
  return fg_fail(err, FG_INVALID,
                 "%s: it exists and is finished; --overwrite starts from the beginning, or choose another -o",
                 output);
}

// ---- answers ---------------------------------------------------------------------------------------------

static fg_results_options results_options(const wrangle *w) {
  const fg_options *o = &w->options;
  const fg_dataset *dataset = w->job.dataset;
  return (fg_results_options){.answer = o->out_column ? o->out_column
                                        : dataset     ? "prediction"
                                                      : "answer",
                              .text = o->text_column,
                              .right = dataset ? "correct" : NULL,
                              .error = o->error_column,
                              .answers = w->job.answers.count ? &w->job.answers : NULL,
                              .dataset = dataset,
                              .label = w->job.label};
}

static fg_status write_part(wrangle *w, FILE *answers, FILE *part, fg_error *err) {
  const fg_results_options options = results_options(w);
  const fg_results_files files = {.table = w->job.table,
                                  .answers = answers,
                                  .out = part,
                                  .table_name = w->job.table_name,
                                  .answers_name = w->paths.answers,
                                  .out_name = w->paths.part};
  fg_status status = fg_results_write(&w->results, &w->job.head, &options, &files, err);
  if (status == FG_OK && (fflush(part) != 0 || fsync(fileno(part)) != 0))
    status = fg_fail(err, errno == ENOSPC ? FG_DISK_FULL : FG_IO, "%s: cannot write: %s", w->paths.part,
                     strerror(errno));
  return status;
}

// The table with its answers takes OUT's name when it is whole.
static fg_status write_table(wrangle *w, fg_error *err) {
  FILE *answers = fopen(w->paths.answers, "rbe"), *part = answers ? fopen(w->paths.part, "wbe") : NULL;
  const char *missing = answers ? w->paths.part : w->paths.answers;
  fg_status status = part ? write_part(w, answers, part, err)
                          : fg_fail(err, FG_IO, "%s: cannot open: %s", missing, strerror(errno));
  if (answers) fclose(answers);
  if (part) fclose(part);
  if (status == FG_OK && rename(w->paths.part, w->options.output) != 0)
    status = fg_fail(err, FG_IO, "%s: cannot rename it: %s", w->paths.part, strerror(errno));
  if (part && status != FG_OK) unlink(w->paths.part);
  if (status == FG_OK && !w->results.errors) {
    unlink(w->paths.answers);
    unlink(w->paths.journal);
  }
  return status;
}

// ---- what is told ----------------------------------------------------------------------------------------

static void say_results(const wrangle *w) {
  const fg_results *r = &w->results;
  const fg_metrics *m = &r->metrics;
  fg_console *console = w->console;
  if (m->rows && m->true_positive + m->false_negative + m->true_negative + m->false_positive)
    fg_console_say(
        console, 1,
        "accuracy %.3f, precision %.3f, recall %.3f, F1 %.3f (as the paper counts: %.3f), of %llu rows",
        fg_metrics_accuracy(m), fg_metrics_precision(m), fg_metrics_recall(m), fg_metrics_f1(m),
        fg_metrics_paper_f1(m), (unsigned long long)m->rows);
  else if (m->rows)
    fg_console_say(console, 1, "accuracy %.3f of %llu rows", fg_metrics_accuracy(m),
                   (unsigned long long)m->rows);
  if (r->unmatched)
    fg_console_say(console, 0,
                   "%llu of %llu rows answered with none of --answers; --text-column shows with what",
                   (unsigned long long)r->unmatched, (unsigned long long)r->rows);
  if (r->replaced)
    fg_console_say(console, 0,
                   "%llu characters of answers are not in Latin-1, which the table is in, and became '?'",
                   (unsigned long long)r->replaced);
  if (r->errors)
    fg_console_say(console, 0,
                   "%llu rows have no answer, the first: %s; --retry-errors asks them again, from %s",
                   (unsigned long long)r->errors, r->first_error, w->paths.answers);
}

static json_t *figures(const wrangle *w) {
  const fg_options *o = &w->options;
  const fg_dataset *dataset = w->job.dataset;
  const fg_results *r = &w->results;
  const uint64_t rows = w->done.rows_done - w->done.rows_earlier;
  json_t *rate = rows && w->done.seconds > 0 ? json_real((double)rows / w->done.seconds) : json_null();
  json_t *object = json_pack(
      "{s:s,s:s?,s:s?,s:s,s:I,s:s?,s:I,s:I,s:I,s:o,s:f,s:o,s:I,s:I,s:s}", "task",
      dataset ? fg_task_name(dataset->task) : "template", "dataset", dataset ? dataset->name : NULL, "split",
      dataset ? o->split : NULL, "sample_method", o->sample_method, "examples", (json_int_t)w->job.examples,
      "examples_file", o->examples, "rows", (json_int_t)r->rows, "errors", (json_int_t)r->errors, "unmatched",
      (json_int_t)r->unmatched, "metrics", r->metrics.rows ? fg_metrics_json(&r->metrics) : json_null(),
      "seconds", w->done.seconds, "rows_per_s", rate, "prompt_tokens", (json_int_t)w->done.prompt_tokens,
      "generated_tokens", (json_int_t)w->done.generated_tokens, "model", o->arguments[0]);
  return object;
}

static fg_status tell(const wrangle *w, fg_error *err) {
  say_results(w);
  json_t *object = figures(w);
  fg_status status = w->options.metrics ? fg_write_json(object, w->options.metrics, err) : FG_OK;
  if (status == FG_OK && w->options.json) return fg_print_json(object, err);
  json_decref(object);
  return status;
}

// ---- the command -----------------------------------------------------------------------------------------

static int run_job(wrangle *w) {
  fg_error err = {FG_OK, ""};
  w->options.input = w->job.unnamed.path;
  w->options.deterministic_ids = true;
  int code = fg_run_open_job(&w->run, "wrangle", &w->options, w->console, false);
  if (code != FG_EXIT_DONE) return code;
  fg_status status = fg_batch_job(&w->run, w->job.unnamed.path, w->paths.answers, true, &w->done, &err);
  if (status == FG_OK) status = write_table(w, &err);
  if (status == FG_OK) status = tell(w, &err);
  code = fg_run_close(&w->run, status, &err);
  return code == FG_EXIT_DONE && w->options.fail_on_row_error && w->results.errors ? FG_EXIT_ROWS : code;
}

static fg_status prepare(wrangle *w, fg_error *err) {
  fg_status status = w->options.dry_run ? FG_OK : name_paths(&w->paths, w->options.output, err);
  if (status == FG_OK && !w->options.dry_run) status = check_output(w, err);
  if (status == FG_OK && !w->options.dry_run) status = fg_model_find(&w->pulled, &w->options, err);
  return status == FG_OK ? fg_wrangle_prepare(&w->job, &w->options, err) : status;
}

static fg_status check_usage(const fg_options *o, fg_error *err) {
  if (o->argument_count > 1)
    return fg_fail(err, FG_INVALID, "one MODEL is wanted, '%.80s' is one too many", o->arguments[1]);
  if (!o->argument_count && !o->dry_run) return fg_fail(err, FG_INVALID, "MODEL is missing");
  return fg_wrangle_check(o, err);
}

int fg_command_wrangle(const fg_options *options, fg_console *console) {
  fg_error err = {FG_OK, ""};
  if (check_usage(options, &err) != FG_OK) {
    fg_console_error(console, err.message);
    return FG_EXIT_USAGE;
  }
  wrangle *w = calloc(1, sizeof *w);
  if (!w) {
    fg_console_error(console, "no memory to begin");
    return FG_EXIT_FAILED;
  }
  w->options = *options;
  w->console = console;
  int code = FG_EXIT_FAILED;
  if (prepare(w, &err) != FG_OK)
    fg_console_error(console, err.message);
  else
    code = options->dry_run ? FG_EXIT_DONE : run_job(w);
  fg_wrangle_close(&w->job);
  free_paths(&w->paths);
  free(w);
  return code;
}
