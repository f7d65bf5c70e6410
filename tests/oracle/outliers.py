#!/usr/bin/env python3
"""What int8 activations cost where they have outlier channels: perplexity beside float32 with the same weights.

    outliers.py MODEL.gguf [--flexgen build/flexgen]

SmolLM2 is rewritten so that its function stays and some channels of every product's input are 100 times as
large: what comes before them (norms, rows of v and of the up projection) is multiplied, the columns that read
them are divided. Both runs then read the same int8 weights. Needs the oracle's environment; the last line is
"N passed, N failed, N skipped".
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoTokenizer

import gguf_models
import make_oracle
import smollm2

FACTOR = 100
ALLOWED = 0.01
HIDDEN = (7, 131, 260, 301, 400, 575)  # channels of the residual stream, as the norms hand it out
INNER = (3, 500, 1021, 1500)           # of the feed-forward's input to its down projection
VALUE = (5, 40)                        # of each head's values


def plant(layer, heads, kv_heads):
    attention, mlp = layer.self_attn, layer.mlp
    for norm, readers in ((layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                          (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj))):
        norm.weight[list(HIDDEN)] *= FACTOR
        for reader in readers:
            reader.weight[:, list(HIDDEN)] /= FACTOR
    mlp.up_proj.weight[list(INNER)] *= FACTOR
    mlp.down_proj.weight[:, list(INNER)] /= FACTOR
    dim = attention.v_proj.weight.shape[0] // kv_heads
    for channel in VALUE:
        attention.v_proj.weight[[h * dim + channel for h in range(kv_heads)]] *= FACTOR
        attention.o_proj.weight[:, [h * dim + channel for h in range(heads)]] /= FACTOR


def perplexity(flexgen, folder, dtype, *options):
    done = subprocess.run([flexgen, "eval", folder, "--text", os.path.join(smollm2.HERE, smollm2.TEXT), "--window",
                           str(smollm2.WINDOW), "--dtype", dtype, "--json", "--quiet", "--offload-dir",
                           os.path.join(folder, "store"), *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"outliers: {done.stderr.strip()}")
    return json.loads(done.stdout)["perplexity"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--flexgen", default=os.path.join(make_oracle.HERE, "../../build/flexgen"))
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    path = arguments.model
    config = smollm2.configuration(path)
    model = gguf_models.read(path, config)
    counts = {True: 0, False: 0}
    with tempfile.TemporaryDirectory() as folder:
        AutoTokenizer.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path)).save_pretrained(folder)
        for planted in (False, True):
            if planted:
                with torch.no_grad():
                    for layer in model.model.layers:
                        plant(layer, config.num_attention_heads, config.num_key_value_heads)
            model.save_pretrained(folder)
            # Columns a hundredth of their group's size are nothing in 4 bits, whatever multiplies them.
            for weights in ("int8",) if planted else ("int8", "int4"):
                exact, fast = (perplexity(arguments.flexgen, folder, dtype, "--weight-dtype", weights)
                               for dtype in ("f32", "int8"))
                good = abs(fast / exact - 1) <= ALLOWED
                counts[good] += 1
                print(f"{'passed' if good else 'FAILED'}  {weights} weights, outliers "
                      f"{'planted' if planted else 'as they are'}: f32 {exact:.4f}, int8 {fast:.4f}, "
                      f"{100 * (fast / exact - 1):+.3f} %", flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed, 0 skipped")
    sys.exit(1 if counts[False] else 0)


if __name__ == "__main__":
    main()
