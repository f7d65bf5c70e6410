// Pairs of records: linked by ids, joined in one table, or written out as text.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/system.h"
#include "wrangle/source.h"

static const char *const not_shown[] = {"id", NULL};

static fg_status add_pair(fg_source *s, fg_fields a, fg_fields b, bool same, fg_slice group, fg_error *err) {
  fg_serialise_pair(&s->text, s->dataset, a, b, s->style);
  return fg_source_add(s, fg_words(same ? "Yes" : "No"), group, fg_fields_text(a, s->dataset->key), err);
}

// ---- one table of both -----------------------------------------------------------------------------------

typedef struct joined {
  fg_table table;
  fg_columns a, b;
  size_t label;
} joined;

static fg_status choose_sides(joined *j, const fg_source *s, fg_error *err) {
  static const char *const prefixes[][2] = {{"left_", "right_"}, {"ltable_", "rtable_"}};
  for (size_t i = 0; i < 2; i++) {
    fg_status status = fg_columns_choose(&j->a, &j->table, s->dataset, prefixes[i][0], not_shown, err);
    if (status == FG_OK)
      status = fg_columns_choose(&j->b, &j->table, s->dataset, prefixes[i][1], not_shown, err);
    if (status != FG_OK || (j->a.count && j->b.count)) return status;
    fg_columns_free(&j->a);
    fg_columns_free(&j->b);
  }
  return fg_fail(err, FG_CORRUPT, "%s: no columns left_... and right_...", s->split_path);
}

