#include "serve/batches.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/folders.h"
#include "base/json.h"
#include "job/batch_job.h"
#include "serve/batch_folder.h"
#include "serve/state_file.h"

enum {
  MOST_BATCHES = 500, // of 10 KB at most; beyond them the oldest that is over is forgotten
  ROWS_AHEAD = 256,   // to be read is what other requests have to wait for
  RETRY_SECONDS = 60, // files that could not be written, perhaps for want of space
};

struct fg_batches {
  fg_batches_options options; // but `folder`, which is copied
  char folder[PATH_MAX - 64]; // with room for a name
  pthread_mutex_t lock;
  fg_batch_record **records; // guarded, as what they hold; oldest first
  uint32_t count;
  // the owner's
  fg_batch_record *current; // its job is open
  fg_batch_job *job;
  char input[PATH_MAX], output[PATH_MAX], key[256];
  bool stopping;     // the server goes down
  bool cancelled;    // the job was told to end
  fg_batch_state to; // what it comes to then
  fg_error failure;  // why it failed
  int64_t retry_at;  // not before is a batch opened whose files could not be written
};

static int64_t now_seconds(void) {
  return (int64_t)time(NULL);
}

// ---- records ---------------------------------------------------------------------------------------------

static fg_status keep(const fg_batches *b, const fg_batch_record *r, fg_error *err) {
  char path[PATH_MAX];
  fg_batch_path(b->folder, r->id, ".json", path);
  json_t *object = fg_batch_json(r);
  const fg_status status = fg_state_write(object, path, err);
  json_decref(object);
  return status;
}

// What cannot be written is known here all the same; a server that is started later knows less.
static void keep_or_say(const fg_batches *b, const fg_batch_record *r) {
  fg_error err;
  if (keep(b, r, &err) != FG_OK) fg_log_line(b->options.log, FG_LOG_WARN, "%s: %s", r->id, err.message);
}

static fg_batch_record *find(const fg_batches *b, const char *id) {
  for (uint32_t i = 0; i < b->count; i++)
    if (strcmp(b->records[i]->id, id) == 0) return b->records[i];
  return NULL;
}

static void destroy_record(fg_batch_record *r) {
  fg_batch_record_free(r);
  free(r);
}

// Room for one more: the oldest that is over goes.
static fg_status make_room(fg_batches *b, fg_error *err) {
  if (b->count < MOST_BATCHES) return FG_OK;
  for (uint32_t i = 0; i < b->count; i++) {
    fg_batch_record *r = b->records[i];
    if (!fg_batch_is_over(r->state)) continue;
    fg_batch_remove_files(b->folder, r->id, true);
    destroy_record(r);
    b->count--;
    memmove(b->records + i, b->records + i + 1, (b->count - i) * sizeof *b->records);
    return FG_OK;
  }
  return fg_fail(err, FG_BUSY, "%d batches wait already", MOST_BATCHES);
}

fg_status fg_batches_create(fg_batches *b, fg_batch_record *wish, json_t **object, fg_error *err) {
  fg_file_info input;
  fg_batch_record *r = malloc(sizeof *r);
  if (!r) return fg_fail(err, FG_NO_SPACE, "no memory for a batch");
  fg_new_id(wish->id, "batch_");
  wish->state = FG_BATCH_VALIDATING;
  wish->since[FG_BATCH_VALIDATING] = now_seconds();
  wish->expires = wish->since[FG_BATCH_VALIDATING] + b->options.expiry_seconds;
  pthread_mutex_lock(&b->lock);
  fg_status status = FG_OK;
  // Files are removed under the lock as well.
  if (!fg_file_store_find(b->options.files, wish->input, &input))
    status = fg_fail(err, FG_NOT_FOUND, "there is no file \"%.60s\"", wish->input);
  else if (strcmp(input.purpose, "batch") != 0)
    status = fg_fail(err, FG_INVALID, "the file \"%.60s\" is no input: its purpose is \"%s\"", wish->input,
                     input.purpose);
  if (status == FG_OK) status = make_room(b, err);
  if (status == FG_OK) status = keep(b, wish, err);
  if (status == FG_OK) {
    *r = *wish;
    *object = fg_batch_json(r);
    b->records[b->count++] = r;
  }
  pthread_mutex_unlock(&b->lock);
  if (status != FG_OK) free(r);
  return status;
}

