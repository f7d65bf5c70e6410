#include "kernels/rotate.h"

#include "tensor/clones.h"

enum { LANES = 16, LARGEST = 64 };

// Sums and differences of lanes `step` apart.
FG_IN_CLONE void turn_lanes(float *x, int step) {
  float y[LANES];
  for (int j = 0; j < LANES; j++) y[j] = j & step ? x[j - step] - x[j] : x[j] + x[j + step];
  for (int j = 0; j < LANES; j++) x[j] = y[j];
}

FG_IN_CLONE void turn_runs(float *a, float *b) {
  for (int j = 0; j < LANES; j++) {
    float sum = a[j] + b[j], difference = a[j] - b[j];
    a[j] = sum;
    b[j] = difference;
  }
}

// order: 16, 32 or 64; scale: 1 / sqrt(order)
FG_CLONES static void turn(float *x, int order, float scale) {
  for (int i = 0; i < order; i += LANES) {
    turn_lanes(x + i, 1);
    turn_lanes(x + i, 2);
    turn_lanes(x + i, 4);
    turn_lanes(x + i, 8);
  }
  for (int step = LANES; step < order; step *= 2)
    for (int i = 0; i < order; i += LANES)
      if (!(i & step)) turn_runs(x + i, x + i + step);
  for (int i = 0; i < order; i++) x[i] *= scale;
}

void fg_rotate_row(float *row, uint32_t dim) {
  for (; dim >= LARGEST; dim -= LARGEST, row += LARGEST) turn(row, 64, 0.125f);
  if (dim >= 32) {
    turn(row, 32, 0.17677669529f);
    row += 32;
    dim -= 32;
  }
  if (dim >= LANES) turn(row, LANES, 0.25f);
}
