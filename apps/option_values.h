// option_values.h: the kinds of values that options take, and the row that describes an option.
//
// A kind says how many arguments follow and how they become a field of fg_options. A new kind is an enum
// entry and a row in fg_option_readers; a new option is a row in options.c alone.
#ifndef FG_APPS_OPTION_VALUES_H
#define FG_APPS_OPTION_VALUES_H

#include <stddef.h>

#include "options.h"

typedef enum fg_option_kind {
  FG_KIND_FLAG,  // no value
  FG_KIND_COUNT, // no value, may be repeated
  FG_KIND_BOOL,  // FlexGen's: bare, or followed by a word like true
  FG_KIND_U32,
  FG_KIND_U64,
  FG_KIND_F64,
  FG_KIND_SHARE, // a number above `low`, at most `high`
  FG_KIND_SIZE,
  FG_KIND_CAP, // a size that may be 0
  FG_KIND_TEXT,
  FG_KIND_CHOICE,  // a word of the row's `argument`, "a|b|c"
  FG_KIND_DEVICE,  // such a word, perhaps with a number: "c:1"
  FG_KIND_PERCENT, // six whole numbers
  FG_KIND_RANGE,   // A:B
  FG_KIND_SHARD,   // I/N
  FG_KIND_PROMPT,  // repeatable text
  FG_KIND_FILE,    // repeatable file that holds a prompt
  FG_KIND_WORDS,   // repeatable text
  FG_KIND_STRING,  // text, also an empty one
  FG_KIND_COUNT_
} fg_option_kind;

typedef struct fg_option_row {
  const char *name; // long, without dashes
  char letter;      // short, or 0
  fg_option_kind kind;
  const char *argument; // as shown in help
  double low, high;     // of numbers; high 0 = the type's bound
  size_t offset;        // of the field in fg_options
  uint32_t commands;    // who takes it
  const char *help;
} fg_option_row;

typedef struct fg_option_reader {
  uint32_t values; // arguments that follow; FG_KIND_BOOL's may be missing
  fg_status (*set)(const fg_option_row *row, void *field, char **values, fg_error *err);
} fg_option_reader;

extern const fg_option_reader fg_option_readers[FG_KIND_COUNT_];

// Whether `word` is one of FlexGen's words for true and false; *out = which.
bool fg_option_is_bool(const char *word, bool *out);

#endif
