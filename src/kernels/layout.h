// layout.h: how the values of a weight matrix lie in memory, as rows of one table.
//
// A matrix [n, k] is kept as panels of output rows. Inside a panel a layout fixes the order of bytes;
// kernels read exactly one layout for one dtype, so nothing is repacked at run time. "plain" is
// row-major and is read by the reference kernels; others are made for an instruction set. A layout's
// name stands in the store, so a store for another machine is seen for what it is.
#ifndef FG_KERNELS_LAYOUT_H
#define FG_KERNELS_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/dtype.h"

typedef struct fg_layout {
  const char *name;
  uint32_t row_multiple; // panels begin at multiples of it; a shorter last panel is padded inside
  // Bytes of a panel of `rows` rows.
  uint64_t (*bytes)(fg_dtype dtype, uint32_t rows, uint32_t k);
  // Packs row-major rows (dense, in `dtype`) into dst, padding with zeros.
  void (*pack)(fg_dtype dtype, const void *rows_data, uint32_t rows, uint32_t k, void *dst);
} fg_layout;

const fg_layout *fg_layout_find(const char *name); // NULL if unknown

// A family of layouts, the unit by which stores are keyed: for every dtype that can be a weight, the
// layout that a device's kernels read.
typedef struct fg_layout_family {
  const char *name; // "plain-1", "cpu-avx512-1": the number is the version of the layouts
  const fg_layout *(*choose)(fg_dtype dtype, uint32_t n, uint32_t k); // NULL: this type cannot be a weight
} fg_layout_family;

const fg_layout_family *fg_layout_family_plain(void);
const fg_layout_family *fg_layout_family_cpu(void); // of the CPU this process runs on

#endif
