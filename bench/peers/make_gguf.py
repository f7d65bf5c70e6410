"""A GGUF of a Llama shape with random weights of one type, vectors in float32.

    make_gguf.py HIDDEN,LAYERS,HEADS,KV_HEADS,FFN,MATRICES,VOCABULARY TYPE FILE"""
import sys

import gguf
import numpy

hidden, layers, heads, kv_heads, ffn, matrices, vocabulary = map(int, sys.argv[1].split(","))
if matrices != 3:
    raise SystemExit("make_gguf: Llama shapes only")
kind = gguf.GGMLQuantizationType[sys.argv[2]]
random = numpy.random.default_rng(0)
writer = gguf.GGUFWriter(sys.argv[3], "llama")


def add_matrix(name, rows, columns):
    values = random.standard_normal((rows, columns), dtype=numpy.float32) * numpy.float32(0.02)
    writer.add_tensor(f"{name}.weight", gguf.quantize(values, kind), raw_dtype=kind)


def add_norm(name):
    writer.add_tensor(f"{name}.weight", numpy.ones(hidden, numpy.float32))


writer.add_context_length(2048)
writer.add_embedding_length(hidden)
writer.add_block_count(layers)
writer.add_feed_forward_length(ffn)
writer.add_head_count(heads)
writer.add_head_count_kv(kv_heads)
writer.add_rope_dimension_count(hidden // heads)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(vocabulary)
writer.add_tokenizer_model("llama")
writer.add_token_list(["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
                      + [f"t{i}" for i in range(259, vocabulary)])
writer.add_token_scores([0.0] * vocabulary)
writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (vocabulary - 259))
kv = hidden // heads * kv_heads
add_matrix("token_embd", vocabulary, hidden)
for i in range(layers):
    add_norm(f"blk.{i}.attn_norm")
    add_norm(f"blk.{i}.ffn_norm")
    for name, rows, columns in (("attn_q", hidden, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden),
                                ("attn_output", hidden, hidden), ("ffn_gate", ffn, hidden), ("ffn_up", ffn, hidden),
                                ("ffn_down", hidden, ffn)):
        add_matrix(f"blk.{i}.{name}", rows, columns)
add_norm("output_norm")
add_matrix("output", vocabulary, hidden)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
