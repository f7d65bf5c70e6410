"""A model with little else than a KV cache, and a job of which that is more than five times the memory."""
import json
import os
import random
import struct

from harness import row

# The cache of the rows is 460 MiB in float32.
BUDGET = 84 << 20
OPTIONS = ("--dtype", "f32", "--max-num-seqs", "20", "--max-model-len", "736", "--max-num-batched-tokens", "64")


def rows():
    draw = random.Random(7)
    return [row(f"r{i}", prompt=[draw.randrange(3, 128) for _ in range(720)], max_tokens=6, temperature=0,
                ignore_eos=True, return_token_ids=True) for i in range(20)]


def write(folder, hidden=32, layers=2, heads=8, dim=256, ffn=32, vocab=128):
    """A model of which a token's keys and values take 32 KiB in float32, and little else anything; or another."""
    os.mkdir(folder)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "head_dim": dim,
              "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads,
              "intermediate_size": ffn, "vocab_size": vocab, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5,
              "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "bfloat16",
              "bos_token_id": 1, "eos_token_id": 2}
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    shapes = {"model.embed_tokens.weight": [vocab, hidden], "lm_head.weight": [vocab, hidden],
              "model.norm.weight": [hidden]}
    for i in range(layers):
        at = f"model.layers.{i}."
        shapes.update({at + "input_layernorm.weight": [hidden], at + "post_attention_layernorm.weight": [hidden],
                       at + "self_attn.o_proj.weight": [hidden, heads * dim]})
        shapes.update({at + f"self_attn.{m}_proj.weight": [heads * dim, hidden] for m in "qkv"})
        shapes.update({at + f"mlp.{m}_proj.weight": [ffn, hidden] for m in ("gate", "up")})
        shapes[at + "mlp.down_proj.weight"] = [hidden, ffn]
    draw, header, data = random.Random(5), {}, b""
    signs = bytes(0x3E if b < 128 else 0xBE for b in range(256))  # of bfloat16: 0.125 to 0.5, of either sign
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = bytearray(2 * count)
        values[0::2] = draw.randbytes(count)
        values[1::2] = draw.randbytes(count).translate(signs)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    return folder
