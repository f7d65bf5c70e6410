#include "fuzz_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#define UNDER_SANITIZER 1
// UBSan ends the program without a callback; a signal is caught.
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) {
  return "abort_on_error=1:print_stacktrace=1";
}
#else
#define UNDER_SANITIZER 0
#endif

#include "fuzz_memory.h"

enum { CAPACITY = 1 << 20, SECONDS = 10, SLACK = 16 << 20, SHARE_PERCENT = 30 };

// ---- randomness ------------------------------------------------------------------------------------

// splitmix64 (Steele, Lea, Flood 2014): any seed is a good one.
uint64_t fuzz_next(fuzz_random *r) {
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t fuzz_below(fuzz_random *r, uint64_t limit) {
  return fuzz_next(r) % limit;
}

bool fuzz_chance(fuzz_random *r, unsigned percent) {
  return fuzz_below(r, 100) < percent;
}

uint64_t fuzz_number(fuzz_random *r, uint64_t near) {
  switch (fuzz_below(r, 5)) {
  case 0: return fuzz_below(r, 4);
  case 1: return near + fuzz_below(r, 9) - 4;
  case 2: return ((uint64_t)1 << fuzz_below(r, 64)) + fuzz_below(r, 5) - 2;
  case 3: return UINT64_MAX - fuzz_below(r, 64);
  default: return fuzz_next(r) >> fuzz_below(r, 64);
  }
}

// ---- bytes -----------------------------------------------------------------------------------------

void fuzz_put(fuzz_bytes *b, const void *data, size_t count) {
  if (count > b->capacity - b->count) count = b->capacity - b->count;
  if (count) memcpy(b->data + b->count, data, count);
  b->count += count;
}

void fuzz_put_text(fuzz_bytes *b, const char *text) {
  fuzz_put(b, text, strlen(text));
}

void fuzz_put_format(fuzz_bytes *b, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (n > 0) fuzz_put(b, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void fuzz_put_number(fuzz_bytes *b, uint64_t value, size_t bytes) {
  for (; bytes > 0; bytes--, value >>= 8) fuzz_put(b, &(unsigned char){(unsigned char)value}, 1);
}

void fuzz_set_number(fuzz_bytes *b, size_t at, uint64_t value, size_t bytes) {
  for (; bytes > 0 && at < b->count; bytes--, at++, value >>= 8) b->data[at] = (unsigned char)value;
}

// Puts `count` bytes, which may be of `b` itself, at `at`.
static void insert(fuzz_bytes *b, size_t at, const void *data, size_t count) {
  unsigned char copy[256];
  if (count > sizeof copy) count = sizeof copy;
  if (count > b->capacity - b->count) return;
  memcpy(copy, data, count);
  memmove(b->data + at + count, b->data + at, b->count - at);
  memcpy(b->data + at, copy, count);
  b->count += count;
}

static void cut_out(fuzz_bytes *b, size_t at, size_t count) {
  if (count > b->count - at) count = b->count - at;
  memmove(b->data + at, b->data + at + count, b->count - at - count);
  b->count -= count;
}

void fuzz_noise(fuzz_random *r, fuzz_bytes *b) {
  if (b->count == 0) return;
  size_t at = fuzz_below(r, b->count), from = fuzz_below(r, b->count), run = 1 + fuzz_below(r, 32);
  switch (fuzz_below(r, 7)) {
  case 0: b->data[at] ^= (unsigned char)(1 << fuzz_below(r, 8)); break;
  case 1: b->data[at] = (unsigned char)fuzz_next(r); break;
  case 2: fuzz_set_number(b, at, fuzz_number(r, 0), (size_t)1 << fuzz_below(r, 4)); break;
  case 3: insert(b, at, b->data + from, run < b->count - from ? run : b->count - from); break;
  case 4: cut_out(b, at, run); break;
  case 5: memmove(b->data + at, b->data + from, b->count - (at > from ? at : from) < run ? 1 : run); break;
  default: b->count = at; break;
  }
}

// ---- the run ---------------------------------------------------------------------------------------

typedef struct options {
  uint64_t count, seed, only;
  bool has_only;
  const char *keep;
} options;

static bool parse_options(int argc, char **argv, options *o) {
  *o = (options){.count = 300, .seed = 1};
  for (int i = 1; i + 1 < argc; i += 2) {
    char *end = argv[i + 1];
    if (strcmp(argv[i], "--count") == 0)
      o->count = strtoull(argv[i + 1], &end, 10);
    else if (strcmp(argv[i], "--seed") == 0)
      o->seed = strtoull(argv[i + 1], &end, 10);
    else if (strcmp(argv[i], "--only") == 0)
      o->has_only = true, o->only = strtoull(argv[i + 1], &end, 10);
    else if (strcmp(argv[i], "--keep") == 0)
      o->keep = argv[i + 1], end = "";
    else
      return false;
    if (*end) return false;
  }
  return argc % 2 == 1;
}

// What a handler needs to say which input it was.
static char repeat[256];

static void say_repeat(void) {
  ssize_t ignored = write(STDERR_FILENO, repeat, strlen(repeat));
  (void)ignored;
}

_Noreturn void fuzz_broken(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  say_repeat();
  exit(1);
}

static void on_signal(int number) {
  static const char late[] = "took more than 10 s of processor time\n";
  if (number == SIGPROF) {
    ssize_t ignored = write(STDERR_FILENO, late, sizeof late - 1);
    (void)ignored;
  }
  say_repeat();
  _exit(1);
}

static void watch_for_crashes(void) {
  signal(SIGPROF, on_signal);
  signal(SIGABRT, on_signal);
#if UNDER_SANITIZER
  __sanitizer_set_death_callback(say_repeat);
#else
  static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) signal(crashes[i], on_signal);
#endif
}

static bool write_file(const char *path, const fuzz_bytes *b) {
  FILE *file = fopen(path, "wb");
  if (!file) return false;
  bool ok = fwrite(b->data, 1, b->count, file) == b->count;
  return (fclose(file) == 0) && ok;
}

typedef struct totals {
  uint64_t inputs, past, accepted;
  fuzz_memory memory;
} totals;

static bool run_one(const fuzz_target *target, const options *o, uint64_t number, const char *path,
                    fuzz_bytes *input, totals *sum) {
  fuzz_random r = {.state = o->seed * 0x9e3779b97f4a7c15u ^ number};
  fuzz_next(&r);
  snprintf(repeat, sizeof repeat,
           "input %" PRIu64 "; repeat with: fuzz_%s --seed %" PRIu64 " --only %" PRIu64 "\n", number,
           target->name, o->seed, number);
  input->count = 0;
  target->make(&r, input);
  if (!write_file(path, input) || (o->keep && !write_file(o->keep, input))) {
    fprintf(stderr, "%s: cannot write the input: %s\n", path, strerror(errno));
    return false;
  }
  setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = SECONDS}, NULL);
  fuzz_memory_begin();
  fuzz_outcome outcome = target->run(path, input);
  fuzz_memory memory = fuzz_memory_end();
  setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
  sum->inputs++;
  sum->past += outcome != FUZZ_REFUSED;
  sum->accepted += outcome == FUZZ_ACCEPTED;
  if (memory.largest > sum->memory.largest) sum->memory.largest = memory.largest;
  if (memory.peak > sum->memory.peak) sum->memory.peak = memory.peak;
  if (memory.peak <= 4 * input->count + SLACK) return true;
  fprintf(stderr, "%zu bytes were allocated at once (largest block %zu) for an input of %zu\n%s", memory.peak,
          memory.largest, input->count, repeat);
  return false;
}

