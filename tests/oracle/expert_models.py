"""Tiny random models with experts: what each is for, its configuration and how it is stored.

transformers holds all experts of a layer in one tensor; published checkpoints have one tensor for each expert and
matrix. Both forms are written.
"""
from transformers import (GptOssConfig, GptOssForCausalLM, MixtralConfig, MixtralForCausalLM, OlmoeConfig,
                          OlmoeForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM)

import tiny_models


def Tiny(*parts, **keys):
    return tiny_models.Tiny(*parts, tolerance=5e-4, **keys)


def config(kind, **keys):
    keys = dict(dict(num_hidden_layers=2, vocab_size=203, max_position_embeddings=512, bos_token_id=1,
                     eos_token_id=2, tie_word_embeddings=False, rms_norm_eps=1e-3), **keys)
    return kind(**keys)


def apart(names, rename=()):
    """What a checkpoint holds that has a tensor for each expert; `names` of gate, up and down."""
    def split(tensors):
        out = {}
        for name, tensor in tensors.items():
            base, _, last = name.rpartition(".")
            for old, new in rename:
                base, name = base.replace(old, new), name.replace(old, new)
            if last == "gate_up_proj" and base.endswith("experts"):
                for e, (gate, up) in enumerate(t.chunk(2) for t in tensor):
                    out[f"{base}.{e}.{names[0]}.weight"] = gate.clone()
                    out[f"{base}.{e}.{names[1]}.weight"] = up.clone()
            elif last == "down_proj" and base.endswith("experts"):
                out.update((f"{base}.{e}.{names[2]}.weight", t.clone()) for e, t in enumerate(tensor))
            else:
                out[name] = tensor
        return out
    return split


PROJ = ("gate_proj", "up_proj", "down_proj")
MIXTRAL = dict(published=apart(("w1", "w3", "w2"), [(".mlp.", ".block_sparse_moe.")]))
QWEN = dict(published=apart(PROJ))

MODELS = [
    Tiny("mixtral", "Mixtral: a tensor for each expert, a sliding window, sharded bfloat16, old configuration form",
         config(MixtralConfig, hidden_size=36, num_attention_heads=6, num_key_value_heads=2, intermediate_size=28,
                num_local_experts=5, num_experts_per_tok=2, sliding_window=24), MixtralForCausalLM, dtype="bf16",
         form="safetensors-sharded", old_config=True, **MIXTRAL),
    Tiny("mixtral-fused", "Mixtral: all experts of a layer in one tensor, explicit head size, float16",
         config(MixtralConfig, hidden_size=36, num_attention_heads=4, num_key_value_heads=4,
                head_dim=14, intermediate_size=26, num_local_experts=5, num_experts_per_tok=3),
         MixtralForCausalLM, dtype="f16"),
    Tiny("qwen2-moe", "Qwen2-MoE: shared expert behind a switch, dense layers among sparse ones, windows in some "
         "layers, bfloat16",
         config(Qwen2MoeConfig, hidden_size=36, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3,
                intermediate_size=36, moe_intermediate_size=20, shared_expert_intermediate_size=28, num_experts=5,
                num_experts_per_tok=3, mlp_only_layers=[1], use_sliding_window=True, sliding_window=24,
                max_window_layers=2), Qwen2MoeForCausalLM, dtype="bf16", **QWEN),
    Tiny("qwen2-moe-fused", "Qwen2-MoE: every second layer sparse, weights that sum to 1, no biases, fused experts, "
         "sharded .bin, float16",
         config(Qwen2MoeConfig, hidden_size=40, num_attention_heads=4, num_key_value_heads=2, intermediate_size=52,
                moe_intermediate_size=28, shared_expert_intermediate_size=20, num_experts=5, num_experts_per_tok=2,
                decoder_sparse_step=2, norm_topk_prob=True, qkv_bias=False), Qwen2MoeForCausalLM, dtype="f16",
         form="bin-sharded"),
    Tiny("qwen3-moe", "Qwen3-MoE: norms of heads, weights that sum to 1, a dense layer, tied head, bfloat16",
         config(Qwen3MoeConfig, hidden_size=36, num_attention_heads=4, num_key_value_heads=2, head_dim=18,
                intermediate_size=52, moe_intermediate_size=20, num_experts=9, num_experts_per_tok=4,
                mlp_only_layers=[0], norm_topk_prob=True, tie_word_embeddings=True), Qwen3MoeForCausalLM,
         dtype="bf16", **QWEN),
    Tiny("qwen3-moe-fused", "Qwen3-MoE: windows in all layers, biases, weights as they are, every third layer sparse, "
         "fused experts, .bin, float16",
         config(Qwen3MoeConfig, hidden_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1, head_dim=12,
                intermediate_size=56, moe_intermediate_size=44, num_experts=6, num_experts_per_tok=2,
                decoder_sparse_step=3, attention_bias=True, use_sliding_window=True, sliding_window=24),
         Qwen3MoeForCausalLM, dtype="f16", form="bin"),
    Tiny("olmoe", "OLMoE: norms over all heads, clamped queries, keys and values, many experts, bfloat16",
         config(OlmoeConfig, hidden_size=36, num_attention_heads=6, num_key_value_heads=2,
                intermediate_size=12, num_experts=17, num_experts_per_tok=5, clip_qkv=1.5), OlmoeForCausalLM,
         dtype="bf16", **QWEN),
    Tiny("olmoe-fused", "OLMoE: biases, weights that sum to 1, fused experts, float16, old configuration form",
         config(OlmoeConfig, hidden_size=36, num_attention_heads=6, num_key_value_heads=6,
                intermediate_size=14, num_experts=8, num_experts_per_tok=2, norm_topk_prob=True, attention_bias=True),
         OlmoeForCausalLM, dtype="f16", form="safetensors-by-name", old_config=True),
    Tiny("gpt-oss", "GPT-OSS: sinks, windows in every other layer, YaRN, biases, clamped gates, bfloat16",
         config(GptOssConfig, hidden_size=36, num_attention_heads=4, num_key_value_heads=2, head_dim=20,
                intermediate_size=28, num_local_experts=5, num_experts_per_tok=2, sliding_window=24,
                swiglu_limit=0.75,
                rope_parameters=dict(rope_type="yarn", rope_theta=1500.0, factor=8.0, beta_fast=4.0, beta_slow=1.0,
                                     truncate=False, original_max_position_embeddings=48)),
         GptOssForCausalLM, dtype="bf16"),
]
