#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/intervals.h"
#include "base/utf8.h"

enum {
  FLUSH_BYTES = 64 << 10,
  // Beyond FOLD_COUNT intervals of a kind (1 MiB) what is older than FOLD_AGE_NS is folded into sums;
  // beyond FOLD_MOST (4 MiB) the older half is, whatever its age.
  FOLD_COUNT = 1 << 16,
  FOLD_MOST = 1 << 18,
};
static const uint64_t FOLD_AGE_NS = UINT64_C(10000000000);
static const uint64_t FLUSH_AGE_NS = UINT64_C(1000000000);

typedef struct span_row {
  const char *name, *category;
} span_row;

static const span_row span_rows[] = {
    [FG_SPAN_STEP] = {"step", "engine"},         [FG_SPAN_COMPUTE] = {"compute", "device"},
    [FG_SPAN_WAIT_READ] = {"wait read", "io"},   [FG_SPAN_READ] = {"read", "io"},
    [FG_SPAN_GATHER] = {"gather", "engine"},     [FG_SPAN_UPLOAD] = {"upload", "device"},
    [FG_SPAN_DOWNLOAD] = {"download", "device"}, [FG_SPAN_SAMPLE] = {"sample", "engine"},
    [FG_SPAN_OUTPUT] = {"output", "engine"},
};
_Static_assert(sizeof span_rows / sizeof span_rows[0] == FG_SPAN_KIND_COUNT, "a row for every kind of span");

struct fg_trace {
  pthread_mutex_t mutex; // guards everything below
  int fd;                // -1: sums only
  int write_error;       // the first errno of a failed write; nothing more is written after it
  char *path;
  fg_text buffer; // whole events, so that a killed run's file ends behind one
  uint64_t origin_ns, flushed_ns;
  uint64_t (*now)(const void *user); // NULL: fg_now_ns
  const void *user;
  uint32_t tracks;
  fg_span_sum sums[FG_SPAN_KIND_COUNT];

  // Of each kind the union of its spans since folded_until; for the time before it, how long each
  // kind was open (folded[k][k]) and how long two kinds were open together (folded[k][u]).
  fg_intervals open[FG_SPAN_KIND_COUNT];
  uint64_t folded[FG_SPAN_KIND_COUNT][FG_SPAN_KIND_COUNT];
  uint64_t folded_until, newest_ns;
  size_t fold_at; // the number of intervals of one kind at which the next fold is tried
};

static void lock(const fg_trace *trace) {
  pthread_mutex_lock((pthread_mutex_t *)&trace->mutex);
}
static void unlock(const fg_trace *trace) {
  pthread_mutex_unlock((pthread_mutex_t *)&trace->mutex);
}

static void flush(fg_trace *t) {
  size_t at = 0;
  while (at < t->buffer.length && t->write_error == 0) {
    ssize_t put = write(t->fd, t->buffer.data + at, t->buffer.length - at);
    if (put >= 0)
      at += (size_t)put;
    else if (errno != EINTR)
      t->write_error = errno;
  }
  fg_text_clear(&t->buffer);
  t->flushed_ns = fg_now_ns();
}

static void put_string(fg_text *text, const char *string) {
  fg_text_append(text, "\"", 1);
  for (size_t left = strlen(string), length; left > 0; string += length, left -= length) {
    const unsigned char first = (unsigned char)*string;
    fg_utf8_state state;
    length = fg_utf8_scan(string, left, &state);
    if (first == '"' || first == '\\')
      fg_text_printf(text, "\\%c", first);
    else if (first < 0x20)
      fg_text_printf(text, "\\u%04x", first);
    else if (state != FG_UTF8_VALID)
      fg_text_append_string(text, "\\ufffd");
    else
      fg_text_append(text, string, length);
  }
  fg_text_append(text, "\"", 1);
}

static void put_time(fg_text *text, const char *key, uint64_t ns) {
  fg_text_printf(text, ",\"%s\":%" PRIu64 ".%03u", key, ns / 1000, (unsigned)(ns % 1000));
}

static uint64_t since_origin(const fg_trace *t, uint64_t ns) {
  return ns > t->origin_ns ? ns - t->origin_ns : 0;
}

