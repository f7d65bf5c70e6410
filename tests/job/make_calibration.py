#!/usr/bin/env python3
"""Makes golden_calibration.json: the mean square of every input channel of a tiny Llama's matrices, by numpy alone.

The model is tests/oracle/models/llama-adapter, without its adapter; the text is IDS, in windows of WINDOW tokens.
"""
import json
import os
import struct

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "../oracle/models/llama-adapter")
WINDOW = 512
IDS = [(7 * i * i + 3 * i + 11) % 333 for i in range(700)]


def tensors():
    with open(os.path.join(MODEL, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            assert t["dtype"] == "BF16"
            begin, end = t["data_offsets"]
            bits = np.frombuffer(data[begin:end], np.uint16).astype(np.uint32) << 16
            out[name] = bits.view(np.float32).astype(np.float64).reshape(t["shape"])
    return out


def run(config, weights, ids, see):
    heads, kv, eps = config["num_attention_heads"], config["num_key_value_heads"], config["rms_norm_eps"]
    dim = config["head_dim"]
    count = len(ids)

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weights[name]

    def rotate(x):
        angle = np.arange(count)[:, None] / config["rope_parameters"]["rope_theta"] ** (np.arange(0, dim, 2) / dim)
        cos, sin = (np.concatenate([f(angle)] * 2, 1)[:, None] for f in (np.cos, np.sin))
        a, b = np.split(x, 2, -1)
        return x * cos + np.concatenate([-b, a], -1) * sin

    x = weights["model.embed_tokens.weight"][ids]
    mask = np.where(np.tri(count), 0, -np.inf)
    for layer in range(config["num_hidden_layers"]):
        def w(name, layer=layer):
            return weights[f"model.layers.{layer}.{name}.weight"]
        h = norm(x, f"model.layers.{layer}.input_layernorm.weight")
        see(f"layers.{layer}.qkv", h)
        q, k, v = ((h @ w(f"self_attn.{n}_proj").T).reshape(count, -1, dim) for n in "qkv")
        q, k = rotate(q), np.repeat(rotate(k), heads // kv, 1)
        v = np.repeat(v, heads // kv, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(dim) + mask
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        h = np.einsum("hqk,khd->qhd", share, v).reshape(count, -1)
        see(f"layers.{layer}.attn_out", h)
        x = x + h @ w("self_attn.o_proj").T
        h = norm(x, f"model.layers.{layer}.post_attention_layernorm.weight")
        see(f"layers.{layer}.gate_up", h)
        gate, up = h @ w("mlp.gate_proj").T, h @ w("mlp.up_proj").T
        h = gate / (1 + np.exp(-gate)) * up
        see(f"layers.{layer}.down", h)
        x = x + h @ w("mlp.down_proj").T
    see("epilogue.head", norm(x, "model.norm.weight")[:-1])  # nothing follows the last token


def main():
    with open(os.path.join(MODEL, "config.json")) as file:
        config = json.load(file)
    seen = {}

    def see(name, h):
        seen.setdefault(name, []).append(h)

    weights = tensors()
    for first in range(0, len(IDS), WINDOW):
        run(config, weights, IDS[first:first + WINDOW], see)
    with open(os.path.join(HERE, "golden_calibration.json"), "w") as file:
        means = {n: (np.concatenate(h) ** 2).mean(0) for n, h in seen.items()}
        json.dump({"ids": IDS, "means": {n: [float(f"{v:.6g}") for v in m] for n, m in means.items()}}, file)
        file.write("\n")


if __name__ == "__main__":
    main()
