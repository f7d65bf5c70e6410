"""Tiny models of the GLM families. ChatGLM has code of its own: its checkpoints are those of transformers' Glm under
the names of that code."""
import re

import torch

from llama_models import BF16, F16, row

NAMES = [("model.embed_tokens", "transformer.embedding.word_embeddings"), ("lm_head", "transformer.output_layer"),
         ("model.norm", "transformer.encoder.final_layernorm"), ("model.layers", "transformer.encoder.layers"),
         ("self_attn.o_proj", "self_attention.dense"), ("mlp.gate_up_proj", "mlp.dense_h_to_4h"),
         ("mlp.down_proj", "mlp.dense_4h_to_h")]


def to_chatglm(config, tensors):
    out = {}
    for name in tensors:
        new = name
        for ours, theirs in NAMES:
            new = new.replace(ours, theirs)
        part = re.fullmatch(r"(.*)\.self_attn\.([qkv])_proj\.(.*)", new)
        if not part:
            out[new] = tensors[name]
        elif part[2] == "q":
            rows = [tensors[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            out[f"{part[1]}.self_attention.query_key_value.{part[3]}"] = torch.cat(rows)
    return {"model_type": "chatglm", "architectures": ["ChatGLMModel"], "num_layers": config["num_hidden_layers"],
            "hidden_size": config["hidden_size"], "num_attention_heads": config["num_attention_heads"],
            "multi_query_attention": True, "multi_query_group_num": config["num_key_value_heads"],
            "kv_channels": config["head_dim"], "ffn_hidden_size": config["intermediate_size"],
            "padded_vocab_size": config["vocab_size"], "seq_length": config["max_position_embeddings"],
            "layernorm_epsilon": config["rms_norm_eps"], "rope_ratio": config["rope_parameters"]["rope_theta"] / 10000,
            "add_bias_linear": False, "add_qkv_bias": True, "rmsnorm": True, "post_layer_norm": True,
            "apply_residual_connection_post_layernorm": False, "original_rope": True, "eos_token_id": 2,
            "tie_word_embeddings": False, "torch_dtype": "float16"}, out


MODELS = [
    row("Glm", "glm", "half of each head turned side by side, fused gate and up, bfloat16", head_dim=12,
        tie_word_embeddings=False, rms_norm_eps=1e-2, tiny=BF16,
        rope_parameters=dict(rope_type="default", rope_theta=5000.0, partial_rotary_factor=0.34)),
    row("Glm4", "glm4", "norms around the branches, no biases, float16", head_dim=8, attention_bias=False,
        tie_word_embeddings=False, rms_norm_eps=1e-2, tiny=F16),
    row("Glm", "chatglm", "the names and configuration of ChatGLM's own code, fused q, k and v, float16", head_dim=8,
        tie_word_embeddings=False, rms_norm_eps=1e-2, tiny=dict(F16, remote=to_chatglm),
        rope_parameters=dict(rope_type="default", rope_theta=25000.0, partial_rotary_factor=0.5)),
]
