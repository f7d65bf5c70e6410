// The requests of a user's table.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "wrangle/row_template.h"
#include "wrangle/samples.h"
#include "wrangle_job.h"

enum { DEFAULT_EXAMPLES = 10 };

// ---- tables ----------------------------------------------------------------------------------------------

static fg_status open_table(FILE **out, const char *path, fg_error *err) {
  *out = fopen(path, "rbe");
  if (*out) return FG_OK;
  return fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "%s: cannot open: %s", path, strerror(errno));
}

static bool is_file(FILE *file) {
  struct stat st;
  return fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode);
}

// What can be read once is copied: a table is read three times.
static fg_status spool(fg_wrangle_job *job, FILE *from, fg_error *err) {
  char chunk[1 << 16];
  size_t count;
  fg_status status = fg_unnamed_open(&job->spooled, job->options->output, err);
  if (status != FG_OK) return status;
  while ((count = fread(chunk, 1, sizeof chunk, from)) > 0)
    if (fwrite(chunk, 1, count, job->spooled.file) != count)
      return fg_fail(err, errno == ENOSPC ? FG_DISK_FULL : FG_IO, "%s: cannot keep a copy: %s",
                     job->table_name, strerror(errno));
  if (ferror(from)) return fg_fail(err, FG_IO, "%s: cannot read: %s", job->table_name, strerror(errno));
  return fg_unnamed_finish(&job->spooled, err);
}

static fg_status open_input(fg_wrangle_job *job, fg_error *err) {
  const char *path = job->options->input;
  const bool standard = strcmp(path, "-") == 0;
  FILE *file = stdin;
  job->table_name = standard ? "standard input" : path;
  fg_status status = standard ? FG_OK : open_table(&file, path, err);
  if (status != FG_OK) return status;
  if (!standard && is_file(file)) {
    job->table = file;
    return FG_OK;
  }
  status = spool(job, file, err);
  if (!standard) fclose(file);
  job->table = job->spooled.file;
  return status;
}

// Columns that are added must not be there.
static fg_status check_names(const fg_wrangle_job *job, fg_error *err) {
  const fg_options *o = job->options;
  const char *added[] = {o->out_column ? o->out_column : "answer", o->text_column, o->error_column};
  for (size_t i = 0; i < 3; i++)
    for (size_t k = 0; added[i] && k < job->head.columns; k++)
      if (fg_slice_is(job->head.names[k], added[i]))
        return fg_fail(err, FG_INVALID,
                       "%s: it has a column '%.60s' already; choose another name for the answers",
                       job->table_name, added[i]);
  return FG_OK;
}

static fg_status find_label(const fg_options *o, const fg_table_head *head, size_t *label, fg_error *err) {
  return fg_column_number(o->label_column, strlen(o->label_column), head->names, head->columns, label, err);
}

// ---- examples --------------------------------------------------------------------------------------------

// Solved rows of a table as samples: the template's text, a space, the answer.
typedef struct solved {
  FILE *file;
  fg_table_head head;
  fg_row_template *template;
  fg_row_reader *rows;
  size_t label;
  fg_samples samples;
} solved;

static fg_status open_solved(solved *s, const fg_wrangle_job *job, fg_error *err) {
  const fg_options *o = job->options;
  fg_status status = open_table(&s->file, o->examples, err);
  if (status == FG_OK) status = fg_table_look_over(&s->head, s->file, o->examples, job->delimiter, err);
  if (status != FG_OK) return status;
  status = find_label(o, &s->head, &s->label, err);
  if (status == FG_OK)
    status = fg_row_template_read(&s->template, o->template, s->head.names, s->head.columns, err);
  if (status != FG_OK) return fg_fail_prefix(err, "%s", o->examples);
  return fg_row_reader_create(&s->rows, &s->head, s->file, o->examples, err);
}

