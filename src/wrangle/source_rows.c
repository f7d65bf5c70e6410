// Whole rows: values to be imputed, rows with a suspicious cell, names of columns to be matched.
#include <stdlib.h>
#include <string.h>

#include "wrangle/numpy_random.h"
#include "wrangle/source.h"

// ---- imputation ------------------------------------------------------------------------------------------

typedef struct imputation {
  fg_table table;
  fg_columns shown;
  size_t target;
} imputation;

static fg_status open_imputation(imputation *m, const fg_source *s, fg_error *err) {
  const char *skip[] = {"id", s->dataset->target, NULL};
  fg_status status = fg_table_need(&m->table, s->dataset->target, &m->target, err);
  return status == FG_OK ? fg_columns_choose(&m->shown, &m->table, s->dataset, "", skip, err) : status;
}

static fg_status add_imputation(imputation *m, fg_source *s, size_t number, fg_error *err) {
  const fg_cell *row = fg_table_row(&m->table, number);
  fg_serialise_imputation(&s->text, s->dataset, fg_columns_fill(&m->shown, row), s->style);
  return fg_source_add(s, row[m->target].text, row[m->target].text, fg_words(""), err);
}

static void close_imputation(imputation *m) {
  fg_columns_free(&m->shown);
  fg_table_free(&m->table);
}

