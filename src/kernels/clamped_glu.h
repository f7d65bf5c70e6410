// clamped_glu.h: the gated activation of GPT-OSS, whose gate and factor are kept within a limit.
#ifndef FG_KERNELS_CLAMPED_GLU_H
#define FG_KERNELS_CLAMPED_GLU_H

#include <stdint.h>

// out = (u + 1) * g * sigmoid(alpha * g), g = min(x[:width], limit), u = x[width:] within [-limit, limit].
// x: [2 * width]; out: [width], not aliased
void fg_clamped_glu(const float *x, float *out, uint32_t width, float limit, float alpha);

#endif
