#include "tensor/dtype.h"

#include <string.h>

#include "base/checked.h"
#include "tensor/half.h"

static uint16_t load_u16(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return h;
}

static void f32_to_f32(const void *src, float *dst, size_t count) {
  memcpy(dst, src, count * 4);
}
static void f32_from_f32(const float *src, void *dst, size_t count) {
  memcpy(dst, src, count * 4);
}

static void f16_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t i = 0; i < count; i++) dst[i] = fg_f16_to_f32(load_u16(in + 2 * i));
}

static void f16_from_f32(const float *src, void *dst, size_t count) {
  uint8_t *out = dst;
  for (size_t i = 0; i < count; i++) {
    uint16_t h = fg_f16_from_f32(src[i]);
    memcpy(out + 2 * i, &h, 2);
  }
}

static void bf16_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t i = 0; i < count; i++) dst[i] = fg_bf16_to_f32(load_u16(in + 2 * i));
}

static void bf16_from_f32(const float *src, void *dst, size_t count) {
  uint8_t *out = dst;
  for (size_t i = 0; i < count; i++) {
    uint16_t h = fg_bf16_from_f32(src[i]);
    memcpy(out + 2 * i, &h, 2);
  }
}

static void f64_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t i = 0; i < count; i++) {
    double d;
    memcpy(&d, in + 8 * i, 8);
    dst[i] = (float)d;
  }
}

// GGUF blocks of 32 along a row; the products are single float32 operations, as in the format's
// reference, so the results agree bit for bit.
enum { BLOCK = 32, HALF = BLOCK / 2 };

// d f16, q int8[32]: w = d q
static void q8_0_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (; count >= BLOCK; count -= BLOCK, dst += BLOCK, in += 34) {
    float d = fg_f16_to_f32(load_u16(in));
    for (int j = 0; j < BLOCK; j++) dst[j] = d * (float)(int8_t)in[2 + j];
  }
}

// d f16, codes[16]: element j in the low half of byte j, element j + 16 in the high one; w = d (q - 8)
static void q4_0_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (; count >= BLOCK; count -= BLOCK, dst += BLOCK, in += 18) {
    float d = fg_f16_to_f32(load_u16(in));
    for (int j = 0; j < HALF; j++) {
      dst[j] = d * (float)((in[2 + j] & 15) - 8);
      dst[j + HALF] = d * (float)((in[2 + j] >> 4) - 8);
    }
  }
}

// d f16, m f16, codes[16] as above: w = d q + m
static void q4_1_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (; count >= BLOCK; count -= BLOCK, dst += BLOCK, in += 20) {
    float d = fg_f16_to_f32(load_u16(in)), m = fg_f16_to_f32(load_u16(in + 2));
    for (int j = 0; j < HALF; j++) {
      dst[j] = d * (float)(in[4 + j] & 15) + m;
      dst[j + HALF] = d * (float)(in[4 + j] >> 4) + m;
    }
  }
}

static const fg_dtype_info dtypes[] = {
    //            name  block bytes
    [FG_F32] = {"f32", 1, 4, f32_to_f32, f32_from_f32},
    [FG_F16] = {"f16", 1, 2, f16_to_f32, f16_from_f32},
    [FG_BF16] = {"bf16", 1, 2, bf16_to_f32, bf16_from_f32},
    [FG_F64] = {"f64", 1, 8, f64_to_f32, NULL},
    [FG_I8] = {"i8", 1, 1, NULL, NULL},
    [FG_I16] = {"i16", 1, 2, NULL, NULL},
    [FG_I32] = {"i32", 1, 4, NULL, NULL},
    [FG_I64] = {"i64", 1, 8, NULL, NULL},
    [FG_U8] = {"u8", 1, 1, NULL, NULL},
    [FG_BOOL] = {"bool", 1, 1, NULL, NULL},
    [FG_Q8_0] = {"q8_0", BLOCK, 34, q8_0_to_f32, NULL},
    [FG_Q4_0] = {"q4_0", BLOCK, 18, q4_0_to_f32, NULL},
    [FG_Q4_1] = {"q4_1", BLOCK, 20, q4_1_to_f32, NULL},
};
_Static_assert(sizeof dtypes / sizeof dtypes[0] == FG_DTYPE_COUNT, "a row for every type");

const fg_dtype_info *fg_dtype_get(fg_dtype dtype) {
  return &dtypes[dtype];
}

bool fg_dtype_parse(const char *name, fg_dtype *out) {
  for (size_t i = 0; i < FG_DTYPE_COUNT; i++) {
    if (strcmp(dtypes[i].name, name) != 0) continue;
    *out = (fg_dtype)i;
    return true;
  }
  return false;
}

bool fg_dtype_bytes(fg_dtype dtype, uint64_t count, uint64_t *bytes) {
  const fg_dtype_info *info = &dtypes[dtype];
  return count % info->block == 0 && fg_mul_u64(count / info->block, info->bytes, bytes);
}
