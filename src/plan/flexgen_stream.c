#include "plan/flexgen_stream.h"

#include "plan/flexgen_work.h"

// What runs in order: kernels, the three side streams, the threads that copy from and to the disk, and the
// main thread.
enum { COMPUTE, LOAD_WEIGHTS, LOAD_CACHE, STORE, READ, WRITE, MAIN };

typedef struct stream {
  fg_flexgen_job job;
  fg_simulation *simulation;
  fg_trace *trace;
  uint32_t tracks[FG_UNIT_COUNT];
  int layer;
} stream;

static const fg_span_kind span_kinds[FG_UNIT_COUNT] = {
    [FG_UNIT_DEVICE] = FG_SPAN_COMPUTE, [FG_UNIT_CPU] = FG_SPAN_COMPUTE, [FG_UNIT_IN] = FG_SPAN_UPLOAD,
    [FG_UNIT_OUT] = FG_SPAN_DOWNLOAD,   [FG_UNIT_DISK] = FG_SPAN_READ,
};

static uint64_t work(stream *s, uint32_t queue, fg_unit unit, double seconds) {
  if (seconds <= 0) return 0;
  const fg_timeline_span span = fg_timeline_work(&s->simulation->time, queue, unit, seconds);
  fg_trace_span(s->trace, s->tracks[unit], span_kinds[unit], NULL, s->layer, 0, span.begin, span.end);
  if (!s->job.policy->overlap) fg_timeline_wait(&s->simulation->time, span.end);
  return span.end;
}

// The main thread does it before it goes on.
static void work_now(stream *s, fg_unit unit, double seconds) {
  fg_timeline_wait(&s->simulation->time, work(s, MAIN, unit, seconds));
}

static void synchronise(stream *s) {
  fg_timeline *t = &s->simulation->time;
  for (uint32_t q = 0; q < FG_TIMELINE_QUEUES; q++) fg_timeline_wait(t, t->queue_end[q]);
}

static void load_weights(stream *s, fg_flexgen_half half) {
  fg_flexgen_lanes t = {0};
  fg_flexgen_load_weights(&s->job, half, &t);
  (void)work(s, READ, FG_UNIT_DISK, t.read); // in pieces, so that the link is busy meanwhile
  work_now(s, FG_UNIT_CPU, t.thread);
  (void)work(s, LOAD_WEIGHTS, FG_UNIT_IN, t.link);
}

static void load_cache(stream *s, double context) {
  fg_flexgen_lanes t = {0};
  fg_flexgen_load_cache(&s->job, context, &t);
  (void)work(s, READ, FG_UNIT_DISK, t.read);
  work_now(s, FG_UNIT_CPU, t.thread);
  (void)work(s, LOAD_CACHE, FG_UNIT_IN, t.link);
}

static void move_hidden(stream *s, double context) {
  fg_flexgen_lanes t = {0};
  fg_flexgen_move_hidden(&s->job, context, &t);
  (void)work(s, STORE, FG_UNIT_OUT, t.back);
  (void)work(s, LOAD_CACHE, FG_UNIT_IN, t.link);
}

static void compute(stream *s, fg_flexgen_half half, double context) {
  fg_flexgen_lanes t = {0};
  fg_flexgen_compute(&s->job, half, context, &t);
  const uint64_t computed = work(s, COMPUTE, FG_UNIT_DEVICE, t.device);
  if (t.cpu <= 0) return;
  fg_timeline_wait(&s->simulation->time, computed); // queries come first
  work_now(s, FG_UNIT_CPU, t.cpu);
}

static void store_cache(stream *s, double context) {
  fg_flexgen_lanes t = {0};
  fg_flexgen_store_cache(&s->job, context, &t);
  (void)work(s, COMPUTE, FG_UNIT_DEVICE, t.device); // into codes
  (void)work(s, STORE, FG_UNIT_OUT, t.back);
  (void)work(s, WRITE, FG_UNIT_DISK, t.write);
}

// One batch in one half of a layer, as a step of FlexGen's loop. The cache that it loads is the next batch's,
// and what it stores the one before's: as much as its own, so nothing in it waits for them.
static void step(stream *s, fg_flexgen_half half, double context, uint32_t batch) {
  const bool attends = half == FG_FLEXGEN_ATTENTION;
  if (batch == 0) load_weights(s, attends ? FG_FLEXGEN_MLP : FG_FLEXGEN_ATTENTION);
  if (attends && context > 0) load_cache(s, context);
  move_hidden(s, context);
  compute(s, half, context);
  if (attends) store_cache(s, context);
  synchronise(s);
}

static void token(stream *s, double context) {
  const uint32_t batches = s->job.policy->batches;
  for (s->layer = 0; s->layer < (int)s->job.shape->layers; s->layer++)
    for (int half = 0; half < FG_FLEXGEN_HALVES; half++)
      for (uint32_t k = 0; k < batches; k++) step(s, (fg_flexgen_half)half, context, k);
  for (uint32_t k = 0; k < batches; k++) {
    (void)work(s, COMPUTE, FG_UNIT_DEVICE, fg_flexgen_head(&s->job, context));
    synchronise(s);
  }
}

fg_flexgen_time fg_flexgen_stream(fg_simulation *simulation, const fg_flexgen_run *run) {
  stream s = {.job = fg_flexgen_job_of(&simulation->machine, run->shape, run->policy, run->prompt),
              .simulation = simulation,
              .trace = run->trace};
  for (int u = 0; u < FG_UNIT_COUNT; u++) s.tracks[u] = fg_trace_track(run->trace, fg_unit_name((fg_unit)u));
  fg_flexgen_time t = {0};
  for (uint32_t block = 0; block < run->blocks; block++) {
    const uint64_t begin = simulation->time.now;
    token(&s, 0);
    const uint64_t read = simulation->time.now;
    for (uint32_t i = 1; i < run->generated; i++) token(&s, (double)run->prompt + i);
    t.prefill += 1e-9 * (double)(read - begin);
    t.decode += 1e-9 * (double)(simulation->time.now - read);
  }
  const double rows = (double)run->policy->batch * run->policy->batches * run->blocks;
  t.rate = rows * run->generated / (t.prefill + t.decode);
  return t;
}
