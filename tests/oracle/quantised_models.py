"""Tiny random models whose matrices are quantised in each format, Llama if nothing else is said, and one with an adapter.

The oracle is transformers in float32 on the values that the codes stand for (quantise.py); the command holds them in
float32 too. Rows that end in -stored are held as without options: the checkpoint's own codes, whose minima are rounded
to float16.
"""
import dataclasses
import json
import os
import shutil

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, LlamaForCausalLM

import quantise
import reference
import storage
import tiny_models
from deepseek_models import yarn
from expert_models import config as expert_config

EXACT = ("--weight-dtype", "f32")
PROMPTS, STEPS = (7, 40), 32


@dataclasses.dataclass
class Row:
    name: str
    why: str
    how: object  # matrix to tensors, values and configuration; None: an adapter
    options: tuple = EXACT
    folder: str = ""  # of another row, whose files these are
    base: tuple = ()  # configuration and class
    tolerance: float = reference.TOLERANCE

    def __post_init__(self):
        self.folder = self.folder or self.name


MODELS = [
    Row("llama-gptq", "GPTQ of 4 bits, asymmetric, inputs of a group apart (act-order)",
        lambda w: quantise.gptq(w, shuffle=w.size)),
    Row("llama-gptq-8", "GPTQ of 8 bits, second version", lambda w: quantise.gptq(w, bits=8, group=-1, v2=True)),
    Row("llama-awq", "AWQ, asymmetric groups of 32", quantise.awq),
    Row("llama-awq-stored", "AWQ in its own codes", lambda w: quantise.awq(w, stored=True), (), "llama-awq"),
    Row("llama-packed", "compressed-tensors: int4 in groups, symmetric", quantise.packed),
    Row("llama-packed-stored", "compressed-tensors: int4 in its own codes", quantise.packed, (), "llama-packed"),
    Row("llama-int8", "compressed-tensors: int8 by rows", quantise.int8),
    Row("llama-fp8", "compressed-tensors: FP8 by rows", quantise.fp8),
    Row("llama-fp8-block", "FP8 in blocks, as DeepSeek has it", lambda w: quantise.fp8_inverse(w, block=(24, 40))),
    Row("llama-mxfp4", "compressed-tensors: MXFP4", quantise.mxfp4),
    Row("llama-nf4", "bitsandbytes NF4 with nested scales", lambda w: quantise.bnb4(w, nested=True)),
    Row("llama-bnb-int8", "bitsandbytes int8", quantise.bnb8),
    Row("llama-adapter", "LoRA on attention, MLP and embedding, one trained head", None,
        EXACT + ("--adapter", "models/llama-adapter/adapter")),
    Row("llama-nvfp4", "compressed-tensors: NVFP4", quantise.nvfp4),
    Row("deepseek-v3-fp8", "DeepSeek-V3 as published: FP8 in blocks, experts and latent attention included",
        lambda w: quantise.fp8_inverse(w, block=(24, 40)),
        base=(expert_config(DeepseekV3Config, hidden_size=64, num_attention_heads=4, num_key_value_heads=4, intermediate_size=96,
                            moe_intermediate_size=32, n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1,
                            first_k_dense_replace=1, q_lora_rank=32, kv_lora_rank=48, qk_nope_head_dim=20,
                            qk_rope_head_dim=12, v_head_dim=28, rope_parameters=yarn(1.0, 1.0)), DeepseekV3ForCausalLM),
        tolerance=5e-4),
]


def base_model(row, seed):
    llama = tiny_models.llama(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96)
    config, kind = row.base or (llama, LlamaForCausalLM)
    tiny = tiny_models.Tiny(row.name, row.why, config, kind, dtype="bf16")
    model = kind._from_config(config, dtype=torch.float32, attn_implementation="eager",
                              experts_implementation="eager").eval()
    tiny_models.initialise(model, tiny, seed)
    storage.round_weights(model, tiny)
    return model, tiny


def parts_of(model):
    """(name, view) of all parameters as checkpoints have them: a tensor for each expert and matrix."""
    for name, parameter in model.named_parameters():
        base, _, last = name.rpartition(".")
        if not base.endswith(".experts"):
            yield name, parameter.detach()
            continue
        for e, matrix in enumerate(parameter.detach()):
            names = ("gate_proj", "up_proj") if last == "gate_up_proj" else (last,)
            yield from ((f"{base}.{e}.{n}.weight", part) for n, part in zip(names, matrix.chunk(len(names))))


def quantise_model(model, row, folder):
    """Writes the tensors and puts the values that they stand for into the model."""
    tensors = {name: tensor.clone() for name, tensor in tiny_models.corrections(model)}
    config = None
    for name, parameter in parts_of(model):
        if not name.endswith(("_proj.weight", "_proj_with_mqa.weight")):
            tensors[name] = parameter.bfloat16()
            continue
        parts, value, config = row.how(parameter.numpy())
        tensors.update({name.removesuffix("weight") + suffix: part.contiguous() for suffix, part in parts.items()})
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        whole = json.load(file)
    storage.write_json(path, whole | {"quantization_config": config})
    return model


def adapt(model, folder, seed):
    from peft import LoraConfig, get_peft_model
    save_file({k: v.detach().bfloat16() for k, v in model.state_dict().items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    keys = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj", "embed_tokens"],
                      modules_to_save=["lm_head"], rank_pattern={"down_proj": 3}, task_type="CAUSAL_LM")
    torch.manual_seed(seed)  # it begins with random factors
    tuned = get_peft_model(model, keys)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter) * (0.2 if "lora_" in name else 0.1))
    folder = os.path.join(folder, "adapter")
    tuned.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    with open(os.path.join(folder, "adapter_config.json")) as file:
        written = json.load(file)
    storage.write_json(os.path.join(folder, "adapter_config.json"),
                       written | {"target_modules": sorted(written["target_modules"])})  # was a set
    return tuned.merge_and_unload().eval()


def draw_prompts(model, seed):
    generator = torch.Generator().manual_seed(seed)
    prompts = []
    for length in PROMPTS:
        while True:
            ids = torch.randint(3, model.config.vocab_size, (length,), generator=generator).tolist()
            if min(reference.greedy(model, ids, STEPS)[2]) > reference.LEAST_MARGIN:
                break
        prompts.append(reference.golden_prompt(model, ids, STEPS))
    return prompts


def make(row, seed, models):
    """The folder of the model, unless it is another row's, and the golden's prompts."""
    first = next(r for r in MODELS if r.folder == row.folder)
    model, tiny = base_model(first, seed - MODELS.index(row) + MODELS.index(first))
    folder = os.path.join(models, row.folder)
    if row is first:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        storage.write_config(folder, model, tiny)
    if row.how is None:
        model = adapt(model, folder, seed)
    elif row is first:
        quantise_model(model, row, folder)
    else:
        for name, parameter in model.named_parameters():
            if name.endswith("_proj.weight"):
                with torch.no_grad():
                    parameter.copy_(torch.from_numpy(np.ascontiguousarray(row.how(parameter.detach().numpy())[1])))
    return draw_prompts(model, seed)