fg_status fg_load_joined_pairs(fg_source *s, fg_error *err) {
  joined j = {0};
  fg_status status = fg_table_read(&j.table, s->split_path, FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = fg_table_need(&j.table, "label", &j.label, err);
  if (status == FG_OK) status = choose_sides(&j, s, err);
  for (size_t i = 0; i < j.table.rows && status == FG_OK; i++) {
    const fg_cell *row = fg_table_row(&j.table, i);
    status = add_pair(s, fg_columns_fill(&j.a, row), fg_columns_fill(&j.b, row),
                      fg_cell_is_one(&row[j.label]), row[j.label].text, err);
  }
  fg_columns_free(&j.a);
  fg_columns_free(&j.b);
  fg_table_free(&j.table);
  return status;
}

// ---- two tables and links --------------------------------------------------------------------------------

typedef struct record_id {
  fg_slice id;
  size_t row;
} record_id;

// A table of records, found by id.
typedef struct records {
  fg_table table;
  fg_columns shown;
  record_id *ids; // [rows], sorted; those of equal ids by row
} records;

static int by_id(const void *a, const void *b) {
  const record_id *x = a, *y = b;
  const int order = fg_slice_compare(x->id, y->id);
  return order ? order : (x->row > y->row) - (x->row < y->row);
}

static fg_status read_records(records *r, const fg_source *s, const char *name, fg_error *err) {
  size_t id = 0;
  fg_status status = fg_source_table(s, &r->table, name, FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = fg_table_need(&r->table, "id", &id, err);
  if (status == FG_OK) status = fg_columns_choose(&r->shown, &r->table, s->dataset, "", not_shown, err);
  if (status != FG_OK) return status;
  r->ids = malloc(r->table.rows * sizeof *r->ids + 1);
  if (!r->ids) return fg_fail(err, FG_NO_SPACE, "%s/%s: out of memory for its ids", s->folder, name);
  for (size_t i = 0; i < r->table.rows; i++) r->ids[i] = (record_id){fg_table_row(&r->table, i)[id].text, i};
  qsort(r->ids, r->table.rows, sizeof *r->ids, by_id);
  return FG_OK;
}

static void free_records(records *r) {
  free(r->ids);
  fg_columns_free(&r->shown);
  fg_table_free(&r->table);
}

// Where records with this id, or larger ones, begin.
static size_t find_id(const records *r, fg_slice id) {
  size_t low = 0, high = r->table.rows;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (fg_slice_compare(r->ids[middle].id, id) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool has_id(const records *r, size_t at, fg_slice id) {
  return at < r->table.rows && fg_slice_compare(r->ids[at].id, id) == 0;
}

// A link whose records were looked up: those of an id that several records have stand for all their pairs,
// one of an unknown id for none, as in an inner join.
typedef struct linked {
  size_t number; // in its file
  size_t a;      // row of table A
} linked;

typedef struct links {
  fg_table table;
  size_t a, b, label; // columns
  linked *joined;     // [count], with table A
  size_t count, capacity;
  fg_slice *keys; // scratch
  size_t *order;  // scratch
} links;

static fg_slice link_id(const links *l, size_t number, size_t column) {
  return fg_table_row(&l->table, number)[column].text;
}

// Room to order so many.
static fg_status grow_scratch(links *l, size_t count, fg_error *err) {
  fg_slice *keys = fg_grow(l->keys, count + 1, sizeof *keys);
  if (keys) l->keys = keys;
  size_t *order = keys ? fg_grow(l->order, count + 1, sizeof *order) : NULL;
  if (order) l->order = order;
  return order ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for %zu links", count);
}

static fg_status add_joined(links *l, size_t number, size_t row, fg_error *err) {
  if (l->count == l->capacity) {
    const size_t capacity = l->capacity ? 2 * l->capacity : 64;
    linked *grown = fg_grow(l->joined, capacity, sizeof *grown);
    if (!grown) return fg_fail(err, FG_NO_SPACE, "out of memory for %zu links", capacity);
    l->joined = grown;
    l->capacity = capacity;
  }
  l->joined[l->count++] = (linked){number, row};
  return FG_OK;
}

static fg_status join_a(links *l, const records *a, fg_error *err) {
  const size_t count = l->table.rows;
  fg_status status = grow_scratch(l, count, err);
  for (size_t i = 0; status == FG_OK && i < count; i++) l->keys[i] = link_id(l, i, l->a);
  if (status == FG_OK) status = fg_group_order(l->order, l->keys, count, err);
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    const fg_slice id = l->keys[l->order[i]];
    for (size_t k = find_id(a, id); has_id(a, k, id) && status == FG_OK; k++)
      status = add_joined(l, l->order[i], a->ids[k].row, err);
  }
  return status;
}

static fg_status join_b(fg_source *s, links *l, records *a, records *b, fg_error *err) {
  fg_status status = grow_scratch(l, l->count, err);
  for (size_t i = 0; status == FG_OK && i < l->count; i++) l->keys[i] = link_id(l, l->joined[i].number, l->b);
  if (status == FG_OK) status = fg_group_order(l->order, l->keys, l->count, err);
  for (size_t i = 0; i < l->count && status == FG_OK; i++) {
    const linked *pair = &l->joined[l->order[i]];
    const fg_cell *label = &fg_table_row(&l->table, pair->number)[l->label];
    const fg_slice id = l->keys[l->order[i]];
    const fg_fields left = fg_columns_fill(&a->shown, fg_table_row(&a->table, pair->a));
    for (size_t k = find_id(b, id); has_id(b, k, id) && status == FG_OK; k++)
      status = add_pair(s, left, fg_columns_fill(&b->shown, fg_table_row(&b->table, b->ids[k].row)),
                        fg_cell_is_one(label), label->text, err);
  }
  return status;
}

static fg_status read_links(links *l, const fg_source *s, fg_error *err) {
  fg_status status = fg_table_read(&l->table, s->split_path, FG_CELLS_AS_PANDAS, err);
  if (status == FG_OK) status = fg_table_need(&l->table, "ltable_id", &l->a, err);
  if (status == FG_OK) status = fg_table_need(&l->table, "rtable_id", &l->b, err);
  if (status == FG_OK) status = fg_table_need(&l->table, "label", &l->label, err);
  return status;
}

fg_status fg_load_linked_pairs(fg_source *s, fg_error *err) {
  records a = {0}, b = {0};
  links l = {0};
  fg_status status = read_records(&a, s, "tableA.csv", err);
  if (status == FG_OK) status = read_records(&b, s, "tableB.csv", err);
  if (status == FG_OK) status = read_links(&l, s, err);
  if (status == FG_OK) status = join_a(&l, &a, err);
  if (status == FG_OK) status = join_b(s, &l, &a, &b, err);
  free(l.joined);
  free(l.keys);
  free(l.order);
  fg_table_free(&l.table);
  free_records(&a);
  free_records(&b);
  return status;
}

// ---- "COL name VAL value" --------------------------------------------------------------------------------

enum { WRITTEN_FIELDS = 64 };

typedef struct written_side {
  fg_field fields[WRITTEN_FIELDS];
  size_t count;
} written_side;

static const char *find_mark(const char *at, const char *end, const char *mark) {
  const char *found = memmem(at, (size_t)(end - at), mark, strlen(mark));
  return found ? found : end;
}

// One field of a side: between "COL " and the next "COL ". False: it has no value, or there are too many.
static bool take_written(written_side *side, const fg_dataset *d, const char *from, const char *to,
                         char *name, size_t name_size) {
  const char *value = find_mark(from, to, " VAL");
  const fg_slice column = fg_strip((fg_slice){from, (size_t)(value - from)});
  if (value == to || side->count == WRITTEN_FIELDS || column.length >= name_size) return false;
  memcpy(name, column.data, column.length);
  name[column.length] = 0;
  if (fg_dataset_drops(d, name) || strcmp(name, "id") == 0) return true;
  value += strlen(" VAL");
  const fg_slice text = fg_strip((fg_slice){value, (size_t)(to - value)});
  const char *shown = fg_dataset_rename(d, name);
  side->fields[side->count++] = (fg_field){.name = shown == name ? column : fg_words(shown),
                                           .cell = {text.length ? text : fg_words("nan"), text.length == 0}};
  return true;
}

static bool read_side(written_side *side, const fg_dataset *d, const char *at, const char *end) {
  char name[128];
  side->count = 0;
  at = find_mark(at, end, "COL ");
  while (at < end) {
    at += strlen("COL ");
    const char *next = find_mark(at, end, " COL ");
    if (!take_written(side, d, at, next, name, sizeof name)) return false;
    at = next < end ? next + 1 : end;
  }
  return side->count > 0;
}

static fg_status add_written(fg_source *s, char *line, size_t length, uint64_t number, fg_error *err) {
  written_side a, b;
  char *first = memchr(line, '\t', length), *end = line + length,
       *second = first ? memchr(first + 1, '\t', (size_t)(end - first - 1)) : NULL;
  if (!fg_utf8_valid(line, length))
    return fg_fail(err, FG_CORRUPT, "%s: line %" PRIu64 ": not valid UTF-8", s->split_path, number);
  if (!second || !read_side(&a, s->dataset, line, first) || !read_side(&b, s->dataset, first + 1, second))
    return fg_fail(err, FG_CORRUPT,
                   "%s: line %" PRIu64
                   ": it should be COL name VAL value ..., a tab, the same, a tab, and 0 or 1",
                   s->split_path, number);
  const fg_slice label = fg_strip((fg_slice){second + 1, (size_t)(end - second - 1)});
  return add_pair(s, (fg_fields){a.fields, a.count}, (fg_fields){b.fields, b.count}, fg_slice_is(label, "1"),
                  label, err);
}

fg_status fg_load_written_pairs(fg_source *s, fg_error *err) {
  FILE *file = fopen(s->split_path, "rbe");
  if (!file) return fg_fail(err, FG_IO, "%s: cannot open: %s", s->split_path, strerror(errno));
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  uint64_t number = 0;
  fg_status status = FG_OK;
  while (status == FG_OK && (length = getline(&line, &capacity, file)) > 0) {
    number++;
    if (line[length - 1] == '\n') length--;
    if (length) status = add_written(s, line, (size_t)length, number, err);
  }
  if (status == FG_OK && ferror(file))
    status = fg_fail(err, FG_IO, "%s: cannot read: %s", s->split_path, strerror(errno));
  free(line);
  fclose(file);
  return status;
}
