// answers.h: what a model wrote as an answer, and whether it is right.
//
// Texts are compared without white space at their ends and without regard to case. The paper's tasks differ
// in how much of a text must agree; where a user names the answers that there are, a text stands for the one
// it begins with.
#ifndef FG_WRANGLE_ANSWERS_H
#define FG_WRANGLE_ANSWERS_H

#include "flexgen/error.h"
#include "wrangle/dataset.h"
#include "wrangle/encoding.h"

// Lower case without white space at the ends; appended.
void fg_fold(fg_text *out, fg_slice text);

// By the rule of the task, as the authors' program counts.
bool fg_answer_is_right(fg_task task, fg_slice answer, fg_slice label);

enum { FG_ANSWERS = 256 };

typedef struct fg_answer_set {
  fg_slice items[FG_ANSWERS];
  uint32_t count;
} fg_answer_set;

// "Yes,No"; points into the text. Each is stripped; empty, equal or too many ones are an error.
fg_status fg_answers_read(fg_answer_set *out, const char *list, fg_error *err);
// The number of the longest answer that `text` begins with as whole words, or -1.
int32_t fg_answers_find(const fg_answer_set *set, fg_slice text);

#endif
