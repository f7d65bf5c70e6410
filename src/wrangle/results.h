// results.h: a table with its answers beside it.
//
// The table is copied byte for byte, each of its records with a few cells more: the answer, and whatever else
// is wanted of it. Answers come from the lines of a finished batch job, in the order of the rows.
#ifndef FG_WRANGLE_RESULTS_H
#define FG_WRANGLE_RESULTS_H

#include "wrangle/answers.h"
#include "wrangle/metrics.h"
#include "wrangle/user_table.h"

typedef struct fg_results_options {
  // Names of the columns that are added; NULL leaves one out.
  const char *answer;           // one of `answers`, or empty; without `answers` the stripped text
  const char *text;             // what the model wrote
  const char *right;            // 1 or 0; only with a label
  const char *error;            // why there is no answer
  const fg_answer_set *answers; // or NULL
  const fg_dataset *dataset;    // whose task says what is right; NULL: the answers, else equal texts
  int64_t label;                // column of the true answer, or -1
} fg_results_options;

typedef struct fg_results {
  fg_metrics metrics; // of rows with a label
  uint64_t rows, errors;
  uint64_t unmatched; // answered, but by none of `answers`
  uint64_t replaced;  // characters that the table's encoding does not have
  char first_error[200];
} fg_results;

typedef struct fg_results_files {
  FILE *table, *answers, *out;
  const char *table_name, *answers_name, *out_name;
} fg_results_files;

// The files are at their beginnings.
fg_status fg_results_write(fg_results *results, const fg_table_head *head, const fg_results_options *options,
                           const fg_results_files *files, fg_error *err);

#endif
