// The batch runner: keeps the engine in rows, and writes what comes out.
#include "flexgen/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/system.h"
#include "base/trace.h"
#include "engine/engine_internal.h"
#include "job/batch_job.h"
#include "job/batch_row.h"
#include "job/output.h"
#include "job/window.h"

static const double SYNC_SECONDS = 5, PROGRESS_SECONDS = 0.25;

enum {
  // Results may run so many rows ahead of OUT: a row that takes very long lets the others go on for a while,
  // and what waits for it takes 16 bytes of memory a row, and its line in the journal.
  ROWS_AHEAD = 1 << 18,
  WINDOW_LEAST = 1 << 20, // for rows that were read ahead, of the job's allowance, where memory is scarce
  WINDOW_PART = 4,        // otherwise of what the budget has left, one part in so many
};

typedef struct fg_batch_job {
  fg_engine *engine;
  fg_batch_options options;
  fg_job_memory memory;
  fg_form_store forms;
  fg_batch_setting setting;
  fg_rows_survey survey;
  fg_rows *rows;
  fg_window *window; // rows that were read and wait for the engine
  fg_output *output;
  fg_id_set ids;
  fg_trace *trace;
  uint32_t track;
  uint64_t file_row, next_row;             // rows read of the file, of this shard
  bool end;                                // of the input
  bool cancelled;                          // what ends now is no result
  fg_batch_row *held;                      // waits for memory
  fg_batch_row *running;                   // list
  fg_batch_row *complete, **complete_tail; // queue: done, not yet written
  uint64_t line_cost;                      // taken for the line being built
  fg_text line;
  // progress
  fg_batch_progress progress;
  fg_engine_stats before;
  uint64_t done_bytes, left_bytes; // of the input: of rows done in this run; of those to do at its start
  uint64_t start_ns, synced_ns, shown_ns;
} batch;

static double seconds_since(uint64_t ns) {
  return 1e-9 * (double)(fg_now_ns() - ns);
}

// ---- start -------------------------------------------------------------------------------------------

static uint64_t shard_rows(const batch *b) {
  uint32_t shards = b->options.shards;
  uint64_t rows = b->survey.rows;
  if (!shards) return rows;
  return rows > b->options.shard ? (rows - b->options.shard - 1) / shards + 1 : 0;
}

static bool in_shard(const batch *b, uint64_t file_row) {
  return !b->options.shards || file_row % b->options.shards == b->options.shard;
}

static void make_key(const batch *b, fg_journal_key *key) {
  const fg_batch_options *o = &b->options;
  const char *options = o->options_key ? o->options_key : "";
  snprintf(key->text, sizeof key->text,
           "input %016" PRIx64 "\nmodel %.200s\nseed %" PRIu64 "\nshard %" PRIu32 "/%" PRIu32
           "\nids %s\noptions %016" PRIx64 " %.400s\n",
           b->survey.hash, b->setting.context.info.fingerprint ? b->setting.context.info.fingerprint : "?",
           o->seed, o->shard, o->shards, o->deterministic_ids ? "deterministic" : "random",
           fg_hash(options, strlen(options)), options);
}

// Whether a finished OUT's row carries the custom_id of the input's row; reads the input beside it.
typedef struct comparison {
  batch *b;
  fg_rows *rows;
  uint64_t file_row;
} comparison;

static fg_status next_of_shard(comparison *c, fg_line *line, bool *end, fg_error *err) {
  fg_status status;
  do status = fg_rows_next(c->rows, line, end, err);
  while (status == FG_OK && !*end && !in_shard(c->b, c->file_row++));
  return status;
}

static fg_status row_belongs(void *user, uint64_t row, const char *text, size_t length, fg_error *err) {
  comparison *c = user;
  fg_line line;
  bool end;
  fg_status status = next_of_shard(c, &line, &end, err);
  if (status != FG_OK) return status;
  fg_envelope e = {0};
  if (!end) fg_envelope_read(&e, &line, &c->b->memory);
  json_t *answer = fg_json_parse(text, length, "OUT", NULL);
  const json_t *id = json_object_get(answer, "custom_id");
  bool same = json_is_null(id)
                  ? !end && !e.root
                  : e.root && json_is_string(id) && json_string_length(id) == e.custom_id_length &&
                        memcmp(json_string_value(id), e.custom_id, e.custom_id_length) == 0;
  json_decref(answer);
  fg_envelope_free(&e, &c->b->memory);
  if (same) return FG_OK;
  return fg_fail(err, FG_INVALID, "%s: row %" PRIu64 " does not answer that row of %s: custom_ids differ",
                 c->b->options.output, row + 1, c->b->options.input);
}

