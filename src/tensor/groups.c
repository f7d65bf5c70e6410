#include "tensor/groups.h"

#include <math.h>
#include <string.h>

#include "tensor/half.h"

enum { RUN = FG_GROUP_RUN, HALF = RUN / 2, MOST = 256 };

static float load_f16(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return fg_f16_to_f32(h);
}

// Rounds *value to what is stored.
static void store_f16(float *value, uint8_t *p) {
  uint16_t h = fg_f16_from_f32(*value);
  memcpy(p, &h, 2);
  *value = fg_f16_to_f32(h);
}

static void read_run(int bits, bool minimum, const uint8_t *in, float codes[RUN]) {
  if (bits == 8) {
    for (int j = 0; j < RUN; j++) codes[j] = minimum ? (float)in[j] : (float)(int8_t)in[j];
    return;
  }
  for (int j = 0; j < HALF; j++) {
    codes[j] = (float)(in[j] & 15);
    codes[j + HALF] = (float)(in[j] >> 4);
  }
}

static void write_run(int bits, const int32_t codes[RUN], uint8_t *out) {
  if (bits == 8)
    for (int j = 0; j < RUN; j++) out[j] = (uint8_t)codes[j];
  else
    for (int j = 0; j < HALF; j++) out[j] = (uint8_t)(codes[j] | codes[j + HALF] << 4);
}

void fg_groups_to_f32(int bits, int group, bool minimum, const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t done = 0; done < count; done += (size_t)group) {
    float d = load_f16(in), m = minimum ? load_f16(in + 2) : bits == 4 ? 8 : 0;
    in += minimum ? 4 : 2;
    for (int i = 0; i < group; i += RUN, dst += RUN, in += RUN * bits / 8) {
      float codes[RUN];
      read_run(bits, minimum, in, codes);
      if (minimum)
        for (int j = 0; j < RUN; j++) {
          float scaled = d * codes[j];
          dst[j] = scaled + m;
        }
      else
        for (int j = 0; j < RUN; j++) dst[j] = d * (codes[j] - m);
    }
  }
}

// Smallest and largest value; the comparisons pass over what is no number.
static void find_range(const float *x, int count, float *lowest, float *highest) {
  float low = INFINITY, high = -INFINITY;
  for (int i = 0; i < count; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *lowest = low <= high ? low : 0;
  *highest = low <= high ? high : 0;
}

typedef struct scheme {
  float d, m;              // as stored
  float least, most, zero; // codes, and what the stored code of value 0 + m is
} scheme;

// Writes the group's head and says how its codes are made.
static scheme choose_scheme(int bits, int group, bool minimum, const float *x, uint8_t *head) {
  float low, high;
  scheme s = {0};
  find_range(x, group, &low, &high);
  float extreme = -low > high ? low : high;
  if (minimum) {
    s.most = bits == 8 ? 255 : 15;
    s.m = low;
    store_f16(&s.m, head + 2);
    s.d = (high - s.m) / s.most;
  } else if (bits == 8) {
    s.least = -127;
    s.most = 127;
    s.d = fabsf(extreme) / 127;
  } else {
    s.most = 15;
    s.zero = 8;
    s.d = extreme / -8;
  }
  store_f16(&s.d, head);
  return s;
}

void fg_groups_from_f32(int bits, int group, bool minimum, const float *src, void *dst, size_t count) {
  uint8_t *out = dst;
  for (size_t done = 0; done < count; done += (size_t)group, src += group) {
    scheme s = choose_scheme(bits, group, minimum, src, out);
    float inverse = s.d != 0 ? 1 / s.d : 0;
    int32_t codes[MOST];
    for (int i = 0; i < group; i++) {
      float code = (src[i] - s.m) * inverse + s.zero;
      code = code > s.least ? code : s.least;
      code = code < s.most ? code : s.most;
      codes[i] = (int32_t)(code + 256.5f) - 256; // nearest; truncation of a positive number rounds down
    }
    out += minimum ? 4 : 2;
    for (int i = 0; i < group; i += RUN, out += RUN * bits / 8) write_run(bits, codes + i, out);
  }
}
