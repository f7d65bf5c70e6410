// How the values of options are read: a function for each kind.
#include "option_values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "device/device.h"

static fg_status wants(const fg_option_row *row, const char *what, const char *got, fg_error *err) {
  return fg_fail(err, FG_INVALID, "--%s needs %s, not '%.60s'", row->name, what, got);
}

// Whole numbers in decimal, nothing before or behind.
static bool parse_u64(const char *text, const char *end, uint64_t *out) {
  uint64_t n = 0;
  if (text == end) return false;
  for (; text != end; text++) {
    if (*text < '0' || *text > '9') return false;
    if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
      return false;
  }
  *out = n;
  return true;
}

static bool parse_u32(const char *text, const char *end, uint32_t *out) {
  uint64_t n;
  if (!parse_u64(text, end, &n) || n > UINT32_MAX) return false;
  *out = (uint32_t)n;
  return true;
}

static fg_status set_flag(const fg_option_row *row, void *field, char **values, fg_error *err) {
  (void)row, (void)values, (void)err;
  *(bool *)field = true;
  return FG_OK;
}

static fg_status set_count(const fg_option_row *row, void *field, char **values, fg_error *err) {
  (void)row, (void)values, (void)err;
  ++*(uint32_t *)field;
  return FG_OK;
}

static const struct {
  const char *word;
  bool value;
} booleans[] = {
    {"true", true},   {"yes", true}, {"t", true},  {"y", true},  {"1", true},
    {"false", false}, {"no", false}, {"f", false}, {"n", false}, {"0", false},
};

bool fg_option_is_bool(const char *word, bool *out) {
  for (size_t i = 0; i < sizeof booleans / sizeof *booleans; i++) {
    if (strcmp(booleans[i].word, word) != 0) continue;
    *out = booleans[i].value;
    return true;
  }
  return false;
}

static fg_status set_bool(const fg_option_row *row, void *field, char **values, fg_error *err) {
  if (!values[0]) {
    *(bool *)field = true;
    return FG_OK;
  }
  return fg_option_is_bool(values[0], field) ? FG_OK : wants(row, "true or false", values[0], err);
}

static fg_status set_u32(const fg_option_row *row, void *field, char **values, fg_error *err) {
  double high = row->high > 0 ? row->high : (double)UINT32_MAX;
  uint32_t n;
  char what[64];
  snprintf(what, sizeof what, "a whole number from %.0f to %.0f", row->low, high);
  if (!parse_u32(values[0], strchr(values[0], 0), &n) || n < row->low || n > high)
    return wants(row, what, values[0], err);
  *(uint32_t *)field = n;
  return FG_OK;
}

static fg_status set_u64(const fg_option_row *row, void *field, char **values, fg_error *err) {
  return parse_u64(values[0], strchr(values[0], 0), field)
             ? FG_OK
             : wants(row, "a whole number of 64 bits", values[0], err);
}

static fg_status set_f64(const fg_option_row *row, void *field, char **values, fg_error *err) {
  char what[64], *end;
  snprintf(what, sizeof what, "a number from %g to %g", row->low, row->high);
  errno = 0;
  double n = strtod(values[0], &end);
  if (errno || end == values[0] || *end || !(n >= row->low && n <= row->high))
    return wants(row, what, values[0], err);
  *(double *)field = n;
  return FG_OK;
}

static fg_status set_share(const fg_option_row *row, void *field, char **values, fg_error *err) {
  fg_error ignored;
  char what[64];
  double n = row->low;
  snprintf(what, sizeof what, "a number above %g, at most %g", row->low, row->high);
  if (set_f64(row, &n, values, &ignored) != FG_OK || n <= row->low) return wants(row, what, values[0], err);
  *(double *)field = n;
  return FG_OK;
}

static fg_status set_size(const fg_option_row *row, void *field, char **values, fg_error *err) {
  uint64_t bytes;
  if (fg_size_parse(values[0], &bytes, NULL) != FG_OK || bytes < row->low)
    return wants(row, "a size such as 800M or 16G", values[0], err);
  *(uint64_t *)field = bytes;
  return FG_OK;
}

static fg_status set_cap(const fg_option_row *row, void *field, char **values, fg_error *err) {
  fg_status status = set_size(row, field, values, err);
  if (status == FG_OK) ((fg_size_limit *)field)->set = true;
  return status;
}

static fg_status set_text(const fg_option_row *row, void *field, char **values, fg_error *err) {
  if (!values[0][0]) return wants(row, "a name", values[0], err);
  *(const char **)field = values[0];
  return FG_OK;
}

static fg_status set_any_text(const fg_option_row *row, void *field, char **values, fg_error *err) {
  (void)row;
  (void)err;
  *(const char **)field = values[0];
  return FG_OK;
}

static bool is_word_of(const char *words, const char *text, size_t length) {
  size_t span;
  for (const char *word = words;; word += span + 1) {
    span = strcspn(word, "|");
    if (span == length && strncmp(word, text, length) == 0) return true;
    if (!word[span]) return false;
  }
}

