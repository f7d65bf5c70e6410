#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/intervals.h"
#include "base/json.h"
#include "base/threads.h"
#include "base/trace.h"

static uint32_t next_random(uint64_t *seed) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(*seed >> 33);
}

typedef struct span {
  fg_span_kind kind;
  uint64_t begin, end;
} span;

typedef struct edge {
  uint64_t time;
  int kind, change;
} edge;

static int by_time(const void *a, const void *b) {
  const edge *x = a, *y = b;
  return x->time < y->time ? -1 : x->time > y->time;
}

// The oracle: sorts all ends of all spans and walks over them, counting what is open.
static void overlap_by_sweep(const span *spans, size_t count, fg_span_kind kind, fg_span_kind under,
                             uint64_t *busy, uint64_t *covered) {
  edge *edges = malloc(2 * count * sizeof *edges);
  assert_non_null(edges);
  size_t n = 0;
  for (size_t i = 0; i < count; i++) {
    edges[n++] = (edge){spans[i].begin, (int)spans[i].kind, 1};
    edges[n++] = (edge){spans[i].end, (int)spans[i].kind, -1};
  }
  qsort(edges, n, sizeof *edges, by_time);
  int open[FG_SPAN_KIND_COUNT] = {0};
  *busy = *covered = 0;
  for (size_t i = 0; i < n; i++) {
    uint64_t length = i ? edges[i].time - edges[i - 1].time : 0;
    if (open[kind] > 0) *busy += length;
    if (open[kind] > 0 && open[under] > 0) *covered += length;
    open[edges[i].kind] += edges[i].change;
  }
  free(edges);
}

static void assert_overlaps(const span *spans, size_t count) {
  fg_trace *trace;
  assert_int_equal(fg_trace_create(&trace, NULL, NULL), FG_OK);
  for (size_t i = 0; i < count; i++)
    fg_trace_span(trace, 0, spans[i].kind, NULL, -1, 0, spans[i].begin, spans[i].end);
  static const fg_span_kind pairs[][2] = {{FG_SPAN_READ, FG_SPAN_COMPUTE},
                                          {FG_SPAN_COMPUTE, FG_SPAN_READ},
                                          {FG_SPAN_STEP, FG_SPAN_READ},
                                          {FG_SPAN_READ, FG_SPAN_READ}};
  for (size_t p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
    uint64_t busy, covered, want_busy, want_covered;
    fg_trace_overlap(trace, pairs[p][0], pairs[p][1], &busy, &covered);
    overlap_by_sweep(spans, count, pairs[p][0], pairs[p][1], &want_busy, &want_covered);
    assert_int_equal(busy, want_busy);
    assert_int_equal(covered, want_covered);
  }
  assert_int_equal(fg_trace_destroy(trace, NULL), FG_OK);
}

static void test_overlap_of_random_spans_in_random_order(void **state) {
  (void)state;
  uint64_t seed = 4711;
  print_message("seed %llu\n", (unsigned long long)seed);
  for (int round = 0; round < 200; round++) {
    span spans[60];
    size_t count = 1 + next_random(&seed) % 60;
    uint32_t longest = 1 + next_random(&seed) % 40;
    for (size_t i = 0; i < count; i++) {
      spans[i].kind = next_random(&seed) % 3 == 0 ? FG_SPAN_READ
                      : next_random(&seed) % 2    ? FG_SPAN_COMPUTE
                                                  : FG_SPAN_STEP;
      spans[i].begin = next_random(&seed) % 300; // many touch, nest and are equal
      spans[i].end = spans[i].begin + next_random(&seed) % longest;
    }
    assert_overlaps(spans, count);
  }
}

// Half a minute of short operations and reads under steps, reported up to three seconds late: far
// more intervals than are kept, so most of the run is folded.
static void test_overlap_stays_exact_when_a_long_run_is_folded(void **state) {
  (void)state;
  enum { SPANS = 500000, LATE = 20000 };
  const uint64_t start = UINT64_C(7) << 40;
  span *spans = malloc(SPANS * sizeof *spans);
  assert_non_null(spans);
  uint64_t seed = 42, now[3] = {start, start, start};
  static const fg_span_kind kinds[] = {FG_SPAN_COMPUTE, FG_SPAN_READ, FG_SPAN_STEP};
  for (size_t i = 0; i < SPANS; i++) {
    int which = now[0] < now[1] ? 0 : 1;
    if (now[2] < now[which]) which = 2;
    uint64_t busy = which == 2 ? 13000000 : 50000 + next_random(&seed) % 90000;
    spans[i] = (span){kinds[which], now[which], now[which] + busy};
    now[which] += busy + 1 + next_random(&seed) % 60000;
  }
  for (size_t i = 0; i < SPANS; i++) {
    size_t window = i / LATE * LATE, j = window + next_random(&seed) % LATE;
    span swap = spans[i];
    spans[i] = spans[j];
    spans[j] = swap;
  }
  assert_overlaps(spans, SPANS);
  free(spans);
}

