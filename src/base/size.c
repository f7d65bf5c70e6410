#include "base/size.h"

#include <stdio.h>
#include <strings.h>

typedef struct unit {
  const char *suffix;
  uint64_t bytes;
} unit;

static const unit units[] = {
    {"", 1},
    {"B", 1},
    {"K", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"KB", UINT64_C(1000)},
    {"MB", UINT64_C(1000000)},
    {"GB", UINT64_C(1000000000)},
    {"TB", UINT64_C(1000000000000)},
};

static fg_status refuse(const char *text, const char *why, fg_error *err) {
  return fg_fail(err, FG_INVALID, "'%s' %s; write a size like 900M, 1.5G or 20GB", text, why);
}

// A number with an optional fraction, as thousandths of a millionth so that no rounding is left to
// chance: 1.5G is exactly 1610612736.
enum { FRACTION_DIGITS = 9, FRACTION_ONE = 1000000000 };

fg_status fg_size_parse(const char *text, uint64_t *bytes, fg_error *err) {
  const char *p = text;
  uint64_t whole = 0, fraction = 0;
  int digits = 0;
  for (; *p >= '0' && *p <= '9'; p++, digits++) {
    uint64_t digit = (uint64_t)(*p - '0');
    if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, digit, &whole))
      return refuse(text, "is too large", err);
  }
  if (*p == '.') {
    uint64_t place = FRACTION_ONE;
    for (p++; *p >= '0' && *p <= '9'; p++, digits++) {
      place /= 10;
      fraction += place * (uint64_t)(*p - '0');
    }
  }
  if (digits == 0) return refuse(text, "is not a size", err);
  if (*p == ' ') p++;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (strcasecmp(p, units[i].suffix) != 0) continue;
    unsigned __int128 value = (unsigned __int128)whole * units[i].bytes +
                              (unsigned __int128)fraction * units[i].bytes / FRACTION_ONE;
    if (value > UINT64_MAX) return refuse(text, "is too large", err);
    *bytes = (uint64_t)value;
    return FG_OK;
  }
  return refuse(text, "has an unknown unit", err);
}

const char *fg_size_format(uint64_t bytes, char buffer[static 16]) {
  static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t i = 0;
  double value = (double)bytes;
  // 1023.5 would be shown as 1024.
  while (value >= 1023.5 && i + 1 < sizeof names / sizeof names[0]) {
    value /= 1024;
    i++;
  }
  int length = snprintf(buffer, 16, value < 99.95 ? "%.1f" : "%.0f", value);
  if (length > 2 && buffer[length - 2] == '.' && buffer[length - 1] == '0')
    length -= 2; // "64 KiB", not "64.0"
  snprintf(buffer + length, 16 - (size_t)length, " %s", names[i]);
  return buffer;
}
