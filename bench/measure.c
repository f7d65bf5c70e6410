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
  const char **text = strcmp(flag, "--dir") == 0    ? &o->directory
                      : strcmp(flag, "--file") == 0 ? &o->file
                                                    : NULL;
  if (text) *text = value;
  return text;
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
      fprintf(stderr,
              "usage: %s [--quick|--smoke] [--rounds 1..%d] [--threads N] [--dir DIR] [--file FILE]\n",
              argv[0], BENCH_MAX_ROUNDS);
      return false;
    }
  }
  if (!o->rounds) o->rounds = rounds_of[o->extent];
  return true;
}

static fg_status measure(bench_case *c, fg_error *err) {
  double figure;
  fg_status status = c->run(c, &figure, err);
  if (status == FG_OK) c->figures[c->count++ % BENCH_MAX_FIGURES] = figure;
  return status;
}

static fg_status measure_limits(bench_case *cases, uint32_t count, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; status == FG_OK && i < count; i++)
    if (cases[i].is_limit) status = measure(&cases[i], err);
  return status;
}

fg_status bench_rounds(bench_case *cases, uint32_t count, uint32_t rounds, fg_error *err) {
  fg_status status = measure_limits(cases, count, err);
  for (uint32_t round = 0; round < rounds; round++)
    for (uint32_t i = 0, others = 0; status == FG_OK && i < count; i++) {
      if (cases[i].is_limit) continue;
      status = measure(&cases[i], err);
      if (status == FG_OK && ++others % BENCH_LIMITS_EVERY == 0) status = measure_limits(cases, count, err);
    }
  return status;
}

static uint32_t kept(const bench_case *c) {
  return c->count < BENCH_MAX_FIGURES ? c->count : BENCH_MAX_FIGURES;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void sorted_figures(const bench_case *c, double *out) {
  memcpy(out, c->figures, kept(c) * sizeof *out);
  qsort(out, kept(c), sizeof *out, by_value);
}

static double middle(const double *sorted, uint32_t count) {
  return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static json_t *finished_row(bench_case *c) {
  double sorted[BENCH_MAX_FIGURES];
  json_t *row = c->about;
  c->about = NULL;
  if (!c->count) return row;
  sorted_figures(c, sorted);
  json_object_set_new(row, "median", json_real(middle(sorted, kept(c))));
  json_object_set_new(row, "low", json_real(sorted[0]));
  json_object_set_new(row, "high", json_real(sorted[kept(c) - 1]));
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
