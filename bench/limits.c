// bench_limits: the machine's limits. Peaks of instructions by one thread and by all, in wall and in CPU
// time; bytes that all threads read from memory; direct reads of a file, many in flight and one at a time.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/clock.h"
#include "io/io.h"
#include "machine.h"
#include "measure.h"

enum { MAX_CASES = 32, CHUNK = 32 << 20 };

typedef struct limits {
  bench_options options;
  fg_threads *one, *all;
  fg_budget *budget;
  void *memory; // [memory_bytes]
  uint64_t memory_bytes, file_bytes, turns;
  char path[4096];
  fg_file *file;
  fg_io *deep, *single;
  bench_case cases[MAX_CASES];
  uint32_t count;
  json_t *left_out;
} limits;

typedef struct peak_setting {
  const bench_instruction *instruction;
  fg_threads *threads;
  uint64_t turns;
  bool cpu_time;
} peak_setting;

static fg_status measure_peak(const bench_case *c, double *figure, fg_error *err) {
  (void)err;
  const peak_setting *s = c->setting;
  bench_rate rate = bench_peak(s->instruction, s->threads, s->turns);
  *figure = s->cpu_time ? rate.cpu : rate.wall;
  return FG_OK;
}

static fg_status measure_memory(const bench_case *c, double *figure, fg_error *err) {
  (void)err;
  const limits *l = c->setting;
  *figure = bench_read_rate(l->memory, l->memory_bytes, l->all);
  return FG_OK;
}

static fg_io_read chunk_read(const limits *l, uint64_t at) {
  uint8_t *buffer = (uint8_t *)l->memory + at / CHUNK % 2 * CHUNK;
  return (fg_io_read){.file = l->file, .buffer = buffer, .offset = at, .bytes = CHUNK, .layer = -1};
}

// The next chunk is handed over before one is waited for, so that the queue never runs dry.
static fg_status read_file(const limits *l, fg_io *io, double *figure, fg_error *err) {
  fg_io_read reads[2];
  fg_status status = FG_OK;
  uint64_t begin = fg_now_ns();
  reads[0] = chunk_read(l, 0);
  fg_io_read_begin(io, &reads[0]);
  for (uint64_t at = 0; at < l->file_bytes; at += CHUNK) {
    uint64_t next = at + CHUNK;
    bool more = next < l->file_bytes && status == FG_OK;
    if (more) {
      reads[next / CHUNK % 2] = chunk_read(l, next);
      fg_io_read_begin(io, &reads[next / CHUNK % 2]);
    }
    fg_status waited = fg_io_read_wait(io, &reads[at / CHUNK % 2], err);
    if (status == FG_OK) status = waited;
    if (!more) break;
  }
  *figure = (double)l->file_bytes / (double)(fg_now_ns() - begin);
  return status;
}

static fg_status measure_deep(const bench_case *c, double *figure, fg_error *err) {
  const limits *l = c->setting;
  return read_file(l, l->deep, figure, err);
}

static fg_status measure_single(const bench_case *c, double *figure, fg_error *err) {
  const limits *l = c->setting;
  return read_file(l, l->single, figure, err);
}

static void add_case(limits *l, bench_case c) {
  l->cases[l->count++] = c;
}

static void add_peaks(limits *l, peak_setting *settings) {
  for (uint32_t i = 0; bench_instruction_at(i); i++) {
    const bench_instruction *in = bench_instruction_at(i);
    if (!in->supported()) {
      bench_leave_out(l->left_out, in->instruction, "this CPU does not have it");
      continue;
    }
    if (bench_instruction_of(in->name) != in) continue; // a shorter form of what was measured
    for (uint32_t form = 0; form < 4; form++) {
      bool all = form & 1, cpu_time = form & 2;
      settings[l->count] = (peak_setting){in, all ? l->all : l->one, l->turns, cpu_time};
      json_t *about = json_pack("{s:s,s:s,s:s,s:s,s:I,s:s}", "kind", "peak", "name", in->name, "instruction",
                                in->instruction, "time", cpu_time ? "cpu" : "wall", "threads",
                                (json_int_t)(all ? l->options.threads : 1), "unit", "Gop/s");
      add_case(l, (bench_case){measure_peak, &settings[l->count], about, false, {0}, 0});
    }
  }
}