fg_status fg_batches_cancel(fg_batches *b, const char *id, json_t **object, fg_error *err) {
  pthread_mutex_lock(&b->lock);
  fg_batch_record *r = find(b, id);
  fg_status status = FG_OK;
  if (!r)
    status = fg_fail(err, FG_NOT_FOUND, "there is no batch \"%.60s\"", id);
  else if (r->state != FG_BATCH_CANCELLING && !fg_batch_enter(r, FG_BATCH_CANCELLING, now_seconds()))
    status = fg_fail(err, FG_INVALID, "the batch is %s: it cannot be cancelled any more",
                     fg_batch_state_name(r->state));
  // Nothing of it was begun.
  if (status == FG_OK && !r->since[FG_BATCH_IN_PROGRESS] && r != b->current)
    fg_batch_enter(r, FG_BATCH_CANCELLED, now_seconds());
  if (status == FG_OK) status = keep(b, r, err); // who asks again is welcome
  if (status == FG_OK) *object = fg_batch_json(r);
  pthread_mutex_unlock(&b->lock);
  return status;
}

json_t *fg_batches_get(fg_batches *b, const char *id) {
  pthread_mutex_lock(&b->lock);
  const fg_batch_record *r = find(b, id);
  json_t *object = r ? fg_batch_json(r) : NULL;
  pthread_mutex_unlock(&b->lock);
  return object;
}

uint32_t fg_batches_count(fg_batches *b) {
  pthread_mutex_lock(&b->lock);
  const uint32_t count = b->count;
  pthread_mutex_unlock(&b->lock);
  return count;
}

json_t *fg_batches_list(fg_batches *b) {
  json_t *list = json_array();
  pthread_mutex_lock(&b->lock);
  for (uint32_t i = b->count; i-- > 0;) json_array_append_new(list, fg_batch_json(b->records[i]));
  pthread_mutex_unlock(&b->lock);
  return list;
}

fg_status fg_batches_remove_file(fg_batches *b, const char *file_id, fg_error *err) {
  const fg_batch_record *user = NULL;
  pthread_mutex_lock(&b->lock);
  for (uint32_t i = 0; i < b->count && !user; i++)
    if (!fg_batch_is_over(b->records[i]->state) && strcmp(b->records[i]->input, file_id) == 0)
      user = b->records[i];
  const fg_status status =
      user ? fg_fail(err, FG_BUSY, "the batch %s still reads this file; cancel it first", user->id)
           : fg_file_store_remove(b->options.files, file_id, err);
  pthread_mutex_unlock(&b->lock);
  return status;
}

// ---- the end of a batch ----------------------------------------------------------------------------------

static bool enter(fg_batches *b, fg_batch_state state) {
  pthread_mutex_lock(&b->lock);
  const bool may = fg_batch_enter(b->current, state, now_seconds());
  if (may) keep_or_say(b, b->current);
  pthread_mutex_unlock(&b->lock);
  return may;
}

static void count_rows(fg_batches *b) {
  uint64_t done, failed, total;
  fg_batch_job_count(b->job, &done, &failed, &total);
  pthread_mutex_lock(&b->lock);
  b->current->total = total;
  b->current->failed = failed;
  b->current->completed = done - failed;
  pthread_mutex_unlock(&b->lock);
}

// Answers go to one file, rows that failed to another, as OpenAI has it.
typedef struct answers {
  fg_file_draft *good, *bad;
  uint64_t good_rows, bad_rows;
} answers;

static fg_status sort_row(void *user, const char *line, size_t length, bool failed, fg_error *err) {
  answers *a = user;
  *(failed ? &a->bad_rows : &a->good_rows) += 1;
  return fg_file_draft_append(failed ? a->bad : a->good, line, length, err);
}

