#include "wrangle/samples.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"
#include "wrangle/source.h"

// ---- a list of samples -----------------------------------------------------------------------------------

static bool copy(fg_samples *s, fg_slice *slice) {
  *slice = fg_pool_copy(&s->pool, slice->data, slice->length);
  return slice->data;
}

fg_status fg_samples_add(fg_samples *s, const fg_sample *sample, fg_error *err) {
  if (s->count == s->capacity) {
    const size_t capacity = s->capacity ? 2 * s->capacity : 64;
    fg_sample *items = fg_grow(s->items, capacity, sizeof *items);
    if (!items) return fg_fail(err, FG_NO_SPACE, "out of memory for %zu rows", capacity);
    s->items = items;
    s->capacity = capacity;
  }
  fg_sample kept = *sample;
  if (!copy(s, &kept.text) || !copy(s, &kept.label) || !copy(s, &kept.group) || !copy(s, &kept.key))
    return fg_fail(err, FG_NO_SPACE, "out of memory for row %zu", s->count + 1);
  s->items[s->count++] = kept;
  return FG_OK;
}

void fg_samples_free(fg_samples *s) {
  free(s->items);
  fg_pool_free(&s->pool);
  *s = (fg_samples){0};
}

fg_status fg_source_add(fg_source *source, fg_slice label, fg_slice group, fg_slice key, fg_error *err) {
  if (fg_text_failed(&source->text)) return fg_fail(err, FG_NO_SPACE, "out of memory for a row");
  const fg_slice text = {source->text.data ? source->text.data : "", source->text.length};
  fg_status status = fg_samples_add(source->out, &(fg_sample){text, label, group, key}, err);
  fg_text_clear(&source->text);
  return status;
}

// ---- which files there are -------------------------------------------------------------------------------

typedef struct layout {
  fg_task task;
  const char *sign;   // the file by which it is known; NULL: the split's own
  const char *suffix; // of the split's own file; NULL: it has none
  fg_source_load *load;
} layout;

// The first that fits counts.
static const layout layouts[] = {
    {FG_TASK_MATCHING, "tableA.csv", ".csv", fg_load_linked_pairs},
    {FG_TASK_MATCHING, NULL, ".csv", fg_load_joined_pairs},
    {FG_TASK_MATCHING, NULL, ".txt", fg_load_written_pairs},
    {FG_TASK_IMPUTATION, NULL, ".csv", fg_load_rows},
    {FG_TASK_IMPUTATION, "Buy.csv", NULL, fg_load_unsplit_rows},
    {FG_TASK_SPELLING, "table.csv", ".csv", fg_load_cells},
    {FG_TASK_SPELLING, "hospital_clean.csv", NULL, fg_load_corrected_cells},
    {FG_TASK_ERRORS, "table.csv", NULL, fg_load_error_rows},
    {FG_TASK_SCHEMA, NULL, ".csv", fg_load_schema},
};

static const char *const split_names[][3] = {
    [FG_SPLIT_TRAIN] = {"train", "merged_train"},
    [FG_SPLIT_VALIDATION] = {"valid", "validation", "merged_valid"},
    [FG_SPLIT_TEST] = {"test", "merged_test"},
};
_Static_assert(sizeof split_names / sizeof *split_names == FG_SPLIT_COUNT, "names for each split");

char *fg_source_path(const fg_source *source, const char *name) {
  const size_t size = strlen(source->folder) + strlen(name) + 2;
  char *path = malloc(size);
  if (path) snprintf(path, size, "%s/%s", source->folder, name);
  return path;
}

static bool is_there(const fg_source *source, const char *name) {
  char *path = fg_source_path(source, name);
  const bool there = path && access(path, F_OK) == 0;
  free(path);
  return there;
}

// The path of the split's own file, or NULL.
static char *find_split(const fg_source *source, const char *suffix) {
  for (size_t i = 0; i < 3 && split_names[source->split][i]; i++) {
    char name[32];
    snprintf(name, sizeof name, "%s%s", split_names[source->split][i], suffix);
    if (is_there(source, name)) return fg_source_path(source, name);
  }
  return NULL;
}

