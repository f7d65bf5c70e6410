"""A tiny random GPT-OSS as it is published: experts in MXFP4, everything else in bfloat16.

The file's blocks and scales are made here; what they mean is transformers' own reading of them, in float32.
"""
import dataclasses
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import storage
import tiny_models
from expert_models import config

MAGNITUDES = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])


@dataclasses.dataclass
class Row:
    name: str
    why: str
    config: object
    tolerance: float = 5e-4
    old_config: bool = False
    dtype: str = "bf16"
    generation: dict = dataclasses.field(default_factory=dict)
    rewrite: object = None


MODELS = [
    Row("gpt-oss-mxfp4", "GPT-OSS with experts in MXFP4: blocks and scales, rows that are outputs, gates and factors in turn",
        config(GptOssConfig, hidden_size=64, num_attention_heads=4, num_key_value_heads=1, head_dim=20,
               intermediate_size=32, num_local_experts=4, num_experts_per_tok=2, sliding_window=24, vocab_size=131, swiglu_limit=0.75,
               rope_parameters=dict(rope_type="yarn", rope_theta=1500.0, factor=8.0, beta_fast=4.0, beta_slow=1.0,
                                    truncate=False, original_max_position_embeddings=48))),
]


def encode(weights):
    """Blocks [..., groups, 16] and scales [..., groups] of [..., 32 * groups], each value to a nearest one."""
    groups = weights.reshape(*weights.shape[:-1], -1, 32)
    scales = torch.floor(torch.log2(groups.abs().amax(-1).clamp(min=1e-30))) - 2
    scaled = groups / torch.exp2(scales)[..., None]
    codes = (scaled.abs()[..., None] - MAGNITUDES).abs().argmin(-1) + 8 * (scaled < 0)
    blocks = codes[..., 0::2] | codes[..., 1::2] << 4
    return blocks.to(torch.uint8), (scales + 127).to(torch.uint8)


def make(row, folder, seed):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = GptOssForCausalLM._from_config(row.config, dtype=torch.float32, attn_implementation="eager",
                                           experts_implementation="eager").eval()
    tiny_models.initialise(model, tiny_models.Tiny(row.name, row.why, row.config, GptOssForCausalLM), seed)
    tensors = {}
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("experts.gate_up_proj") or name.endswith("experts.down_proj"):
                blocks, scales = encode(tensor.transpose(1, 2))
                tensor.copy_(convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
                tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
            else:
                tensors[name] = tensor.to(torch.bfloat16)
                tensor.copy_(tensors[name].float())
    storage.write_config(folder, model, row)
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        settings = storage.json.load(file)
    settings["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
    storage.write_json(path, settings)
    save_file({n: t.contiguous() for n, t in tensors.items()}, os.path.join(folder, "model.safetensors"),
              metadata={"format": "pt"})
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    return model