static fg_status read_solved(solved *s, fg_error *err) {
  fg_text text = {0};
  const fg_slice *cells = NULL;
  fg_status status;
  while ((status = fg_row_reader_next(s->rows, &cells, err)) == FG_OK && cells) {
    const fg_slice label = fg_strip(cells[s->label]);
    fg_text_clear(&text);
    fg_row_template_put(&text, s->template, cells);
    fg_text_append(&text, " ", 1);
    if (fg_text_failed(&text)) status = fg_fail(err, FG_NO_SPACE, "out of memory for an example");
    if (status == FG_OK)
      status =
          fg_samples_add(&s->samples, &(fg_sample){{text.data, text.length}, label, label, {"", 0}}, err);
    if (status != FG_OK) break;
  }
  fg_text_free(&text);
  return status;
}

static fg_status draw(fg_text *out, fg_wrangle_job *job, const fg_samples *samples, fg_error *err) {
  const fg_options *o = job->options;
  uint32_t count = o->k;
  if (count == FG_NO_K)
    count = samples->count < DEFAULT_EXAMPLES ? (uint32_t)samples->count : DEFAULT_EXAMPLES;
  job->examples = count;
  return fg_examples_random(
      out, samples,
      &(fg_example_draw){.count = count, .balanced = o->class_balanced, .seed = o->example_seed}, err);
}

static fg_status put_examples(fg_text *out, fg_wrangle_job *job, fg_error *err) {
  solved s = {0};
  fg_status status = open_solved(&s, job, err);
  if (status == FG_OK) status = read_solved(&s, err);
  if (status == FG_OK) status = draw(out, job, &s.samples, err);
  fg_row_reader_destroy(s.rows);
  fg_row_template_destroy(s.template);
  fg_samples_free(&s.samples);
  fg_table_head_free(&s.head);
  if (s.file) fclose(s.file);
  return status;
}

// ---- rows ------------------------------------------------------------------------------------------------

static fg_status ask_rows(fg_wrangle_job *job, const fg_row_template *template, fg_slice prefix,
                          fg_error *err) {
  fg_row_reader *rows;
  fg_text text = {0};
  const fg_slice *cells = NULL;
  fg_status status = fg_row_reader_create(&rows, &job->head, job->table, job->table_name, err);
  for (uint64_t row = 0; status == FG_OK; row++) {
    status = fg_row_reader_next(rows, &cells, err);
    if (status != FG_OK || !cells) break;
    fg_text_clear(&text);
    fg_text_append(&text, "", 0);
    fg_row_template_put(&text, template, cells);
    status = fg_text_failed(&text)
                 ? fg_fail(err, FG_NO_SPACE, "out of memory for a row")
                 : fg_wrangle_ask(job, row, prefix, (fg_slice){text.data, text.length}, err);
  }
  fg_text_free(&text);
  fg_row_reader_destroy(rows);
  rewind(job->table);
  return status;
}

static fg_status find_columns(fg_wrangle_job *job, fg_row_template **template, fg_error *err) {
  const fg_options *o = job->options;
  size_t label = 0;
  bool has_label = false;
  // A table to be answered need not have labels: with --examples they may stand there alone.
  for (size_t i = 0; o->label_column && i < job->head.columns; i++)
    has_label = has_label || fg_slice_is(job->head.names[i], o->label_column);
  fg_status status = check_names(job, err);
  if (status != FG_OK) return status;
  if (o->label_column && (has_label || !o->examples)) {
    status = find_label(o, &job->head, &label, err);
    job->label = (int64_t)label;
  }
  if (status == FG_OK)
    status = fg_row_template_read(template, o->template, job->head.names, job->head.columns, err);
  return status == FG_OK ? FG_OK : fg_fail_prefix(err, "%s", job->table_name);
}

fg_status fg_wrangle_template(fg_wrangle_job *job, fg_error *err) {
  fg_row_template *template = NULL;
  fg_text prefix = {0};
  fg_status status = open_input(job, err);
  if (status == FG_OK)
    status = fg_table_look_over(&job->head, job->table, job->table_name, job->delimiter, err);
  if (status == FG_OK) status = find_columns(job, &template, err);
  if (status == FG_OK && job->options->examples) status = put_examples(&prefix, job, err);
  if (status == FG_OK)
    status = ask_rows(job, template, (fg_slice){prefix.data ? prefix.data : "", prefix.length}, err);
  fg_row_template_destroy(template);
  fg_text_free(&prefix);
  return status;
}
