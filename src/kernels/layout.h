// layout.h: how the values of a weight matrix lie in memory, as rows of one table.
//
// A matrix [n, k] is kept as panels of output rows. Inside a panel a layout fixes the order of bytes;
// kernels read exactly one layout for one dtype, so nothing is repacked at run time. "plain" is
// row-major and is read by the reference kernels; others are made for an instruction set. A layout's
// name stands in the store, so a store for another machine is seen for what it is.
//
// "n64" interleaves 64 output rows. A row's bytes fall into units: a float32, a float16, a pair of
// bfloat16, or a block's scale (2 bytes) and each 4 bytes of its codes; unit u of the 64 rows lie side
// by side, in order of rows, and unit u + 1 follows. k is padded with zeros to a multiple of 32, rows to
// one of 64. So float32 becomes [k, 64] and bfloat16 [k / 2, 64, 2], which is what oneDNN's matrix
// kernels read (tags BA16a64b and BA16a64b2a), and every other type expands into these with vector
// loads and stores alone. A panel is a run of such blocks of 64 rows.
#ifndef FG_KERNELS_LAYOUT_H
#define FG_KERNELS_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/dtype.h"

typedef enum fg_layout_kind { FG_LAYOUT_PLAIN, FG_LAYOUT_N64, FG_LAYOUT_COUNT } fg_layout_kind;

typedef struct fg_layout {
  fg_layout_kind kind;
  const char *name;
  uint32_t
      row_multiple; // rows [m * it, ...) of a panel lie behind each other; a shorter end is padded inside
  // Bytes of a panel of `rows` rows; UINT64_MAX when k does not suit the type or the sum overflows.
  uint64_t (*bytes)(fg_dtype dtype, uint32_t rows, uint32_t k);
  // Packs row-major rows (dense, in `dtype`) into dst, padding with zeros.
  void (*pack)(fg_dtype dtype, const void *rows_data, uint32_t rows, uint32_t k, void *dst);
} fg_layout;

const fg_layout *fg_layout_find(const char *name); // NULL if unknown

// A family of layouts, the unit by which stores are keyed: for every dtype that can be a weight, the
// layout that a device's kernels read.
typedef struct fg_layout_family {
  const char *name; // "plain-1", "cpu-avx2-1": the number is the version of the layouts
  const fg_layout *(*choose)(fg_dtype dtype, uint32_t n, uint32_t k); // NULL: this type cannot be a weight
} fg_layout_family;

const fg_layout_family *fg_layout_family_plain(void);
// Of a CPU with these features (cpu.h).
const fg_layout_family *fg_layout_family_of(uint32_t features);
const fg_layout_family *fg_layout_family_cpu(void); // of the CPU this process runs on

#endif
