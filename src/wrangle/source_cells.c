// Single cells of a table: with labels, or beside the correct values.
#include <stdlib.h>
#include <string.h>

#include "wrangle/numpy_random.h"
#include "wrangle/source.h"

static fg_status add_cell(fg_source *s, const fg_table *t, size_t row, fg_slice name, bool clean,
                          fg_slice group, fg_error *err) {
  size_t column;
  fg_status status = fg_table_need(t, name.data, &column, err);
  if (status != FG_OK) return status;
  fg_serialise_spelling(&s->text, s->dataset, (fg_field){name, fg_table_row(t, row)[column]}, s->style);
  return fg_source_add(s, fg_words(clean ? "No" : "Yes"), group, name, err);
}

// A row's number from its text; false: there is no such row.
static bool read_row(const fg_table *t, fg_slice text, size_t *row) {
  char *end;
  *row = strtoul(text.data, &end, 10);
  return end != text.data && (*end == 0 || strcmp(end, ".0") == 0) && *row < t->rows;
}

// ---- labelled cells --------------------------------------------------------------------------------------

typedef struct labelled {
  fg_table table, labels;
  size_t row, name, clean; // columns of `labels`
} labelled;

static fg_status read_labelled(labelled *l, const fg_source *s, fg_error *err) {
  fg_status status = fg_source_table(s, &l->table, "table.csv", FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = fg_table_read(&l->labels, s->split_path, FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = fg_table_need(&l->labels, "row_id", &l->row, err);
  if (status == FG_OK) status = fg_table_need(&l->labels, "col_name", &l->name, err);
  if (status == FG_OK) status = fg_table_need(&l->labels, "is_clean", &l->clean, err);
  return status;
}

// In the order of an inner join on the row, which drops labels of unknown rows.
static fg_status add_labelled(fg_source *s, const labelled *l, fg_slice *keys, size_t *order, fg_error *err) {
  const size_t count = l->labels.rows;
  for (size_t i = 0; i < count; i++) keys[i] = fg_table_row(&l->labels, i)[l->row].text;
  fg_status status = fg_group_order(order, keys, count, err);
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    const fg_cell *label = fg_table_row(&l->labels, order[i]);
    size_t row;
    if (read_row(&l->table, keys[order[i]], &row))
      status = add_cell(s, &l->table, row, label[l->name].text, fg_cell_is_one(&label[l->clean]),
                        label[l->clean].text, err);
  }
  return status;
}

fg_status fg_load_cells(fg_source *s, fg_error *err) {
  labelled l = {0};
  fg_status status = read_labelled(&l, s, err);
  fg_slice *keys = status == FG_OK ? malloc(l.labels.rows * sizeof *keys + 1) : NULL;
  size_t *order = keys ? malloc(l.labels.rows * sizeof *order + 1) : NULL;
  if (status == FG_OK)
    status = order ? add_labelled(s, &l, keys, order, err)
                   : fg_fail(err, FG_NO_SPACE, "%s: out of memory for its labels", s->split_path);
  free(keys);
  free(order);
  fg_table_free(&l.labels);
  fg_table_free(&l.table);
  return status;
}

// ---- a dirty table and what is correct -------------------------------------------------------------------

// The published table has no split: all cells in an order of their own, of which 9 % are for training and 1 %
// for validation, the shares of the authors' split.
enum { SPLIT_SEED = 1234, TRAIN_PERCENT = 9, SEEN_PERCENT = 10 };

typedef struct corrected {
  fg_table dirty, as_written, correct; // as_written: to be compared with what is correct
  size_t row, name, value;             // columns of `correct`
} corrected;

static fg_status read_corrected(corrected *c, const fg_source *s, fg_error *err) {
  fg_status status = fg_source_table(s, &c->dirty, "hospital.csv", FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK)
    status = fg_source_table(s, &c->as_written, "hospital.csv", FG_CELLS_AS_THEY_STAND, err);
  if (status == FG_OK)
    status = fg_source_table(s, &c->correct, "hospital_clean.csv", FG_CELLS_AS_THEY_STAND, err);
  if (status == FG_OK) status = fg_table_need(&c->correct, "tid", &c->row, err);
  if (status == FG_OK) status = fg_table_need(&c->correct, "attribute", &c->name, err);
  if (status == FG_OK) status = fg_table_need(&c->correct, "correct_val", &c->value, err);
  return status;
}

static fg_status add_corrected(fg_source *s, const corrected *c, size_t cell, fg_error *err) {
  const fg_cell *correct = fg_table_row(&c->correct, cell);
  const fg_slice name = correct[c->name].text;
  size_t row, column;
  fg_status status = fg_table_need(&c->as_written, name.data, &column, err);
  if (status != FG_OK) return status;
  if (!read_row(&c->as_written, correct[c->row].text, &row))
    return fg_fail(err, FG_CORRUPT, "%s/hospital_clean.csv: tid %.32s is no row of hospital.csv", s->folder,
                   correct[c->row].text.data);
  const fg_cell *written = fg_table_row(&c->as_written, row) + column;
  const bool clean = written->text.length == correct[c->value].text.length &&
                     memcmp(written->text.data, correct[c->value].text.data, written->text.length) == 0;
  return add_cell(s, &c->dirty, row, name, clean, fg_words(clean ? "1" : "0"), err);
}

static fg_status add_share(fg_source *s, const corrected *c, uint32_t *order, fg_error *err) {
  const uint64_t count = c->correct.rows, train = count * TRAIN_PERCENT / 100,
                 seen = count * SEEN_PERCENT / 100;
  const uint64_t ends[] = {[FG_SPLIT_TRAIN] = train, [FG_SPLIT_VALIDATION] = seen, [FG_SPLIT_TEST] = count};
  fg_numpy_random random;
  fg_numpy_seed(&random, SPLIT_SEED);
  fg_numpy_permutation(&random, order, (uint32_t)count);
  fg_status status = FG_OK;
  for (uint64_t i = s->split ? ends[s->split - 1] : 0; i < ends[s->split] && status == FG_OK; i++)
    status = add_corrected(s, c, order[i], err);
  return status;
}

fg_status fg_load_corrected_cells(fg_source *s, fg_error *err) {
  corrected c = {0};
  fg_status status = read_corrected(&c, s, err);
  uint32_t *order = status == FG_OK ? calloc(c.correct.rows + 1, sizeof *order) : NULL;
  if (status == FG_OK)
    status = order ? add_share(s, &c, order, err)
                   : fg_fail(err, FG_NO_SPACE, "%s: out of memory for its cells", s->folder);
  free(order);
  fg_table_free(&c.dirty);
  fg_table_free(&c.as_written);
  fg_table_free(&c.correct);
  return status;
}
