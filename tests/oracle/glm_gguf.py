"""Tiny random models of the GLM families as GGUF files, as llama.cpp's converter names and shapes them.

`chatglm` is one architecture for two kinds of files: from checkpoints of ChatGLM's own code, with q, k and v in one
tensor, and from those of transformers' Glm, with three. The oracle reads the file back, as gguf_models.py does.
"""
import dataclasses
import os

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from transformers import Glm4Config, Glm4ForCausalLM, GlmConfig, GlmForCausalLM

import tiny_models
from gguf_models import Q

SIZES = dict(num_hidden_layers=2, vocab_size=211, max_position_embeddings=320, pad_token_id=0, eos_token_id=2,
             hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=96,
             rms_norm_eps=1e-3, tie_word_embeddings=False)


@dataclasses.dataclass
class Row:
    name: str
    why: str
    arch: str
    config: object
    model: type
    types: tuple  # of matrices, in turn
    fused: bool = False  # q, k and v


def rope(theta, partial):
    return dict(rope_type="default", rope_theta=theta, partial_rotary_factor=partial)


MODELS = [
    Row("gguf-chatglm", "GGUF of ChatGLM's own code: q, k and v fused, half of each head turned", "chatglm",
        GlmConfig(**SIZES, rope_parameters=rope(25000.0, 0.5)), GlmForCausalLM, (Q.Q8_0, Q.Q4_0, Q.BF16, Q.Q4_1, Q.Q4_0),
        fused=True),
    Row("gguf-glm", "GGUF of transformers' Glm: q, k and v apart, a quarter of each head turned", "chatglm",
        GlmConfig(**SIZES, rope_parameters=rope(5000.0, 0.25)), GlmForCausalLM, (Q.F16, Q.Q8_0, Q.Q4_1)),
    Row("gguf-glm4", "GGUF of GLM-4-0414: norms around the branches, no biases, head size of its own", "glm4",
        Glm4Config(**dict(SIZES, head_dim=24, attention_bias=False), rope_parameters=rope(8000.0, 0.5)), Glm4ForCausalLM,
        (Q.Q4_0, Q.Q8_0, Q.Q4_1, Q.F16)),
]


def header(row):
    config, arch = row.config, row.arch
    keys = {"context_length": config.max_position_embeddings, "embedding_length": config.hidden_size,
            "block_count": config.num_hidden_layers, "feed_forward_length": config.intermediate_size,
            "attention.head_count": config.num_attention_heads,
            "attention.head_count_kv": config.num_key_value_heads,
            "attention.layer_norm_rms_epsilon": config.rms_norm_eps, "vocab_size": config.vocab_size,
            "rope.freq_base": config.rope_parameters["rope_theta"],
            "rope.dimension_count": int(config.head_dim * config.rope_parameters["partial_rotary_factor"])}
    if config.head_dim * config.num_attention_heads != config.hidden_size:
        keys["attention.key_length"] = keys["attention.value_length"] = config.head_dim
    return {f"{arch}.{key}": value for key, value in keys.items()}


def names_of(row):
    arch = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == row.arch)
    found = gguf.get_tensor_name_map(arch, row.config.num_hidden_layers)
    return lambda name: found.get_name(name, try_suffixes=(".weight", ".bias"))


def fused_name(name):
    layer, suffix = name.split(".")[2], name.rpartition(".")[2]
    return f"blk.{layer}.attn_qkv.{suffix}"


def tensors_to_store(row, state):
    name_of = names_of(row)
    for name, tensor in state.items():
        letter = name[name.find("_proj") - 1] if "self_attn" in name else ""
        if not row.fused or letter not in ("q", "k", "v"):
            yield name_of(name), tensor.numpy()
        elif letter == "q":
            yield fused_name(name), np.concatenate([state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])


def write(row, model, path):
    writer = gguf.GGUFWriter(path, row.arch)
    writer.add_name(row.name)
    for key, value in header(row).items():
        (writer.add_uint32 if isinstance(value, int) else writer.add_float32)(key, value)
    turn = 0
    for name, values in tensors_to_store(row, model.state_dict()):
        kind = Q.F32
        if values.ndim == 2:
            kind = row.types[turn % len(row.types)]
            turn += 1
        writer.add_tensor(name, quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def part_of(row, name, tensors):
    """q, k or v out of the tensor that holds them."""
    config = row.config
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    first, rows = {"q": (0, q), "k": (q, kv), "v": (q + kv, kv)}[name[name.find("_proj") - 1]]
    return tensors[fused_name(name)][first:first + rows]


def read(row, path):
    tensors = {t.name: dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
               for t in gguf.GGUFReader(path).tensors}
    model = row.model._from_config(row.config, dtype=torch.float32, attn_implementation="eager")
    name_of, state = names_of(row), {}
    for name in model.state_dict():
        fused = row.fused and any(part in name for part in ("q_proj", "k_proj", "v_proj"))
        values = part_of(row, name, tensors) if fused else tensors[name_of(name)]
        state[name] = torch.from_numpy(np.ascontiguousarray(values.astype(np.float32)))
    model.load_state_dict(state)
    return model.eval()


def make(row, path, seed):
    model = row.model(row.config).float()
    tiny_models.initialise(model, tiny_models.Tiny(row.name, row.why, row.config, row.model), seed)
    if os.path.exists(path):
        os.remove(path)
    write(row, model, path)
    return read(row, path)