static void test_intervals_that_touch_become_one(void **state) {
  (void)state;
  fg_intervals set = {0};
  for (uint64_t i = 0; i < 1000; i++) assert_true(fg_intervals_add(&set, i * 10, i * 10 + 10));
  for (uint64_t i = 2000; i-- > 1000;) assert_true(fg_intervals_add(&set, i * 10, i * 10 + 10));
  assert_int_equal(set.count, 1);
  assert_true(fg_intervals_add(&set, 20001, 20002));
  assert_true(fg_intervals_add(&set, 5, 5));
  assert_int_equal(set.count, 2);
  fg_intervals_cut(&set, 19990);
  assert_int_equal(fg_intervals_length(&set, UINT64_MAX), 11);
  fg_intervals_cut(&set, 20002);
  assert_int_equal(set.count, 0);
  fg_intervals_free(&set);
}

static json_t *read_back(const char *path) {
  fg_error err;
  json_t *events = fg_json_read_file(path, 64 << 20, &err);
  if (!events) fail_msg("%s", err.message);
  return events;
}

static const json_t *find_event(const json_t *events, const char *phase, const char *name) {
  for (size_t i = 0; i < json_array_size(events); i++) {
    const json_t *event = json_array_get(events, i);
    if (strcmp(json_string_value(json_object_get(event, "ph")), phase) == 0 &&
        strcmp(json_string_value(json_object_get(event, "name")), name) == 0)
      return event;
  }
  return NULL;
}

static void test_the_file_is_json_with_what_was_reported(void **state) {
  (void)state;
  char path[] = "/tmp/flexgen-trace-XXXXXX";
  close(mkstemp(path));
  fg_trace *trace;
  assert_int_equal(fg_trace_create(&trace, path, NULL), FG_OK);
  uint32_t track = fg_trace_track(trace, "read \"1\"\\\n\xc3\xa9\xff\xe2\x82");
  assert_int_not_equal(track, fg_trace_track(trace, "compute"));
  uint64_t now = fg_now_ns();
  fg_trace_span(trace, track, FG_SPAN_READ, "w\tq", 7, 4096, now, now + 1234567);
  fg_trace_span(trace, track, FG_SPAN_SAMPLE, NULL, -1, 0, now, now - 5); // ends before it begins
  fg_trace_counter(trace, "host memory", 1.5);
  fg_trace_counter(trace, "host memory", 0.0 / 0.0);
  assert_int_equal(fg_trace_destroy(trace, NULL), FG_OK);

  json_t *events = read_back(path);
  const json_t *read = find_event(events, "X", "read"), *args = json_object_get(read, "args");
  assert_non_null(read);
  assert_true(json_number_value(json_object_get(read, "dur")) == 1234.567);
  assert_int_equal(json_integer_value(json_object_get(read, "tid")), track);
  assert_string_equal(json_string_value(json_object_get(args, "label")), "w\tq");
  assert_int_equal(json_integer_value(json_object_get(args, "layer")), 7);
  assert_int_equal(json_integer_value(json_object_get(args, "bytes")), 4096);
  const json_t *sample = find_event(events, "X", "sample");
  assert_int_equal(json_object_size(json_object_get(sample, "args")), 0);
  assert_true(json_number_value(json_object_get(sample, "dur")) == 0);
  const json_t *named = find_event(events, "M", "thread_name");
  assert_string_equal(json_string_value(json_object_get(json_object_get(named, "args"), "name")),
                      "read \"1\"\\\n\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd");
  assert_non_null(find_event(events, "C", "host memory"));
  json_decref(events);
  unlink(path);
}

