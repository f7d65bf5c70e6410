#include "wrangle/metrics.h"

void fg_metrics_count(fg_metrics *m, fg_label label, bool right) {
  m->rows++;
  m->right += right;
  if (label == FG_LABEL_POSITIVE) {
    m->true_positive += right;
    m->false_negative += !right;
  } else if (label == FG_LABEL_NEGATIVE) {
    m->true_negative += right;
    m->false_positive += !right;
  }
}

static double share(uint64_t part, uint64_t whole) {
  return whole ? (double)part / (double)whole : 0;
}

double fg_metrics_accuracy(const fg_metrics *m) {
  return share(m->right, m->rows);
}

double fg_metrics_precision(const fg_metrics *m) {
  return share(m->true_positive, m->true_positive + m->false_positive);
}

double fg_metrics_recall(const fg_metrics *m) {
  return share(m->true_positive, m->true_positive + m->false_negative);
}

double fg_metrics_f1(const fg_metrics *m) {
  const double p = fg_metrics_precision(m), r = fg_metrics_recall(m);
  return p + r > 0 ? 2 * p * r / (p + r) : 0;
}

double fg_metrics_paper_f1(const fg_metrics *m) {
  const double p = fg_metrics_precision(m), r = fg_metrics_recall(m);
  return 2 * p * r / (p + r > 1 ? p + r : 1);
}

json_t *fg_metrics_json(const fg_metrics *m) {
  const bool classes = m->true_positive + m->false_negative + m->true_negative + m->false_positive > 0;
  json_t *object = json_pack("{s:I,s:I,s:f}", "rows", (json_int_t)m->rows, "right", (json_int_t)m->right,
                             "accuracy", fg_metrics_accuracy(m));
  json_t *more =
      classes ? json_pack("{s:f,s:f,s:f,s:f,s:I,s:I,s:I,s:I}", "precision", fg_metrics_precision(m), "recall",
                          fg_metrics_recall(m), "f1", fg_metrics_f1(m), "f1_paper", fg_metrics_paper_f1(m),
                          "true_positive", (json_int_t)m->true_positive, "false_negative",
                          (json_int_t)m->false_negative, "true_negative", (json_int_t)m->true_negative,
                          "false_positive", (json_int_t)m->false_positive)
              : json_pack("{s:n,s:n,s:n,s:n}", "precision", "recall", "f1", "f1_paper");
  json_object_update(object, more);
  json_decref(more);
  return object;
}
