// numpy_random.h: the random numbers that pandas draws samples with, bit for bit.
//
// numpy.random.RandomState: a Mersenne Twister, seeded by one number; whole numbers up to a bound are drawn
// by masking and rejecting; a permutation is a shuffle from the end. DataFrame.sample(n, random_state=s)
// takes the first n of the permutation of a state seeded by s (its legacy generator, which NumPy promises to
// leave as it is).
#ifndef FG_WRANGLE_NUMPY_RANDOM_H
#define FG_WRANGLE_NUMPY_RANDOM_H

#include <stdint.h>

enum { FG_TWISTER_WORDS = 624 };

typedef struct fg_numpy_random {
  uint32_t words[FG_TWISTER_WORDS];
  uint32_t at;
} fg_numpy_random;

void fg_numpy_seed(fg_numpy_random *random, uint32_t seed);
uint32_t fg_numpy_next(fg_numpy_random *random); // any of 32 bits
// out: [count], the numbers below count.
void fg_numpy_permutation(fg_numpy_random *random, uint32_t *out, uint32_t count);

#endif
