#!/usr/bin/env python3
"""Writes fixtures/quantised/ and fixtures/lora/: small matrices in every quantised format, adapters, and their values.

Run by hand in an environment outside the tree:
    pip install torch==2.15.0 safetensors==0.8.0 numpy==2.4.6 compressed-tensors==0.20.0 transformers==5.23.0 peft==0.21.2 \
        bitsandbytes==0.50.2
    python make_quantised.py
A folder holds config.json and model.safetensors as such checkpoints have them, and expected.safetensors: the float32
matrices. tests/oracle/quantise.py packs, and checks what it packed. Merged adapters are what PEFT makes of them.
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))
import quantise  # noqa: E402

ROOT = HERE / "fixtures"
F8M0 = torch.float8_e8m0fnu

# name: (how, outputs and inputs of its matrices, the type that holds the codes as they are)
FIXTURES = {
    "gptq-4": (lambda w: quantise.gptq(w, group=32), [(24, 96), (8, 64)], "q4_1"),
    "gptq-4-symmetric-64": (lambda w: quantise.gptq(w, group=64, symmetric=True), [(8, 128)], "i4g64m"),
    "gptq-4-ragged": (lambda w: quantise.gptq(w, group=40), [(16, 96)], "bf16"),
    "gptq-4-shuffled": (lambda w: quantise.gptq(w, group=32, shuffle=3), [(16, 96)], "bf16"),
    "gptq-4-v2": (lambda w: quantise.gptq(w, group=32, v2=True), [(16, 64)], "q4_1"),
    "gptq-8": (lambda w: quantise.gptq(w, bits=8, group=-1, symmetric=True), [(12, 96)], "i8g32m"),
    "gptq-8-asymmetric": (lambda w: quantise.gptq(w, bits=8, group=64), [(8, 64)], "i8g64m"),
    "awq-4": (lambda w: quantise.awq(w, group=32), [(24, 64), (8, 96)], "q4_1"),
    "packed-4": (lambda w: quantise.packed(w, group=32), [(10, 96), (3, 64)], "q4_0"),
    "packed-4-asymmetric": (lambda w: quantise.packed(w, group=32, symmetric=False), [(19, 64)], "q4_1"),
    "packed-4-shuffled": (lambda w: quantise.packed(w, group=32, shuffle=5), [(6, 96)], "bf16"),
    "packed-8": (lambda w: quantise.packed(w, bits=8, group=-1), [(7, 50)], "bf16"),
    "packed-8-asymmetric": (lambda w: quantise.packed(w, bits=8, group=64, symmetric=False), [(9, 128)], "i8g64m"),
    "int8": (quantise.int8, [(9, 64)], "i8g64m"),
    "int8-asymmetric": (lambda w: quantise.int8(w, symmetric=False), [(6, 40)], "bf16"),
    "fp8-tensor": (lambda w: quantise.fp8(w, "tensor"), [(5, 40)], "bf16"),
    "fp8-channel": (lambda w: quantise.fp8(w, "channel"), [(7, 33)], "bf16"),
    "fp8-block": (lambda w: quantise.fp8(w, "block"), [(37, 70)], "bf16"),
    "fp8-inverse": (quantise.fp8_inverse, [(37, 70), (16, 32)], "bf16"),
    "fp8-inverse-e8m0": (lambda w: quantise.fp8_inverse(w, scale_dtype=F8M0), [(20, 64)], "bf16"),
    "mxfp4": (quantise.mxfp4, [(6, 96)], "bf16"),
    "nf4": (quantise.bnb4, [(12, 64), (5, 13)], "bf16"),
    "nf4-nested": (lambda w: quantise.bnb4(w, nested=True), [(37, 61)], "bf16"),
    "fp4": (lambda w: quantise.bnb4(w, "fp4"), [(9, 24)], "bf16"),
    "nf4-library": (quantise.bnb4_library, [(9, 64)], "bf16"),
    "nf4-nested-library": (lambda w: quantise.bnb4_library(w, nested=True), [(300, 64)], "bf16"),
    "fp4-nested-library": (lambda w: quantise.bnb4_library(w, "fp4", nested=True), [(7, 50)], "bf16"),
    "bnb-int8": (quantise.bnb8, [(8, 64)], "i8g64m"),
    "nvfp4": (quantise.nvfp4, [(6, 80)], "bf16"),
}


def draw(rng, shape):
    return (rng.standard_normal(shape) * 0.05).astype(np.float32)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def make_fixture(name, how, shapes, rng):
    folder = ROOT / "quantised" / name
    folder.mkdir(parents=True)
    tensors, expected = {"norm.weight": torch.from_numpy(draw(rng, (16,))).bfloat16()}, {}
    for module, shape in zip("ab", shapes):
        parts, value, config = how(draw(rng, shape))
        checked = quantise.check(name, parts, value, config)
        tensors.update({f"layers.0.{module}.{suffix}": part.contiguous() for suffix, part in parts.items()})
        expected[f"layers.0.{module}.weight"] = torch.from_numpy(np.ascontiguousarray(value))
    if name == "awq-4":  # as older tools wrote it: a file of its own, other keys
        write_json(folder / "quant_config.json", {"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM"})
        write_json(folder / "config.json", {"model_type": "llama"})
    elif name == "gptq-8":
        write_json(folder / "quantize_config.json", {k: v for k, v in config.items()
                                                     if k not in ("quant_method", "checkpoint_format")})
        write_json(folder / "config.json", {"model_type": "llama"})
    else:
        write_json(folder / "config.json", {"model_type": "llama", "quantization_config": config})
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(expected, folder / "expected.safetensors")
    print(f"{name}: {'unpacked again' if checked else 'no second reader here'}")


# ---- adapters ------------------------------------------------------------------------------------------------------

class Body(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(11, 12)
        self.q_proj = torch.nn.Linear(12, 20, bias=False)
        self.down_proj = torch.nn.Linear(20, 12, bias=False)
        self.norm = torch.nn.LayerNorm(12)

    def forward(self, x):
        return self.norm(self.down_proj(self.q_proj(self.embed_tokens(x))))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Body()
        self.lm_head = torch.nn.Linear(12, 11, bias=False)

    def forward(self, x):
        return self.lm_head(self.model(x))


class TurnedNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from transformers.pytorch_utils import Conv1D
        self.c_attn, self.lm_head = Conv1D(20, 12), torch.nn.Linear(20, 11, bias=False)

    def forward(self, x):
        return self.lm_head(self.c_attn(x))


ADAPTERS = {
    "plain": (Net, dict(r=4, lora_alpha=6, target_modules=["q_proj", "down_proj"])),
    "stabilised-patterns": (Net, dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "down_proj"],
                                      rank_pattern={r"model\.down_\w+": 2}, alpha_pattern={"q_proj": 10})),
    "embedding": (Net, dict(r=3, lora_alpha=5, target_modules=["embed_tokens", "q_proj"])),
    "whole": (Net, dict(r=2, lora_alpha=2, target_modules=["down_proj"], modules_to_save=["lm_head", "norm"])),
    "dora": (Net, dict(r=4, lora_alpha=6, use_dora=True, target_modules=["q_proj", "down_proj"])),
    "turned": (TurnedNet, dict(r=4, lora_alpha=6, fan_in_fan_out=True, target_modules=["c_attn"])),
}


def make_adapter(name, net, keys, dtype=torch.float32):
    from peft import LoraConfig, get_peft_model
    folder = ROOT / "lora" / name
    torch.manual_seed(len(name))
    base = net()
    folder.mkdir(parents=True)
    save_file({k: v.detach().clone() for k, v in base.state_dict().items()}, folder / "model.safetensors")
    tuned = get_peft_model(base, LoraConfig(**keys))
    with torch.no_grad():
        for key, parameter in tuned.named_parameters():
            if "lora_" in key or "modules_to_save" in key:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    tuned.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    written = json.loads((folder / "adapter_config.json").read_text())
    write_json(folder / "adapter_config.json", {k: sorted(v) if isinstance(v, list) else v for k, v in written.items()})
    merged = tuned.merge_and_unload()
    save_file({k: v.detach().clone() for k, v in merged.state_dict().items()}, folder / "expected.safetensors")


def main():
    for part in ("quantised", "lora"):
        shutil.rmtree(ROOT / part, ignore_errors=True)
    rng = np.random.default_rng(1)
    for name, (how, shapes, _) in FIXTURES.items():
        make_fixture(name, how, shapes, rng)
    write_json(ROOT / "quantised" / "types.json", {name: kind for name, (_, _, kind) in FIXTURES.items()})
    for name, (net, keys) in ADAPTERS.items():
        make_adapter(name, net, keys)
        print(f"{name}: merged by PEFT")


if __name__ == "__main__":
    main()
