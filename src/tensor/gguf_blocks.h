// gguf_blocks.h: GGUF's block types beyond groups of equal codes, expanded bit for bit as the gguf package
// (0.19, gguf.quants) does it. Blocks of 256 values have scales of their parts, themselves in few bits; the
// IQ4 types and MXFP4 take their values from a table. src needs no alignment; count is a multiple of the
// block.
#ifndef FG_TENSOR_GGUF_BLOCKS_H
#define FG_TENSOR_GGUF_BLOCKS_H

#include <stddef.h>

typedef void fg_expand_fn(const void *src, float *dst, size_t count);

fg_expand_fn fg_q5_0_to_f32, fg_q5_1_to_f32, fg_q2_k_to_f32, fg_q3_k_to_f32, fg_q4_k_to_f32, fg_q5_k_to_f32,
    fg_q6_k_to_f32, fg_iq4_nl_to_f32, fg_iq4_xs_to_f32, fg_mxfp4_to_f32;

#endif
