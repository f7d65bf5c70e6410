// metrics.h: how many answers were right, and F1.
//
// Counted as the authors' program counts: a row labelled yes is a true positive if it was answered right,
// else a false negative; one labelled no a true negative, else a false positive, whatever was answered. Their
// F1 divides by at least 1 and so is too small where precision and recall sum up to less; both are given.
#ifndef FG_WRANGLE_METRICS_H
#define FG_WRANGLE_METRICS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum fg_label { FG_LABEL_POSITIVE, FG_LABEL_NEGATIVE, FG_LABEL_OTHER } fg_label;

typedef struct fg_metrics {
  uint64_t rows, right;
  uint64_t true_positive, false_negative, true_negative, false_positive;
} fg_metrics;

void fg_metrics_count(fg_metrics *metrics, fg_label label, bool right);

double fg_metrics_accuracy(const fg_metrics *metrics); // 0 of no rows
double fg_metrics_precision(const fg_metrics *metrics);
double fg_metrics_recall(const fg_metrics *metrics);
double fg_metrics_f1(const fg_metrics *metrics);
double fg_metrics_paper_f1(const fg_metrics *metrics);

// All of it as an object; precision, recall and F1 are null where no row has a positive or negative label.
json_t *fg_metrics_json(const fg_metrics *metrics);

#endif