static fg_status open_output(batch *b, fg_error *err) {
  const fg_batch_options *o = &b->options;
  fg_journal_key key;
  make_key(b, &key);
  comparison c = {.b = b};
  fg_status status = b->survey.regular ? fg_rows_open(&c.rows, o->input, &b->memory, err) : FG_OK;
  fg_output_options options = {.path = o->output,
                               .key = &key,
                               .resume = o->resume,
                               .retry_errors = o->retry_errors,
                               .repeatable = b->survey.regular,
                               .rows = b->survey.regular ? shard_rows(b) : UINT64_MAX,
                               .belongs = row_belongs,
                               .user = &c,
                               .memory = &b->memory};
  if (status == FG_OK) status = fg_output_open(&b->output, &options, err);
  fg_rows_close(c.rows);
  return status;
}

static fg_status check_options(const fg_batch_options *o, fg_error *err) {
  if (!o->input || !o->output) return fg_fail(err, FG_INVALID, "a batch needs an input and an output");
  if (o->shards && o->shard >= o->shards)
    return fg_fail(err, FG_INVALID, "shard %" PRIu32 " of %" PRIu32 " does not exist", o->shard, o->shards);
  return FG_OK;
}

static void enqueue_complete(batch *b, fg_batch_row *row) {
  row->next = NULL;
  *b->complete_tail = row;
  b->complete_tail = &row->next;
}

static void row_complete(void *user, fg_batch_row *row) {
  batch *b = user;
  if (row->previous)
    row->previous->next = row->next;
  else
    b->running = row->next;
  if (row->next) row->next->previous = row->previous;
  enqueue_complete(b, row);
}

static void set_up(batch *b, fg_engine *engine, const fg_batch_options *options) {
  *b = (batch){.engine = engine, .options = *options, .start_ns = fg_now_ns()};
  b->memory.host = fg_engine_host_budget(engine);
  b->forms.memory = &b->memory;
  b->ids.memory = &b->memory;
  b->complete_tail = &b->complete;
  b->setting = (fg_batch_setting){.engine = engine,
                                  .context = {.tokenizer = fg_engine_tokenizer(engine),
                                              .chat = fg_engine_chat(engine),
                                              .forms = &b->forms},
                                  .seed = options->seed,
                                  .memory = &b->memory,
                                  .complete = row_complete,
                                  .user = b};
  fg_engine_describe(engine, &b->setting.context.info);
  if (!options->deterministic_ids && !fg_random_bytes(&b->setting.id_seed, sizeof b->setting.id_seed))
    b->setting.id_seed = fg_now_ns() ^ (uint64_t)time(NULL) << 32;
  if (!options->deterministic_ids) b->setting.id_seed |= 1; // 0 says deterministic
  b->trace = fg_engine_trace(engine);
  b->track = fg_trace_track(b->trace, "results");
  b->synced_ns = b->shown_ns = b->start_ns;
  fg_engine_get_stats(engine, &b->before);
}

// As much as the rows need, if that is there, and no more than a part of what is left.
static fg_status open_window(batch *b, fg_error *err) {
  const fg_rows_survey *s = &b->survey;
  uint64_t bytes = fg_window_need(s->regular ? s->rows : FG_WINDOW_ROWS, s->regular ? s->bytes : UINT32_MAX);
  uint64_t most = fg_budget_left(b->memory.host) / WINDOW_PART;
  const uint64_t share = fg_window_share(b->setting.context.info.host_budget);
  if (most < share) most = share;
  if (most < WINDOW_LEAST) most = WINDOW_LEAST;
  if (bytes > most) bytes = most;
  const uint64_t most_rows = b->options.rows_ahead ? b->options.rows_ahead : FG_WINDOW_ROWS;
  const uint64_t rows = s->regular && s->rows && s->rows < most_rows ? s->rows : most_rows;
  fg_status status = fg_window_create(&b->window, (uint32_t)rows, bytes, &b->memory, err);
  // Those of two windows wait at once, unless one takes very long.
  if (status == FG_OK) status = fg_output_expect(b->output, fg_output_next(b->output) + 2 * rows - 1, err);
  return status;
}