// A file of no rows is none.
static fg_status keep_answers(fg_file_draft *draft, uint64_t rows, const char *id, const char *what,
                              fg_error *err) {
  char name[FG_FILE_NAME];
  fg_file_info info;
  if (!rows) {
    fg_file_draft_drop(draft);
    return FG_OK;
  }
  snprintf(name, sizeof name, "%s_%s.jsonl", id, what);
  return fg_file_draft_commit(draft, name, "batch_output", &info, err);
}

// The ids are known before the files are written: after a kill these are written again under the same ones.
static void name_answers(fg_batches *b, fg_batch_state to) {
  pthread_mutex_lock(&b->lock);
  fg_batch_record *r = b->current;
  if (!*r->output) fg_new_id(r->output, "file-");
  if (!*r->errors) fg_new_id(r->errors, "file-");
  if (to == FG_BATCH_COMPLETED) (void)fg_batch_enter(r, FG_BATCH_FINALIZING, now_seconds());
  keep_or_say(b, r);
  pthread_mutex_unlock(&b->lock);
}

static fg_status write_answers(fg_batches *b, fg_batch_state to, fg_error *err) {
  name_answers(b, to);
  fg_batch_record *r = b->current; // only its owner changes these fields
  answers a = {0};
  fg_status status = fg_file_draft_begin_as(b->options.files, r->output, &a.good, err);
  if (status == FG_OK) status = fg_file_draft_begin_as(b->options.files, r->errors, &a.bad, err);
  if (status == FG_OK) status = fg_batch_job_visit(b->job, sort_row, &a, err);
  if (status != FG_OK) {
    fg_file_draft_drop(a.good);
    fg_file_draft_drop(a.bad);
    return status;
  }
  status = keep_answers(a.good, a.good_rows, r->id, "output", err);
  if (status != FG_OK)
    fg_file_draft_drop(a.bad);
  else
    status = keep_answers(a.bad, a.bad_rows, r->id, "error", err);
  if (status != FG_OK) return status;
  pthread_mutex_lock(&b->lock);
  if (!a.good_rows) *r->output = 0;
  if (!a.bad_rows) *r->errors = 0;
  r->completed = a.good_rows;
  r->failed = a.bad_rows;
  pthread_mutex_unlock(&b->lock);
  return FG_OK;
}

static void close_job(fg_batches *b, bool over) {
  fg_error err;
  if (b->job && fg_batch_job_close(b->job, over, &err) != FG_OK)
    fg_log_line(b->options.log, FG_LOG_WARN, "%s: %s", b->current->id, err.message);
  if (over) fg_batch_remove_files(b->folder, b->current->id, false);
  pthread_mutex_lock(&b->lock);
  b->current = NULL;
  pthread_mutex_unlock(&b->lock);
  b->job = NULL;
  b->cancelled = false;
}

static void fail(fg_batches *b, const fg_error *why) {
  pthread_mutex_lock(&b->lock);
  snprintf(b->current->why, sizeof b->current->why, "%.*s", (int)sizeof b->current->why - 1, why->message);
  *b->current->output = *b->current->errors = 0;
  pthread_mutex_unlock(&b->lock);
  fg_log_line(b->options.log, FG_LOG_WARN, "%s failed: %s", b->current->id, why->message);
  (void)enter(b, FG_BATCH_FAILED);
  close_job(b, true);
}

// What rows say that were not answered when it came to this; codes are OpenAI's.
static const fg_row_end ends[FG_BATCH_STATES] = {
    [FG_BATCH_EXPIRED] = {"batch_expired", "the batch expired before this row was answered"},
    [FG_BATCH_CANCELLED] = {"batch_cancelled", "the batch was cancelled before this row was answered"},
};

