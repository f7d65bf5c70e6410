"""Tiny random models with experts as GGUF files, written as llama.cpp's converter does it: all experts of a layer
stand in one tensor for gate, one for up and one for down.

The oracle reads the file back: it dequantises the blocks and lets transformers compute in float32.
"""
import dataclasses
import os

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from transformers import MixtralForCausalLM, OlmoeForCausalLM, Qwen2MoeForCausalLM, Qwen3MoeForCausalLM
from transformers import MixtralConfig, OlmoeConfig, Qwen2MoeConfig, Qwen3MoeConfig

import gguf_models
import tiny_models
from expert_models import config

Q = gguf.GGMLQuantizationType


@dataclasses.dataclass
class Row:
    name: str
    why: str
    architecture: str
    config: object
    model: type
    types: tuple  # of matrices, in turn
    permuted: bool = False  # rows of q and k, for interleaved rotary pairs
    tolerance: float = 5e-4


MODELS = [
    Row("gguf-mixtral", "GGUF of architecture llama with experts: Mixtral, Q4_0, Q8_0 and F16 matrices", "llama",
        config(MixtralConfig, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=32,
               num_local_experts=5, num_experts_per_tok=2), MixtralForCausalLM, (Q.Q4_0, Q.Q8_0, Q.Q4_0, Q.F16),
        permuted=True),
    Row("gguf-qwen2moe", "GGUF of architecture qwen2moe: shared expert, biases, Q8_0 and BF16 matrices", "qwen2moe",
        config(Qwen2MoeConfig, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
               moe_intermediate_size=32, shared_expert_intermediate_size=64, num_experts=4, num_experts_per_tok=2),
        Qwen2MoeForCausalLM, (Q.Q8_0, Q.BF16, Q.Q4_1)),
    Row("gguf-qwen3moe", "GGUF of architecture qwen3moe: explicit head size, weights that sum to 1, Q4_1 matrices",
        "qwen3moe",
        config(Qwen3MoeConfig, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=24,
               intermediate_size=96, moe_intermediate_size=32, num_experts=6, num_experts_per_tok=3,
               norm_topk_prob=True), Qwen3MoeForCausalLM, (Q.Q4_1, Q.Q8_0)),
    Row("gguf-olmoe", "GGUF of architecture olmoe: clamp, norms over all heads, Q8_0 and Q4_0 matrices", "olmoe",
        config(OlmoeConfig, hidden_size=64, num_attention_heads=4, num_key_value_heads=4, intermediate_size=32,
               num_experts=6, num_experts_per_tok=2, clip_qkv=1.5), OlmoeForCausalLM, (Q.Q8_0, Q.Q4_0)),
]

NAMES = gguf_models.NAMES | {
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate": "ffn_gate_inp",
    "mlp.experts.down_proj": "ffn_down_exps", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp"}
ENDS = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight"}


def parts(name, values, row):
    """(name, values) of the tensors that the file has for one of transformers'."""
    if name in ENDS:
        return [(ENDS[name], values)]
    _, _, layer, rest = name.split(".", 3)
    stem, dot, suffix = rest.rpartition(".")
    if suffix not in ("weight", "bias"):
        stem, suffix = rest, "weight"
    if stem.endswith("experts.gate_up_proj"):
        half = values.shape[1] // 2
        return [(f"blk.{layer}.ffn_gate_exps.weight", values[:, :half]),
                (f"blk.{layer}.ffn_up_exps.weight", values[:, half:])]
    if row.permuted and gguf_models.heads_of(name, row.config):
        values = gguf_models.permute(values, gguf_models.heads_of(name, row.config))
    if stem.endswith("shared_expert_gate"):
        values = values[0]
    return [(f"blk.{layer}.{NAMES[stem]}.{suffix}", values)]


def add_numbers(writer, row):
    c = row.config
    writer.add_name(row.name)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    if getattr(c, "head_dim", None):
        writer.add_key_length(c.head_dim)
        writer.add_value_length(c.head_dim)
    writer.add_vocab_size(c.vocab_size)
    writer.add_expert_count(c.num_experts)
    writer.add_expert_used_count(c.num_experts_per_tok)
    if hasattr(c, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(c.moe_intermediate_size)
    if hasattr(c, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
    if getattr(c, "clip_qkv", None):
        writer.add_clamp_kqv(c.clip_qkv)


def write_tensors(writer, row, model, parts):
    """All tensors, matrices in the row's types by turns, and the file; `parts` as above."""
    turn = 0
    for name, tensor in model.state_dict().items():
        for target, values in parts(name, tensor.numpy(), row):
            kind = Q.F32
            if values.ndim > 1 and "ffn_gate_inp" not in target:
                kind = row.types[turn % len(row.types)]
                turn += 1
            values = np.ascontiguousarray(values)
            writer.add_tensor(target, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write(row, model, path):
    writer = gguf.GGUFWriter(path, row.architecture)
    add_numbers(writer, row)
    write_tensors(writer, row, model, parts)


def read(path, row):
    """A float32 model with the file's dequantised weights."""
    tensors = {t.name: dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
               for t in gguf.GGUFReader(path).tensors}
    model = row.model._from_config(row.config, dtype=torch.float32, attn_implementation="eager",
                                   experts_implementation="eager")
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        found = [tensors.pop(target).astype(np.float32) for target, _ in parts(name, np.zeros(shape, np.float32), row)]
        values = np.concatenate(found, axis=1) if len(found) > 1 else found[0].reshape(shape)
        if row.permuted and gguf_models.heads_of(name, row.config):
            values = gguf_models.unpermute(values, gguf_models.heads_of(name, row.config))
        state[name] = torch.from_numpy(np.ascontiguousarray(values))
    if tensors:
        raise SystemExit(f"{row.name}: nobody has read {list(tensors)}")
    model.load_state_dict(state)
    return model.eval()


def make(row, path, seed):
    model = row.model._from_config(row.config, dtype=torch.float32).float()
    tiny_models.initialise(model, tiny_models.Tiny(row.name, row.why, row.config, row.model), seed)
    if os.path.exists(path):
        os.remove(path)
    write(row, model, path)
    return read(path, row)
