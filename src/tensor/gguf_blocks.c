#include "tensor/gguf_blocks.h"

#include <stdint.h>
#include <string.h>

#include "tensor/clones.h"
#include "tensor/half.h"

FG_IN_CLONE float half_at(const uint8_t *p) {
  return fg_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

// A function of all blocks from one of a block, which is a part of each of its clones.
#define EXPAND(name, block, size)                                                                            \
  FG_CLONES void fg_##name##_to_f32(const void *src, float *dst, size_t count) {                             \
    const uint8_t *in = src;                                                                                 \
    for (size_t i = 0; i < count; i += (block), in += (size)) name##_block(in, dst + i);                     \
  }

// ---- 32 values -----------------------------------------------------------------------------------------

// The fifth bits of 32 codes, then their low halves: those of the first 16 in the low nibbles.
FG_IN_CLONE void codes5(const uint8_t *in, float *codes) {
  for (int i = 0; i < 16; i++) {
    codes[i] = (float)((in[4 + i] & 15) | (in[i / 8] >> i % 8 & 1) << 4);
    codes[16 + i] = (float)(in[4 + i] >> 4 | (in[2 + i / 8] >> i % 8 & 1) << 4);
  }
}

FG_IN_CLONE void q5_0_block(const uint8_t *in, float *out) {
  const float d = half_at(in);
  codes5(in + 2, out);
  for (int i = 0; i < 32; i++) out[i] = d * (out[i] - 16);
}
EXPAND(q5_0, 32, 22)

FG_IN_CLONE void q5_1_block(const uint8_t *in, float *out) {
  const float d = half_at(in), m = half_at(in + 2);
  codes5(in + 4, out);
  for (int i = 0; i < 32; i++) {
    float scaled = d * out[i];
    out[i] = scaled + m;
  }
}
EXPAND(q5_1, 32, 24)

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

FG_IN_CLONE void from_table(const int8_t table[16], const uint8_t *codes, float d, float *out) {
  for (int i = 0; i < 16; i++) {
    out[i] = d * (float)table[codes[i] & 15];
    out[16 + i] = d * (float)table[codes[i] >> 4];
  }
}

FG_IN_CLONE void iq4_nl_block(const uint8_t *in, float *out) {
  from_table(iq4_values, in + 2, half_at(in), out);
}
EXPAND(iq4_nl, 32, 18)

// The scale is half of 2^(e - 127), since the table has doubles; 0 and 1 give subnormals.
FG_IN_CLONE void mxfp4_block(const uint8_t *in, float *out) {
  const uint32_t bits = in[0] < 2 ? 0x00200000u << in[0] : (uint32_t)(in[0] - 1) << 23;
  float d;
  memcpy(&d, &bits, 4);
  from_table(e2m1_doubled, in + 1, d, out);
}
EXPAND(mxfp4, 32, 17)

// ---- 256 values ----------------------------------------------------------------------------------------

// 16 bytes of a scale and a minimum of 4 bits, 64 of codes of 2 bits, d, dmin.
FG_IN_CLONE void q2_k_block(const uint8_t *in, float *out) {
  const uint8_t *codes = in + 16;
  const float d = half_at(in + 80), dmin = half_at(in + 82);
  for (int part = 0; part < 16; part++) {
    const float scale = d * (float)(in[part] & 15), minimum = dmin * (float)(in[part] >> 4);
    const uint8_t *from = codes + part / 8 * 32 + part % 2 * 16;
    const int shift = part % 8 / 2 * 2;
    for (int i = 0; i < 16; i++) {
      float scaled = scale * (float)(from[i] >> shift & 3);
      out[16 * part + i] = scaled - minimum;
    }
  }
}
EXPAND(q2_k, 256, 84)

