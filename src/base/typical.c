#include "base/typical.h"

#include <stdlib.h>

enum { LONGEST = 4 }; // medians

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double fg_typical(double *values, uint32_t count) {
  if (!count) return 0;
  qsort(values, count, sizeof *values, by_value);
  const double most = LONGEST * values[count / 2];
  double sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += values[i] < most ? values[i] : most;
  return sum / count;
}
