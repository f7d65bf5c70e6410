#include "wrangle/row_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/system.h"

// Text that stands as it is, then a cell.
typedef struct part {
  fg_slice text;
  bool has_cell;
  size_t cell;
} part;

struct fg_row_template {
  part *parts;
  size_t count, capacity;
};

fg_status fg_column_number(const char *name, size_t length, const fg_slice *names, size_t count,
                           size_t *number, fg_error *err) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    if (names[i].length != length || (length && memcmp(names[i].data, name, length) != 0)) continue;
    *number = i;
    found++;
  }
  if (found == 1) return FG_OK;
  const int shown = length < 64 ? (int)length : 64;
  if (found) return fg_fail(err, FG_INVALID, "%zu columns are named '%.*s'", found, shown, name);
  fg_text list = {0};
  for (size_t i = 0; i < count && list.length < 300; i++)
    fg_text_printf(&list, "%s%.*s", i ? ", " : "", (int)names[i].length, names[i].data);
  fg_status status = fg_fail(err, FG_INVALID, "there is no column '%.*s'; the columns are %.300s", shown,
                             name, list.data ? list.data : "");
  fg_text_free(&list);
  return status;
}

static fg_status add(fg_row_template *t, const part *added, fg_error *err) {
  if (t->count == t->capacity) {
    const size_t capacity = t->capacity ? 2 * t->capacity : 8;
    part *parts = fg_grow(t->parts, capacity, sizeof *parts);
    if (!parts) return fg_fail(err, FG_NO_SPACE, "out of memory for the template");
    t->parts = parts;
    t->capacity = capacity;
  }
  t->parts[t->count++] = *added;
  return FG_OK;
}

// What begins with a brace at `at`; *next is behind it.
static fg_status read_brace(part *p, const char *at, const char **next, const fg_slice *names, size_t count,
                            fg_error *err) {
  if (at[1] == at[0]) {
    *p = (part){.text = {at, 1}};
    *next = at + 2;
    return FG_OK;
  }
  const char *end = at[0] == '{' ? strpbrk(at + 1, "{}") : NULL;
  if (!end || *end != '}')
    return fg_fail(err, FG_INVALID,
                   "the template has a brace without its partner at '%.40s'; {{ and }} are braces", at);
  *p = (part){.has_cell = true};
  *next = end + 1;
  fg_status status = fg_column_number(at + 1, (size_t)(end - at - 1), names, count, &p->cell, err);
  return status == FG_OK ? FG_OK : fg_fail_prefix(err, "the template");
}

static fg_status read_parts(fg_row_template *t, const char *text, const fg_slice *names, size_t count,
                            fg_error *err) {
  fg_status status = FG_OK;
  while (*text && status == FG_OK) {
    const size_t plain = strcspn(text, "{}");
    part p = {.text = {text, plain}};
    text += plain;
    if (!plain) status = read_brace(&p, text, &text, names, count, err);
    if (status == FG_OK) status = add(t, &p, err);
  }
  return status;
}

fg_status fg_row_template_read(fg_row_template **out, const char *text, const fg_slice *names, size_t count,
                               fg_error *err) {
  *out = NULL;
  if (!fg_utf8_valid(text, strlen(text))) return fg_fail(err, FG_INVALID, "the template is not valid UTF-8");
  fg_row_template *t = calloc(1, sizeof *t);
  if (!t) return fg_fail(err, FG_NO_SPACE, "out of memory for the template");
  fg_status status = read_parts(t, text, names, count, err);
  if (status != FG_OK) {
    fg_row_template_destroy(t);
    return status;
  }
  *out = t;
  return FG_OK;
}

void fg_row_template_destroy(fg_row_template *t) {
  if (!t) return;
  free(t->parts);
  free(t);
}

void fg_row_template_put(fg_text *out, const fg_row_template *t, const fg_slice *cells) {
  for (size_t i = 0; i < t->count; i++) {
    const part *p = &t->parts[i];
    const fg_slice put = p->has_cell ? cells[p->cell] : p->text;
    fg_text_append(out, put.data, put.length);
  }
}
