// The generator is MT19937 of Matsumoto and Nishimura (1998).
#include "wrangle/numpy_random.h"

enum { WORDS = FG_TWISTER_WORDS, SHIFT = 397 };

void fg_numpy_seed(fg_numpy_random *r, uint32_t seed) {
  for (uint32_t i = 0; i < WORDS; i++) {
    r->words[i] = seed;
    seed = 1812433253u * (seed ^ seed >> 30) + i + 1;
  }
  r->at = WORDS;
}

static void twist(fg_numpy_random *r) {
  for (uint32_t i = 0; i < WORDS; i++) {
    const uint32_t joined = (r->words[i] & 0x80000000u) | (r->words[(i + 1) % WORDS] & 0x7fffffffu);
    r->words[i] = r->words[(i + SHIFT) % WORDS] ^ joined >> 1 ^ (joined & 1 ? 0x9908b0dfu : 0);
  }
  r->at = 0;
}

uint32_t fg_numpy_next(fg_numpy_random *r) {
  if (r->at == WORDS) twist(r);
  uint32_t y = r->words[r->at++];
  y ^= y >> 11;
  y ^= y << 7 & 0x9d2c5680u;
  y ^= y << 15 & 0xefc60000u;
  return y ^ y >> 18;
}

// From 0 to `most`.
static uint32_t up_to(fg_numpy_random *r, uint32_t most) {
  const uint32_t mask = UINT32_MAX >> __builtin_clz(most);
  uint32_t value;
  do value = fg_numpy_next(r) & mask;
  while (value > most);
  return value;
}

void fg_numpy_permutation(fg_numpy_random *r, uint32_t *out, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) out[i] = i;
  for (uint32_t i = count; i-- > 1;) {
    const uint32_t other = up_to(r, i), held = out[i];
    out[i] = out[other];
    out[other] = held;
  }
}
