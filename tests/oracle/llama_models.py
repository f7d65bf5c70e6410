"""Tiny models of the families that descend from Llama."""
import torch
import transformers

from tiny_models import Tiny

SIZES = dict(num_hidden_layers=3, vocab_size=211, max_position_embeddings=320, bos_token_id=1, eos_token_id=2,
             pad_token_id=0, hidden_size=36, num_attention_heads=6, num_key_value_heads=2, intermediate_size=52)


def row(family, name, why, *, sizes=SIZES, config=None, tiny=(), **keys):
    """A model of transformers' `family`: FamilyConfig and FamilyForCausalLM."""
    make = getattr(transformers, f"{family}{config or 'Config'}")
    return Tiny(name, why, make(**dict(sizes, **keys)), getattr(transformers, f"{family}ForCausalLM"), **dict(tiny))


BF16, F16 = dict(dtype="bf16"), dict(dtype="f16")
GEMMA = dict(BF16, norm_center=0.0)

INTERNLM2 = [("embed_tokens", "tok_embeddings"), ("lm_head", "output"), ("input_layernorm", "attention_norm"),
             ("post_attention_layernorm", "ffn_norm"), ("self_attn.o_proj", "attention.wo"),
             ("mlp.gate_proj", "feed_forward.w1"), ("mlp.up_proj", "feed_forward.w3"),
             ("mlp.down_proj", "feed_forward.w2")]


