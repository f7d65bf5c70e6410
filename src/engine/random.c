#include "engine/random.h"

#include <string.h>

enum { ROUNDS = 10 };

static const uint32_t MULTIPLIER_0 = 0xD2511F53, MULTIPLIER_1 = 0xCD9E8D57;
static const uint32_t WEYL_0 = 0x9E3779B9, WEYL_1 = 0xBB67AE85; // golden ratio, sqrt(3) - 1

void fg_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t x[4], k0 = key[0], k1 = key[1];
  memcpy(x, counter, sizeof x);
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t p0 = (uint64_t)MULTIPLIER_0 * x[0], p1 = (uint64_t)MULTIPLIER_1 * x[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ x[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ x[3] ^ k1,
                        (uint32_t)p0};
    memcpy(x, next, sizeof x);
    k0 += WEYL_0;
    k1 += WEYL_1;
  }
  memcpy(out, x, sizeof x);
}

void fg_random(uint64_t seed, uint64_t row, uint64_t sample, uint64_t position, uint32_t out[4]) {
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  const uint32_t counter[4] = {(uint32_t)position, (uint32_t)sample, (uint32_t)row, (uint32_t)(row >> 32)};
  fg_philox(counter, key, out);
}

double fg_random_uniform(const uint32_t words[4]) {
  uint64_t bits = (uint64_t)words[0] << 32 | words[1];
  return (double)(bits >> 11) * 0x1p-53;
}