static void finish(fg_batches *b, fg_batch_state state) {
  fg_error err;
  fg_status status = ends[state].code ? fg_batch_job_give_up(b->job, &ends[state], &err) : FG_OK;
  if (status == FG_OK) status = write_answers(b, state, &err);
  if (status != FG_OK) {
    // All is still there: later there may be space.
    fg_log_line(b->options.log, FG_LOG_WARN, "%s: %s; trying again later", b->current->id, err.message);
    b->retry_at = now_seconds() + RETRY_SECONDS;
    close_job(b, false);
    return;
  }
  if (!enter(b, state)) (void)enter(b, FG_BATCH_CANCELLED); // somebody did when all was answered
  fg_log_line(b->options.log, FG_LOG_INFO, "%s is %s: %" PRIu64 " rows answered, %" PRIu64 " with errors",
              b->current->id, fg_batch_state_name(b->current->state), b->current->completed,
              b->current->failed);
  close_job(b, true);
}

// ---- while it runs ---------------------------------------------------------------------------------------

// One that was begun goes on before another begins.
static fg_batch_record *choose(fg_batches *b) {
  fg_batch_record *chosen = NULL;
  for (uint32_t i = 0; i < b->count; i++) {
    fg_batch_record *r = b->records[i];
    if (fg_batch_is_over(r->state)) continue;
    if (r->state != FG_BATCH_VALIDATING) return r;
    if (!chosen) chosen = r;
  }
  return chosen;
}

// What changes results, as in the journal of `flexgen batch`.
static void make_key(fg_batches *b) {
  fg_engine_info info;
  fg_engine_describe(b->options.engine, &info);
  snprintf(b->key, sizeof b->key, "server device=%s dtype=%s weights=%s cache=%s", info.device, info.dtype,
           info.weight_dtype, info.cache_dtype);
}

static fg_status open_job(fg_batches *b, fg_error *err) {
  const fg_batch_options options = {.input = b->input,
                                    .output = b->output,
                                    .resume = FG_RESUME_AUTO,
                                    .seed = b->options.seed,
                                    .rows_ahead = ROWS_AHEAD,
                                    .options_key = b->key};
  make_key(b);
  fg_batch_path(b->folder, b->current->id, ".jsonl", b->output);
  fg_status status = fg_file_store_path(b->options.files, b->current->input, b->input, sizeof b->input, err);
  if (status == FG_OK) status = fg_batch_job_open(&b->job, b->options.engine, &options, err);
  if (status != FG_OK) return status;
  count_rows(b);
  return b->current->total ? FG_OK : fg_fail(err, FG_INVALID, "the file holds no requests");
}

// False: there is none, for now.
static bool open_next(fg_batches *b) {
  fg_error err;
  if (b->retry_at && now_seconds() < b->retry_at) return false;
  b->retry_at = 0;
  pthread_mutex_lock(&b->lock);
  b->current = choose(b);
  pthread_mutex_unlock(&b->lock);
  if (!b->current) return false;
  if (open_job(b, &err) != FG_OK) {
    fail(b, &err);
    return true;
  }
  fg_log_line(b->options.log, FG_LOG_INFO, "%s: %" PRIu64 " rows, %" PRIu64 " of them done", b->current->id,
              b->current->total, b->current->completed + b->current->failed);
  (void)enter(b, FG_BATCH_IN_PROGRESS); // one that was begun is there, or further
  return true;
}

static void end_rows(fg_batches *b, fg_batch_state to) {
  if (b->cancelled) return;
  b->cancelled = true;
  b->to = to;
  fg_batch_job_cancel(b->job);
}

static void fail_with(fg_batches *b, const fg_error *why) {
  b->failure = *why;
  end_rows(b, FG_BATCH_FAILED);
}

// Whether a client has had enough of it, or its day is over.
static void look_for_an_end(fg_batches *b) {
  pthread_mutex_lock(&b->lock);
  const fg_batch_state state = b->current->state;
  pthread_mutex_unlock(&b->lock);
  if (state == FG_BATCH_CANCELLING)
    end_rows(b, FG_BATCH_CANCELLED);
  else if (state == FG_BATCH_IN_PROGRESS && now_seconds() >= b->current->expires)
    end_rows(b, FG_BATCH_EXPIRED);
}

