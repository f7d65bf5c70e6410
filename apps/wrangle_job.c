#include "wrangle_job.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

// ---- options ---------------------------------------------------------------------------------------------

static fg_status check_template(const fg_options *o, fg_error *err) {
  if (!o->input) return fg_fail(err, FG_INVALID, "-i TABLE.csv is missing (- is standard input)");
  if (o->num_run || o->add_task_instruction || o->dataset)
    return fg_fail(err, FG_INVALID, "--%s goes with --data-dir",
                   o->num_run   ? "num-run"
                   : o->dataset ? "dataset"
                                : "add-task-instruction");
  if (strcmp(o->sample_method, "random") != 0)
    return fg_fail(err, FG_INVALID,
                   "--sample-method manual goes with --data-dir; write examples into the template");
  if (o->examples && !o->label_column)
    return fg_fail(err, FG_INVALID, "--examples needs --label-column, which holds their answers");
  if (!o->examples && (o->k != FG_NO_K || o->class_balanced))
    return fg_fail(err, FG_INVALID, "--%s goes with --examples TABLE.csv",
                   o->class_balanced ? "class-balanced" : "k");
  return FG_OK;
}

static fg_status check_dataset(const fg_options *o, fg_error *err) {
  if (o->input || o->answers || o->label_column)
    return fg_fail(err, FG_INVALID, "%s goes with --template",
                   o->input     ? "-i"
                   : o->answers ? "--answers"
                                : "--label-column");
  const bool manual = strcmp(o->sample_method, "manual") == 0;
  if (manual && !o->examples)
    return fg_fail(err, FG_INVALID, "--sample-method manual needs --examples FILE.json");
  if (!manual && o->examples)
    return fg_fail(err, FG_INVALID,
                   "--examples goes with --sample-method manual; others are drawn from the train set");
  if (manual && (o->k != FG_NO_K || o->class_balanced))
    return fg_fail(err, FG_INVALID, "--%s goes with --sample-method random",
                   o->class_balanced ? "class-balanced" : "k");
  if (o->add_task_instruction && o->instruction)
    return fg_fail(err, FG_INVALID, "--add-task-instruction and --instruction exclude each other");
  return FG_OK;
}

static fg_status read_delimiter(const char *word, char *out, fg_error *err) {
  *out = strcmp(word, "tab") == 0 ? '\t' : word[0];
  const bool one = *out == '\t' || !word[1];
  if (one && (unsigned char)*out < 0x80 && !strchr("\"\r\n", *out)) return FG_OK;
  return fg_fail(err, FG_INVALID,
                 "--delimiter needs one character of ASCII that is no quote, or tab, got '%.20s'", word);
}

fg_status fg_wrangle_check(const fg_options *o, fg_error *err) {
  char ignored;
  fg_answer_set answers;
  if (!o->template == !o->data_dir)
    return fg_fail(err, FG_INVALID, "either --template TEXT with -i TABLE.csv or --data-dir DIR is wanted");
  if (!o->output) return fg_fail(err, FG_INVALID, "-o OUT.csv is missing");
  if (!o->dry_run && strcmp(o->output, "-") == 0)
    return fg_fail(err, FG_INVALID, "-o must be a file: the table is written when all its answers are there");
  if (o->resume && o->overwrite)
    return fg_fail(err, FG_INVALID, "--resume and --overwrite exclude each other");
  if (o->temperature > 2) return fg_fail(err, FG_INVALID, "--temperature needs a number from 0 to 2");
  fg_status status = read_delimiter(o->delimiter, &ignored, err);
  if (status == FG_OK) status = o->template ? check_template(o, err) : check_dataset(o, err);
  if (status == FG_OK && o->guided && !o->answers)
    status =
        fg_fail(err, FG_INVALID, "--guided goes with --answers A,B,..., which the model then chooses from");
  if (status == FG_OK && o->answers && fg_answers_read(&answers, o->answers, err) != FG_OK)
    status = fg_fail_prefix(err, "--answers");
  return status;
}

// ---- requests --------------------------------------------------------------------------------------------

fg_status fg_wrangle_ask(fg_wrangle_job *job, uint64_t row, fg_slice prefix, fg_slice text, fg_error *err) {
  const fg_options *o = job->options;
  const char *instruction = o->add_task_instruction ? job->dataset->instruction : o->instruction;
  fg_text query = {0}, line = {0};
  fg_put_query(&query, instruction, prefix, text);
  fg_put_request(&line, row, (fg_slice){query.data ? query.data : "", query.length}, &job->asking);
  fg_status status = FG_OK;
  if (fg_text_failed(&query) || fg_text_failed(&line))
    status =
        fg_fail(err, FG_NO_SPACE, "out of memory for the prompt of row %llu", (unsigned long long)row + 1);
  else if (fwrite(line.data, 1, line.length, job->requests) != line.length)
    status = fg_fail(err, errno == ENOSPC ? FG_DISK_FULL : FG_IO, "cannot write the requests: %s",
                     strerror(errno));
  fg_text_free(&query);
  fg_text_free(&line);
  return status;
}