static fg_status load_as(fg_source *source, const layout *l, bool *fits, fg_error *err) {
  *fits = false;
  if (l->task != source->dataset->task || (l->sign && !is_there(source, l->sign))) return FG_OK;
  char *split = l->suffix ? find_split(source, l->suffix) : NULL;
  if (l->suffix && !split) return FG_OK;
  *fits = true;
  source->split_path = split;
  fg_status status = l->load(source, err);
  free(split);
  return status;
}

fg_status fg_samples_load(fg_samples *out, const fg_dataset *dataset, const char *folder, fg_split split,
                          const fg_row_style *style, fg_error *err) {
  *out = (fg_samples){0};
  fg_source source = {.dataset = dataset, .folder = folder, .split = split, .style = style, .out = out};
  bool fits = false;
  fg_status status = FG_OK;
  for (size_t i = 0; i < sizeof layouts / sizeof *layouts && !fits; i++)
    status = load_as(&source, &layouts[i], &fits, err);
  fg_text_free(&source.text);
  if (!fits)
    status = fg_fail(err, FG_NOT_FOUND, "%s: there is no %s set for %s here; docs/wrangle.md lists the files",
                     folder, split_names[split][0], dataset->name);
  if (status != FG_OK) fg_samples_free(out);
  return status;
}

// ---- columns ---------------------------------------------------------------------------------------------

fg_status fg_source_table(const fg_source *source, fg_table *table, const char *name, fg_cell_texts texts,
                          fg_error *err) {
  char *path = fg_source_path(source, name);
  if (!path) return fg_fail(err, FG_NO_SPACE, "out of memory for %s", name);
  fg_status status = fg_table_read(table, path, texts, err);
  table->name = source->folder; // the path goes; nothing but messages needs it
  free(path);
  return status;
}

static bool is_shown(const fg_dataset *d, const char *column, const char *prefix, const char *const *skip) {
  const size_t length = strlen(prefix);
  if (strncmp(column, prefix, length) != 0) return false;
  for (; *skip; skip++)
    if (strcmp(column + length, *skip) == 0) return false;
  return !fg_dataset_drops(d, column + length);
}

fg_status fg_columns_choose(fg_columns *out, const fg_table *t, const fg_dataset *d, const char *prefix,
                            const char *const *skip, fg_error *err) {
  *out = (fg_columns){.numbers = malloc(t->columns * sizeof *out->numbers + 1),
                      .fields = calloc(t->columns + 1, sizeof *out->fields)};
  if (!out->numbers || !out->fields) {
    fg_columns_free(out);
    return fg_fail(err, FG_NO_SPACE, "%s: out of memory for its columns", t->name);
  }
  for (size_t i = 0; i < t->columns; i++) {
    const char *name = t->names[i].data;
    if (!is_shown(d, name, prefix, skip)) continue;
    out->numbers[out->count] = i;
    out->fields[out->count++].name = fg_words(fg_dataset_rename(d, name + strlen(prefix)));
  }
  return FG_OK;
}

void fg_columns_free(fg_columns *columns) {
  free(columns->numbers);
  free(columns->fields);
  *columns = (fg_columns){0};
}

fg_fields fg_columns_fill(fg_columns *columns, const fg_cell *row) {
  for (size_t i = 0; i < columns->count; i++) columns->fields[i].cell = row[columns->numbers[i]];
  return (fg_fields){columns->fields, columns->count};
}

fg_slice fg_fields_text(fg_fields fields, const char *name) {
  for (size_t i = 0; name && i < fields.count; i++)
    if (fg_slice_is(fields.items[i].name, name)) return fields.items[i].cell.text;
  return fg_words("");
}

bool fg_cell_is_one(const fg_cell *cell) {
  return fg_slice_is(cell->text, "1") || fg_slice_is(cell->text, "1.0") || fg_slice_is(cell->text, "True");
}
