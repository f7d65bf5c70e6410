#include "hub/answers.h"

#include <stdio.h>
#include <string.h>

// ---- again ----------------------------------------------------------------------------------------------

enum { TRIES = 6, FIRST_WAIT_MS = 250, LONGEST_RETRY_S = 600 };

static bool is_passing(const fg_http_answer *a) {
  static const long statuses[] = {408, 429, 500, 502, 503, 504};
  if (a->cut || a->status == 200 || a->status == 206) return true; // ended early
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
    if (statuses[i] == a->status) return true;
  return false;
}

int64_t fg_hub_wait_ms(const fg_http_answer *answer, unsigned tried) {
  if (!is_passing(answer) || tried >= TRIES || answer->retry_s > LONGEST_RETRY_S) return -1;
  if (answer->retry_s) return (int64_t)answer->retry_s * 1000;
  return (int64_t)FIRST_WAIT_MS << (tried - 1); // 8 s in all
}

// ---- in words -------------------------------------------------------------------------------------------

typedef fg_status explain(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err);

static fg_status gated(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  (void)a;
  return fg_fail(
      err, FG_IO, "%s is gated: accept its licence at %s/%s, then %s", s->repo->id, s->endpoint, s->repo->id,
      s->has_token ? "try again (the token in use must be of that account and may read gated models)"
                   : "set HF_TOKEN to a token of that account");
}

static fg_status no_repo(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  (void)a;
  return fg_fail(err, FG_NOT_FOUND, "%s has no model %s that %s may see; check the name%s", s->endpoint,
                 s->repo->id, s->has_token ? "this token" : "everybody",
                 s->has_token ? "" : ", or set HF_TOKEN if it is private");
}

static fg_status no_revision(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  (void)a;
  return fg_fail(err, FG_NOT_FOUND, "%s has no revision '%s'; see %s/%s/tree/main", s->repo->id,
                 s->repo->revision, s->endpoint, s->repo->id);
}

static fg_status no_file(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  (void)a;
  return fg_fail(err, FG_NOT_FOUND, "%s has no file %s at %s", s->repo->id, s->file ? s->file : "list",
                 s->repo->revision);
}

static fg_status bad_token(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  if (!s->has_token) return no_repo(s, a, err);
  return fg_fail(err, FG_IO, "%s refuses the token; make a new one at %s/settings/tokens and set HF_TOKEN",
                 s->endpoint, s->endpoint);
}

static fg_status forbidden(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  return fg_fail(err, FG_IO, "%s: access refused (403)%s%.200s; check what the token in HF_TOKEN may do",
                 s->repo->id, a->message[0] ? ": " : "", a->message);
}

static fg_status too_many(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  char when[32] = "later";
  if (a->retry_s) snprintf(when, sizeof when, "in %u s", a->retry_s);
  return fg_fail(err, FG_BUSY, "%s has had too many requests (429); try again %s%s", s->endpoint, when,
                 s->has_token ? "" : ", or set HF_TOKEN: users may ask more often");
}

static fg_status trouble(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  return fg_fail(err, FG_IO, "%s has trouble (%ld); try again later, the download goes on where it is",
                 s->endpoint, a->status);
}

static fg_status early(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  (void)a;
  return fg_fail(err, FG_IO,
                 "%s: %s ends it early, again and again; try later, the download goes on where it is",
                 s->file ? s->file : s->repo->id, s->endpoint);
}

static fg_status odd(const fg_hub_subject *s, const fg_http_answer *a, fg_error *err) {
  return fg_fail(err, FG_IO, "%s answers with %ld for %s%s%.200s; does HF_ENDPOINT name a Hub?", s->endpoint,
                 a->status, s->file ? s->file : s->repo->id, a->message[0] ? ": " : "", a->message);
}

// The first row that fits. A status of 5 stands for 500 to 599, 0 for any.
static const struct {
  const char *code; // X-Error-Code, NULL = any
  long status;
  explain *say;
} rows[] = {
    {"GatedRepo", 0, gated},
    {"RevisionNotFound", 0, no_revision},
    {"EntryNotFound", 0, no_file},
    {"RepoNotFound", 0, no_repo},
    {NULL, 401, bad_token},
    {NULL, 403, forbidden},
    {NULL, 429, too_many},
    {NULL, 5, trouble},
    {NULL, 2, early},
};

fg_status fg_hub_explain(const fg_hub_subject *subject, const fg_http_answer *answer, fg_error *err) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bool fits =
        rows[i].status == 0 || rows[i].status == answer->status || rows[i].status == answer->status / 100;
    if (fits && (!rows[i].code || strcmp(rows[i].code, answer->code) == 0))
      return rows[i].say(subject, answer, err);
  }
  // Without a code: a list is missing with its model, a file by itself.
  if (answer->status == 404)
    return subject->file ? no_file(subject, answer, err) : no_repo(subject, answer, err);
  return odd(subject, answer, err);
}