static fg_status wants_word(const fg_option_row *row, const char *value, fg_error *err) {
  char what[64] = "one of ";
  size_t at = strlen(what);
  for (const char *c = row->argument; *c && at + 2 < sizeof what; c++) {
    what[at++] = *c == '|' ? ',' : *c;
    if (*c == '|') what[at++] = ' ';
  }
  what[at] = 0;
  return wants(row, what, value, err);
}

static fg_status set_choice(const fg_option_row *row, void *field, char **values, fg_error *err) {
  if (!is_word_of(row->argument, values[0], strlen(values[0]))) return wants_word(row, values[0], err);
  *(const char **)field = values[0];
  return FG_OK;
}

static fg_status set_device(const fg_option_row *row, void *field, char **values, fg_error *err) {
  if (!is_word_of(row->argument, values[0], strcspn(values[0], ":"))) return wants_word(row, values[0], err);
  if (!fg_device_family(values[0])) return wants(row, "a number as in opencl:1", values[0], err);
  *(const char **)field = values[0];
  return FG_OK;
}

static fg_status set_percent(const fg_option_row *row, void *field, char **values, fg_error *err) {
  fg_percent *percent = field;
  for (int i = 0; i < 6; i++) {
    uint32_t n;
    if (!parse_u32(values[i], strchr(values[i], 0), &n) || n > 100)
      return wants(row, "six whole numbers from 0 to 100", values[i], err);
    percent->values[i] = (int)n;
  }
  for (int i = 0; i < 6; i += 2)
    if (percent->values[i] + percent->values[i + 1] > 100)
      return fg_fail(err, FG_INVALID, "--percent: %d and %d of the %s are more than 100 together",
                     percent->values[i], percent->values[i + 1],
                     (const char *[]){"weights", "cache", "activations"}[i / 2]);
  percent->set = true;
  return FG_OK;
}

static fg_status set_range(const fg_option_row *row, void *field, char **values, fg_error *err) {
  fg_length_range range;
  const char *colon = strchr(values[0], ':');
  if (!colon || !parse_u32(values[0], colon, &range.low) ||
      !parse_u32(colon + 1, strchr(colon, 0), &range.high) || range.low < 1 || range.high < range.low)
    return wants(row, "two lengths A:B with 1 <= A <= B", values[0], err);
  *(fg_length_range *)field = range;
  return FG_OK;
}

static fg_status set_shard(const fg_option_row *row, void *field, char **values, fg_error *err) {
  fg_shard shard;
  const char *slash = strchr(values[0], '/');
  if (!slash || !parse_u32(values[0], slash, &shard.index) ||
      !parse_u32(slash + 1, strchr(slash, 0), &shard.count) || shard.count < 1 || shard.index >= shard.count)
    return wants(row, "I/N with I from 0 to N-1", values[0], err);
  *(fg_shard *)field = shard;
  return FG_OK;
}

static fg_status set_prompt(const fg_option_row *row, void *field, char **values, fg_error *err) {
  fg_prompt_list *list = field;
  fg_prompt_source *items = realloc(list->items, (list->count + 1u) * sizeof *items);
  if (!items) return fg_fail(err, FG_NO_SPACE, "--%s: no memory for the list of prompts", row->name);
  items[list->count] = (fg_prompt_source){values[0], row->kind == FG_KIND_FILE};
  list->items = items;
  list->count++;
  return FG_OK;
}

static fg_status set_words(const fg_option_row *row, void *field, char **values, fg_error *err) {
  fg_word_list *list = field;
  if (!values[0][0]) return wants(row, "a pattern", values[0], err);
  char **items = realloc(list->items, (list->count + 1u) * sizeof *items);
  if (!items) return fg_fail(err, FG_NO_SPACE, "--%s: no memory for the list", row->name);
  items[list->count++] = values[0];
  list->items = items;
  return FG_OK;
}

const fg_option_reader fg_option_readers[FG_KIND_COUNT_] = {
    [FG_KIND_FLAG] = {0, set_flag},       [FG_KIND_COUNT] = {0, set_count},
    [FG_KIND_BOOL] = {0, set_bool},       [FG_KIND_U32] = {1, set_u32},
    [FG_KIND_U64] = {1, set_u64},         [FG_KIND_F64] = {1, set_f64},
    [FG_KIND_SHARE] = {1, set_share},     [FG_KIND_SIZE] = {1, set_size},
    [FG_KIND_CAP] = {1, set_cap},         [FG_KIND_TEXT] = {1, set_text},
    [FG_KIND_CHOICE] = {1, set_choice},   [FG_KIND_DEVICE] = {1, set_device},
    [FG_KIND_PERCENT] = {6, set_percent}, [FG_KIND_RANGE] = {1, set_range},
    [FG_KIND_SHARD] = {1, set_shard},     [FG_KIND_PROMPT] = {1, set_prompt},
    [FG_KIND_FILE] = {1, set_prompt},     [FG_KIND_WORDS] = {1, set_words},
    [FG_KIND_STRING] = {1, set_any_text},
};
