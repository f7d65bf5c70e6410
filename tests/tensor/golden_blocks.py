#!/usr/bin/env python3
"""Writes golden_blocks.bin: random quantized blocks and what the gguf package expands them to.

Needs: pip install gguf numpy. Layout, for q8_0, q4_0, q4_1 in this order: 24 blocks as they stand in
a file, then their 24 * 32 elements as float32.
"""
import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize

BLOCKS = 24
rng = np.random.default_rng(20240607)
with open(pathlib.Path(__file__).with_suffix(".bin"), "wb") as out:
    for kind, size, halves in ((Type.Q8_0, 34, 1), (Type.Q4_0, 18, 1), (Type.Q4_1, 20, 2)):
        blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
        scales = blocks[:, : 2 * halves].view(np.uint16)
        scales[scales & 0x7C00 == 0x7C00] &= 0xBFFF  # finite ones only: NaN has no one bit pattern
        scales[0] = 0x0001  # the smallest subnormal
        scales[1] = 0x83FF  # the largest subnormal, negative
        scales[2] = 0x0000
        scales[3] = 0xFBFF  # the most negative
        out.write(blocks.tobytes())
        out.write(dequantize(blocks, kind).astype("<f4").tobytes())
