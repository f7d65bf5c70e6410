// samples.h: the rows of a data set as texts with known answers.
//
// A split of a data set is a list of samples in the order of its file. They are what examples are drawn from
// (examples.h) and what is asked. Files come in the authors' layout and in those in which the data are
// published:
//
//   matching     tableA.csv, tableB.csv and {train,valid,test}.csv of ltable_id, rtable_id, label
//                {train,validation,test}.csv of label, left_*, right_* (or ltable_*, rtable_*)
//                {train,valid,test}.txt of "COL name VAL value ...", tab, the same, tab, label
//   imputation   {train,valid,test}.csv; or one Buy.csv, split as HELM splits it
//   spelling     table.csv and {train,valid,test}.csv of row_id, col_name, is_clean
//                hospital.csv and hospital_clean.csv of tid, attribute, correct_val, split here
//   errors       table.csv with col_name and is_clean, which is all three splits
//   schema       {train,valid,test}.csv of omop, table, label
#ifndef FG_WRANGLE_SAMPLES_H
#define FG_WRANGLE_SAMPLES_H

#include "wrangle/serialise.h"

typedef struct fg_sample {
  fg_slice text;  // as serialised, with its last space
  fg_slice label; // "Yes", "No" or a value
  fg_slice group; // value of the label's column, by which classes are balanced
  fg_slice key;   // by which manual examples are chosen; empty without such
} fg_sample;

typedef struct fg_samples {
  fg_sample *items;
  size_t count, capacity;
  fg_text_pool pool;
} fg_samples;

typedef enum fg_split { FG_SPLIT_TRAIN, FG_SPLIT_VALIDATION, FG_SPLIT_TEST, FG_SPLIT_COUNT } fg_split;

fg_status fg_samples_load(fg_samples *out, const fg_dataset *dataset, const char *folder, fg_split split,
                          const fg_row_style *style, fg_error *err);
// Adds a copy of the sample.
fg_status fg_samples_add(fg_samples *samples, const fg_sample *sample, fg_error *err);
void fg_samples_free(fg_samples *samples);

#endif