static void put_name(fg_trace *t, const char *what, uint32_t track, const char *name) {
  fg_text_printf(&t->buffer,
                 "{\"name\":\"%s\",\"ph\":\"M\",\"pid\":1,\"tid\":%" PRIu32 ",\"args\":{\"name\":", what,
                 track);
  put_string(&t->buffer, name);
  fg_text_append_string(&t->buffer, "}}");
}

fg_status fg_trace_create(fg_trace **out, const char *path, fg_error *err) {
  fg_trace *t = calloc(1, sizeof *t);
  char *copy = path ? strdup(path) : NULL;
  if (!t || (path && !copy)) {
    free(t);
    free(copy);
    return fg_fail(err, FG_NO_SPACE, "no memory for the trace");
  }
  t->fd = -1;
  t->path = copy;
  if (path) {
    t->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (t->fd < 0) {
      fg_status status = fg_fail(err, FG_IO, "%s: cannot write the trace: %s", path, strerror(errno));
      free(copy);
      free(t);
      return status;
    }
    fg_text_append_string(&t->buffer, "[\n");
    put_name(t, "process_name", 0, "flexgen");
  }
  pthread_mutex_init(&t->mutex, NULL);
  t->origin_ns = t->flushed_ns = fg_now_ns();
  t->fold_at = FOLD_COUNT;
  // So that steps allocate nothing. The memory becomes resident as it is used; without it the lists grow.
  for (int k = 0; k < FG_SPAN_KIND_COUNT; k++) (void)fg_intervals_reserve(&t->open[k], FOLD_COUNT + 1);
  *out = t;
  return FG_OK;
}

fg_status fg_trace_destroy(fg_trace *trace, fg_error *err) {
  if (!trace) return FG_OK;
  fg_status status = FG_OK;
  if (trace->fd >= 0) {
    fg_text_append_string(&trace->buffer, "\n]\n");
    flush(trace);
    if (close(trace->fd) != 0 && trace->write_error == 0) trace->write_error = errno;
    if (trace->write_error)
      status = fg_fail(err, trace->write_error == ENOSPC ? FG_DISK_FULL : FG_IO,
                       "%s: the trace is incomplete: %s", trace->path, strerror(trace->write_error));
  }
  for (int k = 0; k < FG_SPAN_KIND_COUNT; k++) fg_intervals_free(&trace->open[k]);
  pthread_mutex_destroy(&trace->mutex);
  fg_text_free(&trace->buffer);
  free(trace->path);
  free(trace);
  return status;
}

// Events are written in lines; each brings the comma that ends the one before it.
static void begin_event(fg_trace *t) {
  fg_text_append(&t->buffer, ",\n", 2);
}

static void end_event(fg_trace *t) {
  if (t->buffer.failed) {
    t->write_error = ENOMEM; // a torn event must not reach the file
    fg_text_clear(&t->buffer);
  }
  if (t->buffer.length >= FLUSH_BYTES || fg_now_ns() - t->flushed_ns > FLUSH_AGE_NS) flush(t);
}

void fg_trace_set_clock(fg_trace *t, uint64_t (*now)(const void *user), const void *user) {
  t->now = now;
  t->user = user;
  t->origin_ns = now(user);
}

uint64_t fg_trace_now(const fg_trace *t) {
  return t && t->now ? t->now(t->user) : fg_now_ns();
}

uint32_t fg_trace_track(fg_trace *trace, const char *name) {
  if (!trace) return 0;
  lock(trace);
  uint32_t track = ++trace->tracks;
  if (trace->fd >= 0) {
    begin_event(trace);
    put_name(trace, "thread_name", track, name);
    end_event(trace);
  }
  unlock(trace);
  return track;
}

static void fold(fg_trace *t, uint64_t until) {
  for (int k = 0; k < FG_SPAN_KIND_COUNT; k++) {
    t->folded[k][k] += fg_intervals_length(&t->open[k], until);
    for (int u = 0; u < k; u++) {
      uint64_t shared = fg_intervals_shared(&t->open[k], &t->open[u], until);
      t->folded[k][u] += shared;
      t->folded[u][k] += shared;
    }
  }
  for (int k = 0; k < FG_SPAN_KIND_COUNT; k++) fg_intervals_cut(&t->open[k], until);
  t->folded_until = until;
}

