"""Tiny random Llama models as GGUF files, written as llama.cpp's converter does it.

Rows of q and k are permuted for interleaved rotary pairs, norms are float32, matrices are quantised with
the gguf package's own reference. The oracle reads the file back: it dequantises the blocks, undoes the
permutation and lets transformers' LlamaForCausalLM compute in float32.
"""
import dataclasses
import os

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from transformers import LlamaConfig, LlamaForCausalLM

import tiny_models

Q = gguf.GGMLQuantizationType


@dataclasses.dataclass
class Row:
    name: str
    why: str
    config: LlamaConfig
    types: tuple  # of matrices, in turn
    embed_type: Q
    head_type: Q | None  # None: tied
    rope_freqs: bool = False
    tolerance: float = 2e-4


MODELS = [
    Row("gguf-llama-mixed", "GGUF with F16, Q8_0, Q4_0, Q4_1 and F32 matrices in one file, grouped-query attention",
        tiny_models.llama(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                          intermediate_size=96, rms_norm_eps=1e-3), (Q.Q4_0, Q.Q8_0, Q.Q4_1, Q.F16, Q.F32),
        Q.Q8_0, Q.Q4_1),
    Row("gguf-llama-tied", "GGUF with BF16 matrices, tied Q8_0 head, explicit head size, rope_freqs for llama3 scaling",
        tiny_models.llama(hidden_size=64, num_attention_heads=2, num_key_value_heads=1, head_dim=48,
                          intermediate_size=96, tie_word_embeddings=True,
                          rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0,
                                               low_freq_factor=1.0, high_freq_factor=4.0,
                                               original_max_position_embeddings=64)),
        (Q.BF16,), Q.Q8_0, None, rope_freqs=True),
    Row("gguf-llama-blocks", "GGUF with blocks of 256 values, of the IQ4 types, MXFP4, Q5_0 and Q5_1",
        tiny_models.llama(hidden_size=256, num_attention_heads=2, num_key_value_heads=1, head_dim=32, vocab_size=211,
                          intermediate_size=256, rms_norm_eps=1e-3),
        (Q.Q2_K, Q.Q3_K, Q.Q6_K, Q.Q5_0, Q.Q4_K, Q.Q5_K, Q.IQ4_XS,  # q k v o gate up down
         Q.Q4_K, Q.Q6_K, Q.IQ4_NL, Q.Q5_1, Q.MXFP4, Q.Q3_K, Q.Q2_K), Q.Q6_K, Q.Q4_K),
]

# Where a block has its scale and the scale of its minima; the package has no quantisation into these types.
HALVES = {Q.Q2_K: (80, 82), Q.Q3_K: (108,), Q.Q4_K: (0, 2), Q.Q5_K: (0, 2), Q.Q6_K: (208,), Q.IQ4_NL: (0,),
          Q.IQ4_XS: (0,), Q.MXFP4: ()}

NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def heads_of(name, config):
    """Heads whose rows are permuted in this tensor, 0 = none."""
    if "q_proj" in name:
        return config.num_attention_heads
    return config.num_key_value_heads if "k_proj" in name else 0


def permute(rows, heads):
    """Halves (s, i) to interleaved pairs (i, s), per head."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def unpermute(rows, heads):
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def llama3_factors(config):
    """What inverse frequencies are divided by: the rope_freqs tensor."""
    p, half = config.rope_parameters, config.head_dim // 2
    frequency = p["rope_theta"] ** (-np.arange(half, dtype=np.float64) / half)
    wavelength, original = 2 * np.pi / frequency, p["original_max_position_embeddings"]
    low, high = p["low_freq_factor"], p["high_freq_factor"]
    smooth = np.clip((original / wavelength - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / p["factor"] + smooth)).astype(np.float32)


def random_blocks(kind, values, generator):
    """Random codes whose values have the deviation of `values`."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (values.shape[0], values.shape[1] // block, size), dtype=np.uint8)

    def set_scale(scale):
        for at, factor in zip(HALVES[kind], (1, 1.5)):  # minima of about half of what the codes reach
            blocks[..., at:at + 2] = np.array([scale * factor], dtype=np.float16).view(np.uint8)
        if kind == Q.MXFP4:
            blocks[..., 0] = np.round(np.log2(scale)) + 127

    set_scale(1.0)
    set_scale(values.std() / dequantize(blocks.reshape(values.shape[0], -1), kind).std())
    return blocks.reshape(values.shape[0], -1)


def encode(kind, values, generator):
    return random_blocks(kind, values, generator) if kind in HALVES else quantize(np.ascontiguousarray(values), kind)


def write(row, model, path):
    generator = np.random.default_rng(len(row.name))
    config = row.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(row.name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    if config.head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    if row.rope_freqs:
        writer.add_tensor("rope_freqs.weight", llama3_factors(config))
    turn = 0
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and row.head_type is None:
            continue
        values = tensor.numpy()
        heads = heads_of(name, config)
        values = permute(values, heads) if heads else values
        if values.ndim == 1:
            kind = Q.F32
        elif "embed_tokens" in name:
            kind = row.embed_type
        elif name == "lm_head.weight":
            kind = row.head_type
        else:
            kind = row.types[turn % len(row.types)]
            turn += 1
        writer.add_tensor(gguf_name(name), encode(kind, values, generator), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path, config):
    """A float32 LlamaForCausalLM with the file's dequantised weights."""
    tensors = {t.name: dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
               for t in gguf.GGUFReader(path).tensors}
    model = LlamaForCausalLM._from_config(config, dtype=torch.float32, attn_implementation="eager")
    state = {}
    for name in model.state_dict():
        source = gguf_name(name)
        values = tensors[source if source in tensors else "token_embd.weight"].astype(np.float32)
        heads = heads_of(name, config)
        state[name] = torch.from_numpy(np.ascontiguousarray(unpermute(values, heads) if heads else values))
    model.load_state_dict(state)
    return model.eval()


def make(row, path, seed):
    model = LlamaForCausalLM(row.config).float()
    tiny_models.initialise(model, tiny_models.Tiny(row.name, row.why, row.config, LlamaForCausalLM), seed)
    if os.path.exists(path):
        os.remove(path)
    write(row, model, path)
    return read(path, row.config)
