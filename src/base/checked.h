// checked.h: arithmetic on numbers that come from a file. Every function returns false on overflow
// and then leaves *out alone.
#ifndef FG_BASE_CHECKED_H
#define FG_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool fg_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r)) return false;
  *out = r;
  return true;
}

static inline bool fg_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return false;
  *out = r;
  return true;
}

// Whether [offset, offset + length) lies within [0, size).
static inline bool fg_range_ok(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

// `align` is a power of two; the sum must not overflow.
static inline uint64_t fg_align_up(uint64_t n, uint64_t align) {
  return (n + align - 1) & ~(align - 1);
}

#endif