static fg_status start(batch *b, fg_error *err) {
  const fg_batch_options *o = &b->options;
  fg_status status = check_options(o, err);
  if (status == FG_OK) status = fg_rows_look_over(o->input, &b->memory, &b->survey, err);
  if (status == FG_OK) status = fg_id_set_reserve(&b->ids, b->survey.rows, err);
  if (status == FG_OK) status = open_output(b, err);
  if (status == FG_OK) status = fg_rows_open(&b->rows, o->input, &b->memory, err);
  if (status == FG_OK) status = open_window(b, err);
  if (status != FG_OK) return status;
  fg_output_earlier(b->output, &b->progress.rows_done, &b->progress.rows_failed);
  b->progress.rows_earlier = b->progress.rows_done;
  b->progress.rows_total = shard_rows(b);
  if (b->progress.rows_total)
    b->left_bytes =
        (uint64_t)((double)b->survey.bytes * (double)(b->progress.rows_total - b->progress.rows_done) /
                   (double)b->survey.rows);
  return FG_OK;
}

// ---- progress ----------------------------------------------------------------------------------------

static void measure(batch *b) {
  fg_batch_progress *p = &b->progress;
  fg_engine_stats now;
  fg_engine_get_stats(b->engine, &now);
  p->seconds = seconds_since(b->start_ns);
  p->prompt_tokens = now.prompt_tokens - b->before.prompt_tokens;
  p->generated_tokens = now.generated_tokens - b->before.generated_tokens;
  double seconds = p->seconds > 0 ? p->seconds : 1e-9;
  p->prompt_tokens_per_s = (double)p->prompt_tokens / seconds;
  p->generated_tokens_per_s = (double)p->generated_tokens / seconds;
  p->host_used = now.host_used;
  p->host_budget = b->setting.context.info.host_budget;
  p->eta_seconds = p->rows_total ? fg_engine_remaining_seconds(b->engine, p->rows_total - p->rows_done) : -1;
  if (p->eta_seconds >= 0) return;
  // By bytes of input: long rows take long.
  double done = (double)b->done_bytes, left = (double)b->left_bytes - done;
  bool known = p->rows_total && b->done_bytes;
  p->eta_seconds = !known ? -1 : left > 0 && p->rows_done < p->rows_total ? p->seconds * left / done : 0;
}

static void show(batch *b, bool last) {
  if (!b->options.progress || (!last && seconds_since(b->shown_ns) < PROGRESS_SECONDS)) return;
  b->shown_ns = fg_now_ns();
  measure(b);
  b->options.progress(b->options.user, &b->progress);
}

// ---- rows out ----------------------------------------------------------------------------------------

static fg_status write_row(batch *b, fg_batch_row *row, fg_error *err) {
  fg_text_clear(&b->line);
  fg_batch_row_put_line(row, &b->line);
  if (fg_text_failed(&b->line))
    return fg_fail(err, FG_NO_SPACE, "out of memory for the result of line %" PRIu64, row->line);
  b->progress.rows_done++;
  b->progress.rows_failed += fg_batch_row_failed(row);
  b->done_bytes += row->input_bytes;
  return fg_output_put(b->output, row->row, b->line.data, b->line.length, err);
}

static void drop_row(batch *b, fg_batch_row *row) {
  fg_job_memory_give(&b->memory, row->taken);
  fg_batch_row_destroy(row);
}

// Takes the queue's rows off it, to the output or to nowhere.
static fg_status empty_complete(batch *b, bool write, fg_error *err) {
  fg_status status = FG_OK;
  while (b->complete) {
    fg_batch_row *row = b->complete;
    b->complete = row->next;
    if (write && status == FG_OK) status = write_row(b, row, err);
    drop_row(b, row);
  }
  b->complete_tail = &b->complete;
  return status;
}

static fg_status write_complete(batch *b, fg_error *err) {
  if (!b->complete) return FG_OK;
  uint64_t begin = fg_now_ns();
  fg_status status = empty_complete(b, true, err);
  fg_trace_span(b->trace, b->track, FG_SPAN_OUTPUT, NULL, -1, 0, begin, fg_now_ns());
  return status;
}

static fg_status sync_sometimes(batch *b, fg_error *err) {
  if (seconds_since(b->synced_ns) < SYNC_SECONDS) return FG_OK;
  b->synced_ns = fg_now_ns();
  return fg_output_sync(b->output, err);
}

// ---- rows in -----------------------------------------------------------------------------------------