static void test_a_killed_run_leaves_whole_events(void **state) {
  (void)state;
  char path[] = "/tmp/flexgen-trace-XXXXXX";
  close(mkstemp(path));
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    fg_trace *trace;
    if (fg_trace_create(&trace, path, NULL)) _exit(1);
    for (int i = 0; i < 5000; i++) fg_trace_span(trace, 1, FG_SPAN_COMPUTE, "op", i, 1, 0, (uint64_t)i);
    kill(getpid(), SIGKILL);
  }
  int status;
  waitpid(child, &status, 0);
  assert_true(WIFSIGNALED(status));
  int fd = open(path, O_WRONLY | O_APPEND);
  assert_int_equal(write(fd, "]", 1), 1); // all that a viewer has to add
  close(fd);
  json_t *events = read_back(path);
  assert_true(json_array_size(events) > 1000);
  json_decref(events);
  unlink(path);
}

static void report_spans(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  fg_trace *trace = arg;
  uint32_t track = fg_trace_track(trace, "worker");
  for (uint64_t i = 0; i < 500; i++) {
    fg_trace_span(trace, track, FG_SPAN_COMPUTE, "op", (int)item, 3, i * 100, i * 100 + 50);
    if (i % 100 == 0) fg_trace_counter(trace, "rows", (double)i);
    fg_trace_sum(trace, FG_SPAN_COMPUTE);
  }
}

static void test_threads_report_together(void **state) {
  (void)state;
  char path[] = "/tmp/flexgen-trace-XXXXXX";
  close(mkstemp(path));
  fg_trace *trace;
  fg_threads *threads;
  assert_int_equal(fg_trace_create(&trace, path, NULL), FG_OK);
  assert_int_equal(fg_threads_create(&threads, 4, NULL), FG_OK);
  fg_threads_run(threads, 8, report_spans, trace);
  fg_threads_destroy(threads);
  fg_span_sum sum = fg_trace_sum(trace, FG_SPAN_COMPUTE);
  assert_int_equal(sum.count, 4000);
  assert_int_equal(sum.bytes, 12000);
  assert_int_equal(sum.nanoseconds, 200000);
  uint64_t busy, covered;
  fg_trace_overlap(trace, FG_SPAN_COMPUTE, FG_SPAN_READ, &busy, &covered);
  assert_int_equal(busy, 25000);
  assert_int_equal(covered, 0);
  assert_int_equal(fg_trace_destroy(trace, NULL), FG_OK);
  json_t *events = read_back(path);
  assert_int_equal(json_array_size(events), 1 + 8 + 4000 + 40);
  json_decref(events);
  unlink(path);
}

static void test_no_trace_is_allowed(void **state) {
  (void)state;
  uint64_t busy = 1, covered = 1;
  assert_int_equal(fg_trace_track(NULL, "x"), 0);
  fg_trace_span(NULL, 0, FG_SPAN_READ, NULL, 0, 0, 0, 1);
  fg_trace_counter(NULL, "x", 1);
  assert_int_equal(fg_trace_sum(NULL, FG_SPAN_READ).count, 0);
  fg_trace_overlap(NULL, FG_SPAN_READ, FG_SPAN_COMPUTE, &busy, &covered);
  assert_int_equal(busy + covered, 0);
  assert_int_equal(fg_trace_destroy(NULL, NULL), FG_OK);
}

static void test_a_trace_that_cannot_be_written_says_so(void **state) {
  (void)state;
  fg_trace *trace;
  fg_error err;
  assert_int_equal(fg_trace_create(&trace, "/nonexistent/trace.json", &err), FG_IO);
  assert_non_null(strstr(err.message, "/nonexistent/trace.json"));
  if (access("/dev/full", W_OK) != 0) skip();
  assert_int_equal(fg_trace_create(&trace, "/dev/full", &err), FG_OK);
  fg_trace_span(trace, 0, FG_SPAN_READ, NULL, 0, 0, 0, 1);
  assert_int_equal(fg_trace_destroy(trace, &err), FG_DISK_FULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_overlap_of_random_spans_in_random_order),
      cmocka_unit_test(test_overlap_stays_exact_when_a_long_run_is_folded),
      cmocka_unit_test(test_intervals_that_touch_become_one),
      cmocka_unit_test(test_the_file_is_json_with_what_was_reported),
      cmocka_unit_test(test_a_killed_run_leaves_whole_events),
      cmocka_unit_test(test_threads_report_together),
      cmocka_unit_test(test_no_trace_is_allowed),
      cmocka_unit_test(test_a_trace_that_cannot_be_written_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
