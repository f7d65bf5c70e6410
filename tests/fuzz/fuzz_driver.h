// fuzz_driver.h: many broken inputs through one reader, each made anew from (seed, number).
//
// A target makes an input (a valid one with a few of its fields, entries or bytes changed), gives it to
// its reader and says how far the reader got. The driver watches over it: an input that crashes, that
// takes ten seconds, or during which more than 4 times its size plus 16 MiB is allocated ends the
// program with the words to repeat it; a run of which fewer than 30 % get past the header fails too.
//
// fuzz_NAME [--count N] [--seed S] [--only NUMBER] [--keep FILE]
#ifndef TESTS_FUZZ_FUZZ_DRIVER_H
#define TESTS_FUZZ_FUZZ_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- randomness ------------------------------------------------------------------------------------

typedef struct fuzz_random {
  uint64_t state;
} fuzz_random;

uint64_t fuzz_next(fuzz_random *r);
uint64_t fuzz_below(fuzz_random *r, uint64_t limit); // limit > 0
bool fuzz_chance(fuzz_random *r, unsigned percent);
// A number at which readers break: near 0, near a power of two, near `near`, or any.
uint64_t fuzz_number(fuzz_random *r, uint64_t near);

// ---- bytes -----------------------------------------------------------------------------------------
// What does not fit any more is dropped, so that mutators need no checks.

typedef struct fuzz_bytes {
  unsigned char *data;
  size_t count, capacity;
} fuzz_bytes;

void fuzz_put(fuzz_bytes *b, const void *data, size_t count);
void fuzz_put_text(fuzz_bytes *b, const char *text);
void fuzz_put_format(fuzz_bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fuzz_put_number(fuzz_bytes *b, uint64_t value, size_t bytes); // little-endian
void fuzz_set_number(fuzz_bytes *b, size_t at, uint64_t value, size_t bytes);
// One change without knowledge of the format: bits, bytes, a run repeated, moved or cut out, the end cut off.
void fuzz_noise(fuzz_random *r, fuzz_bytes *b);

// ---- targets ---------------------------------------------------------------------------------------

typedef enum fuzz_outcome {
  FUZZ_REFUSED,     // by the header, before anything that it describes was looked at
  FUZZ_PAST_HEADER, // refused later
  FUZZ_ACCEPTED,
} fuzz_outcome;

typedef struct fuzz_target {
  const char *name, *file_name; // the reader may go by its suffix
  bool (*setup)(void);          // NULL = none
  void (*make)(fuzz_random *r, fuzz_bytes *out);
  fuzz_outcome (*run)(const char *path, const fuzz_bytes *input);
  void (*teardown)(void);
} fuzz_target;

// A promise of the reader does not hold for this input: ends the program with the reason.
_Noreturn void fuzz_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

int fuzz_main(int argc, char **argv, const fuzz_target *target);

#endif
