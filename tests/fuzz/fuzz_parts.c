#include "fuzz_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  unsigned bytes;
} dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2},    {"F64", 8},     {"I8", 1},
              {"I32", 4}, {"I64", 8}, {"F8_E4M3", 1}, {"F8_E8M0", 1}, {"U8", 1}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static uint64_t bytes_of(const fuzz_part *p) {
  for (int i = 0; i < DTYPES; i++)
    if (strcmp(dtypes[i].name, p->dtype) == 0) return dtypes[i].bytes * (p->rows ? p->rows : 1) * p->columns;
  return 0;
}

static void change_digit(fuzz_random *r, char *text) {
  size_t digits[FUZZ_CONFIG], count = 0;
  for (size_t i = 0; text[i]; i++)
    if (text[i] >= '0' && text[i] <= '9') digits[count++] = i;
  if (count) text[digits[fuzz_below(r, count)]] = "0123456789-x"[fuzz_below(r, 12)];
}

static void mutate(fuzz_random *r, const fuzz_parts *bases, size_t base_count, fuzz_parts *in) {
  size_t count = 0;
  while (count < FUZZ_PARTS && in->parts[count].name) count++;
  if (count == 0) return;
  fuzz_part *p = &in->parts[fuzz_below(r, count)];
  switch (fuzz_below(r, 8)) {
  case 0: p->dtype = dtypes[fuzz_below(r, DTYPES)].name; break;
  case 1: p->rows = fuzz_number(r, p->rows) & 0xff; break;
  case 2: p->columns = fuzz_number(r, p->columns) & 0xff; break;
  case 3: *p = in->parts[count - 1], in->parts[count - 1].name = NULL; break;
  case 4: p->text = NULL; break;
  case 5: change_digit(r, in->config); break;
  case 6: strcpy(in->config, bases[fuzz_below(r, base_count)].config); break;
  default: in->config[fuzz_below(r, strlen(in->config))] = "{}[],:\"0"[fuzz_below(r, 8)]; break;
  }
}

static void put_entry(fuzz_bytes *out, const char *separator, const fuzz_part *p, uint64_t begin) {
  fuzz_put_format(out, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", separator, p->name, p->dtype);
  if (p->rows) fuzz_put_format(out, "%" PRIu64 ",", p->rows);
  fuzz_put_format(out, "%" PRIu64 "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", p->columns, begin,
                  begin + bytes_of(p));
}

static void put_data(fuzz_random *r, fuzz_bytes *out, const fuzz_part *p) {
  uint64_t bytes = bytes_of(p);
  for (uint64_t i = 0; i < bytes; i++) {
    bool given = p->text && i < p->text_bytes;
    fuzz_put_number(out, given ? (uint8_t)p->text[i] : fuzz_next(r), 1);
  }
}

void fuzz_parts_make(fuzz_random *r, const fuzz_parts *bases, size_t count, const char *config_name,
                     fuzz_bytes *out) {
  fuzz_parts in = bases[fuzz_below(r, count)];
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) mutate(r, bases, count, &in);
  const fuzz_part config = {.name = config_name,
                            .dtype = "U8",
                            .columns = strlen(in.config),
                            .text = in.config,
                            .text_bytes = FUZZ_CONFIG};
  uint64_t at = config.columns;
  fuzz_put_number(out, 0, 8);
  put_entry(out, "{", &config, 0);
  for (int i = 0; i < FUZZ_PARTS && in.parts[i].name; i++) {
    put_entry(out, ",", &in.parts[i], at);
    at += bytes_of(&in.parts[i]);
  }
  fuzz_put_text(out, "}");
  fuzz_set_number(out, 0, out->count - 8, 8);
  put_data(r, out, &config);
  for (int i = 0; i < FUZZ_PARTS && in.parts[i].name; i++) put_data(r, out, &in.parts[i]);
}

bool fuzz_parts_config(fg_checkpoint *c, const char *name, const char *begin,
                       char out[static FUZZ_CONFIG + 64]) {
  const fg_checkpoint_tensor *t = fg_checkpoint_find(c, name);
  char inner[FUZZ_CONFIG + 1] = "";
  if (!t || t->dtype != FG_U8 || t->rows != 1 || t->columns > FUZZ_CONFIG ||
      fg_checkpoint_read_rows(c, t, 0, 1, inner, NULL))
    return false;
  snprintf(out, FUZZ_CONFIG + 64, "%s{%s}", begin, inner);
  return true;
}

void fuzz_parts_read_all(fg_checkpoint *c) {
  for (size_t i = 0; i < c->count; i++) {
    const fg_checkpoint_tensor *t = &c->tensors[i];
    uint64_t row_bytes;
    fg_error err = {0};
    if (!fg_dtype_bytes(t->dtype, t->columns, &row_bytes))
      fuzz_broken("rows of %s are no whole blocks", t->name);
    char *data = malloc(t->rows * row_bytes + 1);
    if (data && fg_checkpoint_read_rows(c, t, 0, t->rows, data, &err) && err.message[0] == 0)
      fuzz_broken("%s cannot be read, without a reason", t->name);
    free(data);
  }
}
