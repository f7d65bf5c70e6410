#include "tensor/dtype.h"

#include <string.h>

#include "base/checked.h"
#include "tensor/clones.h"
#include "tensor/gguf_blocks.h"
#include "tensor/groups.h"
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

FG_CLONES static void f16_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t i = 0; i < count; i++) dst[i] = fg_f16_to_f32(load_u16(in + 2 * i));
}

FG_CLONES static void f16_from_f32(const float *src, void *dst, size_t count) {
  uint8_t *out = dst;
  for (size_t i = 0; i < count; i++) {
    uint16_t h = fg_f16_from_f32(src[i]);
    memcpy(out + 2 * i, &h, 2);
  }
}

FG_CLONES static void bf16_to_f32(const void *src, float *dst, size_t count) {
  const uint8_t *in = src;
  for (size_t i = 0; i < count; i++) dst[i] = fg_bf16_to_f32(load_u16(in + 2 * i));
}

FG_CLONES static void bf16_from_f32(const float *src, void *dst, size_t count) {
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

// The conversions of a quantized type, by its name in the enumeration.
#define GROUPED(type, bits, group, minimum)                                                                  \
  static void type##_to_f32(const void *src, float *dst, size_t count) {                                     \
    fg_groups_to_f32((fg_group_form){bits, group, minimum}, src, dst, count);                                \
  }                                                                                                          \
  static void type##_from_f32(const float *src, void *dst, size_t count) {                                   \
    fg_groups_from_f32((fg_group_form){bits, group, minimum}, group, src, dst, count);                       \
  }
GROUPED(q8_0, 8, 32, false)
GROUPED(q4_0, 4, 32, false)
GROUPED(q4_1, 4, 32, true)
GROUPED(i4g64, 4, 64, false)
GROUPED(i4g128, 4, 128, false)
GROUPED(i4g256, 4, 256, false)
GROUPED(i4g64m, 4, 64, true)
GROUPED(i4g128m, 4, 128, true)
GROUPED(i4g256m, 4, 256, true)
GROUPED(i8g64, 8, 64, false)
GROUPED(i8g128, 8, 128, false)
GROUPED(i8g256, 8, 256, false)
GROUPED(i8g32m, 8, 32, true)
GROUPED(i8g64m, 8, 64, true)
GROUPED(i8g128m, 8, 128, true)
GROUPED(i8g256m, 8, 256, true)

#define PLAIN(name, bytes, to, from)                                                                         \
  { name, 1, bytes, 0, false, to, from }
