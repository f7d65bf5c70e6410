// Which answer a text is, when it is right, and how that is summed up.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "table_text.h"
#include "wrangle/answers.h"
#include "wrangle/metrics.h"

static fg_task task_named(const char *name) {
  fg_task task = FG_TASK_COUNT;
  for (fg_task i = 0; i < FG_TASK_COUNT; i++)
    if (strcmp(fg_task_name(i), name) == 0) task = i;
  assert_int_not_equal(task, FG_TASK_COUNT);
  return task;
}

static fg_label label_of(const char *label) {
  return strcmp(label, "Yes") == 0  ? FG_LABEL_POSITIVE
         : strcmp(label, "No") == 0 ? FG_LABEL_NEGATIVE
                                    : FG_LABEL_OTHER;
}

static void test_metrics_are_those_of_the_paper(void **state) {
  (void)state;
  json_t *golden = read_golden("metrics"), *one;
  size_t index;
  assert_true(json_array_size(golden) > 0);
  json_array_foreach(golden, index, one) {
    const fg_task task = task_named(json_string_value(json_object_get(one, "task")));
    const json_t *labels = json_object_get(one, "labels"), *said = json_object_get(one, "predictions"),
                 *wanted = json_object_get(one, "metrics");
    fg_metrics m = {0};
    for (size_t i = 0; i < json_array_size(labels); i++) {
      const char *label = json_string_value(json_array_get(labels, i));
      const char *text = json_string_value(json_array_get(said, i));
      fg_metrics_count(&m, label_of(label), fg_answer_is_right(task, fg_words(text), fg_words(label)));
    }
    assert_int_equal(m.right, json_integer_value(json_object_get(wanted, "right")));
    assert_int_equal(m.true_positive, json_integer_value(json_object_get(wanted, "tp")));
    assert_int_equal(m.false_positive, json_integer_value(json_object_get(wanted, "fp")));
    assert_float_equal(fg_metrics_accuracy(&m), json_number_value(json_object_get(wanted, "accuracy")),
                       1e-12);
    assert_float_equal(fg_metrics_precision(&m), json_number_value(json_object_get(wanted, "precision")),
                       1e-12);
    assert_float_equal(fg_metrics_recall(&m), json_number_value(json_object_get(wanted, "recall")), 1e-12);
    assert_float_equal(fg_metrics_paper_f1(&m), json_number_value(json_object_get(wanted, "f1_paper")),
                       1e-12);
    assert_float_equal(fg_metrics_f1(&m), json_number_value(json_object_get(wanted, "f1")), 1e-12);
  }
  json_decref(golden);
}

static void test_f1_is_null_without_classes(void **state) {
  (void)state;
  fg_metrics m = {0};
  fg_metrics_count(&m, FG_LABEL_OTHER, true);
  json_t *object = fg_metrics_json(&m);
  assert_true(json_is_null(json_object_get(object, "f1")));
  assert_float_equal(json_number_value(json_object_get(object, "accuracy")), 1, 0);
  json_decref(object);
}

static void check_find(const char *list, const char *text, int32_t expected) {
  fg_answer_set set;
  fg_error err;
  if (fg_answers_read(&set, list, &err) != FG_OK) fail_msg("%s", err.message);
  assert_int_equal(fg_answers_find(&set, fg_words(text)), expected);
}

static void test_text_stands_for_the_answer_it_begins_with(void **state) {
  (void)state;
  check_find("Yes,No", " yes.", 0);
  check_find("Yes,No", "NO, they are not", 1);
  check_find("Yes,No", "Nothing", -1); // a word that goes on is another
  check_find("Yes,No", "", -1);
  check_find("Yes,No", "I say yes", -1);
  check_find("new,new york", "New York City", 1); // the longest
  check_find("new york,new", "New Yorker", 1);
  check_find(" Äpfel , Birnen", "äPFEL\n", 0);
  check_find("1,10", "10", 1);
}

static void check_list(const char *list, const char *why) {
  fg_answer_set set;
  fg_error err;
  assert_int_equal(fg_answers_read(&set, list, &err), FG_INVALID);
  assert_string_equal(err.message, why);
}

static void test_answers_must_differ(void **state) {
  (void)state;
  check_list("Yes,,No", "an empty answer in 'Yes,,No'");
  check_list("", "an empty answer in ''");
  check_list("Yes,No, YES", "'YES' stands twice among the answers");
  check_list("\xff", "the answers are not valid UTF-8");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_metrics_are_those_of_the_paper),
      cmocka_unit_test(test_f1_is_null_without_classes),
      cmocka_unit_test(test_text_stands_for_the_answer_it_begins_with),
      cmocka_unit_test(test_answers_must_differ),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