def to_internlm2(config, tensors):
    """A Llama under InternLM2's names: q, k and v are one tensor, a group of rows for each head of keys."""
    out, groups = {}, config["num_key_value_heads"]
    for name, tensor in tensors.items():
        for ours, theirs in INTERNLM2:
            name = name.replace(ours, theirs)
        if "q_proj" in name:
            parts = [tensors[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            rows = [part[i * len(part) // groups:(i + 1) * len(part) // groups] for i in range(groups)
                    for part in parts]
            out[name.replace("self_attn.q_proj", "attention.wqkv")] = torch.cat(rows)
        elif "k_proj" not in name and "v_proj" not in name:
            out[name] = tensor
    config = {k: v for k, v in config.items() if k not in ("rope_parameters", "head_dim", "attention_bias")}
    return dict(config, model_type="internlm2", architectures=["InternLM2ForCausalLM"], bias=False, rope_theta=20000.0,
                rope_scaling=None), out


def to_multimodal(config, tensors):
    """The text part of a Gemma 3 that sees: an object of its own, of the old form, without what is usual."""
    text = {k: v for k, v in config.items() if k not in ("rope_parameters", "layer_types", "num_attention_heads",
                                                         "num_key_value_heads", "_sliding_window_pattern")}
    full, local = (config["rope_parameters"][f"{kind}_attention"] for kind in ("full", "sliding"))
    text.update(rope_theta=full["rope_theta"], rope_local_base_freq=local["rope_theta"], sliding_window_pattern=2,
                rope_scaling={"rope_type": full["rope_type"], "factor": full["factor"]})
    return {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text,
            "eos_token_id": [1, 106], "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152}
            }, {f"language_model.{name}": tensor for name, tensor in tensors.items()}


def to_published_olmo3(config, tensors):
    """As OLMo 3 was published: one base, the scaling of layers without a window, no list of layers."""
    config = {k: v for k, v in config.items() if k != "layer_types"}
    full = config.pop("rope_parameters")["full_attention"]
    return dict(config, rope_theta=full.pop("rope_theta"), rope_scaling=full), tensors


def without_layer_types(config):
    return {k: v for k, v in config.items() if k != "layer_types"}


MODELS = [
    row("Llama", "internlm2", "the names of InternLM2's own code, q, k and v fused in groups, bfloat16",
        tie_word_embeddings=False, rms_norm_eps=1e-2, tiny=dict(BF16, remote=to_internlm2),
        rope_parameters=dict(rope_type="default", rope_theta=20000.0)),
    row("Mistral", "mistral", "a window on all layers, head size of its own, bfloat16", sliding_window=24, head_dim=10, rms_norm_eps=1e-3,
        tie_word_embeddings=False, tiny=BF16),
    row("Qwen2", "qwen2", "biases of q, k and v, windows from the second layer on, tied, float16",
        use_sliding_window=True, sliding_window=24, max_window_layers=1, tie_word_embeddings=True, rms_norm_eps=1e-3,
        tiny=F16),
    row("Qwen2", "qwen2-layer-types", "old configuration without layer types, windows switched off, sharded .bin",
        use_sliding_window=False, sliding_window=24, max_window_layers=1, tie_word_embeddings=False, rms_norm_eps=1e-3, tiny=dict(
            BF16, form="bin-sharded", old_config=True)),
    row("Qwen3", "qwen3", "norms of heads, head size of its own, biases of attention, sharded bfloat16", head_dim=14,
        attention_bias=True, tie_word_embeddings=False, rms_norm_eps=1e-3, tiny=dict(BF16, form="safetensors-sharded")),
    row("Gemma", "gemma", "norms stored less one, scaled embedding, tied, bfloat16", head_dim=14, rms_norm_eps=0.1,
        tiny=GEMMA),
    row("Gemma2", "gemma2", "norms around branches, soft caps, every other layer local, bfloat16", head_dim=14,
        sliding_window=24, query_pre_attn_scalar=9, attn_logit_softcapping=2.0, final_logit_softcapping=6.0,
        rms_norm_eps=1e-3, tiny=GEMMA),
    row("Gemma3", "gemma3", "norms of heads, local layers with a rotary base of their own, linear scaling of the others",
        config="TextConfig", head_dim=14, sliding_window=24, query_pre_attn_scalar=9, rms_norm_eps=1e-3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=500.0),
                             full_attention=dict(rope_type="linear", rope_theta=20000.0, factor=4.0)), tiny=GEMMA),
    row("Phi", "phi", "both branches from one norm, half of a head turned, biases everywhere, float16",
        tie_word_embeddings=False, layer_norm_eps=1e-3, tiny=F16,
        sizes=dict(SIZES, hidden_size=60),
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.44)),
    row("Phi", "phi-norms", "norms of heads with biases, float16", layer_norm_eps=0.1, qk_layernorm=True, tie_word_embeddings=False,
        tiny=F16, sizes=dict(SIZES, hidden_size=48, num_key_value_heads=6)),
    row("Phi3", "phi3", "fused matrices, a window on all layers, bfloat16", sliding_window=24,
        tie_word_embeddings=False, rms_norm_eps=1e-3, tiny=BF16),
    row("Phi3", "phi3-longrope", "other rotary divisors beyond the original context, part of a head turned, bfloat16",
        tie_word_embeddings=False, rms_norm_eps=1e-3, original_max_position_embeddings=48, tiny=BF16,
        sizes=dict(SIZES, hidden_size=48), rope_parameters=dict(
            rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75, short_factor=[1.0, 1.1, 1.5],
            long_factor=[1.2, 3.0, 9.0])),
    row("Llama", "llama-rope-yarn", "yarn rotary scaling, bfloat16", tie_word_embeddings=False, rms_norm_eps=1e-3,
        tiny=BF16, sizes=dict(SIZES, hidden_size=48), rope_parameters=dict(
            rope_type="yarn", rope_theta=200.0, factor=4.0, original_max_position_embeddings=64, beta_fast=4.0,
            beta_slow=0.25)),
    row("Llama", "llama-rope-yarn-scales", "yarn with scales of its own and bounds between dimensions, bfloat16",
        tie_word_embeddings=False, rms_norm_eps=1e-3, tiny=dict(BF16, old_config=True),
        sizes=dict(SIZES, hidden_size=48), rope_parameters=dict(
            rope_type="yarn", rope_theta=200.0, factor=8.0, original_max_position_embeddings=48, mscale=0.7,
            mscale_all_dim=1.0, truncate=False, beta_fast=3.0, beta_slow=0.25)),
    row("Llama", "llama-rope-dynamic", "a rotary base that grows with the text, bfloat16", tie_word_embeddings=False,
        rms_norm_eps=1e-3, tiny=BF16, sizes=dict(SIZES, max_position_embeddings=64), rope_parameters=dict(
            rope_type="dynamic", rope_theta=10000.0, factor=6.0)),
    row("Granite", "granite", "four factors, tied, bfloat16", embedding_multiplier=3.0, residual_multiplier=0.4,
        attention_multiplier=0.6, logits_scaling=1.7, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
        rms_norm_eps=0.1, tiny=BF16),
    row("Olmo2", "olmo2", "norms behind the branches, norms of all of q and of k, bfloat16", tie_word_embeddings=False,
        attention_bias=True, rms_norm_eps=1e-3, tiny=BF16),
    row("Cohere", "cohere", "branches side by side, pairs turned, norms of each head, scaled logits, float16",
        use_qk_norm=True, logit_scale=0.7, layer_norm_eps=1e-3, tiny=F16),
    row("Cohere2", "cohere2", "local layers that alone are turned, bfloat16", sliding_window=24, logit_scale=0.7, layer_norm_eps=0.1,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], tiny=BF16),
    row("SmolLM3", "smollm3", "a layer that is not turned and sees a window, tied, float16",
        no_rope_layers=[1, 0, 1], use_sliding_window=True, sliding_window=24, rms_norm_eps=1e-3, tiny=F16),
    row("Ministral", "ministral", "layers with and without a window, head size of its own, tied, float16",
        sliding_window=24, head_dim=10, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        tie_word_embeddings=True, rms_norm_eps=1e-3, tiny=F16),
    row("Olmo", "olmo", "norms without weights, q, k and v clamped, old configuration, .bin", clip_qkv=1.5,
        tie_word_embeddings=False, tiny=dict(BF16, form="bin", old_config=True)),
    row("Gemma3", "gemma3-multimodal", "the text part of a model that sees, configuration and names of its own",
        config="TextConfig", sizes=dict(SIZES, hidden_size=40, num_attention_heads=8, num_key_value_heads=4),
        head_dim=6, sliding_window=24, query_pre_attn_scalar=9, rms_norm_eps=1e-3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=700.0),
                             full_attention=dict(rope_type="linear", rope_theta=50000.0, factor=4.0)),
        tiny=dict(GEMMA, remote=to_multimodal)),
    row("Olmo3", "olmo3", "OLMo 2 with windows, whose layers have a rotary base of their own, bfloat16", sliding_window=24,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], attention_bias=True,
        rms_norm_eps=1e-3, tie_word_embeddings=False, tiny=BF16, rope_parameters=dict(
            sliding_attention=dict(rope_type="default", rope_theta=500.0),
            full_attention=dict(rope_type="linear", rope_theta=20000.0, factor=4.0))),
    row("Olmo3", "olmo3-yarn", "the published form: every fourth layer without a window, and yarn of these, float16",
        sizes=dict(SIZES, num_hidden_layers=4, hidden_size=48), sliding_window=24, rms_norm_eps=1e-3,
        tie_word_embeddings=False, tiny=dict(F16, remote=to_published_olmo3), rope_parameters=dict(
            sliding_attention=dict(rope_type="default", rope_theta=500000.0),
            full_attention=dict(rope_type="yarn", rope_theta=500000.0, factor=8.0, beta_fast=0.25, beta_slow=0.0105,
                                original_max_position_embeddings=48))),
    row("Arcee", "arcee", "a feed-forward branch of relu squared without a gate, yarn, head size of its own, biases, bfloat16",
        sizes=dict(SIZES, hidden_size=48), head_dim=10, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3,
        tie_word_embeddings=False, tiny=BF16, rope_parameters=dict(
            rope_type="yarn", rope_theta=200.0, factor=4.0, original_max_position_embeddings=64, beta_fast=4.0,
            beta_slow=0.25)),
    row("Nemotron", "nemotron", "layer norms stored less one, part of a head turned, relu squared, biases, float16",
        head_dim=14, attention_bias=True, mlp_bias=True, norm_eps=0.1, tie_word_embeddings=False,
        tiny=dict(F16, norm_center=0.0),
        rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.72)),
    row("Nemotron", "nemotron-usual", "half of a head turned where nothing is said, old configuration, tied, sharded .bin",
        sizes=dict(SIZES, hidden_size=48), norm_eps=0.1, tie_word_embeddings=True,
        tiny=dict(BF16, norm_center=0.0, form="bin-sharded", old_config=True)),
    row("SeedOss", "seed-oss", "biases of q, k and v by default, head size of its own, tied, bfloat16", head_dim=14,
        rms_norm_eps=1e-3, tie_word_embeddings=True, tiny=BF16, residual_dropout=0.0,
        rope_parameters=dict(rope_type="default", rope_theta=20000.0)),
    row("SeedOss", "seed-oss-biases", "biases of attention's output and of the feed-forward branch, none of q, k and v, sharded .bin",
        head_dim=10, attention_bias=False, attention_out_bias=True, mlp_bias=True, rms_norm_eps=1e-3,
        tie_word_embeddings=False, residual_dropout=0.0, tiny=dict(F16, form="bin-sharded")),
    row("Helium", "helium", "neighbours are turned, biases of all but attention's output, float16", head_dim=6,
        attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3, tie_word_embeddings=False, tiny=F16),
    row("Ernie4_5", "ernie", "neighbours are turned, head size of its own, tied, bfloat16", head_dim=14,
        rms_norm_eps=1e-3, tiny=BF16),
    row("Ernie4_5", "ernie-biases", "biases everywhere, sharded float16", head_dim=10, use_bias=True, rms_norm_eps=1e-3,
        tie_word_embeddings=False, tiny=dict(F16, form="safetensors-sharded"),
        rope_parameters=dict(rope_type="linear", rope_theta=8000.0, factor=3.0)),
    row("Exaone4", "exaone4", "norms behind the branches and of heads; layers with a window that alone are turned, bfloat16",
        sliding_window=24, rms_norm_eps=1e-3, tie_word_embeddings=False, tiny=BF16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    row("Exaone4", "exaone4-usual", "three of four layers have a window where no list says so, tied, old configuration",
        sizes=dict(SIZES, num_hidden_layers=4), sliding_window=24, rms_norm_eps=1e-3, tie_word_embeddings=True,
        tiny=dict(F16, old_config=True, rewrite=without_layer_types)),
    row("Exaone4", "exaone4-small", "no windows: all layers are turned, llama3 scaling, head size of its own", sliding_window=None,
        layer_types=["full_attention"] * 3, head_dim=14, rms_norm_eps=1e-3, tie_word_embeddings=True, tiny=BF16,
        rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=64)),
]
