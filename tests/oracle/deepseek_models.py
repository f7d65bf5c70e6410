"""Tiny random DeepSeek models: what each is for, its configuration and how it is stored.

As published: a tensor for each expert and matrix, q | k in interleaved rotary pairs, and in V3 the layer that predicts
one more token, whose number is that of no layer.
"""
import torch
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM

from expert_models import PROJ, Tiny, apart, config


def yarn(mscale, all_dim):
    return dict(rope_type="yarn", rope_theta=1500.0, factor=8.0, beta_fast=4.0, beta_slow=1.0, mscale=mscale,
                mscale_all_dim=all_dim, original_max_position_embeddings=48)


MODELS = [
    Tiny("deepseek-v2-lite", "DeepSeek-V2 as the Lite ones are: queries without a short vector, best experts of all, two shared "
         "experts, one dense layer, sharded bfloat16",
         config(DeepseekV2Config, hidden_size=40, num_hidden_layers=3, num_attention_heads=4, intermediate_size=52,
                moe_intermediate_size=20, n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=2, n_group=1,
                topk_group=1, first_k_dense_replace=1, q_lora_rank=None, kv_lora_rank=20, qk_nope_head_dim=12,
                qk_rope_head_dim=8, v_head_dim=10), DeepseekV2ForCausalLM, dtype="bf16",
         form="safetensors-sharded", published=apart(PROJ)),
    Tiny("deepseek-v2", "DeepSeek-V2: short vectors for queries, experts of the best groups, YaRN with two different mscales, "
         "biases, all layers sparse, fused experts, float16, old configuration form",
         config(DeepseekV2Config, hidden_size=36, num_attention_heads=3, intermediate_size=52,
                moe_intermediate_size=28, n_routed_experts=9, num_experts_per_tok=3, n_shared_experts=1, n_group=3,
                topk_group=2, topk_method="group_limited_greedy", routed_scaling_factor=1.5, first_k_dense_replace=0,
                q_lora_rank=28, kv_lora_rank=18, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=14,
                attention_bias=True, rope_parameters=yarn(0.707, 0.9)), DeepseekV2ForCausalLM, dtype="f16",
         old_config=True),
    Tiny("deepseek-v3", "DeepSeek-V3: sigmoid scores, a bias for the choice alone, groups by their best two, YaRN, a layer that is "
         "not read, bfloat16 with float32 vectors",
         config(DeepseekV3Config, hidden_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, intermediate_size=44,
                moe_intermediate_size=20, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1, n_group=4,
                topk_group=2, first_k_dense_replace=1, q_lora_rank=24, kv_lora_rank=20, qk_nope_head_dim=12,
                qk_rope_head_dim=8, v_head_dim=10, rope_parameters=yarn(1.0, 1.0)), DeepseekV3ForCausalLM,
         dtype="mixed", published=apart(PROJ),
         extra={"model.layers.61.eh_proj.weight": torch.zeros(4, 4),
                "model.layers.61.self_attn.kv_b_proj.weight": torch.zeros(4, 4)}),
    Tiny("deepseek-v3-halves", "DeepSeek-V3 with rotary halves, weights as they are, no groups, no short vectors for queries, "
         "biases, a tied head, .bin, bfloat16",
         config(DeepseekV3Config, hidden_size=36, num_attention_heads=2, num_key_value_heads=2, intermediate_size=44,
                moe_intermediate_size=36, n_routed_experts=5, num_experts_per_tok=2, n_shared_experts=2, n_group=1,
                topk_group=1, first_k_dense_replace=1, norm_topk_prob=False, routed_scaling_factor=0.75,
                q_lora_rank=None, kv_lora_rank=26, qk_nope_head_dim=8, qk_rope_head_dim=10, v_head_dim=16,
                rope_interleave=False, attention_bias=True, tie_word_embeddings=True), DeepseekV3ForCausalLM,
         dtype="bf16", form="bin"),
]
