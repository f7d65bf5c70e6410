#include "wrangle/examples.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "wrangle/numpy_random.h"

// ---- drawn from the train set ----------------------------------------------------------------------------

enum { TRAIN_SEED = 42 }; // of balancing and shuffling, whatever the seed of the draw

// Numbers of train rows, worked on by permutations.
typedef struct picking {
  const fg_samples *train;
  uint32_t *rows, *order, *scratch; // [train->count]
  uint32_t count;
  fg_slice *classes; // [class_count], in order
  uint32_t class_count;
} picking;

// rows[0 .. count) become their permutation's first `kept`.
static void sample(picking *p, uint32_t *rows, uint32_t count, uint32_t kept, uint32_t seed) {
  fg_numpy_random random;
  fg_numpy_seed(&random, seed);
  fg_numpy_permutation(&random, p->order, count);
  for (uint32_t i = 0; i < kept; i++) p->scratch[i] = rows[p->order[i]];
  memcpy(rows, p->scratch, kept * sizeof *rows);
}

static int by_class(const void *a, const void *b) {
  const fg_slice *x = a, *y = b;
  char *end_x, *end_y;
  const double number_x = strtod(x->data, &end_x), number_y = strtod(y->data, &end_y);
  if (end_x != x->data && end_y != y->data && !*end_x && !*end_y)
    return (number_x > number_y) - (number_x < number_y);
  return strcmp(x->data, y->data);
}

static bool is_class(fg_slice a, fg_slice b) {
  return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

static void find_classes(picking *p) {
  for (size_t i = 0; i < p->train->count; i++) {
    const fg_slice group = p->train->items[i].group;
    uint32_t k = 0;
    while (k < p->class_count && !is_class(p->classes[k], group)) k++;
    if (k == p->class_count && !fg_slice_is(group, "nan")) p->classes[p->class_count++] = group;
  }
  qsort(p->classes, p->class_count, sizeof *p->classes, by_class);
}

static uint32_t take_class(const picking *p, uint32_t number, uint32_t *rows) {
  uint32_t count = 0;
  for (size_t i = 0; i < p->train->count; i++)
    if (is_class(p->train->items[i].group, p->classes[number])) rows[count++] = (uint32_t)i;
  return count;
}

static void balance(picking *p) {
  uint32_t least = UINT32_MAX;
  find_classes(p);
  for (uint32_t i = 0; i < p->class_count; i++) {
    const uint32_t count = take_class(p, i, p->scratch);
    if (count < least) least = count;
  }
  p->count = 0;
  for (uint32_t i = 0; i < p->class_count; i++) {
    const uint32_t count = take_class(p, i, p->rows + p->count);
    sample(p, p->rows + p->count, count, least, TRAIN_SEED);
    p->count += least;
  }
}

static fg_status pick(picking *p, const fg_example_draw *draw, fg_error *err) {
  for (uint32_t i = 0; i < p->train->count; i++) p->rows[i] = i;
  p->count = (uint32_t)p->train->count;
  if (draw->balanced) balance(p);
  sample(p, p->rows, p->count, p->count, TRAIN_SEED);
  if (draw->count > p->count)
    return fg_fail(err, FG_INVALID, "%u examples are wanted and %u can be drawn; lower --k", draw->count,
                   p->count);
  sample(p, p->rows, p->count, draw->count, draw->seed);
  return FG_OK;
}

static void put_example(fg_text *out, const fg_sample *s) {
  const size_t from = out->length;
  const fg_slice text = fg_strip_front(s->text);
  fg_text_append(out, text.data, text.length);
  fg_text_append(out, s->label.data, s->label.length);
  if (fg_text_failed(out)) return;
  out->length = from + fg_strip((fg_slice){out->data + from, out->length - from}).length;
}

fg_status fg_examples_random(fg_text *out, const fg_samples *train, const fg_example_draw *draw,
                             fg_error *err) {
  if (!draw->count) return FG_OK;
  const size_t count = train->count;
  picking p = {.train = train,
               .rows = calloc(count + 1, sizeof *p.rows),
               .order = calloc(count + 1, sizeof *p.order),
               .scratch = calloc(count + 1, sizeof *p.scratch),
               .classes = calloc(count + 1, sizeof *p.classes)};
  fg_status status = p.rows && p.order && p.scratch && p.classes
                         ? pick(&p, draw, err)
                         : fg_fail(err, FG_NO_SPACE, "out of memory to draw from %zu rows", count);
  for (uint32_t i = 0; i < draw->count && status == FG_OK; i++) {
    if (i) fg_text_append_string(out, "\n\n");
    put_example(out, &train->items[p.rows[i]]);
  }
  if (status == FG_OK) fg_text_append_string(out, "\n");
  if (status == FG_OK && fg_text_failed(out))
    status = fg_fail(err, FG_NO_SPACE, "out of memory for the examples");
  free(p.rows);
  free(p.order);
  free(p.scratch);
  free(p.classes);
  return status;
}

// ---- written by hand -------------------------------------------------------------------------------------

enum { MANUAL_BYTES = 64 << 20 };

struct fg_manual_examples {
  json_t *root;
  const char *path;
  const json_t *examples;
  const char *column;
};

static fg_status check_manual(const fg_manual_examples *m, fg_error *err) {
  if (!m->column && !json_is_string(m->examples))
    return fg_fail(err, FG_CORRUPT,
                   "%s: \"examples\" must be a text, or an object of texts where \"by\" names a column",
                   m->path);
  if (!m->column) return FG_OK;
  const char *value;
  json_t *text;
  if (!json_is_object(m->examples))
    return fg_fail(err, FG_CORRUPT, "%s: \"by\" names a column, so \"examples\" must be an object of texts",
                   m->path);
  json_object_foreach((json_t *)(uintptr_t)m->examples, value,
                      text) if (!json_is_string(text)) return fg_fail(err, FG_CORRUPT,
                                                                      "%s: examples for '%.60s' are no text",
                                                                      m->path, value);
  return FG_OK;
}

fg_status fg_manual_read(fg_manual_examples **out, const char *path, fg_error *err) {
  *out = NULL;
  json_t *root = fg_json_read_file(path, MANUAL_BYTES, err);
  if (!root) return err ? err->status : FG_CORRUPT;
  fg_manual_examples *m = calloc(1, sizeof *m);
  if (!m) {
    json_decref(root);
    return fg_fail(err, FG_NO_SPACE, "%s: out of memory for the examples", path);
  }
  *m = (fg_manual_examples){.root = root,
                            .path = path,
                            .examples = json_object_get(root, "examples"),
                            .column = json_string_value(json_object_get(root, "by"))};
  fg_status status = check_manual(m, err);
  if (status != FG_OK) {
    fg_manual_destroy(m);
    return status;
  }
  *out = m;
  return FG_OK;
}

void fg_manual_destroy(fg_manual_examples *m) {
  if (!m) return;
  json_decref(m->root);
  free(m);
}

fg_status fg_manual_find(const fg_manual_examples *m, fg_slice key, fg_slice *examples, fg_error *err) {
  const json_t *text = m->column ? json_object_getn(m->examples, key.data, key.length) : m->examples;
  if (!text)
    return fg_fail(err, FG_INVALID, "%s: there are no examples for %s '%.*s'", m->path, m->column,
                   key.length < 100 ? (int)key.length : 100, key.data);
  *examples = (fg_slice){json_string_value(text), json_string_length(text)};
  return FG_OK;
}

const char *fg_manual_column(const fg_manual_examples *m) {
  return m->column;
}
