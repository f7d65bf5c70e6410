#include "wrangle/serialise.h"

#include <string.h>

static void put(fg_text *out, fg_slice s) {
  fg_text_append(out, s.data, s.length);
}

static void put_field(fg_text *out, const fg_field *field, const fg_row_style *style) {
  fg_slice name = fg_strip_front(field->name);
  fg_slice value = field->cell.missing ? fg_words(style->missing) : fg_strip(field->cell.text);
  put(out, name);
  fg_text_append_string(out, ": ");
  put(out, value);
}

// A separator other than a full stop is set off by a space; an empty one is a space alone.
static const char *space_before(const fg_row_style *style) {
  return *style->separator && strcmp(style->separator, ".") != 0 ? " " : "";
}

void fg_serialise_row(fg_text *out, fg_fields row, const fg_row_style *style) {
  for (size_t i = 0; i < row.count; i++) {
    if (i) fg_text_printf(out, "%s%s ", space_before(style), style->separator);
    put_field(out, &row.items[i], style);
  }
}

void fg_serialise_pair(fg_text *out, const fg_dataset *d, fg_fields a, fg_fields b,
                       const fg_row_style *style) {
  fg_text_printf(out, "%s A is ", d->noun);
  fg_serialise_row(out, a, style);
  fg_text_printf(out, ". %s B is ", d->noun);
  fg_serialise_row(out, b, style);
  fg_text_printf(out, ".%s ", d->suffix);
}

void fg_serialise_imputation(fg_text *out, const fg_dataset *d, fg_fields row, const fg_row_style *style) {
  fg_serialise_row(out, row, style);
  fg_text_printf(out, "%s%s%s ", space_before(style), style->separator, d->suffix);
}

void fg_serialise_spelling(fg_text *out, const fg_dataset *d, fg_field cell, const fg_row_style *style) {
  fg_text_append_string(out, "Is there a x spelling error in ");
  fg_serialise_row(out, (fg_fields){&cell, 1}, style);
  fg_text_printf(out, "%s ", d->suffix);
}

void fg_serialise_error(fg_text *out, const fg_dataset *d, fg_fields row, fg_field cell,
                        const fg_row_style *style) {
  fg_serialise_row(out, row, style);
  fg_text_append_string(out, "\n\nIs there an error in ");
  fg_serialise_row(out, (fg_fields){&cell, 1}, style);
  fg_text_printf(out, "%s ", d->suffix);
}

void fg_serialise_schema(fg_text *out, const fg_dataset *d, fg_slice left, fg_slice right) {
  fg_text_append_string(out, "A is ");
  put(out, left);
  fg_text_append_string(out, ". B is ");
  put(out, right);
  fg_text_printf(out, ". %s ", d->suffix);
}

void fg_put_query(fg_text *out, const char *instruction, fg_slice prefix, fg_slice text) {
  if (instruction) fg_text_printf(out, "%s ", instruction);
  const fg_slice before = fg_strip_front(prefix);
  const size_t from = out->length;
  put(out, before);
  if (before.length) fg_text_append_string(out, "\n");
  put(out, before.length ? text : fg_strip_front(text));
  if (fg_text_failed(out)) return;
  out->length = from + fg_strip((fg_slice){out->data + from, out->length - from}).length;
  out->data[out->length] = 0;
}
