"""Tiny random models of the families around GPT as GGUF files, written as llama.cpp's converter does it.

Transposed matrices are turned, q, k and v that stand together are sorted into all of q, all of k, all of v.
The oracle reads the file back: it dequantises the blocks, undoes the order and lets transformers compute.
"""
import dataclasses
import os
import re

import gguf
import numpy as np
import torch
import transformers as t
from gguf.quants import dequantize, quantize

import tiny_models
from gpt_models import config, rope

Q = gguf.GGMLQuantizationType


@dataclasses.dataclass
class Row:
    name: str
    why: str
    arch: str
    config: object
    model: type
    types: tuple  # of matrices, in turn
    keys: dict  # of the header, besides those that all have


MODELS = [
    Row("gguf-gpt2", "GPT-2 as GGUF: matrices turned, Q8_0 and Q4_1", "gpt2",
        config(t.GPT2Config, n_embd=64, n_layer=2, n_head=4, n_inner=64, vocab_size=211, n_positions=270),
        t.GPT2LMHeadModel, (Q.Q8_0, Q.Q4_1), {}),
    Row("gguf-starcoder", "StarCoder as GGUF: one head of keys, Q8_0", "starcoder",
        config(t.GPTBigCodeConfig, n_embd=64, n_layer=2, n_head=4, n_inner=64, vocab_size=211, n_positions=270),
        t.GPTBigCodeForCausalLM, (Q.Q8_0,), dict(head_count_kv=1)),
    Row("gguf-gptneox", "GPT-NeoX as GGUF: parallel branches, a part of the head turned, Q4_0 and Q8_0", "gptneox",
        config(t.GPTNeoXConfig, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
               vocab_size=211, rope_parameters=rope(10000.0, 0.25)), t.GPTNeoXForCausalLM, (Q.Q4_0, Q.Q8_0),
        dict(rope_dimension_count=4, parallel_residual=True)),
    Row("gguf-gptneox-sequential", "GPT-NeoX as GGUF with branches after each other, bfloat16", "gptneox",
        config(t.GPTNeoXConfig, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=96,
               vocab_size=211, use_parallel_residual=False, rope_parameters=rope(10000.0, 0.5)),
        t.GPTNeoXForCausalLM, (Q.BF16,), dict(rope_dimension_count=8, parallel_residual=False)),
    Row("gguf-bloom", "BLOOM as GGUF: ALiBi, norm of the embedding, Q4_1 and Q8_0", "bloom",
        config(t.BloomConfig, hidden_size=64, n_layer=2, n_head=4, vocab_size=211), t.BloomForCausalLM,
        (Q.Q4_1, Q.Q8_0), {}),
    Row("gguf-falcon-7b", "Falcon 7b as GGUF: one norm, one head of keys, Q8_0 and Q4_0", "falcon",
        config(t.FalconConfig, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=211),
        t.FalconForCausalLM, (Q.Q8_0, Q.Q4_0), dict(head_count_kv=1)),
    Row("gguf-falcon-40b", "Falcon 40b as GGUF: two norms, groups of heads, Q8_0", "falcon",
        config(t.FalconConfig, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2,
               new_decoder_architecture=True, vocab_size=211), t.FalconForCausalLM, (Q.Q8_0,),
        dict(head_count_kv=2)),
    Row("gguf-mpt", "MPT as GGUF: ALiBi, clamped q, k and v, Q8_0 and Q4_0", "mpt",
        config(t.MptConfig, d_model=64, n_layers=2, n_heads=4, vocab_size=211, max_seq_len=270,
               attn_config=dict(clip_qkv=1.1)), t.MptForCausalLM, (Q.Q8_0, Q.Q4_0),
        dict(max_alibi_bias=8.0, clamp_kqv=1.1)),
    Row("gguf-starcoder2", "StarCoder2 as GGUF: biases, grouped-query attention, Q8_0", "starcoder2",
        config(t.Starcoder2Config, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
               intermediate_size=96, vocab_size=211, rope_parameters=rope(1000.0)), t.Starcoder2ForCausalLM,
        (Q.Q8_0,), dict(head_count_kv=2, rope_freq_base=1000.0)),
    Row("gguf-stablelm", "StableLM as GGUF: parallel branches, a norm for each head, Q8_0", "stablelm",
        config(t.StableLmConfig, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
               intermediate_size=64, vocab_size=211, use_parallel_residual=True, qk_layernorm=True,
               rope_parameters=rope(10000.0, 0.25)), t.StableLmForCausalLM, (Q.Q8_0, Q.F16),
        dict(head_count_kv=2, rope_dimension_count=4)),
]

FIXED = {"wte": "token_embd", "embed_in": "token_embd", "word_embeddings": "token_embd", "embed_tokens": "token_embd",
         "wpe": "position_embd", "word_embeddings_layernorm": "token_embd_norm", "ln_f": "output_norm",
         "norm_f": "output_norm", "norm": "output_norm", "final_layer_norm": "output_norm", "lm_head": "output"}
