// history.h: how a run went, as a bounded number of samples.
//
// Every step leaves its figures here. A sample covers the steps of an interval: counts are those at its end,
// peaks the largest in it. When there is no room for another one, two neighbours become one and the interval
// doubles: an hour takes the memory of a second, and samples stay evenly spread. The last steps are kept one
// by one.
//
// Threads: one owner. No clock is read here.
#ifndef FG_ENGINE_HISTORY_H
#define FG_ENGINE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

enum {
  FG_HISTORY_SAMPLES = 240, // at most; even, so that all have a neighbour. A line of a page is not wider
  FG_HISTORY_STEPS = 64,    // the last ones
};

// What is known of a moment; names and kinds are rows of a table in history.c.
typedef enum fg_history_column {
  FG_HISTORY_SECONDS, // since the beginning
  FG_HISTORY_STEP_COUNT,
  FG_HISTORY_PROMPT_TOKENS,
  FG_HISTORY_SHARED_TOKENS,
  FG_HISTORY_GENERATED_TOKENS,
  FG_HISTORY_READ_BYTES,
  FG_HISTORY_WRITTEN_BYTES,
  FG_HISTORY_STEP_SECONDS,
  FG_HISTORY_COMPUTE_SECONDS,
  FG_HISTORY_WAIT_SECONDS,
  FG_HISTORY_HOST_BYTES,
  FG_HISTORY_DEVICE_BYTES,
  FG_HISTORY_PROCESS_BYTES,
  FG_HISTORY_RUNNING,
  FG_HISTORY_WAITING,
  FG_HISTORY_COLUMNS
} fg_history_column;

typedef struct fg_history_sample {
  double values[FG_HISTORY_COLUMNS];
} fg_history_sample;

// A step by itself; seconds since the beginning, and of the step.
typedef struct fg_history_step {
  double begin, seconds, compute, wait;
  double prompt_tokens, generated_tokens;
  uint32_t rows; // that it took on by at least one token
} fg_history_step;

typedef struct fg_history {
  fg_history_sample first;                       // before any step
  double interval;                               // seconds that a sample covers at least
  fg_history_sample samples[FG_HISTORY_SAMPLES]; // in order of time
  uint32_t count;
  fg_history_sample open;                  // of the steps since the last sample
  bool has_open;                           // there were some
  fg_history_step steps[FG_HISTORY_STEPS]; // a ring: step i at i % FG_HISTORY_STEPS
  uint64_t step_count;
} fg_history;

// `first`: what is known before any step; its seconds are 0.
void fg_history_begin(fg_history *history, const fg_history_sample *first);
// Whether a step that ends at `seconds` closes a sample: what is dear to look at is looked at then.
bool fg_history_due(const fg_history *history, double seconds);
// A step of `rows` rows began at `begin` and left the figures of `now`, counts since the beginning. What lies
// between two steps for longer than a second and a sample is a sample of its own, in which nothing ran.
void fg_history_add(fg_history *history, double begin, uint32_t rows, const fg_history_sample *now);

// Of the samples, the first and the open one included.
uint32_t fg_history_count(const fg_history *history);
const fg_history_sample *fg_history_at(const fg_history *history, uint32_t index);
// Of the steps that are kept, the oldest first.
uint32_t fg_history_step_count(const fg_history *history);
const fg_history_step *fg_history_step_at(const fg_history *history, uint32_t index);

const char *fg_history_name(fg_history_column column);
// Whole numbers; the others are seconds.
bool fg_history_is_whole(fg_history_column column);

#endif