// True: the batch at hand is closed.
static bool settle(fg_batches *b) {
  if (fg_batch_job_runs(b->job)) return false;
  if (b->cancelled && b->to == FG_BATCH_FAILED)
    fail(b, &b->failure);
  else if (b->cancelled)
    finish(b, b->to);
  else if (fg_batch_job_done(b->job))
    finish(b, FG_BATCH_COMPLETED);
  else
    return false;
  return true;
}

void fg_batches_fill(void *batches, uint32_t room) {
  fg_batches *b = batches;
  fg_error err;
  while (!b->stopping) {
    if (!b->current && !open_next(b)) return;
    if (!b->current) continue; // it failed at once
    look_for_an_end(b);
    if (!b->cancelled && fg_batch_job_fill(b->job, room, &err) != FG_OK) fail_with(b, &err);
    if (!settle(b)) return;
  }
}

void fg_batches_stepped(void *batches) {
  fg_batches *b = batches;
  fg_error err;
  if (!b->job) return;
  if (fg_batch_job_stepped(b->job, &err) != FG_OK) fail_with(b, &err);
  if (b->stopping) return;
  count_rows(b);
  look_for_an_end(b);
  (void)settle(b);
}

int fg_batches_sleep_ms(void *batches) {
  const fg_batches *b = batches;
  const int64_t left = b->retry_at - now_seconds();
  return !b->retry_at ? -1 : left > 0 ? (int)left * 1000 : 0;
}

void fg_batches_stop(void *batches) {
  fg_batches *b = batches;
  b->stopping = true;
  if (b->job && !b->cancelled) fg_batch_job_cancel(b->job);
}

// ---- start and end ---------------------------------------------------------------------------------------

static fg_status take_record(void *user, json_t *object, fg_error *err) {
  fg_batches *b = user;
  fg_batch_record *r = calloc(1, sizeof *r);
  if (!r) return fg_fail(err, FG_NO_SPACE, "no memory for a batch");
  fg_error why;
  if (b->count >= MOST_BATCHES || fg_batch_read(r, object, &why) != FG_OK || find(b, r->id)) {
    destroy_record(r);
    return FG_OK;
  }
  b->records[b->count++] = r;
  return FG_OK;
}

static int by_time(const void *a, const void *b) {
  const fg_batch_record *left = *(fg_batch_record *const *)a, *right = *(fg_batch_record *const *)b;
  const int64_t x = left->since[FG_BATCH_VALIDATING], y = right->since[FG_BATCH_VALIDATING];
  return x != y ? (x < y ? -1 : 1) : strcmp(left->id, right->id);
}

static bool is_under_way(void *user, const char *id) {
  const fg_batch_record *r = find(user, id);
  return r && !fg_batch_is_over(r->state);
}

fg_status fg_batches_open(fg_batches **out, const fg_batches_options *options, fg_error *err) {
  fg_batches *b = calloc(1, sizeof *b);
  if (!b) return fg_fail(err, FG_NO_SPACE, "no memory for batches");
  b->options = *options;
  snprintf(b->folder, sizeof b->folder, "%s", options->folder);
  pthread_mutex_init(&b->lock, NULL);
  b->records = calloc(MOST_BATCHES, sizeof *b->records);
  fg_status status = b->records ? FG_OK : fg_fail(err, FG_NO_SPACE, "no memory for batches");
  if (status == FG_OK && strlen(options->folder) >= sizeof b->folder)
    status = fg_fail(err, FG_INVALID, "%.80s...: the path is too long", options->folder);
  if (status == FG_OK) status = fg_batch_folder_read(b->folder, take_record, b, err);
  if (status == FG_OK) fg_batch_folder_clear(b->folder, is_under_way, b);
  if (status != FG_OK) {
    fg_batches_close(b);
    return status;
  }
  qsort(b->records, b->count, sizeof *b->records, by_time);
  *out = b;
  return FG_OK;
}

void fg_batches_close(fg_batches *b) {
  if (!b) return;
  if (b->current) close_job(b, false);
  for (uint32_t i = 0; i < b->count; i++) destroy_record(b->records[i]);
  free(b->records);
  pthread_mutex_destroy(&b->lock);
  free(b);
}
