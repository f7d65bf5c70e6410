#include "measure.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"

static const uint32_t rounds_of[] = {[BENCH_SMOKE] = 1, [BENCH_QUICK] = 3, [BENCH_FULL] = 5};

static bool parse_number(const char *text, uint32_t highest, uint32_t *out) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (!*text || *end || value < 1 || value > highest) return false;
  *out = (uint32_t)value;
  return true;
}

static bool parse_value(const char *flag, const char *value, bench_options *o) {
  if (strcmp(flag, "--rounds") == 0) return parse_number(value, BENCH_MAX_ROUNDS, &o->rounds);
  if (strcmp(flag, "--threads") == 0) return parse_number(value, 1024, &o->threads);
  if (strcmp(flag, "--dir") != 0) return false;
  o->directory = value;
  return true;
}

bool bench_parse(int argc, char **argv, bench_options *o) {
  *o = (bench_options){.extent = BENCH_FULL, .threads = fg_machine_cores(), .directory = "."};
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--quick") == 0) {
      o->extent = BENCH_QUICK;
    } else if (strcmp(argv[i], "--smoke") == 0) {
      o->extent = BENCH_SMOKE;
    } else if (i + 1 < argc && parse_value(argv[i], argv[i + 1], o)) {
      i++;
    } else {
      fprintf(stderr, "usage: %s [--quick|--smoke] [--rounds 1..%d] [--threads N] [--dir DIR]\n", argv[0],
              BENCH_MAX_ROUNDS);
      return false;
    }
  }
  if (!o->rounds) o->rounds = rounds_of[o->extent];
  return true;
}

fg_status bench_rounds(bench_case *cases, uint32_t count, uint32_t rounds, fg_error *err) {
  for (uint32_t round = 0; round < rounds; round++)
    for (uint32_t i = 0; i < count; i++) {
      bench_case *c = &cases[i];
      fg_status status = c->run(c, &c->figures[c->count], err);
      if (status) return status;
      c->count++;
    }
  return FG_OK;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void sorted_figures(const bench_case *c, double *out) {
  memcpy(out, c->figures, c->count * sizeof *out);
  qsort(out, c->count, sizeof *out, by_value);
}

static double middle(const double *sorted, uint32_t count) {
  return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

double bench_median(const bench_case *c) {
  double sorted[BENCH_MAX_ROUNDS];
  if (!c->count) return 0;
  sorted_figures(c, sorted);
  return middle(sorted, c->count);
}

static json_t *finished_row(bench_case *c) {
  double sorted[BENCH_MAX_ROUNDS];
  json_t *row = c->about;
  c->about = NULL;
  if (!c->count) return row;
  sorted_figures(c, sorted);
  json_object_set_new(row, "median", json_real(middle(sorted, c->count)));
  json_object_set_new(row, "low", json_real(sorted[0]));
  json_object_set_new(row, "high", json_real(sorted[c->count - 1]));
  return row;
}

void bench_print(const char *program, const bench_options *o, bench_case *cases, uint32_t count,
                 json_t *left_out) {
  json_t *rows = json_array();
  for (uint32_t i = 0; i < count; i++) json_array_append_new(rows, finished_row(&cases[i]));
  json_t *all = json_pack("{s:s,s:I,s:I,s:o,s:o}", "program", program, "threads", (json_int_t)o->threads,
                          "rounds", (json_int_t)o->rounds, "rows", rows, "left_out", left_out);
  json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
  putchar('\n');
  json_decref(all);
}

void bench_leave_out(json_t *list, const char *name, const char *reason) {
  json_array_append_new(list, json_pack("{s:s,s:s}", "name", name, "reason", reason));
}
