// dataset.h: the tasks and data sets of "Can Foundation Models Wrangle Your Data?" (Narayan et al. 2022), a
// row each.
//
// A task says what is asked about a row and when an answer counts; a data set says in which words. Words are
// those of the authors' program (HazyResearch/fm_data_tasks), as its prompts are to be met byte for byte.
#ifndef FG_WRANGLE_DATASET_H
#define FG_WRANGLE_DATASET_H

#include <stdbool.h>
#include <stdint.h>

typedef enum fg_task {
  FG_TASK_MATCHING,   // do two records name the same thing?
  FG_TASK_IMPUTATION, // what is the value of a column?
  FG_TASK_SPELLING,   // is a cell misspelt?
  FG_TASK_ERRORS,     // is a cell wrong, seen with its row?
  FG_TASK_SCHEMA,     // do two columns mean the same?
  FG_TASK_COUNT
} fg_task;

enum { FG_DATASET_COLUMNS = 8 };

typedef struct fg_rename {
  const char *from, *to;
} fg_rename;

typedef struct fg_dataset {
  const char *name;
  fg_task task;
  const char *noun;                     // of matching: "Product"
  const char *target;                   // of imputation: the column
  const char *suffix;                   // behind a row
  const char *instruction;              // in front of all
  uint32_t max_tokens;                  // of an answer
  const char *key;                      // what manual examples are chosen by, or NULL
  const char *drop[FG_DATASET_COLUMNS]; // columns; before renaming
  fg_rename rename[FG_DATASET_COLUMNS];
} fg_dataset;

// By name ("Beer"); NULL if there is none.
const fg_dataset *fg_dataset_find(const char *name);
extern const fg_dataset fg_datasets[];
extern const uint32_t fg_dataset_count;

const char *fg_task_name(fg_task task); // as the authors call it
bool fg_dataset_drops(const fg_dataset *dataset, const char *column);
const char *fg_dataset_rename(const fg_dataset *dataset, const char *column);

#endif
