// flexgen report: a page about a run, from what --stats wrote.
#include "base/json.h"
#include "report/page.h"
#include "run.h"

static fg_status check_options(const fg_options *o, fg_error *err) {
  if (o->argument_count == 0)
    return fg_fail(err, FG_INVALID,
                   "STATS.json is missing: the file that --stats wrote (- is standard input)");
  if (o->argument_count > 1)
    return fg_fail(err, FG_INVALID, "one STATS.json is wanted, '%.80s' is one too many", o->arguments[1]);
  if (!o->output) return fg_fail(err, FG_INVALID, "-o PAGE.html is missing (- is standard output)");
  return FG_OK;
}

static fg_status read_stats(json_t **stats, const char *path, fg_error *err) {
  fg_text text = {0};
  fg_status status = fg_read_text(path, &text, err);
  if (status == FG_OK) {
    *stats = fg_json_parse(text.length ? text.data : "", text.length, path, err);
    if (!*stats) status = FG_CORRUPT;
  }
  fg_text_free(&text);
  return status;
}

static fg_status make_page(fg_text *page, const char *path, fg_error *err) {
  json_t *stats = NULL;
  fg_error why;
  fg_status status = read_stats(&stats, path, err);
  if (status != FG_OK) return status;
  status = fg_report_page(page, stats, &why);
  if (status != FG_OK) fg_fail(err, status, "%s: %s", path, why.message);
  json_decref(stats);
  return status;
}

int fg_command_report(const fg_options *options, fg_console *console) {
  fg_error err = {FG_OK, ""};
  if (check_options(options, &err) != FG_OK) {
    fg_console_error(console, err.message);
    return FG_EXIT_USAGE;
  }
  fg_text page = {0};
  fg_status status = make_page(&page, options->arguments[0], &err);
  if (status == FG_OK) status = fg_write_text(&page, options->output, &err);
  fg_text_free(&page);
  if (status == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
