"""Tiny random models of the families around GPT: GPT-2, GPT-Neo, GPT-J, CodeGen, GPT-NeoX, BLOOM, Falcon, MPT,
StarCoder, StableLM. The fields of a row are those of tiny_models.Tiny.
"""
import torch
import transformers as t

from tiny_models import Tiny, opt


def config(kind, **keys):
    """With an epsilon of norms that is large enough to be seen."""
    epsilon = next(k for k in ("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon") if hasattr(kind, k))
    return kind(**{**{"bos_token_id": 1, "eos_token_id": 2, epsilon: 2e-3}, **keys})


def with_keys(**keys):
    """A config.json that says this as well; None takes a key away."""
    return lambda c: {k: v for k, v in {**c, **keys}.items() if v is not None}


def renamed(**keys):
    """A config.json with older names of keys."""
    return lambda c: {keys.get(k, k): v for k, v in c.items()}


def falcon_of_old(kind, *gone):
    """As Falcon's own code wrote it, before transformers knew the family."""
    names = dict(num_hidden_layers="n_layer", num_attention_heads="n_head", num_kv_heads="n_head_kv")
    drop = {"rope_parameters", "max_position_embeddings", "num_ln_in_parallel_attn", "activation",
            "tie_word_embeddings", *gone}
    return lambda c: {names.get(k, k): v for k, v in {**c, "model_type": kind}.items() if k not in drop}


def neox_of_old(c):
    rope = dict(c.pop("rope_parameters"))
    c = {**c, "rotary_pct": rope.pop("partial_rotary_factor"), "rotary_emb_base": rope.pop("rope_theta")}
    c.pop("attention_bias")
    return {**c, "rope_scaling": rope} if rope["rope_type"] != "default" else c


def rope(theta, partial=None, **more):
    keys = {"rope_type": "default", "rope_theta": theta, **more}
    return keys if partial is None else dict(keys, partial_rotary_factor=partial)


