"""A tiny random GPT-OSS as a GGUF file, written as llama.cpp's converter does it: gates and factors of the experts,
whose rows alternate in transformers' tensors, stand in tensors of their own, and rows are outputs.

No key of the file names the limit of the gates: it is 7, and the biases are made so large that it matters.
"""
import dataclasses
import os

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from transformers import GptOssConfig, GptOssForCausalLM

import expert_gguf
import gguf_models
import tiny_models
from expert_models import config

Q = gguf.GGMLQuantizationType
# On what all tiny models have, by the end of the name: so that the gates' limit matters, and attention beside it.
FACTORS = {"gate_up_proj_bias": 12, "down_proj": 0.25, "down_proj_bias": 0.25, "sinks": 4}


@dataclasses.dataclass
class Row:
    name: str
    why: str
    config: object
    types: tuple  # of attention's matrices, in turn
    tolerance: float = 5e-4


MODELS = [
    Row("gguf-gpt-oss", "GGUF of architecture gpt-oss: experts in MXFP4, q, k and v of different types, sinks, windows, "
        "YaRN, biases",
        config(GptOssConfig, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=24,
               intermediate_size=32, num_local_experts=5, num_experts_per_tok=2, sliding_window=24, vocab_size=131,
               rope_parameters=dict(rope_type="yarn", rope_theta=1500.0, factor=8.0, beta_fast=4.0, beta_slow=1.0,
                                    truncate=False, original_max_position_embeddings=48)),
        (Q.Q8_0, Q.Q5_0, Q.Q5_1, Q.BF16)),
]
ENDS = {"model.embed_tokens.weight": ("token_embd.weight", Q.Q8_0), "model.norm.weight": ("output_norm.weight", Q.F32),
        "lm_head.weight": ("output.weight", Q.Q8_0)}
NAMES = gguf_models.NAMES | {"post_attention_layernorm": "post_attention_norm", "mlp.router": "ffn_gate_inp",
                             "self_attn.sinks": "attn_sinks", "mlp.experts.down_proj": "ffn_down_exps"}


def parts(name, values, row):
    """(name, type, values) of the tensors that the file has for one of transformers'."""
    if name in ENDS:
        return [(*ENDS[name], values)]
    _, _, layer, rest = name.split(".", 3)
    expert, bias = "experts" in rest, rest.endswith("bias")
    stem = rest.removesuffix("_bias" if expert else ".bias").removesuffix(".weight")
    suffix = "bias" if bias else "weight"
    kind = Q.F32 if values.ndim < 2 or bias or "router" in rest else Q.MXFP4 if expert else Q.BF16
    if expert and not bias:
        values = values.swapaxes(1, 2)
    if stem.endswith("gate_up_proj"):
        return [(f"blk.{layer}.ffn_{part}_exps.{suffix}", kind, values[:, i::2]) for i, part in enumerate(("gate", "up"))]
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    if stem[-6:] in attention and not bias:
        kind = row.types[attention.index(stem[-6:])]
    return [(f"blk.{layer}.{NAMES[stem]}.{suffix}", kind, values)]


def whole(name, found):
    """transformers' tensor of the values that `parts` made of it."""
    values = found[0]
    if len(found) > 1:
        values = np.stack(found, axis=2).reshape(values.shape[0], -1, *values.shape[2:])
    return values.swapaxes(1, 2) if "experts" in name and values.ndim == 3 else values


def add_numbers(writer, row):
    c, rope = row.config, row.config.rope_parameters
    expert_gguf.add_numbers(writer, row)
    writer.add_expert_feed_forward_length(c.intermediate_size)
    writer.add_sliding_window(c.sliding_window)
    writer.add_rope_dimension_count(c.head_dim)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])


def write(row, model, path):
    writer = gguf.GGUFWriter(path, "gpt-oss")
    add_numbers(writer, row)
    for name, tensor in model.state_dict().items():
        for target, kind, values in parts(name, tensor.numpy(), row):
            writer.add_tensor(target, quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path, row):
    """A float32 model with the file's dequantised weights."""
    tensors = {t.name: dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
               for t in gguf.GGUFReader(path).tensors}
    model = GptOssForCausalLM._from_config(row.config, dtype=torch.float32, attn_implementation="eager",
                                           experts_implementation="eager")
    state = {}
    for name, tensor in model.state_dict().items():
        found = [tensors.pop(target) for target, _, _ in parts(name, tensor.numpy(), row)]
        state[name] = torch.from_numpy(np.array(whole(name, found), dtype=np.float32))
    if tensors:
        raise SystemExit(f"{row.name}: nobody has read {list(tensors)}")
    model.load_state_dict(state)
    return model.eval()


def make(row, path, seed):
    model = GptOssForCausalLM._from_config(row.config, dtype=torch.float32).float()
    tiny_models.initialise(model, tiny_models.Tiny(row.name, row.why, row.config, GptOssForCausalLM), seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.mul_(next((factor for end, factor in FACTORS.items() if name.endswith(end)), 1))
    if os.path.exists(path):
        os.remove(path)
    write(row, model, path)
    return read(path, row)