static void add_rates(limits *l) {
  json_t *memory = json_pack("{s:s,s:s,s:I,s:s}", "kind", "memory", "name", "read", "bytes",
                             (json_int_t)l->memory_bytes, "unit", "GB/s");
  add_case(l, (bench_case){measure_memory, l, memory, false, {0}, 0});
  static const struct {
    const char *name;
    fg_status (*run)(const bench_case *c, double *figure, fg_error *err);
  } reads[] = {{"at depth", measure_deep}, {"one stream", measure_single}};
  for (uint32_t i = 0; i < 2; i++) {
    json_t *about = json_pack("{s:s,s:s,s:s,s:b,s:I,s:s}", "kind", "disk", "name", reads[i].name, "backend",
                              fg_io_backend_name(l->deep), "direct", fg_file_is_direct(l->file), "bytes",
                              (json_int_t)l->file_bytes, "unit", "GB/s");
    add_case(l, (bench_case){reads[i].run, l, about, false, {0}, 0});
  }
}

// A file that is there is read from its beginning, at most as much as a new one would have.
static fg_status open_file(limits *l, fg_error *err) {
  fg_status status = fg_file_open(&l->file, l->options.file, FG_FILE_READ, err);
  if (status) return status;
  uint64_t bytes = fg_file_size(l->file) / CHUNK * CHUNK;
  if (bytes < l->file_bytes) l->file_bytes = bytes;
  return bytes ? FG_OK : fg_fail(err, FG_INVALID, "%s is smaller than 32 MiB", l->options.file);
}

// With bytes that no disk can shrink; memory never written is one page of zeros, read from a cache.
static void fill_memory(limits *l) {
  uint64_t state = 1, *words = l->memory;
  for (uint64_t i = 0; i < l->memory_bytes / sizeof *words; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    words[i] = state;
  }
}

static fg_status make_file(limits *l, fg_error *err) {
  snprintf(l->path, sizeof l->path, "%s/bench-limits-%ld", l->options.directory, (long)getpid());
  fg_status status = fg_file_open(&l->file, l->path, FG_FILE_CREATE, err);
  for (uint64_t at = 0; status == FG_OK && at < l->file_bytes; at += CHUNK)
    status = fg_io_write_now(l->deep, l->file, at, (uint8_t *)l->memory + at % l->memory_bytes, CHUNK, err);
  return status ? status : fg_file_sync(l->file, err);
}

static fg_status open_limits(limits *l, fg_error *err) {
  static const uint64_t sizes[] = {
      [BENCH_SMOKE] = CHUNK, [BENCH_QUICK] = 8 * CHUNK, [BENCH_FULL] = 32 * CHUNK};
  l->file_bytes = sizes[l->options.extent];
  l->memory_bytes = l->file_bytes < 2 * (uint64_t)CHUNK ? 2 * (uint64_t)CHUNK : l->file_bytes;
  if (l->memory_bytes > 16 * (uint64_t)CHUNK) l->memory_bytes = 16 * (uint64_t)CHUNK;
  l->turns = l->options.extent == BENCH_SMOKE ? 100000 : 10000000;
  fg_status status = fg_budget_create(&l->budget, "host memory", "--host-memory", 0, err);
  if (status == FG_OK) status = fg_threads_create(&l->one, 1, err);
  if (status == FG_OK) status = fg_threads_create(&l->all, l->options.threads, err);
  if (status == FG_OK) status = fg_budget_alloc(l->budget, l->memory_bytes, "the buffer", &l->memory, err);
  fg_io_options deep = {.budget = l->budget}, single = {.budget = l->budget, .depth = 1};
  if (status == FG_OK) status = fg_io_create(&l->deep, &deep, err);
  if (status == FG_OK) status = fg_io_create(&l->single, &single, err);
  if (status) return status;
  fill_memory(l);
  fg_io_register(l->deep, l->memory, 2 * CHUNK); // as the engine does with its ring
  return l->options.file ? open_file(l, err) : make_file(l, err);
}

static void close_limits(limits *l) {
  if (l->file) {
    fg_file_close(l->file);
    if (!l->options.file) unlink(l->path);
  }
  if (l->single) fg_io_destroy(l->single);
  if (l->deep) fg_io_destroy(l->deep);
  if (l->memory) fg_budget_free(l->budget, l->memory);
  if (l->all) fg_threads_destroy(l->all);
  if (l->one) fg_threads_destroy(l->one);
  if (l->budget) fg_budget_destroy(l->budget);
}

int main(int argc, char **argv) {
  limits l = {0};
  peak_setting settings[MAX_CASES];
  fg_error err = {FG_OK, ""};
  if (!bench_parse(argc, argv, &l.options)) return 2;
  l.left_out = json_array();
  fg_status status = open_limits(&l, &err);
  if (status == FG_OK) {
    add_peaks(&l, settings);
    add_rates(&l);
    status = bench_rounds(l.cases, l.count, l.options.rounds, &err);
  }
  if (status == FG_OK)
    bench_print("limits", &l.options, l.cases, l.count, l.left_out);
  else
    fprintf(stderr, "bench_limits: %s\n", err.message);
  close_limits(&l);
  return status ? 1 : 0;
}
