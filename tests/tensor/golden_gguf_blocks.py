#!/usr/bin/env python3
"""Writes golden_gguf_blocks.bin: random blocks of GGUF's other types and what the gguf package expands them to.

Needs: pip install gguf numpy. For each type, in the order of the table: 6 blocks as they stand in a file, then their
values as float32. The first blocks have a half of theirs that is subnormal, zero or the most negative."""
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize

BLOCKS = 6
# Where a block has its halves.
TYPES = ((Type.Q5_0, (0,)), (Type.Q5_1, (0, 2)), (Type.Q2_K, (80, 82)), (Type.Q3_K, (108,)), (Type.Q4_K, (0, 2)),
         (Type.Q5_K, (0, 2)), (Type.Q6_K, (208,)), (Type.IQ4_NL, (0,)), (Type.IQ4_XS, (0,)), (Type.MXFP4, ()))
rng = np.random.default_rng(20261127)
with open(pathlib.Path(__file__).with_suffix(".bin"), "wb") as out:
    for kind, halves in TYPES:
        blocks = rng.integers(0, 256, (BLOCKS, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
        for at in halves:
            half = blocks[:, at:at + 2].copy().view(np.uint16)
            half[half & 0x7C00 == 0x7C00] &= 0xBFFF  # finite ones only: NaN has no one bit pattern
            half[:4, 0] = (0x0001, 0x83FF, 0x0000, 0xFBFF)
            blocks[:, at:at + 2] = half.view(np.uint8)
        if kind == Type.MXFP4:
            blocks[:4, 0] = (0, 1, 2, 253)  # the last one finite with every value of the table
        out.write(blocks.tobytes())
        out.write(dequantize(blocks, kind).astype("<f4").tobytes())