#define QUANTIZED(type, bits, group, minimum)                                                                \
  { #type, group, FG_GROUP_BYTES(bits, group, minimum), bits, minimum, type##_to_f32, type##_from_f32 }

#define EXPANDED(type, values, size)                                                                         \
  { #type, values, size, 0, false, fg_##type##_to_f32, NULL }

#define UNREAD(type, values, size)                                                                           \
  { #type, values, size, 0, false, NULL, NULL }

static const fg_dtype_info dtypes[] = {
    [FG_F32] = PLAIN("f32", 4, f32_to_f32, f32_from_f32),
    [FG_F16] = PLAIN("f16", 2, f16_to_f32, f16_from_f32),
    [FG_BF16] = PLAIN("bf16", 2, bf16_to_f32, bf16_from_f32),
    [FG_F64] = PLAIN("f64", 8, f64_to_f32, NULL),
    [FG_I8] = PLAIN("i8", 1, NULL, NULL),
    [FG_I16] = PLAIN("i16", 2, NULL, NULL),
    [FG_I32] = PLAIN("i32", 4, NULL, NULL),
    [FG_I64] = PLAIN("i64", 8, NULL, NULL),
    [FG_U8] = PLAIN("u8", 1, NULL, NULL),
    [FG_BOOL] = PLAIN("bool", 1, NULL, NULL),
    [FG_F8_E4M3] = PLAIN("f8_e4m3", 1, NULL, NULL),
    [FG_F8_E5M2] = PLAIN("f8_e5m2", 1, NULL, NULL),
    [FG_F8_E8M0] = PLAIN("f8_e8m0", 1, NULL, NULL),
    //               type, bits, group, minimum
    [FG_Q8_0] = QUANTIZED(q8_0, 8, 32, false),
    [FG_Q4_0] = QUANTIZED(q4_0, 4, 32, false),
    [FG_Q4_1] = QUANTIZED(q4_1, 4, 32, true),
    [FG_I4G64] = QUANTIZED(i4g64, 4, 64, false),
    [FG_I4G128] = QUANTIZED(i4g128, 4, 128, false),
    [FG_I4G256] = QUANTIZED(i4g256, 4, 256, false),
    [FG_I4G64M] = QUANTIZED(i4g64m, 4, 64, true),
    [FG_I4G128M] = QUANTIZED(i4g128m, 4, 128, true),
    [FG_I4G256M] = QUANTIZED(i4g256m, 4, 256, true),
    [FG_I8G64] = QUANTIZED(i8g64, 8, 64, false),
    [FG_I8G128] = QUANTIZED(i8g128, 8, 128, false),
    [FG_I8G256] = QUANTIZED(i8g256, 8, 256, false),
    [FG_I8G32M] = QUANTIZED(i8g32m, 8, 32, true),
    [FG_I8G64M] = QUANTIZED(i8g64m, 8, 64, true),
    [FG_I8G128M] = QUANTIZED(i8g128m, 8, 128, true),
    [FG_I8G256M] = QUANTIZED(i8g256m, 8, 256, true),
    //             type, values, bytes
    [FG_Q5_0] = EXPANDED(q5_0, 32, 22),
    [FG_Q5_1] = EXPANDED(q5_1, 32, 24),
    [FG_Q2_K] = EXPANDED(q2_k, 256, 84),
    [FG_Q3_K] = EXPANDED(q3_k, 256, 110),
    [FG_Q4_K] = EXPANDED(q4_k, 256, 144),
    [FG_Q5_K] = EXPANDED(q5_k, 256, 176),
    [FG_Q6_K] = EXPANDED(q6_k, 256, 210),
    [FG_IQ4_NL] = EXPANDED(iq4_nl, 32, 18),
    [FG_IQ4_XS] = EXPANDED(iq4_xs, 256, 136),
    [FG_MXFP4] = EXPANDED(mxfp4, 32, 17),
    [FG_IQ1_S] = UNREAD(iq1_s, 256, 50),
    [FG_IQ1_M] = UNREAD(iq1_m, 256, 56),
    [FG_IQ2_XXS] = UNREAD(iq2_xxs, 256, 66),
    [FG_IQ2_XS] = UNREAD(iq2_xs, 256, 74),
    [FG_IQ2_S] = UNREAD(iq2_s, 256, 82),
    [FG_IQ3_XXS] = UNREAD(iq3_xxs, 256, 98),
    [FG_IQ3_S] = UNREAD(iq3_s, 256, 110),
    [FG_TQ1_0] = UNREAD(tq1_0, 256, 54),
    [FG_TQ2_0] = UNREAD(tq2_0, 256, 66),
    [FG_Q1_0] = UNREAD(q1_0, 128, 18),
    [FG_NVFP4] = UNREAD(nvfp4, 64, 36),
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

bool fg_dtype_find(uint32_t bits, uint32_t block, bool minimum, fg_dtype *out) {
  for (size_t i = 0; i < FG_DTYPE_COUNT; i++) {
    const fg_dtype_info *d = &dtypes[i];
    if (d->bits != bits || d->block != block || d->minimum != minimum) continue;
    *out = (fg_dtype)i;
    return true;
  }
  return false;
}

bool fg_dtype_bytes(fg_dtype dtype, uint64_t count, uint64_t *bytes) {
  const fg_dtype_info *info = &dtypes[dtype];
  return count % info->block == 0 && fg_mul_u64(count / info->block, info->bytes, bytes);
}