fg_status fg_load_rows(fg_source *s, fg_error *err) {
  imputation m = {0};
  fg_status status = fg_table_read(&m.table, s->split_path, FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = open_imputation(&m, s, err);
  for (size_t i = 0; i < m.table.rows && status == FG_OK; i++) status = add_imputation(&m, s, i, err);
  close_imputation(&m);
  return status;
}

// ---- a table that is split as HELM splits it -------------------------------------------------------------

enum { SPLIT_SEED = 1234 };

// One part of `rows` in `parts`, as DataFrame.sample(frac) counts: rounded, halves to the even number.
static uint32_t part_of(uint32_t rows, uint32_t parts) {
  const uint32_t whole = rows / parts, rest = rows % parts;
  return whole + (2 * rest > parts || (2 * rest == parts && whole % 2));
}

// Moves the sampled rows, in the order in which they are drawn, into `sampled`; the others stay in order.
static fg_status sample_out(uint32_t *rows, uint32_t *count, uint32_t *sampled, uint32_t wanted,
                            fg_error *err) {
  fg_numpy_random random;
  uint32_t *order = malloc(*count * sizeof *order + 1), left = 0;
  bool *taken = calloc(*count + 1, sizeof *taken);
  if (order && taken) {
    fg_numpy_seed(&random, SPLIT_SEED);
    fg_numpy_permutation(&random, order, *count);
    for (uint32_t i = 0; i < wanted; i++) {
      sampled[i] = rows[order[i]];
      taken[order[i]] = true;
    }
    for (uint32_t i = 0; i < *count; i++)
      if (!taken[i]) rows[left++] = rows[i];
    *count = left;
  }
  const bool done = order && taken;
  free(order);
  free(taken);
  return done ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory to split %u rows", *count);
}

// A tenth is the test set, a fifth of the others the validation set.
static fg_status split_rows(const fg_source *s, uint32_t *rows, uint32_t *count, uint32_t *sampled,
                            fg_error *err) {
  static const struct {
    fg_split split;
    uint32_t parts;
  } draws[] = {{FG_SPLIT_TEST, 10}, {FG_SPLIT_VALIDATION, 5}};
  for (size_t i = 0; i < 2; i++) {
    const uint32_t wanted = part_of(*count, draws[i].parts);
    fg_status status = sample_out(rows, count, sampled, wanted, err);
    if (status != FG_OK) return status;
    if (s->split != draws[i].split) continue;
    memcpy(rows, sampled, wanted * sizeof *rows);
    *count = wanted;
    return FG_OK;
  }
  return FG_OK;
}

static fg_status add_split(imputation *m, fg_source *s, uint32_t *rows, fg_error *err) {
  size_t description;
  uint32_t count = 0;
  fg_status status = fg_table_need(&m->table, "description", &description, err);
  for (size_t i = 0; i < m->table.rows && status == FG_OK; i++)
    if (!fg_table_row(&m->table, i)[description].missing) rows[count++] = (uint32_t)i;
  if (status == FG_OK) status = split_rows(s, rows, &count, rows + m->table.rows, err);
  for (uint32_t i = 0; i < count && status == FG_OK; i++) status = add_imputation(m, s, rows[i], err);
  return status;
}

fg_status fg_load_unsplit_rows(fg_source *s, fg_error *err) {
  imputation m = {0};
  fg_status status = fg_source_table(s, &m.table, "Buy.csv", FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = open_imputation(&m, s, err);
  uint32_t *rows = status == FG_OK ? calloc(2 * m.table.rows + 1, sizeof *rows) : NULL;
  if (status == FG_OK)
    status = rows ? add_split(&m, s, rows, err)
                  : fg_fail(err, FG_NO_SPACE, "%s: out of memory for its rows", s->folder);
  free(rows);
  close_imputation(&m);
  return status;
}

// ---- a cell of a row -------------------------------------------------------------------------------------

// The authors' program reads the split's file and does not use it: each split is the whole table.
fg_status fg_load_error_rows(fg_source *s, fg_error *err) {
  static const char *const skip[] = {"Unnamed: 0", "text", "col_name", "label_str", "is_clean", NULL};
  fg_table t = {0};
  fg_columns shown = {0};
  size_t named = 0, clean = 0;
  fg_status status = fg_source_table(s, &t, "table.csv", FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = fg_table_need(&t, "col_name", &named, err);
  if (status == FG_OK) status = fg_table_need(&t, "is_clean", &clean, err);
  if (status == FG_OK) status = fg_columns_choose(&shown, &t, s->dataset, "", skip, err);
  for (size_t i = 0; i < t.rows && status == FG_OK; i++) {
    const fg_cell *row = fg_table_row(&t, i);
    const fg_slice name = row[named].text;
    size_t column = 0;
    status = fg_table_need(&t, name.data, &column, err);
    if (status != FG_OK) break;
    fg_serialise_error(&s->text, s->dataset, fg_columns_fill(&shown, row), (fg_field){name, row[column]},
                       s->style);
    status =
        fg_source_add(s, fg_words(fg_cell_is_one(&row[clean]) ? "No" : "Yes"), row[clean].text, name, err);
  }
  fg_columns_free(&shown);
  fg_table_free(&t);
  return status;
}

// ---- schema ----------------------------------------------------------------------------------------------

// A column under its own name or the data set's.
static fg_status need_renamed(const fg_table *t, const fg_dataset *d, const char *name, size_t *column,
                              fg_error *err) {
  for (size_t i = 0; i < t->columns; i++) {
    if (strcmp(fg_dataset_rename(d, t->names[i].data), name) != 0) continue;
    *column = i;
    return FG_OK;
  }
  return fg_table_need(t, name, column, err);
}

fg_status fg_load_schema(fg_source *s, fg_error *err) {
  fg_table t = {0};
  size_t left = 0, right = 0, label = 0;
  fg_status status = fg_table_read(&t, s->split_path, FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = need_renamed(&t, s->dataset, "left", &left, err);
  if (status == FG_OK) status = need_renamed(&t, s->dataset, "right", &right, err);
  if (status == FG_OK) status = fg_table_need(&t, "label", &label, err);
  for (size_t i = 0; i < t.rows && status == FG_OK; i++) {
    const fg_cell *row = fg_table_row(&t, i);
    const bool differs = fg_slice_is(row[label].text, "0") || fg_slice_is(row[label].text, "0.0") ||
                         fg_slice_is(row[label].text, "False");
    fg_serialise_schema(&s->text, s->dataset, row[left].text, row[right].text);
    status = fg_source_add(s, fg_words(differs ? "No" : "Yes"), row[label].text, row[left].text, err);
  }
  fg_table_free(&t);
  return status;
}
