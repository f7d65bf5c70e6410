// The table and the requests of a data set of the paper.
#include <errno.h>
#include <string.h>

#include "wrangle/csv.h"
#include "wrangle/samples.h"
#include "wrangle_job.h"

enum { DEFAULT_EXAMPLES = 1 };

static const char *const columns[] = {"row", "text", "label"};
enum { LABEL = 2 };

// What stands in front of the rows: one text for all, or one by each row's key.
typedef struct front {
  fg_text drawn;
  fg_manual_examples *manual;
} front;

static fg_split split_of(const fg_options *o) {
  static const char *const names[] = {
      [FG_SPLIT_TRAIN] = "train", [FG_SPLIT_VALIDATION] = "validation", [FG_SPLIT_TEST] = "test"};
  fg_split split = FG_SPLIT_TEST;
  for (fg_split i = 0; i < FG_SPLIT_COUNT; i++)
    if (strcmp(names[i], o->split) == 0) split = i;
  return split;
}

static fg_row_style style_of(const fg_options *o) {
  return (fg_row_style){.separator = o->sep_tok, .missing = o->nan_tok};
}

static fg_status draw(front *f, fg_wrangle_job *job, fg_error *err) {
  const fg_options *o = job->options;
  const fg_row_style style = style_of(o);
  const fg_example_draw wish = {.count = o->k == FG_NO_K ? DEFAULT_EXAMPLES : o->k,
                                .balanced = o->class_balanced && job->dataset->task != FG_TASK_IMPUTATION,
                                .seed = o->example_seed};
  job->examples = wish.count;
  if (!wish.count) return FG_OK;
  fg_samples train;
  fg_status status = fg_samples_load(&train, job->dataset, o->data_dir, FG_SPLIT_TRAIN, &style, err);
  if (status != FG_OK) return status;
  status = fg_examples_random(&f->drawn, &train, &wish, err);
  fg_samples_free(&train);
  return status;
}

static fg_status read_manual(front *f, const fg_wrangle_job *job, fg_error *err) {
  fg_status status = fg_manual_read(&f->manual, job->options->examples, err);
  if (status != FG_OK) return status;
  const char *by = fg_manual_column(f->manual), *key = job->dataset->key;
  if (!by || (key && strcmp(by, key) == 0)) return FG_OK;
  return fg_fail(err, FG_INVALID, "%s: its examples are chosen by '%.60s', those of %s are by %s",
                 job->options->examples, by, job->dataset->name, key ? key : "nothing");
}

// ---- rows ------------------------------------------------------------------------------------------------

static fg_status put_row(fg_wrangle_job *job, size_t number, const fg_sample *s, fg_error *err) {
  fg_text line = {0};
  const fg_slice text = fg_strip(s->text);
  fg_text_printf(&line, "%zu,", number);
  fg_csv_put(&line, text.data, text.length, ',');
  fg_text_append(&line, ",", 1);
  fg_csv_put(&line, s->label.data, s->label.length, ',');
  fg_text_append(&line, "\n", 1);
  fg_status status = FG_OK;
  if (fg_text_failed(&line) || fwrite(line.data, 1, line.length, job->table) != line.length)
    status = fg_fail(err, FG_IO, "cannot write the table of row %zu: %s", number, strerror(errno));
  fg_text_free(&line);
  return status;
}

static fg_status put_rows(fg_wrangle_job *job, const front *f, const fg_samples *rows, fg_error *err) {
  const size_t most = job->options->num_run, count = most && most < rows->count ? most : rows->count;
  fprintf(job->table, "%s,%s,%s\n", columns[0], columns[1], columns[2]);
  for (size_t i = 0; i < count; i++) {
    const fg_sample *s = &rows->items[i];
    fg_slice prefix = {f->drawn.data ? f->drawn.data : "", f->drawn.length};
    fg_status status = f->manual ? fg_manual_find(f->manual, s->key, &prefix, err) : FG_OK;
    if (status == FG_OK) status = put_row(job, i, s, err);
    if (status == FG_OK) status = fg_wrangle_ask(job, i, prefix, s->text, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

static fg_status make_table(fg_wrangle_job *job, const front *f, fg_error *err) {
  const fg_options *o = job->options;
  const fg_row_style style = style_of(o);
  fg_samples rows;
  fg_status status = fg_samples_load(&rows, job->dataset, o->data_dir, split_of(o), &style, err);
  if (status != FG_OK) return status;
  status = put_rows(job, f, &rows, err);
  fg_samples_free(&rows);
  if (status == FG_OK) status = fg_unnamed_finish(&job->made, err);
  if (status == FG_OK) status = fg_table_look_over(&job->head, job->table, job->table_name, ',', err);
  job->label = LABEL;
  return status;
}

fg_status fg_wrangle_dataset(fg_wrangle_job *job, fg_error *err) {
  front f = {0};
  fg_status status = fg_unnamed_open(&job->made, job->options->output, err);
  if (status != FG_OK) return status;
  job->table = job->made.file;
  job->table_name = job->options->data_dir;
  status =
      strcmp(job->options->sample_method, "manual") == 0 ? read_manual(&f, job, err) : draw(&f, job, err);
  if (status == FG_OK) status = make_table(job, &f, err);
  fg_text_free(&f.drawn);
  fg_manual_destroy(f.manual);
  return status;
}
