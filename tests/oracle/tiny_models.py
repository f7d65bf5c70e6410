"""The tiny random models of the oracle: what each is for, its configuration and how it is stored.

A row holds everything that is special about a model. Sizes avoid multiples of 16 and 64 on purpose, and
every storage form that a user may bring occurs once.
"""
import dataclasses
import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM


@dataclasses.dataclass
class Tiny:
    name: str
    why: str
    config: object
    model: type
    dtype: str = "f32"  # f32, f16, bf16, or mixed: matrices bf16, the rest f32
    form: str = "safetensors"  # see storage.py
    old_config: bool = False  # config.json as transformers 4 wrote it
    strip_prefix: str = ""  # tensor names without it, as some exports have them
    drop: tuple = ()  # tensors left out of the file
    embed_std: float = 0.5
    norm_center: float = 1.0  # of norms' weights; 0 where they are stored less one
    remote: object = None  # (configuration, tensors) to those of a checkpoint with code of its own
    attention: str = "eager"  # transformers' implementation that is the oracle
    extra: dict = dataclasses.field(default_factory=dict)  # tensors of the file that no model has
    rename: tuple = ()  # (beginning, what the file has instead) of tensor names
    rewrite: object = None  # of config.json: a function of what transformers writes
    published: object = None  # of the stored tensors by name: what transformers renames or joins when it reads
    tolerance: float = 2e-4
    generation: dict = dataclasses.field(default_factory=dict)  # extra keys of generation_config.json


def llama(**keys):
    keys = dict(dict(num_hidden_layers=2, vocab_size=333, max_position_embeddings=512, bos_token_id=1,
                     eos_token_id=2, tie_word_embeddings=False, rms_norm_eps=1e-3), **keys)
    return LlamaConfig(**keys)


def opt(**keys):
    keys = dict(dict(num_hidden_layers=2, vocab_size=333, max_position_embeddings=320,
                     word_embed_proj_dim=keys["hidden_size"]), **keys)
    return OPTConfig(**keys)


MODELS = [
    Tiny("llama-gqa", "grouped-query attention, untied head, one safetensors file, float32",
         llama(hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
               intermediate_size=104, rms_norm_eps=1e-5), LlamaForCausalLM, embed_std=0.02,
         generation=dict(do_sample=True, temperature=0.7, top_p=0.9, eos_token_id=[2, 5])),
    Tiny("llama-tied", "tied head, sharded safetensors, bfloat16, old configuration form",
         llama(hidden_size=40, num_attention_heads=4, num_key_value_heads=4, intermediate_size=72,
               tie_word_embeddings=True,
               rope_parameters=dict(rope_type="default", rope_theta=500.0)),
         LlamaForCausalLM, dtype="bf16", form="safetensors-sharded", old_config=True),
    Tiny("llama-bias", "explicit head size, biases in attention and MLP, float16",
         llama(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, head_dim=20, intermediate_size=72,
               attention_bias=True, mlp_bias=True, vocab_size=401), LlamaForCausalLM, dtype="f16"),
    Tiny("llama-rope-llama3", "llama3 rotary scaling, sharded pytorch_model.bin, old configuration form",
         llama(hidden_size=48, num_attention_heads=3, num_key_value_heads=3, intermediate_size=88,
               rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                                    high_freq_factor=4.0, original_max_position_embeddings=64)),
         LlamaForCausalLM, form="bin-sharded", old_config=True),
    Tiny("llama-rope-linear", "linear rotary scaling; mixed dtypes, unaligned data in name order; configuration "
         "says tied but a different head is stored, which wins",
         llama(hidden_size=36, num_attention_heads=6, num_key_value_heads=3, intermediate_size=68,
               tie_word_embeddings=False,
               rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
         LlamaForCausalLM, dtype="mixed", form="safetensors-by-name"),
    Tiny("opt-125m-like", "pre-norm OPT, only a pytorch_model.bin with the head on the embedding's storage",
         opt(hidden_size=40, num_hidden_layers=3, num_attention_heads=4, ffn_dim=104),
         OPTForCausalLM, form="bin"),
    Tiny("opt-350m-like", "post-norm OPT with project_in and project_out, sharded float16 .bin",
         opt(hidden_size=48, num_attention_heads=4, ffn_dim=88, word_embed_proj_dim=28, do_layer_norm_before=False),
         OPTForCausalLM, dtype="f16", form="bin-sharded", old_config=True),
    Tiny("opt-galactica-like", "no biases, norms without weights, exact gelu, bfloat16",
         opt(hidden_size=40, num_attention_heads=2, ffn_dim=104, vocab_size=350, enable_bias=False,
             layer_norm_elementwise_affine=False, activation_function="gelu", bos_token_id=0, pad_token_id=1),
         OPTForCausalLM, dtype="bf16"),
    Tiny("opt-head-only", "names without model., the embedding stored only as lm_head, float16",
         opt(hidden_size=56, num_attention_heads=4, ffn_dim=72), OPTForCausalLM, dtype="f16",
         form="safetensors-by-name", strip_prefix="model.", drop=("model.decoder.embed_tokens.weight",)),
]


def kinds_of(model):
    """What a parameter is, by its name: "embed", "head", "positions", "conv1d" or nothing special."""
    kinds = {}
    for name, module in model.named_modules():
        if module is model.get_input_embeddings():
            kinds[name] = "embed"
        elif module is model.get_output_embeddings():
            kinds[name] = "head"
        elif isinstance(module, torch.nn.Embedding):
            kinds[name] = "positions"
        elif type(module).__name__ == "Conv1D":
            kinds[name] = "conv1d"
    return kinds


def corrections(model):
    """What routers add to their scores for the choice alone: no parameters, and stored like them."""
    return [(name, tensor) for name, tensor in model.named_buffers() if name.endswith("e_score_correction_bias")]


def initialise(model, tiny, seed):
    """Random weights, each kind large enough that it matters (sensitivity.md shows that it does)."""
    generator = torch.Generator().manual_seed(seed)
    kinds = kinds_of(model)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            kind = kinds.get(name.rpartition(".")[0])
            if name.endswith("bias") or name.endswith("sinks"):
                tensor.copy_(0.25 * noise)
            elif tensor.dim() == 1 or "norm" in name:
                tensor.copy_(tiny.norm_center + 0.25 * noise)
            elif kind == "positions":
                tensor.copy_(0.4 * noise)
            elif kind == "head":
                tensor.copy_(2.5 / math.sqrt(tensor.shape[1]) * noise)
            elif kind == "embed":
                tied = model.config.tie_word_embeddings
                tensor.copy_((2.5 / math.sqrt(tensor.shape[1]) if tied else tiny.embed_std) * noise)
            else:  # [out, in]; Conv1D has [in, out], experts [expert, out, in]
                inputs = tensor.shape[0] if kind == "conv1d" else tensor.shape[-1]
                tensor.copy_(1.25 / math.sqrt(inputs) * noise)
        for _, tensor in corrections(model):  # exact in every type
            tensor.copy_((16 * torch.randn(tensor.shape, generator=generator)).round() / 64)
    return model
