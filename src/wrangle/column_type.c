#include "wrangle/column_type.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool fg_is_missing(fg_slice cell) {
  static const char *const words[] = {"",     "#N/A", "#N/A N/A", "#NA",     "-1.#IND", "-1.#QNAN",
                                      "-NaN", "-nan", "1.#IND",   "1.#QNAN", "<NA>",    "N/A",
                                      "NA",   "NULL", "NaN",      "n/a",     "nan",     "null"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i]) == cell.length && (!cell.length || memcmp(words[i], cell.data, cell.length) == 0))
      return true;
  return false;
}

// ---- what a text could be --------------------------------------------------------------------------------

enum { LONGEST_NUMBER = 400 }; // of a text that is looked at as a number

// Numbers may stand between blanks.
static fg_slice trim(fg_slice s) {
  while (s.length && (*s.data == ' ' || *s.data == '\t')) s = (fg_slice){s.data + 1, s.length - 1};
  while (s.length && (s.data[s.length - 1] == ' ' || s.data[s.length - 1] == '\t')) s.length--;
  return s;
}

static size_t digits(const char *s, const char *end) {
  const char *from = s;
  while (s < end && *s >= '0' && *s <= '9') s++;
  return (size_t)(s - from);
}

static const char *skip_sign(const char *s, const char *end) {
  return s < end && (*s == '-' || *s == '+') ? s + 1 : s;
}

static bool is_infinity(const char *s, const char *end) {
  const size_t length = (size_t)(end - s);
  return (length == 3 && strncasecmp(s, "inf", 3) == 0) ||
         (length == 8 && strncasecmp(s, "infinity", 8) == 0);
}

static bool looks_whole(fg_slice cell) {
  const char *end = cell.data + cell.length, *s = skip_sign(cell.data, end);
  return s < end && digits(s, end) == (size_t)(end - s);
}

static bool looks_real(fg_slice cell) {
  const char *end = cell.data + cell.length, *s = skip_sign(cell.data, end);
  if (is_infinity(s, end)) return true;
  size_t before = digits(s, end), behind = 0;
  s += before;
  if (s < end && *s == '.') {
    behind = digits(s + 1, end);
    s += 1 + behind;
  }
  if (!before && !behind) return false;
  if (s < end && (*s == 'e' || *s == 'E')) {
    const char *exponent = skip_sign(s + 1, end);
    const size_t count = digits(exponent, end);
    if (!count) return false;
    s = exponent + count;
  }
  return s == end;
}

static bool copy_number(char out[static LONGEST_NUMBER], fg_slice cell) {
  if (cell.length >= LONGEST_NUMBER) return false;
  memcpy(out, cell.data, cell.length);
  out[cell.length] = 0;
  return true;
}

static bool is_bool(fg_slice cell, bool *value) {
  *value = cell.length == 4;
  return cell.length == 4
             ? !strncmp(cell.data, "True", 4) || !strncmp(cell.data, "TRUE", 4) ||
                   !strncmp(cell.data, "true", 4)
             : cell.length == 5 && (!strncmp(cell.data, "False", 5) || !strncmp(cell.data, "FALSE", 5) ||
                                    !strncmp(cell.data, "false", 5));
}

void fg_column_begin(fg_column_look *look) {
  *look =
      (fg_column_look){.whole = true, .unsigned_whole = true, .real = true, .boolean = true, .digits = true};
}

static void see_number(fg_column_look *look, fg_slice cell) {
  char text[LONGEST_NUMBER];
  const fg_slice number = trim(cell);
  if (!copy_number(text, number)) {
    look->whole = look->unsigned_whole = look->digits = look->real = false;
    return;
  }
  look->real = look->real && looks_real(number);
  if (!looks_whole(number)) {
    look->whole = look->unsigned_whole = look->digits = false;
    return;
  }
  errno = 0;
  (void)strtoll(text, NULL, 10);
  if (errno) look->whole = false;
  errno = 0;
  (void)strtoull(text, NULL, 10);
  if (errno || text[0] == '-') look->unsigned_whole = false;
}

void fg_column_see(fg_column_look *look, fg_slice cell, bool missing) {
  if (missing) {
    look->missing = true;
    return;
  }
  bool ignored;
  look->any = true;
  see_number(look, cell);
  look->boolean = look->boolean && is_bool(cell, &ignored);
}

fg_column_type fg_column_end(const fg_column_look *look) {
  if (!look->any) return FG_COLUMN_TEXT;
  if (look->whole) return look->missing ? FG_COLUMN_REAL : FG_COLUMN_WHOLE;
  if (look->unsigned_whole) return look->missing ? FG_COLUMN_TEXT : FG_COLUMN_WHOLE;
  if (look->real && !look->digits) return FG_COLUMN_REAL; // numbers beyond 64 bits stay texts
  return look->boolean ? FG_COLUMN_BOOL : FG_COLUMN_TEXT;
}

// ---- printing --------------------------------------------------------------------------------------------

// As Python's repr: the fewest digits that read back, an exponent below 1e-4 and from 1e16 on.
static void print_real(fg_text *out, double value) {
  if (isinf(value)) {
    fg_text_append_string(out, value < 0 ? "-inf" : "inf");
    return;
  }
  char text[40];
  int precision = 1;
  do snprintf(text, sizeof text, "%.*e", precision - 1, value);
  while (strtod(text, NULL) != value && ++precision <= 17);
  const int exponent = atoi(strchr(text, 'e') + 1); // NOLINT(cert-err34-c): printed above
  if (exponent < -4 || exponent >= 16) {
    fg_text_append_string(out, text);
    return;
  }
  const int behind = precision - 1 - exponent;
  fg_text_printf(out, "%.*f", behind > 1 ? behind : 1, value);
}

void fg_column_print(fg_text *out, fg_column_type type, fg_slice cell) {
  char number[LONGEST_NUMBER];
  bool truth;
  if (type == FG_COLUMN_BOOL && is_bool(cell, &truth)) {
    fg_text_append_string(out, truth ? "True" : "False");
  } else if (type == FG_COLUMN_REAL && copy_number(number, trim(cell))) {
    print_real(out, strtod(number, NULL));
  } else if (type == FG_COLUMN_WHOLE && copy_number(number, trim(cell))) {
    errno = 0;
    const long long value = strtoll(number, NULL, 10);
    if (errno)
      fg_text_printf(out, "%llu", strtoull(number, NULL, 10));
    else
      fg_text_printf(out, "%lld", value);
  } else {
    fg_text_append(out, cell.data, cell.length);
  }
}
