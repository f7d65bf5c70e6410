#include "wrangle/dataset.h"

#include <string.h>

#define SAME_PRODUCT "Are Product A and Product B the same?"
#define ASK_PRODUCT  SAME_PRODUCT " Yes or No? "

const fg_dataset fg_datasets[] = {
    // name, task, noun, target, suffix, instruction, max_tokens, key, drop, rename
    {"Fodors-Zagats", FG_TASK_MATCHING, "Product", NULL, " " SAME_PRODUCT, ASK_PRODUCT, 3, NULL, {0}, {{0}}},
    {"Beer",
     FG_TASK_MATCHING,
     "Product",
     NULL,
     " " SAME_PRODUCT,
     ASK_PRODUCT,
     3,
     NULL,
     {"Style", "ABV"},
     {{"Beer_Name", "name"}, {"Brew_Factory_Name", "factory"}}},
    {"iTunes-Amazon",
     FG_TASK_MATCHING,
     "Song",
     NULL,
     " Same Song?",
     "Are Song A and Song B the same? Yes or No? ",
     3,
     NULL,
     {"CopyRight"},
     {{"Song_Name", "name"},
      {"Artist_Name", "artist name"},
      {"Album_Name", "album name"},
      {"Genre", "genre"},
      {"Price", "price"},
      {"Time", "time"},
      {"Released", "released"}}},
    {"Walmart-Amazon",
     FG_TASK_MATCHING,
     "Product",
     NULL,
     " Are A and B the Same?",
     ASK_PRODUCT,
     3,
     NULL,
     {"category", "price", "brand"},
     {{0}}},
    {"Amazon-Google",
     FG_TASK_MATCHING,
     "Product",
     NULL,
     " " SAME_PRODUCT,
     ASK_PRODUCT,
     3,
     "manufacturer",
     {0},
     {{0}}},
    {"DBLP-ACM", FG_TASK_MATCHING, "Product", NULL, " " SAME_PRODUCT, ASK_PRODUCT, 3, "venue", {0}, {{0}}},
    {"DBLP-GoogleScholar",
     FG_TASK_MATCHING,
     "Product",
     NULL,
     " " SAME_PRODUCT,
     ASK_PRODUCT,
     3,
     "venue",
     {0},
     {{0}}},
    {"Buy",
     FG_TASK_IMPUTATION,
     NULL,
     "manufacturer",
     " Who is the manufacturer?",
     "Who is the manufacturer? apple, sony, lg electronics? ",
     10,
     NULL,
     {0},
     {{0}}},
    {"Restaurant",
     FG_TASK_IMPUTATION,
     NULL,
     "city",
     " What is the city?",
     "What is the city? san fransisco, new york, denver? ",
     5,
     NULL,
     {0},
     {{0}}},
    {"Hospital",
     FG_TASK_SPELLING,
     NULL,
     NULL,
     "?",
     "Is there a x spelling error? Yes or No? ",
     3,
     "col_name",
     {0},
     {{0}}},
    {"Adult",
     FG_TASK_ERRORS,
     NULL,
     NULL,
     "? ",
     "Classify errors. nan values are not errors.",
     3,
     "col_name",
     {0},
     {{0}}},
    {"Synthea",
     FG_TASK_SCHEMA,
     NULL,
     NULL,
     "Are A and B the same? Yes or No?",
     "Are A and B semantically equal?\n\n",
     3,
     "left",
     {"des1", "des2", "d1", "d2", "d3", "d4"},
     {{"omop", "left"}, {"table", "right"}}},
};

const uint32_t fg_dataset_count = sizeof fg_datasets / sizeof *fg_datasets;

static const char *const task_names[] = {
    [FG_TASK_MATCHING] = "entity_matching",
    [FG_TASK_IMPUTATION] = "data_imputation",
    [FG_TASK_SPELLING] = "error_detection_spelling",
    [FG_TASK_ERRORS] = "error_detection",
    [FG_TASK_SCHEMA] = "schema_matching",
};
_Static_assert(sizeof task_names / sizeof *task_names == FG_TASK_COUNT, "a name for each task");

const fg_dataset *fg_dataset_find(const char *name) {
  for (uint32_t i = 0; i < fg_dataset_count; i++)
    if (strcmp(fg_datasets[i].name, name) == 0) return &fg_datasets[i];
  return NULL;
}

const char *fg_task_name(fg_task task) {
  return task_names[task];
}

bool fg_dataset_drops(const fg_dataset *d, const char *column) {
  for (uint32_t i = 0; i < FG_DATASET_COLUMNS && d->drop[i]; i++)
    if (strcmp(d->drop[i], column) == 0) return true;
  return false;
}

const char *fg_dataset_rename(const fg_dataset *d, const char *column) {
  for (uint32_t i = 0; i < FG_DATASET_COLUMNS && d->rename[i].from; i++)
    if (strcmp(d->rename[i].from, column) == 0) return d->rename[i].to;
  return column;
}
