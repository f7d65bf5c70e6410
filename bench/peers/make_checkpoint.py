"""A checkpoint of a shape with random bfloat16 weights, for transformers and what reads its folders.

    make_checkpoint.py HIDDEN,LAYERS,HEADS,KV_HEADS,FFN,MATRICES,VOCABULARY FOLDER"""
import sys

import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig, PreTrainedTokenizerFast

hidden, layers, heads, kv_heads, ffn, matrices, vocabulary = map(int, sys.argv[1].split(","))
shared = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "vocab_size": vocabulary,
          "max_position_embeddings": 2048}
if matrices == 3:
    config = LlamaConfig(**shared, num_key_value_heads=kv_heads, intermediate_size=ffn, tie_word_embeddings=False)
else:
    config = OPTConfig(**shared, ffn_dim=ffn, word_embed_proj_dim=hidden)
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
# Several shards, because AirLLM reads no single file; and a tokenizer, because it insists on one.
AutoModelForCausalLM.from_config(config).save_pretrained(sys.argv[2], max_shard_size="200MB")
words = {f"w{i}": i for i in range(vocabulary)}
PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), unk_token="w0",
                        pad_token="w1", bos_token="w1", eos_token="w2").save_pretrained(sys.argv[2])