static fg_status open_requests(fg_wrangle_job *job, fg_error *err) {
  const fg_options *o = job->options;
  if (!o->dry_run) {
    fg_status status = fg_unnamed_open(&job->unnamed, o->output, err);
    job->requests = job->unnamed.file;
    return status;
  }
  job->requests = strcmp(o->output, "-") == 0 ? stdout : fopen(o->output, o->overwrite ? "wbe" : "wbxe");
  if (job->requests) return FG_OK;
  return errno == EEXIST ? fg_fail(err, FG_INVALID, "%s: it exists; --overwrite replaces it", o->output)
                         : fg_fail(err, FG_IO, "%s: cannot open: %s", o->output, strerror(errno));
}

static fg_status finish_requests(fg_wrangle_job *job, fg_error *err) {
  if (job->unnamed.file) return fg_unnamed_finish(&job->unnamed, err);
  FILE *file = job->requests;
  job->requests = NULL;
  if ((file == stdout ? fflush(file) : fclose(file)) == 0) return FG_OK;
  return fg_fail(err, FG_IO, "%s: cannot write: %s", job->options->output, strerror(errno));
}

// Half of an answer's bytes and two are tokens enough for it, and for a space or a quote in front. One that
// is written to its end may take a token a byte, and the space and the end one each.
enum { ANY_ANSWER_TOKENS = 64 };

static uint32_t default_tokens(const fg_wrangle_job *job) {
  if (job->dataset) return job->dataset->max_tokens;
  if (!job->answers.count) return ANY_ANSWER_TOKENS;
  size_t longest = 0;
  for (uint32_t i = 0; i < job->answers.count; i++)
    if (job->answers.items[i].length > longest) longest = job->answers.items[i].length;
  return (uint32_t)((job->options->guided ? longest : longest / 2) + 2);
}

static fg_status find_dataset(fg_wrangle_job *job, fg_error *err) {
  const char *name = job->options->dataset, *folder = job->options->data_dir;
  char last[64] = "";
  if (!name) {
    size_t length = strlen(folder);
    while (length && folder[length - 1] == '/') length--;
    size_t from = length;
    while (from && folder[from - 1] != '/') from--;
    snprintf(last, sizeof last, "%.*s", (int)(length - from < sizeof last ? length - from : sizeof last - 1),
             folder + from);
    name = last;
  }
  job->dataset = fg_dataset_find(name);
  if (job->dataset) return FG_OK;
  fg_text names = {0};
  for (uint32_t i = 0; i < fg_dataset_count; i++)
    fg_text_printf(&names, "%s%s", i ? ", " : "", fg_datasets[i].name);
  fg_status status = fg_fail(err, FG_INVALID, "there is no data set '%.60s'; --dataset takes %s", name,
                             names.data ? names.data : "a name");
  fg_text_free(&names);
  return status;
}

fg_status fg_wrangle_prepare(fg_wrangle_job *job, const fg_options *o, fg_error *err) {
  *job = (fg_wrangle_job){.options = o, .label = FG_NO_COLUMN};
  fg_status status = read_delimiter(o->delimiter, &job->delimiter, err);
  if (status == FG_OK && o->answers) status = fg_answers_read(&job->answers, o->answers, err);
  if (status == FG_OK && o->data_dir) status = find_dataset(job, err);
  if (status == FG_OK) status = open_requests(job, err);
  if (status != FG_OK) return status;
  job->asking = (fg_asking){.max_tokens = o->max_tokens ? o->max_tokens : default_tokens(job),
                            .temperature = o->temperature,
                            .stop = o->stop_token,
                            .chat = o->chat,
                            .only = o->guided ? &job->answers : NULL};
  status = job->dataset ? fg_wrangle_dataset(job, err) : fg_wrangle_template(job, err);
  return status == FG_OK ? finish_requests(job, err) : status;
}

void fg_wrangle_close(fg_wrangle_job *job) {
  if (job->requests && job->requests != stdout && job->requests != job->unnamed.file) {
    fclose(job->requests); // not finished: something failed on the way
    unlink(job->options->output);
  }
  if (job->table && job->table != job->made.file && job->table != job->spooled.file) fclose(job->table);
  fg_unnamed_close(&job->unnamed);
  fg_unnamed_close(&job->made);
  fg_unnamed_close(&job->spooled);
  fg_table_head_free(&job->head);
  *job = (fg_wrangle_job){0};
}
