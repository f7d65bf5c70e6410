// random.h: random numbers that need no state: a function of a key and a counter (Philox 4x32-10, Salmon
// et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). What is drawn for a token depends on which
// token it is and on nothing that happened before.
#ifndef FG_ENGINE_RANDOM_H
#define FG_ENGINE_RANDOM_H

#include <stdint.h>

void fg_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

// Four words for a key. seed is Philox's key; its counter is row (64 bits), sample and position (their
// low 32 bits each).
void fg_random(uint64_t seed, uint64_t row, uint64_t sample, uint64_t position, uint32_t out[4]);

// A number in [0, 1), a multiple of 2^-53, from the first two words.
double fg_random_uniform(const uint32_t words[4]);

#endif
