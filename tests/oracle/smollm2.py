#!/usr/bin/env python3
"""Makes goldens/smollm2-*.json: a real model from its GGUF file, dequantised to float32, by transformers.

    smollm2.py MODEL.gguf

The weights are SmolLM2-135M-Instruct.Q4_1.gguf as scripts/fetch-model gets it; they are not committed.
"""
import json
import math
import os
import sys

import torch
import transformers
from gguf import GGUFReader
from transformers import AutoTokenizer, LlamaConfig

import gguf_models
import make_oracle
import reference

HERE = make_oracle.HERE
TOLERANCE = 2e-3
WINDOW = 1024
TEXT = "text/alice.txt"
PROMPTS = [
    "The capital of France is",
    "Extract the year from the text.\nText: The bridge was opened in 1932 after eight years of work.\nYear:",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "<|im_start|>user\nName three metals that rust or tarnish in air, and say in one sentence each why."
    "<|im_end|>\n<|im_start|>assistant\n",
]


def configuration(path):
    fields = GGUFReader(path).fields

    def read(key):
        return fields["llama." + key].contents()

    return LlamaConfig(
        vocab_size=len(fields["tokenizer.ggml.tokens"].contents()), hidden_size=read("embedding_length"),
        intermediate_size=read("feed_forward_length"), num_hidden_layers=read("block_count"),
        num_attention_heads=read("attention.head_count"), num_key_value_heads=read("attention.head_count_kv"),
        max_position_embeddings=read("context_length"), rms_norm_eps=read("attention.layer_norm_rms_epsilon"),
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": read("rope.freq_base")})


def perplexity(model, ids):
    """Disjoint windows; the first token of each has no context and is not scored."""
    total, scored = 0.0, 0
    for start in range(0, len(ids), WINDOW):
        window = torch.tensor(ids[start:start + WINDOW])
        rows = reference.logprobs(model, window.tolist())
        total += rows[:-1].gather(1, window[1:, None]).double().sum().item()
        scored += len(window) - 1
        print(f"\r{start + len(window)} of {len(ids)} tokens", end="", file=sys.stderr)
    print(file=sys.stderr)
    return total, scored


def main():
    path = sys.argv[1]
    transformers.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path))
    model = gguf_models.read(path, configuration(path))
    model.set_attn_implementation("sdpa")
    prompts = []
    for text in PROMPTS:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        prompts.append({**reference.golden_prompt(model, ids, 32), "text": text})
    make_oracle.write_golden("smollm2-prompts", "smollm2", "SmolLM2-135M-Instruct, Q4_1 GGUF", prompts,
                             tolerance=TOLERANCE)
    with open(os.path.join(HERE, TEXT)) as file:
        ids = tokenizer(file.read(), add_special_tokens=False).input_ids
    total, scored = perplexity(model, ids)
    with open(os.path.join(HERE, "goldens", "smollm2-eval.json"), "w") as file:
        json.dump({"model": "smollm2", "oracle": make_oracle.ORACLE, "text": TEXT, "window": WINDOW,
                   "tokens": len(ids), "scored_tokens": scored, "sum_logprob": round(total, 3),
                   "perplexity": round(math.exp(-total / scored), 5)}, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
