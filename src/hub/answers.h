// answers.h: what a Hub's answers mean: whether to ask again and when, and else what to tell the user.
#ifndef FG_HUB_ANSWERS_H
#define FG_HUB_ANSWERS_H

#include "hub/http.h"
#include "hub/repo.h"

// Milliseconds to wait before the next try when `tried` tries in a row brought nothing (1 = the first one);
// negative: do not try again. Retry-After is kept, up to ten minutes.
int64_t fg_hub_wait_ms(const fg_http_answer *answer, unsigned tried);

// Whom a request was for.
typedef struct fg_hub_subject {
  const fg_hub_repo *repo;
  const char *file; // NULL = the list of files
  const char *endpoint;
  bool has_token;
} fg_hub_subject;

// One line for an answer that is none of 200, 206 and a redirect to a file.
fg_status fg_hub_explain(const fg_hub_subject *subject, const fg_http_answer *answer, fg_error *err);

#endif
