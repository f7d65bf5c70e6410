// measure.h: repeated, interleaved measurements and their JSON.
//
// A case measures one figure once. All cases of a set run in turn, round after round, so that a disturbance
// of the machine falls on all of them and a ratio of two cases is one of the same minute. The figure of a
// case is the median of its rounds; the lowest and highest say how far to trust it. Limits are measured again
// after every few other cases, so that their median belongs to the same time as the others'.
#ifndef FG_BENCH_MEASURE_H
#define FG_BENCH_MEASURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"

enum { BENCH_MAX_ROUNDS = 32, BENCH_MAX_FIGURES = 256, BENCH_LIMITS_EVERY = 8 };

typedef enum bench_extent { BENCH_SMOKE, BENCH_QUICK, BENCH_FULL } bench_extent;

typedef struct bench_options {
  bench_extent extent;
  uint32_t rounds, threads;
  const char *directory; // where a file is made that the disk is measured with
  const char *file;      // read instead; NULL = none
} bench_options;

typedef struct bench_case {
  // Measures once, in the case's unit.
  fg_status (*run)(const struct bench_case *c, double *figure, fg_error *err);
  const void *setting; // the case's own
  json_t *about;       // object: what names and describes it; owned until bench_print
  bool is_limit;
  double figures[BENCH_MAX_FIGURES]; // beyond that the oldest goes
  uint32_t count;
} bench_case;

// False after a message on standard error.
bool bench_parse(int argc, char **argv, bench_options *options);

fg_status bench_rounds(bench_case *cases, uint32_t count, uint32_t rounds, fg_error *err);
// Prints {"program", "threads", "rounds", "rows": [about + median, low, high], "left_out"}; takes the about
// of all cases and left_out.
void bench_print(const char *program, const bench_options *options, bench_case *cases, uint32_t count,
                 json_t *left_out);
// Adds {"name", "reason"}.
void bench_leave_out(json_t *list, const char *name, const char *reason);

#endif
