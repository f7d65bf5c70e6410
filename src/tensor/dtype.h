// dtype.h: element types as rows of one table.
//
// A plain type is a block of one element. A quantized type (GGUF's names) packs `block` consecutive
// elements of a row into `bytes` bytes. Everything that varies between types is a column here; code
// elsewhere asks the table and does not switch over types.
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
  FG_Q8_0,
  FG_Q4_0,
  FG_Q4_1,
  FG_DTYPE_COUNT
} fg_dtype;

typedef struct fg_dtype_info {
  const char *name; // "f32", "bf16", "q4_1": as shown, and as written in the store's manifest
  uint32_t block;   // elements a block
  uint32_t bytes;   // bytes a block
  // Expands `count` elements (a multiple of block) exactly to float32; NULL where a type cannot be a
  // weight. src needs no alignment.
  void (*to_f32)(const void *src, float *dst, size_t count);
  // Rounds to nearest even; NULL where this project never writes the type.
  void (*from_f32)(const float *src, void *dst, size_t count);
} fg_dtype_info;

const fg_dtype_info *fg_dtype_get(fg_dtype dtype);
bool fg_dtype_parse(const char *name, fg_dtype *out);
// Bytes of `count` elements; false if count is no multiple of the block or the result overflows.
bool fg_dtype_bytes(fg_dtype dtype, uint64_t count, uint64_t *bytes);

#endif
