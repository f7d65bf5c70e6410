#include "wrangle/results.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "wrangle/request_line.h"

typedef struct joining {
  fg_results *results;
  const fg_table_head *head;
  const fg_results_options *options;
  const fg_results_files *files;
  char *line; // of the answers
  size_t line_size;
  fg_text out, cell; // of the record
} joining;

static fg_status put_out(joining *j, fg_error *err) {
  if (fg_text_failed(&j->out) || fg_text_failed(&j->cell))
    return fg_fail(err, FG_NO_SPACE, "%s: out of memory for a row", j->files->out_name);
  if (fwrite(j->out.data ? j->out.data : "", 1, j->out.length, j->files->out) == j->out.length) return FG_OK;
  return fg_fail(err, errno == ENOSPC ? FG_DISK_FULL : FG_IO, "%s: cannot write: %s", j->files->out_name,
                 strerror(errno));
}

// ---- cells that are added --------------------------------------------------------------------------------

// `wanted`: the column is one of those that are added.
static void add_cell(joining *j, const char *wanted, fg_slice text) {
  if (!wanted) return;
  fg_text_clear(&j->cell);
  j->results->replaced += fg_encode(&j->cell, j->head->encoding, text.data, text.length);
  fg_text_append(&j->out, &j->head->delimiter, 1);
  if (j->cell.length) fg_csv_put(&j->out, j->cell.data, j->cell.length, j->head->delimiter);
}

static void add_names(joining *j) {
  const fg_results_options *o = j->options;
  const char *names[] = {o->answer, o->text, o->right, o->error};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i]) add_cell(j, names[i], fg_words(names[i]));
}

// ---- what is right ---------------------------------------------------------------------------------------

static fg_label label_of_text(fg_slice label) {
  if (fg_answer_is_right(FG_TASK_MATCHING, label, fg_words("yes"))) return FG_LABEL_POSITIVE;
  return fg_answer_is_right(FG_TASK_MATCHING, label, fg_words("no")) ? FG_LABEL_NEGATIVE : FG_LABEL_OTHER;
}

// Of two answers the first is the positive one.
static fg_label label_of_answer(const fg_answer_set *set, int32_t answer) {
  if (set->count != 2 || answer < 0) return FG_LABEL_OTHER;
  return answer == 0 ? FG_LABEL_POSITIVE : FG_LABEL_NEGATIVE;
}

static bool judge(joining *j, fg_slice label, fg_slice text, int32_t found) {
  const fg_results_options *o = j->options;
  bool right;
  fg_label kind;
  if (o->answers) {
    const int32_t wanted = fg_answers_find(o->answers, label);
    right = wanted >= 0 && wanted == found;
    kind = label_of_answer(o->answers, wanted);
  } else {
    right = fg_answer_is_right(o->dataset ? o->dataset->task : FG_TASK_MATCHING, text, label);
    kind = o->dataset && o->dataset->task == FG_TASK_IMPUTATION ? FG_LABEL_OTHER : label_of_text(label);
  }
  fg_metrics_count(&j->results->metrics, kind, right);
  return right;
}

static bool judge_cell(joining *j, const fg_csv_record *record, fg_slice text, int32_t found) {
  if (j->options->label < 0) return false;
  const fg_slice cell = record->cells[j->options->label];
  fg_text label = {0};
  fg_text_append(&label, "", 0);
  fg_decode(&label, j->head->encoding, cell.data, cell.length);
  const bool right = judge(j, (fg_slice){label.data ? label.data : "", label.length}, text, found);
  fg_text_free(&label);
  return right;
}

// ---- records ---------------------------------------------------------------------------------------------

static fg_status next_reply(joining *j, fg_reply *reply, fg_error *err) {
  const ssize_t length = getline(&j->line, &j->line_size, j->files->answers);
  if (length > 0)
    return fg_reply_read(reply, j->line, (size_t)length, j->results->rows, j->files->answers_name, err);
  return fg_fail(err, FG_CORRUPT, "%s: it ends before row %" PRIu64, j->files->answers_name,
                 j->results->rows + 1);
}

static void note_error(fg_results *r, const char *error) {
  if (r->errors++ == 0)
    snprintf(r->first_error, sizeof r->first_error, "row %" PRIu64 ": %s", r->rows + 1, error);
}

static fg_status add_reply(joining *j, const fg_csv_record *record, fg_error *err) {
  const fg_results_options *o = j->options;
  fg_reply reply;
  fg_status status = next_reply(j, &reply, err);
  if (status != FG_OK) return status;
  const int32_t found = o->answers ? fg_answers_find(o->answers, reply.text) : -1;
  fg_slice answer = fg_strip(reply.text);
  if (o->answers) answer = found < 0 ? (fg_slice){"", 0} : o->answers->items[found];
  const bool right = judge_cell(j, record, reply.text, found);
  if (reply.error)
    note_error(j->results, reply.error);
  else if (o->answers && found < 0)
    j->results->unmatched++;
  add_cell(j, o->answer, answer);
  add_cell(j, o->text, reply.text);
  add_cell(j, o->right, fg_words(right ? "1" : "0"));
  add_cell(j, o->error, fg_words(reply.error ? reply.error : ""));
  fg_reply_free(&reply);
  j->results->rows++;
  return FG_OK;
}

static fg_status join_record(void *user, const fg_csv_record *record, fg_error *err) {
  joining *j = user;
  fg_status status = FG_OK;
  fg_text_clear(&j->out);
  fg_text_append(&j->out, record->raw.data, record->raw.length);
  if (record->header)
    add_names(j);
  else if (record->count)
    status = add_reply(j, record, err);
  fg_text_append(&j->out, record->end.data, record->end.length);
  return status == FG_OK ? put_out(j, err) : status;
}

static fg_status check_all_answered(const joining *j, fg_error *err) {
  if (j->results->rows == j->head->rows && getc(j->files->answers) == EOF) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "%s: it does not answer %s row by row", j->files->answers_name,
                 j->files->table_name);
}

fg_status fg_results_write(fg_results *results, const fg_table_head *head, const fg_results_options *options,
                           const fg_results_files *files, fg_error *err) {
  *results = (fg_results){0};
  joining j = {.results = results, .head = head, .options = options, .files = files};
  fg_status status = fg_csv_visit(files->table, files->table_name, head->delimiter, join_record, &j, err);
  if (status == FG_OK) status = check_all_answered(&j, err);
  free(j.line);
  fg_text_free(&j.out);
  fg_text_free(&j.cell);
  return status;
}
