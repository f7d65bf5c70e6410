// kernels_internal.h: the instruction sets that fill the table of kernels.h.
#ifndef FG_KERNELS_KERNELS_INTERNAL_H
#define FG_KERNELS_KERNELS_INTERNAL_H

#include "kernels/kernels.h"

void fg_kernels_ref(fg_kernels *k); // complete
void fg_kernels_avx2(fg_kernels *k);
void fg_tiles_avx2(fg_kernels *k); // of quantized types in the layout n64
void fg_kernels_avx512(fg_kernels *k);
void fg_tiles_avx512(fg_kernels *k); // of the layout n64
void fg_attention_avx512_bf16(fg_kernels *k);
void fg_attention_avx512_codes(fg_kernels *k);
void fg_product_avx512_bf16(fg_kernels *k);
void fg_product_amx(fg_kernels *k);
void fg_kernels_neon(fg_kernels *k);
void fg_tiles_neon(fg_kernels *k); // of quantized types in the layout n64
// Quantised products.
void fg_quantise_avx2(fg_kernels *k);
void fg_q_product_avx2(fg_kernels *k);
void fg_q_product_avx_vnni(fg_kernels *k);
void fg_q_product_avx512_vnni(fg_kernels *k);
void fg_q_product_amx(fg_kernels *k);
void fg_quantise_neon(fg_kernels *k);
void fg_q_product_neon(fg_kernels *k);
void fg_q_product_dotprod(fg_kernels *k);
void fg_q_product_i8mm(fg_kernels *k);

// The reference in parts, a file each.
void fg_rows_ref(fg_kernels *k);
void fg_tiles_ref(fg_kernels *k);
void fg_attention_ref(fg_kernels *k);
void fg_q_product_ref(fg_kernels *k);

// values[i] = w[r, c + i] for i < count of a block in the layout plain; zeros behind the row's end.
void fg_plain_values(fg_dtype dtype, const void *block, uint32_t k, uint32_t r, uint32_t c, uint32_t count,
                     float *values);
// The bytes of row r's values [c, c + count) of a block in n64, as they were before packing.
void fg_n64_row_bytes(fg_dtype dtype, const uint8_t *block, uint32_t r, uint32_t c, uint32_t count,
                      uint8_t *out);

#endif
