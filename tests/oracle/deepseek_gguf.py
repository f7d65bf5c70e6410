"""Tiny random DeepSeek models as GGUF files of architecture deepseek2, as llama.cpp's converter writes them: what makes
keys (turned, head by head) and what makes values are two tensors; in files from before 2025 they are one.

The oracle reads the file back: it dequantises the blocks and lets transformers compute in float32.
"""
import dataclasses
import os

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM

import expert_gguf
import tiny_models
from deepseek_models import yarn
from expert_models import config

Q = gguf.GGMLQuantizationType


@dataclasses.dataclass
class Row:
    name: str
    why: str
    config: object
    model: type
    types: tuple  # of matrices, in turn
    split: bool = True
    permuted: bool = False  # no rows are
    tolerance: float = 5e-4


# llama.cpp gives the inner norms the epsilon of the others, which published models have the same.
SIZES = dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, moe_intermediate_size=32,
             first_k_dense_replace=1, kv_lora_rank=32, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32,
             rms_norm_eps=1e-6)

MODELS = [
    Row("gguf-deepseek2-lite", "GGUF of architecture deepseek2: V2-Lite, what makes keys and values in one tensor, Q8_0, Q4_0 and F16 "
        "matrices",
        config(DeepseekV2Config, n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=2, q_lora_rank=None, **SIZES),
        DeepseekV2ForCausalLM, (Q.Q8_0, Q.Q4_0, Q.F16), split=False),
    Row("gguf-deepseek2", "GGUF of architecture deepseek2: V3 with groups, a bias for the choice alone, YaRN, "
        "Q4_1, Q8_0 and BF16 matrices",
        config(DeepseekV3Config, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1, n_group=4, topk_group=2,
               q_lora_rank=32, num_key_value_heads=4, rope_parameters=yarn(1.0, 1.0), **SIZES),
        DeepseekV3ForCausalLM, (Q.Q4_1, Q.Q8_0, Q.BF16, Q.Q8_0)),
]

NAMES = {"self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b",
         "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
         "self_attn.kv_b_proj": "attn_kv_b", "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
         "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp"}


def heads(values, c):
    """kv_b_proj as a head's key and its value: [heads, nope, rank] and [heads, value, rank]."""
    values = values.reshape(c.num_attention_heads, c.qk_nope_head_dim + c.v_head_dim, c.kv_lora_rank)
    return values[:, :c.qk_nope_head_dim], values[:, c.qk_nope_head_dim:]


def parts(name, values, row):
    """(name, values) of the tensors that the file has for one of transformers'."""
    stem = ".".join(name.split(".")[3:-1])
    block = f"blk.{name.split('.')[2]}" if name.startswith("model.layers") else ""
    if name.endswith("e_score_correction_bias"):
        return [(f"{block}.exp_probs_b.bias", values)]
    if stem == "self_attn.kv_b_proj" and row.split:
        key, value = heads(values, row.config)
        return [(f"{block}.attn_k_b.weight", key.swapaxes(1, 2)), (f"{block}.attn_v_b.weight", value)]
    if stem in NAMES:
        return [(f"{block}.{NAMES[stem]}.weight", values)]
    return expert_gguf.parts(name, values, row)


def joined(found, shape):
    """The inverse of parts, of the file's tensors."""
    if len(found) == 1:
        return found[0].reshape(shape)
    if found[0].shape[-1] == found[1].shape[-1] and len(shape) == 3:  # gate and up of experts
        return np.concatenate(found, axis=1)
    return np.concatenate([found[0].swapaxes(1, 2), found[1]], axis=1).reshape(shape)


def add_numbers(writer, row):
    c = row.config
    writer.add_name(row.name)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_vocab_size(c.vocab_size)
    writer.add_leading_dense_block_count(c.first_k_dense_replace)
    if c.q_lora_rank:
        writer.add_q_lora_rank(c.q_lora_rank)
    writer.add_kv_lora_rank(c.kv_lora_rank)
    writer.add_rope_dimension_count(c.qk_rope_head_dim)
    key, value = c.qk_nope_head_dim + c.qk_rope_head_dim, c.v_head_dim
    if row.split:
        writer.add_head_count_kv(1)
        writer.add_key_length_mla(key)
        writer.add_value_length_mla(value)
        key, value = c.kv_lora_rank + c.qk_rope_head_dim, c.kv_lora_rank
    else:
        writer.add_head_count_kv(c.num_attention_heads)
    writer.add_key_length(key)
    writer.add_value_length(value)
    writer.add_expert_count(c.n_routed_experts)
    writer.add_expert_used_count(c.num_experts_per_tok)
    writer.add_expert_shared_count(c.n_shared_experts)
    writer.add_expert_feed_forward_length(c.moe_intermediate_size)
    writer.add_expert_weights_scale(c.routed_scaling_factor)
    writer.add_expert_weights_norm(c.norm_topk_prob)
    writer.add_block_count(c.num_hidden_layers)
    if c.model_type == "deepseek_v3":
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        writer.add_expert_group_count(c.n_group)
        writer.add_expert_group_used_count(c.topk_group)
    rope = c.rope_parameters
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def write(row, model, path):
    writer = gguf.GGUFWriter(path, "deepseek2")
    add_numbers(writer, row)
    expert_gguf.write_tensors(writer, row, model, parts)


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
        state[name] = torch.from_numpy(np.ascontiguousarray(joined(found, shape)))
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
