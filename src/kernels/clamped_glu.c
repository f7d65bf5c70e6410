#include "kernels/clamped_glu.h"

#include <math.h>

void fg_clamped_glu(const float *x, float *out, uint32_t width, float limit, float alpha) {
  for (uint32_t i = 0; i < width; i++) {
    float g = fminf(x[i], limit), u = fmaxf(-limit, fminf(x[width + i], limit));
    out[i] = (u + 1) * g / (1 + expf(-alpha * g));
  }
}