// Reads on to the next row that is to be done; *row stays NULL at the end of the input. Every id is noted,
// also those of rows that are done or belong to another shard: what counts as a duplicate depends on the file
// only.
static fg_status read_row(batch *b, fg_batch_row **row, fg_error *err) {
  *row = NULL;
  while (!*row) {
    fg_line line;
    fg_status status = fg_rows_next(b->rows, &line, &b->end, err);
    if (status != FG_OK || b->end) return status;
    bool mine = in_shard(b, b->file_row++), seen = false;
    fg_envelope e;
    fg_envelope_read(&e, &line, &b->memory);
    if (e.root) status = fg_id_set_add(&b->ids, e.custom_id, e.custom_id_length, &seen, err);
    if (status == FG_OK && mine) {
      uint64_t number = b->next_row++;
      if (!fg_output_has(b->output, number)) {
        *row = fg_batch_row_create(&b->setting, number, &line, &e, seen);
        if (!*row) status = fg_fail(err, FG_NO_SPACE, "out of memory for line %" PRIu64, line.number);
      }
    }
    fg_envelope_free(&e, &b->memory);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

// Takes what the row needs until its line is written.
static fg_status take_memory(batch *b, fg_batch_row *row, fg_error *err) {
  fg_status status = fg_output_expect(b->output, row->row, err);
  uint64_t line = row->line_cost > b->line_cost ? row->line_cost - b->line_cost : 0;
  if (status == FG_OK) status = fg_job_memory_take(&b->memory, line + row->cost, "the results of a row", err);
  if (status != FG_OK) return status;
  b->line_cost += line; // one line is built at a time
  row->taken = row->cost;
  return FG_OK;
}

static fg_status start_row(batch *b, fg_batch_row *row, fg_error *err) {
  fg_error why;
  if (!fg_batch_row_failed(row) && take_memory(b, row, &why) != FG_OK) {
    if (b->running) {
      b->held = row;
      return FG_OK;
    }
    fg_batch_row_refuse(row, why.message); // alone it does not fit either
  }
  if (fg_batch_row_failed(row)) {
    enqueue_complete(b, row);
    return write_complete(b, err);
  }
  row->previous = NULL;
  row->next = b->running;
  if (b->running) b->running->previous = row;
  b->running = row;
  fg_batch_row_submit(row);
  return FG_OK;
}

static bool stopped(const batch *b) {
  return b->options.stop && *b->options.stop;
}

// A pipe that has nothing yet must not keep the rows waiting that are there.
static bool may_read(const batch *b) {
  const bool idle = !b->running && !fg_window_waiting(b->window);
  const uint64_t written = fg_output_next(b->output);
  const bool far = b->next_row > written && b->next_row - written >= ROWS_AHEAD;
  return !b->end && !stopped(b) && !fg_window_full(b->window) && (idle || (!far && fg_rows_ready(b->rows)));
}

// Fills the empty window. Rows that have failed are done at once.
static fg_status read_ahead(batch *b, fg_error *err) {
  fg_status status = FG_OK;
  while (status == FG_OK && may_read(b)) {
    fg_batch_row *row;
    status = read_row(b, &row, err);
    if (!row) break;
    if (!fg_batch_row_failed(row)) {
      fg_window_add(b->window, row);
      continue;
    }
    enqueue_complete(b, row);
    status = write_complete(b, err);
  }
  fg_window_order(b->window, b->setting.context.info.order);
  return status;
}

// The next row to start, now ours; *row is NULL where none is there yet.
static fg_status take_next(batch *b, fg_batch_row **row, fg_error *err) {
  *row = b->held;
  b->held = NULL;
  if (*row) return FG_OK;
  fg_status status = fg_window_waiting(b->window) ? FG_OK : read_ahead(b, err);
  if (status == FG_OK) *row = fg_window_next(b->window);
  return status;
}

fg_status fg_batch_job_fill(batch *b, uint32_t room, fg_error *err) {
  const uint64_t enough = (uint64_t)fg_engine_pending(b->engine) + room;
  fg_status status = FG_OK;
  while (status == FG_OK && fg_engine_pending(b->engine) < enough) {
    fg_batch_row *row;
    status = take_next(b, &row, err);
    if (!row) return status;
    status = start_row(b, row, err);
    if (b->held) return status;
  }
  return status;
}

// ---- the job -----------------------------------------------------------------------------------------

fg_status fg_batch_job_open(batch **out, fg_engine *engine, const fg_batch_options *options, fg_error *err) {
  batch *b = malloc(sizeof *b);
  if (!b) return fg_fail(err, FG_NO_SPACE, "out of memory for a batch");
  set_up(b, engine, options);
  fg_status status = start(b, err);
  if (status != FG_OK) {
    (void)fg_batch_job_close(b, false, NULL);
    return status;
  }
  *out = b;
  return FG_OK;
}

bool fg_batch_job_runs(const batch *b) {
  return b->running != NULL;
}

bool fg_batch_job_done(const batch *b) {
  return b->end && !b->held && !b->running && !b->complete && !fg_window_waiting(b->window);
}

void fg_batch_job_count(const batch *b, uint64_t *done, uint64_t *failed, uint64_t *total) {
  *done = b->progress.rows_done;
  *failed = b->progress.rows_failed;
  *total = b->progress.rows_total;
}

fg_status fg_batch_job_stepped(batch *b, fg_error *err) {
  if (b->cancelled) return empty_complete(b, false, err);
  fg_status status = write_complete(b, err);
  if (status == FG_OK) status = sync_sometimes(b, err);
  if (status == FG_OK) show(b, false);
  return status;
}

fg_status fg_batch_job_visit(batch *b, fg_output_visitor *visit, void *user, fg_error *err) {
  return fg_output_visit(b->output, visit, user, err);
}

void fg_batch_job_cancel(batch *b) {
  b->cancelled = true;
  for (fg_batch_row *row = b->running; row; row = row->next) fg_batch_row_cancel(row);
}

static fg_status give_up_row(batch *b, uint64_t number, const fg_line *line, const fg_row_end *end,
                             fg_error *err) {
  fg_envelope e;
  fg_envelope_read(&e, line, &b->memory);
  fg_batch_row *row = fg_batch_row_unanswered(&b->setting, number, line, &e, end);
  fg_envelope_free(&e, &b->memory);
  fg_status status = row ? write_row(b, row, err)
                         : fg_fail(err, FG_NO_SPACE, "out of memory for line %" PRIu64, line->number);
  fg_batch_row_destroy(row);
  return status;
}

fg_status fg_batch_job_give_up(batch *b, const fg_row_end *why, fg_error *err) {
  comparison c = {.b = b};
  fg_line line;
  bool end = false;
  fg_status status = fg_rows_open(&c.rows, b->options.input, &b->memory, err);
  for (uint64_t row = 0; status == FG_OK; row++) {
    status = next_of_shard(&c, &line, &end, err);
    if (end) break;
    if (status == FG_OK && !fg_output_has(b->output, row)) status = give_up_row(b, row, &line, why, err);
  }
  fg_rows_close(c.rows);
  return status;
}

// Rows that are under way are not results: they run again after a resume.
fg_status fg_batch_job_close(batch *b, bool done, fg_error *err) {
  (void)empty_complete(b, false, NULL);
  if (b->held) drop_row(b, b->held);
  const fg_status status = fg_output_close(b->output, done, err);
  fg_window_destroy(b->window);
  fg_form_store_close(&b->forms);
  fg_rows_close(b->rows);
  fg_id_set_free(&b->ids);
  fg_text_free(&b->line);
  fg_job_memory_give(&b->memory, b->line_cost);
  free(b);
  return status;
}

// ---- the command's way -------------------------------------------------------------------------------

static fg_status run(batch *b, fg_error *err) {
  fg_status status = FG_OK;
  while (status == FG_OK) {
    if (stopped(b))
      return fg_fail(err, FG_CANCELLED, "stopped; %" PRIu64 " finished rows are safe", b->progress.rows_done);
    status = fg_batch_job_fill(b, fg_engine_wants(b->engine), err);
    if (status == FG_OK && b->running) status = fg_engine_step(b->engine, err);
    if (status == FG_OK) status = fg_batch_job_stepped(b, err);
    if (fg_batch_job_done(b)) break;
  }
  return status;
}

fg_status fg_batch_run(fg_engine *engine, const fg_batch_options *options, fg_batch_progress *done,
                       fg_error *err) {
  batch *b;
  fg_status status = fg_batch_job_open(&b, engine, options, err);
  if (status != FG_OK) {
    if (done) *done = (fg_batch_progress){0};
    return status;
  }
  status = run(b, err);
  fg_batch_job_cancel(b);
  if (b->running) (void)fg_engine_step(b->engine, NULL);
  measure(b);
  if (status == FG_OK) show(b, true);
  if (done) *done = b->progress;
  fg_error closing;
  const fg_status closed = fg_batch_job_close(b, status == FG_OK && !options->keep_journal, &closing);
  if (status == FG_OK && closed != FG_OK) status = fg_fail(err, closed, "%s", closing.message);
  return status;
}
