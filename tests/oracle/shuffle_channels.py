#!/usr/bin/env python3
"""The same model with its channels in another order and its matrices in float32, for figures of what int4 costs.

    shuffle_channels.py MODEL.gguf OUT.gguf

What is quantised already sits on a grid of 16 values in each of its groups: rounding it to the same groups again
costs nothing, and to others not what it costs a model that never was. Three permutations leave the function as it
is: of the residual stream's channels, of each feed-forward's inner channels, and of the values of each head for
keys and values. After them a group holds values of many of the old groups, and no grid is left. Llama's tensors,
as GGUF names them; needs numpy and gguf of the oracle's environment.
"""
import sys

import gguf
import numpy as np
from gguf.quants import dequantize

SEED = 6


def permuted(name, w, p):
    """w: [rows, columns] or [values]"""
    base = name.split(".")[-2]
    inner = p["inner"].get(name.split(".")[1]) if name.startswith("blk.") else None
    value_rows, value_columns = p["values"].get(name.split(".")[1], (None, None))
    if base in ("attn_norm", "ffn_norm", "output_norm"):
        return w[p["hidden"]]
    if base in ("token_embd", "output", "attn_q", "attn_k"):
        return w[:, p["hidden"]]
    if base == "attn_v":
        return w[value_rows][:, p["hidden"]]
    if base == "attn_output":
        return w[p["hidden"]][:, value_columns]
    if base in ("ffn_gate", "ffn_up"):
        return w[inner][:, p["hidden"]]
    if base == "ffn_down":
        return w[p["hidden"]][:, inner]
    sys.exit(f"shuffle_channels: {name}: not a tensor of a Llama")


def permutations(reader):
    def read(key):
        return reader.fields["llama." + key].contents()

    rng = np.random.default_rng(SEED)
    hidden, heads, kv = read("embedding_length"), read("attention.head_count"), read("attention.head_count_kv")
    dim = hidden // heads
    p = {"hidden": rng.permutation(hidden), "inner": {}, "values": {}}
    for layer in range(read("block_count")):
        p["inner"][str(layer)] = rng.permutation(read("feed_forward_length"))
        of_head = [rng.permutation(dim) for _ in range(kv)]
        rows = np.concatenate([h * dim + one for h, one in enumerate(of_head)])
        columns = np.concatenate([h * dim + of_head[h // (heads // kv)] for h in range(heads)])
        p["values"][str(layer)] = (rows, columns)
    return p


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    reader = gguf.GGUFReader(sys.argv[1])
    writer = gguf.GGUFWriter(sys.argv[2], "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        sub = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)
    p = permutations(reader)
    for tensor in reader.tensors:
        w = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, np.ascontiguousarray(permuted(tensor.name, w, p)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
