#include "engine/history.h"

#include <math.h>

// Shorter than most steps: a short job has a sample a step.
static const double FIRST_INTERVAL = 0.001;
// What is shorter is work between two steps: rows read and written, plans made.
static const double LEAST_PAUSE = 1;

typedef enum column_kind { COUNT, TIME, PEAK } column_kind;

static const struct {
  const char *name;
  column_kind kind;
} columns[FG_HISTORY_COLUMNS] = {
    [FG_HISTORY_SECONDS] = {"seconds", TIME},
    [FG_HISTORY_STEP_COUNT] = {"steps", COUNT},
    [FG_HISTORY_PROMPT_TOKENS] = {"prompt_tokens", COUNT},
    [FG_HISTORY_SHARED_TOKENS] = {"prompt_tokens_shared", COUNT},
    [FG_HISTORY_GENERATED_TOKENS] = {"generated_tokens", COUNT},
    [FG_HISTORY_READ_BYTES] = {"read_bytes", COUNT},
    [FG_HISTORY_WRITTEN_BYTES] = {"written_bytes", COUNT},
    [FG_HISTORY_STEP_SECONDS] = {"steps_s", TIME},
    [FG_HISTORY_COMPUTE_SECONDS] = {"compute_s", TIME},
    [FG_HISTORY_WAIT_SECONDS] = {"wait_read_s", TIME},
    [FG_HISTORY_HOST_BYTES] = {"host_bytes", PEAK},
    [FG_HISTORY_DEVICE_BYTES] = {"device_bytes", PEAK},
    [FG_HISTORY_PROCESS_BYTES] = {"process_bytes", PEAK},
    [FG_HISTORY_RUNNING] = {"running", PEAK},
    [FG_HISTORY_WAITING] = {"waiting", PEAK},
};

const char *fg_history_name(fg_history_column column) {
  return columns[column].name;
}

bool fg_history_is_whole(fg_history_column column) {
  return columns[column].kind != TIME;
}

void fg_history_begin(fg_history *history, const fg_history_sample *first) {
  *history = (fg_history){.first = *first, .interval = FIRST_INTERVAL};
}

static const fg_history_sample *last_sample(const fg_history *history) {
  return history->count ? &history->samples[history->count - 1] : &history->first;
}

// The figures before the step at hand.
static const fg_history_sample *latest(const fg_history *history) {
  return history->has_open ? &history->open : last_sample(history);
}

bool fg_history_due(const fg_history *history, double seconds) {
  return seconds - last_sample(history)->values[FG_HISTORY_SECONDS] >= history->interval;
}

// *out becomes the sample of what `before` and `now` cover together.
static void join(fg_history_sample *out, const fg_history_sample *before, const fg_history_sample *now) {
  for (uint32_t c = 0; c < FG_HISTORY_COLUMNS; c++)
    out->values[c] = columns[c].kind == PEAK ? fmax(before->values[c], now->values[c]) : now->values[c];
}

static double narrowest(const fg_history *h) {
  double least = INFINITY, begin = h->first.values[FG_HISTORY_SECONDS];
  for (uint32_t i = 0; i < h->count; i++) {
    const double end = h->samples[i].values[FG_HISTORY_SECONDS];
    least = fmin(least, end - begin);
    begin = end;
  }
  return least;
}

// Where steps are longer than the interval samples are too: new ones are to be no shorter than the old.
static void coarsen(fg_history *h) {
  h->count /= 2;
  for (uint32_t i = 0; i < h->count; i++) join(&h->samples[i], &h->samples[2 * i], &h->samples[2 * i + 1]);
  h->interval = fmax(2 * h->interval, narrowest(h));
}

static void append(fg_history *h, const fg_history_sample *sample) {
  h->samples[h->count++] = *sample;
  if (h->count == FG_HISTORY_SAMPLES) coarsen(h);
}

static void close_open(fg_history *h) {
  if (h->has_open) append(h, &h->open);
  h->has_open = false;
}

// Up to `until` nothing runs. Memory stays as it was.
static void add_pause(fg_history *h, double until) {
  if (until - latest(h)->values[FG_HISTORY_SECONDS] < fmax(h->interval, LEAST_PAUSE)) return;
  close_open(h);
  fg_history_sample pause = *last_sample(h);
  pause.values[FG_HISTORY_SECONDS] = until;
  pause.values[FG_HISTORY_RUNNING] = pause.values[FG_HISTORY_WAITING] = 0;
  append(h, &pause);
}

static void keep_step(fg_history *h, double begin, uint32_t rows, const fg_history_sample *now) {
  const double *before = latest(h)->values, *after = now->values;
  h->steps[h->step_count++ % FG_HISTORY_STEPS] = (fg_history_step){
      .begin = begin,
      .seconds = after[FG_HISTORY_SECONDS] - begin,
      .compute = after[FG_HISTORY_COMPUTE_SECONDS] - before[FG_HISTORY_COMPUTE_SECONDS],
      .wait = after[FG_HISTORY_WAIT_SECONDS] - before[FG_HISTORY_WAIT_SECONDS],
      .prompt_tokens = after[FG_HISTORY_PROMPT_TOKENS] - before[FG_HISTORY_PROMPT_TOKENS],
      .generated_tokens = after[FG_HISTORY_GENERATED_TOKENS] - before[FG_HISTORY_GENERATED_TOKENS],
      .rows = rows,
  };
}

void fg_history_add(fg_history *h, double begin, uint32_t rows, const fg_history_sample *now) {
  keep_step(h, begin, rows, now);
  add_pause(h, begin);
  if (h->has_open)
    join(&h->open, &h->open, now);
  else
    h->open = *now;
  h->has_open = true;
  if (fg_history_due(h, now->values[FG_HISTORY_SECONDS])) close_open(h);
}

uint32_t fg_history_count(const fg_history *h) {
  return 1 + h->count + h->has_open;
}

const fg_history_sample *fg_history_at(const fg_history *h, uint32_t index) {
  if (index == 0) return &h->first;
  return index <= h->count ? &h->samples[index - 1] : &h->open;
}

uint32_t fg_history_step_count(const fg_history *h) {
  return h->step_count < FG_HISTORY_STEPS ? (uint32_t)h->step_count : FG_HISTORY_STEPS;
}

const fg_history_step *fg_history_step_at(const fg_history *h, uint32_t index) {
  return &h->steps[(h->step_count - fg_history_step_count(h) + index) % FG_HISTORY_STEPS];
}
