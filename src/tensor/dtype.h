// dtype.h: element types as rows of one table.
//
// A plain type is a block of one element. A quantized type packs `block` consecutive elements of a row into
// `bytes` bytes: those of GGUF under its names, and our own, "i4g64" being 4-bit codes with a scale for each
// 64 of them, "i4g64m" with a minimum too (groups.h has the order of bytes). Everything that varies between
// types is a column here; code elsewhere asks the table and does not switch over types.
#ifndef FG_TENSOR_DTYPE_H
#define FG_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fg_dtype {
  FG_F32,
  FG_F16,
  FG_BF16,
  FG_F64,
  FG_I8,
  FG_I16,
  FG_I32,
  FG_I64,
  FG_U8,
  FG_BOOL,
  FG_F8_E4M3, // values of other formats: no weights by themselves
  FG_F8_E5M2,
  FG_F8_E8M0,
  FG_Q8_0,
  FG_Q4_0,
  FG_Q4_1,
  FG_I4G64,
  FG_I4G128,
  FG_I4G256,
  FG_I4G64M,
  FG_I4G128M,
  FG_I4G256M,
  FG_I8G64,
  FG_I8G128,
  FG_I8G256,
  FG_I8G32M,
  FG_I8G64M,
  FG_I8G128M,
  FG_I8G256M,
  FG_Q5_0,
  FG_Q5_1,
  FG_Q2_K,
  FG_Q3_K,
  FG_Q4_K,
  FG_Q5_K,
  FG_Q6_K,
  FG_IQ4_NL,
  FG_IQ4_XS,
  FG_MXFP4,
  FG_IQ1_S, // from here on known by name and size alone
  FG_IQ1_M,
  FG_IQ2_XXS,
  FG_IQ2_XS,
  FG_IQ2_S,
  FG_IQ3_XXS,
  FG_IQ3_S,
  FG_TQ1_0,
  FG_TQ2_0,
  FG_Q1_0,
  FG_NVFP4,
  FG_DTYPE_COUNT
} fg_dtype;

typedef struct fg_dtype_info {
  const char *name; // "f32", "bf16", "q4_1": as shown, and as written in the store's manifest
  uint32_t block;   // elements a block
  uint32_t bytes;   // bytes a block
  uint32_t bits;    // of a code in a group of equal codes; 0: a plain type, or a block that is only expanded
  bool minimum;     // w = d code + m; else w = d (code - zero point)
  // Expands `count` elements (a multiple of block) exactly to float32; NULL where a type cannot be a
  // weight. src needs no alignment.
  void (*to_f32)(const void *src, float *dst, size_t count);
  // Rounds to nearest even; NULL where this project never writes the type.
  void (*from_f32)(const float *src, void *dst, size_t count);
} fg_dtype_info;

const fg_dtype_info *fg_dtype_get(fg_dtype dtype);
bool fg_dtype_parse(const char *name, fg_dtype *out);
// The quantized type with such codes, groups and minimum; false if there is none.
bool fg_dtype_find(uint32_t bits, uint32_t block, bool minimum, fg_dtype *out);
// Bytes of `count` elements; false if count is no multiple of the block or the result overflows.
bool fg_dtype_bytes(fg_dtype dtype, uint64_t count, uint64_t *bytes);

#endif