MODELS = [
    Tiny("gpt2-like", "GPT-2: transposed matrices, tensor names without transformer., float16, tied",
         config(t.GPT2Config, n_embd=36, n_layer=2, n_head=3, vocab_size=261, n_positions=290), t.GPT2LMHeadModel,
         dtype="f16", form="safetensors-by-name", strip_prefix="transformer."),
    Tiny("gpt2-flags", "GPT-2 whose scores are divided by the number of the layer and not by the width of a head, "
         "feed-forward of its own width, sharded float16 .bin; configuration with the newer names of keys",
         config(t.GPT2Config, n_embd=36, n_layer=3, n_head=4, n_inner=44, vocab_size=229, n_positions=270,
                activation_function="gelu", scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True,
                layer_norm_epsilon=1e-3), t.GPT2LMHeadModel, dtype="f16", form="bin-sharded",
         rewrite=renamed(n_embd="hidden_size", n_layer="num_hidden_layers", n_head="num_attention_heads")),
    Tiny("bigcode-one-head", "StarCoder: one head of keys, float16",
         config(t.GPTBigCodeConfig, n_embd=36, n_layer=2, n_head=3, vocab_size=261, n_positions=290),
         t.GPTBigCodeForCausalLM, dtype="f16"),
    Tiny("bigcode-all-heads", "GPT-BigCode with q, k and v of each head together, unscaled scores, bfloat16 .bin",
         config(t.GPTBigCodeConfig, n_embd=40, n_layer=2, n_head=4, n_inner=68, vocab_size=241, n_positions=290,
                multi_query=False, scale_attn_weights=False), t.GPTBigCodeForCausalLM, dtype="bf16", form="bin"),
    Tiny("gpt-neo-like", "GPT-Neo: local layers with a window of 24, sharded float16 .bin",
         config(t.GPTNeoConfig, hidden_size=36, num_layers=3, num_heads=3, vocab_size=211, window_size=24,
                intermediate_size=44, attention_types=[[["global", "local"], 1], [["local"], 1]],
                max_position_embeddings=270), t.GPTNeoForCausalLM, dtype="f16", form="bin-sharded"),
    Tiny("gpt-neo-flat", "GPT-Neo with its layers' kinds written out only, feed-forward four times as wide, bfloat16",
         config(t.GPTNeoConfig, hidden_size=40, num_layers=2, num_heads=2, vocab_size=211, window_size=17,
                attention_types=[[["local", "global"], 1]], max_position_embeddings=270, layer_norm_epsilon=1e-3,
                activation_function="gelu"), t.GPTNeoForCausalLM, dtype="bf16",
         rewrite=with_keys(attention_types=None, attention_layers=["local", "global"])),
    Tiny("gptj-like", "GPT-J: interleaved rotary pairs on a part of the head, head with a bias, bfloat16",
         config(t.GPTJConfig, n_embd=36, n_layer=2, n_head=2, rotary_dim=10, vocab_size=261, n_positions=270),
         t.GPTJForCausalLM, dtype="bf16"),
    Tiny("gptj-tied", "GPT-J with a tied head that has a bias, feed-forward of its own width, float16 .bin",
         config(t.GPTJConfig, n_embd=40, n_layer=3, n_head=4, rotary_dim=6, n_inner=52, vocab_size=229,
                n_positions=270, tie_word_embeddings=True, layer_norm_epsilon=1e-3, activation_function="gelu"),
         t.GPTJForCausalLM, dtype="f16", form="bin"),
    Tiny("codegen-like", "CodeGen: q, v and k of two heads at a time in four groups, float16 .bin",
         config(t.CodeGenConfig, n_embd=48, n_layer=2, n_head=8, rotary_dim=4, n_inner=68, vocab_size=231,
                n_positions=270), t.CodeGenForCausalLM, dtype="f16", form="bin"),
    Tiny("neox-parallel", "GPT-NeoX: parallel branches under two norms, a part of the head turned, old configuration, "
         "old buffers in the file",
         config(t.GPTNeoXConfig, hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=100,
                vocab_size=261, rope_parameters=rope(500.0, 0.34)), t.GPTNeoXForCausalLM, dtype="f16",
         rename=(("lm_head.", "embed_out."),), rewrite=neox_of_old,
         extra={"gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 29, 29, dtype=torch.bool),
                "gpt_neox.layers.1.attention.masked_bias": torch.tensor(-1e4)}),
    Tiny("neox-sequential", "GPT-NeoX with branches after each other, an odd share of the head turned, no biases of "
         "attention, linear rotary scaling, sharded bfloat16 safetensors",
         config(t.GPTNeoXConfig, hidden_size=40, num_hidden_layers=3, num_attention_heads=2, intermediate_size=76,
                vocab_size=229, rope_parameters=rope(10000.0, 0.25, rope_type="linear", factor=4.0),
                use_parallel_residual=False, attention_bias=False, hidden_act="gelu_fast", layer_norm_eps=1e-3),
         t.GPTNeoXForCausalLM, dtype="bf16", form="safetensors-sharded", rename=(("lm_head.", "embed_out."),)),
    Tiny("bloom-like", "BLOOM: ALiBi on six heads, float16 .bin, names without transformer., old names of keys",
         config(t.BloomConfig, hidden_size=36, n_layer=2, n_head=6, vocab_size=261), t.BloomForCausalLM,
         dtype="f16", form="bin", strip_prefix="transformer.",
         rewrite=renamed(hidden_size="n_embed", n_head="num_attention_heads")),
    Tiny("bloom-normed-residual", "BLOOM whose residual stream is the normed one, sharded bfloat16 safetensors",
         config(t.BloomConfig, hidden_size=40, n_layer=2, n_head=4, vocab_size=211, layer_norm_epsilon=1e-3,
                apply_residual_connection_post_layernorm=True), t.BloomForCausalLM,
         dtype="bf16", form="safetensors-sharded"),
    Tiny("falcon-7b-like", "Falcon with one head of keys and both branches from one norm, the file's number of key "
         "heads wrong, configuration from before transformers knew the family",
         config(t.FalconConfig, hidden_size=40, num_hidden_layers=2, num_attention_heads=5, vocab_size=261),
         t.FalconForCausalLM, dtype="bf16",
         rewrite=falcon_of_old("RefinedWebModel", "num_kv_heads", "new_decoder_architecture", "ffn_hidden_size")),
    Tiny("falcon-40b-like", "Falcon's new architecture: two norms, groups of heads, old configuration, sharded .bin",
         config(t.FalconConfig, hidden_size=36, num_hidden_layers=2, num_attention_heads=6, num_kv_heads=2,
                vocab_size=229, new_decoder_architecture=True, layer_norm_epsilon=1e-3), t.FalconForCausalLM,
         dtype="f16", form="bin-sharded",
         rewrite=falcon_of_old("RefinedWeb", "multi_query", "new_decoder_architecture", "ffn_hidden_size")),
    Tiny("falcon-11b-like", "Falcon's new architecture with one norm, biases, an own head, exact sizes of its own",
         config(t.FalconConfig, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2,
                vocab_size=229, new_decoder_architecture=True, num_ln_in_parallel_attn=1, bias=True,
                ffn_hidden_size=76, tie_word_embeddings=False, activation="gelu_new",
                rope_parameters=rope(700.0)), t.FalconForCausalLM, dtype="bf16"),
    Tiny("falcon-rw-like", "Falcon with ALiBi in bfloat16 on six heads, biases, branches after each other",
         config(t.FalconConfig, hidden_size=36, num_hidden_layers=2, num_attention_heads=6, vocab_size=261,
                alibi=True, bias=True, multi_query=False, parallel_attn=False), t.FalconForCausalLM,
         dtype="f16", attention="sdpa"),
    Tiny("mpt-like", "MPT: ALiBi on six heads, norms without biases, clamped q, k and v, float16",
         config(t.MptConfig, d_model=36, n_layers=2, n_heads=6, vocab_size=261, max_seq_len=290,
                layer_norm_epsilon=1e-3, attn_config=dict(clip_qkv=1.1, softmax_scale=0.5)), t.MptForCausalLM,
         dtype="f16"),
    Tiny("mpt-ignored", "MPT with switches in its configuration that the reference ignores, bfloat16 .bin",
         config(t.MptConfig, d_model=40, n_layers=2, n_heads=4, vocab_size=211, max_seq_len=270, expansion_ratio=2,
                no_bias=False, learned_pos_emb=False, logit_scale=0.5,
                attn_config=dict(alibi=False, alibi_bias_max=4)), t.MptForCausalLM, dtype="bf16", form="bin"),
    Tiny("starcoder2-like", "StarCoder2: grouped-query attention in a window of 24 in every layer, sharded bfloat16",
         config(t.Starcoder2Config, hidden_size=36, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
                intermediate_size=76, vocab_size=229, sliding_window=24, max_position_embeddings=512,
                rope_parameters=rope(1000.0)), t.Starcoder2ForCausalLM, dtype="bf16", form="safetensors-sharded"),
    Tiny("starcoder2-unbiased", "StarCoder2 without biases and window, an own head, old configuration, float16 .bin",
         config(t.Starcoder2Config, hidden_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
                intermediate_size=84, vocab_size=229, use_bias=False, max_position_embeddings=512,
                tie_word_embeddings=False, norm_epsilon=1e-3, rope_parameters=rope(10000.0)),
         t.Starcoder2ForCausalLM, dtype="f16", form="bin", old_config=True),
    Tiny("stablelm-like", "StableLM: biases of q, k and v, a quarter of the head turned, float16 safetensors",
         config(t.StableLmConfig, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3,
                intermediate_size=60, vocab_size=217, use_qkv_bias=True, max_position_embeddings=512,
                rope_parameters=rope(10000.0, 0.25)), t.StableLmForCausalLM, dtype="f16"),
    Tiny("stablelm-12b-like", "StableLM with parallel branches and a norm for each head, one tensor each, sharded .bin",
         config(t.StableLmConfig, hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                intermediate_size=52, vocab_size=211, use_parallel_residual=True, qk_layernorm=True,
                layer_norm_eps=1e-3, max_position_embeddings=512, tie_word_embeddings=True,
                rope_parameters=rope(500.0, 0.5)), t.StableLmForCausalLM, dtype="bf16", form="bin-sharded"),
    Tiny("opt-says-biases", "Galactica: the configuration says biases and weights of norms, the file has none",
         opt(hidden_size=36, num_attention_heads=3, ffn_dim=76, vocab_size=229, enable_bias=False,
             layer_norm_elementwise_affine=False, activation_function="gelu"), t.OPTForCausalLM, dtype="f16",
         rewrite=with_keys(enable_bias=True, layer_norm_elementwise_affine=True)),
]