static int report(const fuzz_target *target, const options *o, const totals *sum) {
  double all = sum->inputs ? (double)sum->inputs : 1;
  printf("%s: %" PRIu64 " inputs, seed %" PRIu64
         ": %.1f %% past the header, %.1f %% accepted; most memory %.2f MiB, largest block %.2f MiB\n",
         target->name, sum->inputs, o->seed, 100 * (double)sum->past / all, 100 * (double)sum->accepted / all,
         (double)sum->memory.peak / (1 << 20), (double)sum->memory.largest / (1 << 20));
  if (o->has_only) return 0;
  if (100 * sum->past < SHARE_PERCENT * sum->inputs) {
    fprintf(stderr, "fewer than %d %% of the inputs got past the header\n", SHARE_PERCENT);
    return 1;
  }
  if (sum->accepted == 0) fprintf(stderr, "none was accepted: what the inputs are made from is not valid\n");
  return sum->accepted == 0;
}

int fuzz_main(int argc, char **argv, const fuzz_target *target) {
  options o;
  totals sum = {0};
  char folder[] = "/tmp/flexgen-fuzz-XXXXXX", path[128];
  fuzz_bytes input = {.data = malloc(CAPACITY), .capacity = CAPACITY};
  if (!parse_options(argc, argv, &o)) {
    fprintf(stderr, "usage: fuzz_%s [--count N] [--seed S] [--only NUMBER] [--keep FILE]\n", target->name);
    return 2;
  }
  if (!input.data || !mkdtemp(folder) || (target->setup && !target->setup())) {
    fprintf(stderr, "fuzz_%s: cannot begin\n", target->name);
    return 1;
  }
  snprintf(path, sizeof path, "%s/%s", folder, target->file_name);
  watch_for_crashes();
  bool ok = true;
  for (uint64_t i = 0; i < o.count && ok && !o.has_only; i++) ok = run_one(target, &o, i, path, &input, &sum);
  if (o.has_only) ok = run_one(target, &o, o.only, path, &input, &sum);
  if (target->teardown) target->teardown();
  unlink(path);
  rmdir(folder);
  free(input.data);
  return ok ? report(target, &o, &sum) : 1;
}
