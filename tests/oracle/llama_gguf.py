"""Tiny random models of Llama's descendants as GGUF files, under the names that the gguf package has for them.

What llama.cpp's converter changes is changed here too: rows of q and k where pairs are interleaved, norms that are
stored less one. The oracle reads the file back, as gguf_models.py does.
"""
import dataclasses
import math
import os

import gguf
import numpy as np
import torch
import transformers
from gguf.quants import dequantize, quantize

import tiny_models
from gguf_models import Q, permute, unpermute

SIZES = dict(num_hidden_layers=2, vocab_size=211, max_position_embeddings=320, bos_token_id=1, eos_token_id=2,
             pad_token_id=0, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96)
MIXED = (Q.Q8_0, Q.F16, Q.Q4_0, Q.BF16)


@dataclasses.dataclass
class Row:
    name: str
    why: str
    arch: str
    config: object
    model: type
    keys: dict = dataclasses.field(default_factory=dict)  # of the header, behind the architecture's name
    permuted: bool = False
    norm_less_one: bool = False
    types: tuple = MIXED  # of matrices, in turn
    tensors: dict = dataclasses.field(default_factory=dict)  # more of them


def row(name, why, arch, family, *, config=None, sizes=SIZES, keys=None, gguf_keys=None, **row_keys):
    make = getattr(transformers, config or f"{family}Config")
    layer_norm = "attention.layer_norm_epsilon" in (gguf_keys or {})
    keys = dict(sizes, **{} if layer_norm else dict(rms_norm_eps=1e-3)) | (keys or {})
    return Row(f"gguf-{name}", why, arch, make(**keys),
               getattr(transformers, f"{family}ForCausalLM"), gguf_keys or {}, **row_keys)


def rope(kind="default", theta=10000.0, **more):
    return dict(rope_type=kind, rope_theta=theta, **more)