PARTS = {"ln_1": "attn_norm", "norm_1": "attn_norm", "input_layernorm": "attn_norm", "ln_attn": "attn_norm_2",
         "ln_mlp": "attn_norm", "attn.c_attn": "attn_qkv", "attn.Wqkv": "attn_qkv",
         "attention.query_key_value": "attn_qkv", "self_attention.query_key_value": "attn_qkv",
         "attn.c_proj": "attn_output", "attn.out_proj": "attn_output", "attention.dense": "attn_output",
         "self_attention.dense": "attn_output", "self_attn.o_proj": "attn_output", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "ln_2": "ffn_norm", "norm_2": "ffn_norm",
         "post_attention_layernorm": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.dense_h_to_4h": "ffn_up",
         "ffn.up_proj": "ffn_up", "mlp.up_proj": "ffn_up", "mlp.gate_proj": "ffn_gate", "mlp.c_proj": "ffn_down",
         "mlp.dense_4h_to_h": "ffn_down", "ffn.down_proj": "ffn_down", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    """The tensor's name, and the head's number where the file has those of all heads in one tensor."""
    stem, _, suffix = name.rpartition(".")
    layer = re.search(r"\.(?:h|layers|blocks)\.(\d+)\.(.*)", stem)
    if not layer:
        return f"{FIXED[stem.rpartition('.')[2]]}.{suffix}", None
    number, part = layer.groups()
    head = re.fullmatch(r"self_attn\.([qk])_layernorm\.norms\.(\d+)", part)
    if head:
        return f"blk.{number}.attn_{head.group(1)}_norm.{suffix}", int(head.group(2))
    return f"blk.{number}.{PARTS[part]}.{suffix}", None


def size(c, *names):
    return next(getattr(c, name) for name in names if getattr(c, name, None))


def heads_of(row):
    heads = size(row.config, "num_attention_heads", "n_heads")
    return heads, row.keys.get("head_count_kv", heads)


def order(row, name, rows):
    """Which row of transformers' tensor each row of the file's is."""
    index = np.arange(rows)
    if row.arch not in ("bloom", "gptneox", "falcon") or "query_key_value" not in name:
        return index
    heads, kv = heads_of(row)
    groups = index.reshape(kv, heads // kv + 2, -1)
    return np.concatenate([groups[:, :-2].ravel(), groups[:, -2].ravel(), groups[:, -1].ravel()])


def is_turned(row, name):
    return row.arch == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


def matrices(row, model):
    """(name in the file, values in the file's order) of every tensor."""
    stacked = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        target, head = gguf_name(name)
        values = tensor.numpy().T if is_turned(row, name) else tensor.numpy()
        if head is not None:
            stacked.setdefault(target, []).append(values)
        else:
            yield target, values[order(row, name, len(values))]
    for target, values in stacked.items():
        yield target, np.stack(values)


def write_header(row, writer):
    c, keys = row.config, dict(row.keys)
    hidden = size(c, "hidden_size")
    writer.add_name(row.name)
    positions = 2048 if row.arch == "bloom" else size(c, "n_positions", "max_seq_len", "max_position_embeddings")
    writer.add_context_length(positions)
    writer.add_embedding_length(hidden)
    writer.add_block_count(size(c, "num_hidden_layers"))
    writer.add_feed_forward_length(getattr(c, "n_inner", None) or getattr(c, "intermediate_size", None) or 4 * hidden)
    writer.add_head_count(heads_of(row)[0])
    writer.add_layer_norm_eps(2e-3)
    writer.add_vocab_size(c.vocab_size)
    for key, value in keys.items():
        getattr(writer, f"add_{key}")(value)


def write(row, model, path):
    writer = gguf.GGUFWriter(path, row.arch)
    write_header(row, writer)
    turn = 0
    for name, values in matrices(row, model):
        kind = Q.F32
        if values.ndim == 2 and not name.endswith("_norm.weight"):
            kind = Q.F32 if name.startswith("position") else row.types[turn % len(row.types)]
            turn += 1
        writer.add_tensor(name, quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(row, path):
    """A float32 model with the file's dequantised weights."""
    tensors = {x.name: dequantize(x.data, x.tensor_type).reshape([int(n) for n in reversed(x.shape)])
               for x in gguf.GGUFReader(path).tensors}
    model = row.model._from_config(row.config, dtype=torch.float32, attn_implementation="eager")
    state = {}
    for name in model.state_dict():
        target, head = gguf_name(name)
        values = tensors[target if target in tensors else "token_embd.weight"].astype(np.float32)
        values = values if head is None else values[head]
        ours = np.empty_like(values)
        ours[order(row, name, len(values))] = values
        state[name] = torch.from_numpy(np.ascontiguousarray(ours.T if is_turned(row, name) else ours))
    model.load_state_dict(state)
    return model.eval()


def make(row, path, seed):
    model = row.model(row.config).float()
    tiny_models.initialise(model, tiny_models.Tiny(row.name, row.why, row.config, row.model), seed)
    if os.path.exists(path):
        os.remove(path)
    write(row, model, path)
    return read(row, path)
