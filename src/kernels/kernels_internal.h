// kernels_internal.h: the instruction sets that fill the table of kernels.h.
#ifndef FG_KERNELS_KERNELS_INTERNAL_H
#define FG_KERNELS_KERNELS_INTERNAL_H

#include "kernels/kernels.h"

void fg_kernels_ref(fg_kernels *k); // complete
void fg_kernels_avx2(fg_kernels *k);
void fg_kernels_avx512(fg_kernels *k);
void fg_tiles_avx512(fg_kernels *k); // of the layout n64
void fg_attention_avx512_bf16(fg_kernels *k);

// The reference in parts, a file each.
void fg_rows_ref(fg_kernels *k);
void fg_tiles_ref(fg_kernels *k);
void fg_attention_ref(fg_kernels *k);

#endif