// 32 bytes of third bits, set where nothing is to be taken off; 64 of codes of 2 bits; 16 scales of 6 bits;
// d.
FG_IN_CLONE void q3_k_block(const uint8_t *in, float *out) {
  const uint8_t *codes = in + 32, *scales = in + 96;
  const float d = half_at(in + 108);
  for (int part = 0; part < 16; part++) {
    const int low = scales[part % 8] >> part / 8 * 4 & 15, high = scales[8 + part % 4] >> part / 4 * 2 & 3;
    const float scale = d * (float)((low | high << 4) - 32);
    const uint8_t *from = codes + part / 8 * 32 + part % 2 * 16, *bits = in + part % 2 * 16;
    const int shift = part % 8 / 2 * 2, bit = part / 2;
    for (int i = 0; i < 16; i++)
      out[16 * part + i] = scale * (float)((from[i] >> shift & 3) - (bits[i] >> bit & 1 ? 0 : 4));
  }
}
EXPAND(q3_k, 256, 110)

// Scale and minimum of part 0 to 7 from 12 bytes: those of the first four in 6 bits, the top bits of these
// bytes and the last four bytes being the others'.
FG_IN_CLONE void scale_and_minimum(const uint8_t *scales, int part, int *scale, int *minimum) {
  const uint8_t *s = scales + part % 4;
  *scale = part < 4 ? s[0] & 63 : (s[8] & 15) | (s[0] >> 2 & 48);
  *minimum = part < 4 ? s[4] & 63 : s[8] >> 4 | (s[4] >> 2 & 48);
}

// d, dmin, 12 bytes of scales; 128 of codes of 4 bits. `fifths`: 32 bytes of fifth bits, or NULL.
FG_IN_CLONE void q45_k_block(const uint8_t *in, const uint8_t *fifths, const uint8_t *codes, float *out) {
  const float d = half_at(in), dmin = half_at(in + 2);
  for (int part = 0; part < 8; part++) {
    int six, minimum_six;
    scale_and_minimum(in + 4, part, &six, &minimum_six);
    const float scale = d * (float)six, minimum = dmin * (float)minimum_six;
    const uint8_t *from = codes + part / 2 * 32;
    for (int i = 0; i < 32; i++) {
      int code = from[i] >> part % 2 * 4 & 15;
      if (fifths) code |= (fifths[i] >> part & 1) << 4;
      float scaled = scale * (float)code;
      out[32 * part + i] = scaled - minimum;
    }
  }
}
FG_IN_CLONE void q4_k_block(const uint8_t *in, float *out) {
  q45_k_block(in, NULL, in + 16, out);
}
EXPAND(q4_k, 256, 144)
FG_IN_CLONE void q5_k_block(const uint8_t *in, float *out) {
  q45_k_block(in, in + 16, in + 48, out);
}
EXPAND(q5_k, 256, 176)

// 128 bytes of low halves, 64 of the upper 2 bits, 16 scales of 8 bits, d.
FG_IN_CLONE void q6_k_block(const uint8_t *in, float *out) {
  const uint8_t *highs = in + 128;
  const float d = half_at(in + 208);
  for (int part = 0; part < 16; part++) {
    const float scale = d * (float)(int8_t)in[192 + part];
    const int half = part / 8, place = part % 8 * 16; // of 128 values
    const uint8_t *low = in + half * 64 + place % 64, *high = highs + half * 32 + place % 32;
    const int low_shift = place / 64 * 4, high_shift = place / 32 * 2;
    for (int i = 0; i < 16; i++)
      out[16 * part + i] =
          scale * (float)(((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4) - 32);
  }
}
EXPAND(q6_k, 256, 210)

// d, the upper 2 bits of 8 scales, their low halves, 128 bytes of places in the table.
FG_IN_CLONE void iq4_xs_block(const uint8_t *in, float *out) {
  const float d = half_at(in);
  const int highs = in[2] | in[3] << 8;
  for (int part = 0; part < 8; part++) {
    const int low = in[4 + part / 2] >> part % 2 * 4 & 15, high = highs >> 2 * part & 3;
    from_table(iq4_values, in + 8 + 16 * part, d * (float)((low | high << 4) - 32), out + 32 * part);
  }
}
EXPAND(iq4_xs, 256, 136)
