#include "tensor/groups.h"

#include <math.h>
#include <string.h>

#include "tensor/half.h"

enum { RUN = FG_GROUP_RUN, HALF = RUN / 2 };

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

static void read_run(fg_group_form form, const uint8_t *in, float codes[RUN]) {
  if (form.bits == 8) {
    for (int j = 0; j < RUN; j++) codes[j] = form.minimum ? (float)in[j] : (float)(int8_t)in[j];
    return;
  }
  for (int j = 0; j < HALF; j++) {
    codes[j] = (float)(in[j] & 15);
    codes[j + HALF] = (float)(in[j] >> 4);
  }
}

static void write_run(uint32_t bits, const int32_t codes[RUN], uint8_t *out) {
  if (bits == 8)
    for (int j = 0; j < RUN; j++) out[j] = (uint8_t)codes[j];
  else
    for (int j = 0; j < HALF; j++) out[j] = (uint8_t)(codes[j] | codes[j + HALF] << 4);
}

void fg_groups_to_f32(fg_group_form form, const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t done = 0; done < count; done += form.group) {
    float d = load_f16(in), m = form.minimum ? load_f16(in + 2) : form.bits == 4 ? 8 : 0;
    in += form.minimum ? 4 : 2;
    for (uint32_t i = 0; i < form.group; i += RUN, dst += RUN, in += RUN * form.bits / 8) {
      float codes[RUN];
      read_run(form, in, codes);
      if (form.minimum)
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
static void find_range(const float *x, size_t count, float *lowest, float *highest) {
  float low = INFINITY, high = -INFINITY;
  for (size_t i = 0; i < count; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *lowest = low <= high ? low : 0;
  *highest = low <= high ? high : 0;
}

typedef struct scheme {
  float d, m;              // as stored
  float least, most, zero; // codes, and what the stored code of value 0 + m is
  uint8_t head[4];         // scale and minimum
} scheme;

static scheme choose_scheme(fg_group_form form, const float *x, size_t count) {
  float low, high;
  scheme s = {0};
  find_range(x, count, &low, &high);
  float extreme = -low > high ? low : high;
  if (form.minimum) {
    s.most = form.bits == 8 ? 255 : 15;
    s.m = low;
    store_f16(&s.m, s.head + 2);
    s.d = (high - s.m) / s.most;
  } else if (form.bits == 8) {
    s.least = -127;
    s.most = 127;
    s.d = fabsf(extreme) / 127;
  } else {
    s.most = 15;
    s.zero = 8;
    s.d = extreme / -8;
  }
  store_f16(&s.d, s.head);
  return s;
}

static void write_codes(uint32_t bits, const scheme *s, const float *x, uint8_t *out) {
  float inverse = s->d != 0 ? 1 / s->d : 0;
  int32_t codes[RUN];
  for (int i = 0; i < RUN; i++) {
    float code = (x[i] - s->m) * inverse + s->zero;
    code = code > s->least ? code : s->least;
    code = code < s->most ? code : s->most;
    codes[i] = (int32_t)(code + 256.5f) - 256; // nearest; truncation of a positive number rounds down
  }
  write_run(bits, codes, out);
}

void fg_groups_from_f32(fg_group_form form, size_t span, const float *src, void *dst, size_t count) {
  uint8_t *out = dst;
  const size_t head = form.minimum ? 4 : 2;
  for (const float *end = src + count; src < end;) {
    scheme s = choose_scheme(form, src, span);
    for (size_t group = 0; group < span; group += form.group) {
      memcpy(out, s.head, head);
      out += head;
      for (uint32_t i = 0; i < form.group; i += RUN, src += RUN, out += RUN * form.bits / 8)
        write_codes(form.bits, &s, src, out);
    }
  }
}
