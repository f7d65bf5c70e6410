#include "wrangle/answers.h"

#include <string.h>

void fg_fold(fg_text *out, fg_slice text) {
  text = fg_strip(text);
  for (const char *at = text.data; at < text.data + text.length;) {
    uint32_t lower[2];
    const size_t count = fg_lowercase(fg_utf8_take(&at), lower);
    for (size_t i = 0; i < count; i++) fg_utf8_append(out, lower[i]);
  }
}

// ---- the paper's tasks -----------------------------------------------------------------------------------

static bool equals(fg_slice answer, fg_slice label) {
  return answer.length == label.length &&
         (!label.length || memcmp(answer.data, label.data, label.length) == 0);
}

static bool begins(fg_slice answer, fg_slice label) {
  return answer.length >= label.length && equals((fg_slice){answer.data, label.length}, label);
}

// Of the part behind the last blank line.
static bool ends(fg_slice answer, fg_slice label) {
  const char *from = answer.data, *end = answer.data + answer.length, *next;
  while ((next = memmem(from, (size_t)(end - from), "\n\n", 2))) from = next + 2;
  const size_t length = (size_t)(end - from);
  return length >= label.length && equals((fg_slice){end - label.length, label.length}, label);
}

bool fg_answer_is_right(fg_task task, fg_slice answer, fg_slice label) {
  static bool (*const rules[])(fg_slice, fg_slice) = {
      [FG_TASK_MATCHING] = equals, [FG_TASK_IMPUTATION] = equals, [FG_TASK_SPELLING] = begins,
      [FG_TASK_ERRORS] = ends,     [FG_TASK_SCHEMA] = begins,
  };
  _Static_assert(sizeof rules / sizeof *rules == FG_TASK_COUNT, "a rule for each task");
  fg_text a = {0}, b = {0};
  fg_text_append(&a, "", 0);
  fg_text_append(&b, "", 0);
  fg_fold(&a, answer);
  fg_fold(&b, label);
  const bool failed = fg_text_failed(&a) || fg_text_failed(&b);
  const bool right = !failed && rules[task]((fg_slice){a.data, a.length}, (fg_slice){b.data, b.length});
  fg_text_free(&a);
  fg_text_free(&b);
  return right;
}

// ---- answers that a user names ---------------------------------------------------------------------------

static bool same(fg_slice a, fg_slice b) {
  return fg_answer_is_right(FG_TASK_MATCHING, a, b);
}

fg_status fg_answers_read(fg_answer_set *out, const char *list, fg_error *err) {
  *out = (fg_answer_set){0};
  if (!fg_utf8_valid(list, strlen(list))) return fg_fail(err, FG_INVALID, "the answers are not valid UTF-8");
  for (const char *at = list;; at++) {
    const size_t length = strcspn(at, ",");
    const fg_slice answer = fg_strip((fg_slice){at, length});
    if (!answer.length) return fg_fail(err, FG_INVALID, "an empty answer in '%.100s'", list);
    if (out->count == FG_ANSWERS) return fg_fail(err, FG_INVALID, "more than %d answers", FG_ANSWERS);
    for (uint32_t i = 0; i < out->count; i++)
      if (same(out->items[i], answer))
        return fg_fail(err, FG_INVALID, "'%.*s' stands twice among the answers", (int)answer.length,
                       answer.data);
    out->items[out->count++] = answer;
    at += length;
    if (!*at) return FG_OK;
  }
}

// Whether a word may go on with what stands at `at`.
static bool goes_on(const char *at, const char *end) {
  return at < end && fg_is_word(fg_utf8_take(&at));
}

int32_t fg_answers_find(const fg_answer_set *set, fg_slice text) {
  fg_text folded = {0}, answer = {0};
  int32_t found = -1;
  size_t longest = 0;
  fg_fold(&folded, text);
  for (uint32_t i = 0; i < set->count && folded.data; i++) {
    fg_text_clear(&answer);
    fg_fold(&answer, set->items[i]);
    if (!answer.data || fg_text_failed(&answer) || answer.length <= longest) continue;
    const fg_slice whole = {folded.data, folded.length}, part = {answer.data, answer.length};
    if (!begins(whole, part) || goes_on(whole.data + part.length, whole.data + whole.length)) continue;
    found = (int32_t)i;
    longest = part.length;
  }
  fg_text_free(&folded);
  fg_text_free(&answer);
  return found;
}
