// amx.h: tiles of AMX. Compiled for it (src/CMakeLists.txt).
//
// A thread has 8 tiles of at most 16 rows of 64 bytes. One instruction adds the product of two to a third:
// c[m, n] += the sum over k of a[m, k] b[k, n], where a row of b holds, for each of 16 columns, the 4 bytes
// or 2 bfloat16 that follow each other along k: what the layout n64 has as a unit of 16 rows (layout.h), so
// that tiles are read from where weights lie, 256 bytes from row to row. Shapes are set for all tiles at
// once, which clears them; whoever sets them releases them at the end, so that a thread at rest has no such
// state to save.
//
// Numbers of tiles are part of the instructions, so these are macros; in a compiler's own spelling (gcc 12)
// the loads do not say that they read memory.
#ifndef FG_KERNELS_AMX_H
#define FG_KERNELS_AMX_H

#include <stdint.h>

#include "kernels/n64.h"

enum {
  FG_AMX_ROWS = 16,                   // of a tile, at most
  FG_AMX_ROW_BYTES = 64,              // at most
  FG_AMX_COLUMNS = 16,                // of a tile of sums
  FG_AMX_B_STRIDE = 4 * FG_TILE_ROWS, // from row to row of a tile of weights
};

typedef struct fg_amx_shapes {
  uint8_t palette, start_row, unused[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} fg_amx_shapes;

static inline void fg_amx_shape(fg_amx_shapes *s, uint32_t tile, uint32_t rows, uint32_t row_bytes) {
  s->palette = 1;
  s->rows[tile] = (uint8_t)rows;
  s->row_bytes[tile] = (uint16_t)row_bytes;
}
static inline void fg_amx_begin(const fg_amx_shapes *shapes) {
  __asm__ volatile("ldtilecfg %0" : : "m"(*shapes));
}
static inline void fg_amx_end(void) {
  __asm__ volatile("tilerelease");
}

#define FG_AMX_ZERO(c) __asm__ volatile("tilezero %%tmm" #c:)
#define FG_AMX_LOAD(t, from, stride)                                                                         \
  __asm__ volatile("tileloadd (%0,%1), %%tmm" #t : : "r"(from), "r"((int64_t)(stride)) : "memory")
#define FG_AMX_STORE(t, to, stride)                                                                          \
  __asm__ volatile("tilestored %%tmm" #t ", (%0,%1)" : : "r"(to), "r"((int64_t)(stride)) : "memory")
#define FG_AMX_DOT_INT8(c, a, b)     __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c:)
#define FG_AMX_DOT_UNSIGNED(c, a, b) __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c:)
#define FG_AMX_DOT_BF16(c, a, b)     __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c:)

#endif