FOUR_LAYERS = dict(SIZES, num_hidden_layers=4, hidden_size=32, intermediate_size=64)
LOCAL_GLOBAL = ["sliding_attention", "full_attention"] * 2
LAYER_NORM = {"attention.layer_norm_epsilon": 1e-3}
MODELS = [
    row("qwen2", "Qwen2: biases of q, k and v, tied", "qwen2", "Qwen2",
        keys=dict(tie_word_embeddings=True, rope_parameters=rope(theta=100000.0))),
    row("qwen3", "Qwen3: norms of heads, head size of its own", "qwen3", "Qwen3",
        keys=dict(head_dim=24, rope_parameters=rope(theta=100000.0))),
    row("gemma", "Gemma: norms stored with the one, tied", "gemma", "Gemma", norm_less_one=True,
        keys=dict(head_dim=24, rms_norm_eps=0.1, rope_parameters=rope())),
    row("gemma2", "Gemma 2: norms around, soft caps, a window on every other layer", "gemma2", "Gemma2",
        norm_less_one=True, keys=dict(head_dim=24, query_pre_attn_scalar=24, sliding_window=24,
                                      attn_logit_softcapping=2.0, final_logit_softcapping=6.0, rope_parameters=rope()),
        gguf_keys={"attention.sliding_window": 24, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 6.0}),
    row("gemma3", "Gemma 3: local rotary base, linear scaling of global layers", "gemma3", "Gemma3",
        config="Gemma3TextConfig", norm_less_one=True, sizes=dict(SIZES, num_hidden_layers=3, hidden_size=32),
        keys=dict(head_dim=24, query_pre_attn_scalar=24, sliding_window=24,
                  layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                  rope_parameters=dict(full_attention=rope("linear", 20000.0, factor=4.0),
                                       sliding_attention=rope(theta=500.0))),
        gguf_keys={"attention.sliding_window": 24, "attention.sliding_window_pattern": 2, "rope.freq_base": 20000.0,
                   "rope.freq_base_swa": 500.0, "rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
    row("phi2", "Phi-2: part of a head is turned, biases everywhere", "phi2", "Phi",
        keys=dict(layer_norm_eps=1e-3, rope_parameters=rope(partial_rotary_factor=0.5)),
        gguf_keys=dict(LAYER_NORM, **{"rope.dimension_count": 8})),
    row("phi3", "Phi-3: fused matrices, a window", "phi3", "Phi3",
        keys=dict(sliding_window=24, rope_parameters=rope()), gguf_keys={"attention.sliding_window": 24}),
    row("granite", "Granite: four factors", "granite", "Granite", permuted=True,
        keys=dict(rms_norm_eps=0.1, embedding_multiplier=3.0, residual_multiplier=0.5, attention_multiplier=0.5, logits_scaling=1.5,
                  tie_word_embeddings=False, rope_parameters=rope()),
        gguf_keys={"embedding_scale": 3.0, "residual_scale": 0.5, "attention.scale": 0.5, "logit_scale": 1.5}),
    row("olmo", "OLMo: norms without weights, q, k and v clamped", "olmo", "Olmo", permuted=True,
        keys=dict(clip_qkv=1.5, rope_parameters=rope()),
        gguf_keys={"attention.layer_norm_epsilon": 1e-5, "attention.clamp_kqv": 1.5}),
    row("olmo2", "OLMo 2: norms behind the branches and of all of q and of k", "olmo2", "Olmo2",
        keys=dict(rope_parameters=rope(theta=50000.0))),
    row("command-r", "Command-R+: norms of each head, scaled logits, tied", "command-r", "Cohere",
        keys=dict(layer_norm_eps=1e-3, use_qk_norm=True, logit_scale=0.75, rope_parameters=rope(theta=8000.0)),
        gguf_keys=dict(LAYER_NORM, logit_scale=0.75)),
    row("cohere2", "Command-R7B: layers with a window alone are turned, tied", "cohere2", "Cohere2",
        sizes=FOUR_LAYERS,
        keys=dict(layer_norm_eps=1e-3, logit_scale=0.75, sliding_window=24, rope_parameters=rope(theta=8000.0)),
        gguf_keys=dict(LAYER_NORM, **{"logit_scale": 0.75, "attention.sliding_window": 24})),
    row("smollm3", "SmolLM3: every fourth layer is not turned, tied", "smollm3", "SmolLM3", permuted=True,
        sizes=FOUR_LAYERS, keys=dict(tie_word_embeddings=True, rope_parameters=rope(theta=50000.0))),
    row("internlm2", "InternLM2: Llama of another name", "internlm2", "Llama", permuted=True,
        keys=dict(tie_word_embeddings=False, rope_parameters=rope(theta=50000.0))),
    row("phi3-longrope", "Phi-3: other rotary divisors for longer texts, part of a head is turned", "phi3", "Phi3",
        keys=dict(original_max_position_embeddings=48, rope_parameters=rope(
            "longrope", partial_rotary_factor=0.5, short_factor=[1.0, 1.1, 1.2, 1.5],
            long_factor=[1.2, 2.0, 4.0, 9.0])),
        gguf_keys={"rope.dimension_count": 8, "rope.scaling.original_context_length": 48, "attention.sliding_window": 0,
                   "rope.scaling.attn_factor": (1 + math.log(320 / 48) / math.log(48)) ** 0.5},
        tensors={"rope_factors_short.weight": [1.0, 1.1, 1.2, 1.5], "rope_factors_long.weight": [1.2, 2.0, 4.0, 9.0]}),
    row("arcee", "Arcee: relu squared without a gate", "arcee", "Arcee", permuted=True,
        keys=dict(rope_parameters=rope(theta=50000.0))),
    row("nemotron", "Nemotron: layer norms stored with the one, half of a head turned, relu squared", "nemotron",
        "Nemotron", norm_less_one=True, keys=dict(norm_eps=1e-3, rope_parameters=rope(partial_rotary_factor=0.5)),
        gguf_keys=dict(LAYER_NORM, **{"rope.dimension_count": 8})),
    row("seed-oss", "Seed-OSS: biases of q, k and v, head size of its own", "seed_oss", "SeedOss",
        keys=dict(head_dim=24, rope_parameters=rope(theta=50000.0))),
    row("ernie", "ERNIE 4.5: neighbours are turned, tied", "ernie4_5", "Ernie4_5",
        keys=dict(head_dim=24, tie_word_embeddings=True, rope_parameters=rope(theta=50000.0))),
    row("olmo3", "OLMo 3, under OLMo 2's name: windows that a list gives, yarn on the other layers", "olmo2", "Olmo3",
        sizes=FOUR_LAYERS, keys=dict(sliding_window=24, layer_types=LOCAL_GLOBAL, rope_parameters=dict(
            sliding_attention=rope(theta=50000.0),
            full_attention=rope("yarn", 50000.0, factor=8.0, original_max_position_embeddings=48))),
        gguf_keys={"attention.sliding_window": 24, "attention.sliding_window_pattern": [True, False, True, False],
                   "rope.freq_base": 50000.0, "rope.scaling.type": "yarn", "rope.scaling.factor": 8.0,
                   "rope.scaling.yarn_attn_factor": 0.1 * math.log(8) + 1, "rope.scaling.original_context_length": 48}),
    row("exaone4", "EXAONE 4: three of four layers have a window and alone are turned", "exaone4", "Exaone4",
        sizes=FOUR_LAYERS, keys=dict(sliding_window=24, rope_parameters=rope(theta=50000.0)),
        gguf_keys={"attention.sliding_window": 24}),
]


def header(row):
    """Key and value of the numbers, under the architecture's name."""
    config = row.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    keys = {"context_length": config.max_position_embeddings, "embedding_length": config.hidden_size,
            "block_count": config.num_hidden_layers, "feed_forward_length": config.intermediate_size,
            "attention.head_count": config.num_attention_heads,
            "attention.head_count_kv": config.num_key_value_heads, "rope.dimension_count": head_dim,
            "vocab_size": config.vocab_size}
    if "rope_theta" in config.rope_parameters:
        keys["rope.freq_base"] = config.rope_parameters["rope_theta"]
    if "attention.layer_norm_epsilon" not in row.keys:
        keys["attention.layer_norm_rms_epsilon"] = config.rms_norm_eps
    if head_dim * config.num_attention_heads != config.hidden_size:
        keys["attention.key_length"] = keys["attention.value_length"] = head_dim
    return dict(keys, **row.keys)


def names_of(row):
    arch = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == row.arch)
    found = gguf.get_tensor_name_map(arch, row.config.num_hidden_layers)
    return lambda name: found.get_name(name, try_suffixes=(".weight", ".bias"))


def turned(row, name, values, back):
    """Values as the file has them, or back."""
    heads = row.config.num_attention_heads if "q_proj" in name else row.config.num_key_value_heads
    if row.permuted and ("q_proj" in name or "k_proj" in name):
        return (unpermute if back else permute)(values, heads)
    return values + (-1 if back else 1) if row.norm_less_one and name.endswith("norm.weight") else values


def write(row, model, path):
    writer = gguf.GGUFWriter(path, row.arch)
    writer.add_name(row.name)
    for key, value in header(row).items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
               list: writer.add_array}[type(value)]
        add(f"{row.arch}.{key}", value)
    for name, values in row.tensors.items():
        writer.add_tensor(name, np.array(values, dtype=np.float32))
    name_of, turn = names_of(row), 0
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and row.config.tie_word_embeddings:
            continue
        values, kind = turned(row, name, tensor.numpy(), False), Q.F32
        if values.ndim == 2 and "norm" not in name:
            kind = row.types[turn % len(row.types)]
            turn += 1
        writer.add_tensor(name_of(name), quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(row, path):
    tensors = {t.name: dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
               for t in gguf.GGUFReader(path).tensors}
    model = row.model._from_config(row.config, dtype=torch.float32, attn_implementation="eager")
    name_of, state = names_of(row), {}
    for name in model.state_dict():
        source = name_of(name)
        values = tensors[source if source in tensors else "token_embd.weight"].astype(np.float32)
        state[name] = torch.from_numpy(np.ascontiguousarray(turned(row, name, values, True)))
    model.load_state_dict(state)
    return model.eval()


def make(row, path, seed):
    model = row.model(row.config).float()
    tiny_models.initialise(model, tiny_models.Tiny(row.name, row.why, row.config, row.model,
                                                   norm_center=0.0 if row.norm_less_one else 1.0), seed)
    if os.path.exists(path):
        os.remove(path)
    write(row, model, path)
    return read(row, path)