static void fold_if_long(fg_trace *t, const fg_intervals *set) {
  if (set->count < t->fold_at) return;
  uint64_t until = t->newest_ns > FOLD_AGE_NS ? t->newest_ns - FOLD_AGE_NS : 0;
  uint64_t middle = set->list[set->count / 2].begin;
  if (set->count >= FOLD_MOST && middle > until) until = middle;
  if (until > t->folded_until) fold(t, until);
  // Twice what is left, so that the cost of folding stays a constant per span.
  t->fold_at = 2 * set->count;
  if (t->fold_at < FOLD_COUNT) t->fold_at = FOLD_COUNT;
  if (t->fold_at > FOLD_MOST) t->fold_at = FOLD_MOST;
}

static void put_span(fg_trace *t, uint32_t track, fg_span_kind kind, const char *label, int layer,
                     uint64_t bytes, uint64_t begin_ns, uint64_t end_ns) {
  const span_row *row = &span_rows[kind];
  begin_event(t);
  fg_text_printf(&t->buffer, "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%" PRIu32,
                 row->name, row->category, track);
  put_time(&t->buffer, "ts", since_origin(t, begin_ns));
  put_time(&t->buffer, "dur", since_origin(t, end_ns) - since_origin(t, begin_ns));
  fg_text_append_string(&t->buffer, ",\"args\":{");
  const char *comma = "";
  if (label) {
    fg_text_append_string(&t->buffer, "\"label\":");
    put_string(&t->buffer, label);
    comma = ",";
  }
  if (layer >= 0) {
    fg_text_printf(&t->buffer, "%s\"layer\":%d", comma, layer);
    comma = ",";
  }
  if (bytes) fg_text_printf(&t->buffer, "%s\"bytes\":%" PRIu64, comma, bytes);
  fg_text_append_string(&t->buffer, "}}");
  end_event(t);
}

void fg_trace_span(fg_trace *trace, uint32_t track, fg_span_kind kind, const char *label, int layer,
                   uint64_t bytes, uint64_t begin_ns, uint64_t end_ns) {
  if (!trace) return;
  if (end_ns < begin_ns) end_ns = begin_ns;
  lock(trace);
  fg_span_sum *sum = &trace->sums[kind];
  sum->count++;
  sum->nanoseconds += end_ns - begin_ns;
  sum->bytes += bytes;
  if (end_ns > trace->newest_ns) trace->newest_ns = end_ns;
  uint64_t from = begin_ns > trace->folded_until ? begin_ns : trace->folded_until;
  fg_intervals_add(&trace->open[kind], from, end_ns);
  fold_if_long(trace, &trace->open[kind]);
  if (trace->fd >= 0) put_span(trace, track, kind, label, layer, bytes, begin_ns, end_ns);
  unlock(trace);
}

void fg_trace_counter(fg_trace *trace, const char *name, double value) {
  if (!trace || trace->fd < 0 || !isfinite(value)) return;
  lock(trace);
  begin_event(trace);
  fg_text_append_string(&trace->buffer, "{\"name\":");
  put_string(&trace->buffer, name);
  fg_text_append_string(&trace->buffer, ",\"ph\":\"C\",\"pid\":1");
  put_time(&trace->buffer, "ts", since_origin(trace, fg_trace_now(trace)));
  fg_text_printf(&trace->buffer, ",\"args\":{\"value\":%.17g}}", value);
  end_event(trace);
  unlock(trace);
}

fg_span_sum fg_trace_sum(const fg_trace *trace, fg_span_kind kind) {
  if (!trace) return (fg_span_sum){0};
  lock(trace);
  fg_span_sum sum = trace->sums[kind];
  unlock(trace);
  return sum;
}

void fg_trace_overlap(const fg_trace *trace, fg_span_kind kind, fg_span_kind under, uint64_t *busy_ns,
                      uint64_t *covered_ns) {
  *busy_ns = *covered_ns = 0;
  if (!trace) return;
  lock(trace);
  const fg_intervals *a = &trace->open[kind], *b = &trace->open[under];
  *busy_ns = trace->folded[kind][kind] + fg_intervals_length(a, UINT64_MAX);
  *covered_ns = trace->folded[kind][under] + fg_intervals_shared(a, b, UINT64_MAX);
  unlock(trace);
}
