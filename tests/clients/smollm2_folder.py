#!/usr/bin/env python3
"""smollm2_folder.py MODEL.gguf FOLDER: the model as a Hugging Face folder in float32, read and written by transformers.

So an oracle that reads folders and the engine have the same weights and the same tokenizer before them.
"""
import os
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    path, folder = sys.argv[1:]
    if os.path.exists(os.path.join(folder, "config.json")):
        return
    transformers.logging.set_verbosity_error()
    place, name = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    read = AutoModelForCausalLM.from_pretrained(place, gguf_file=name, dtype=torch.float32)
    if hasattr(read.config, "quantization_config"):
        del read.config.quantization_config  # the file's; what was read is plain
    model = type(read)(read.config)
    model.load_state_dict(read.state_dict())
    part = folder + ".part"
    tokenizer.save_pretrained(part)
    model.save_pretrained(part)
    os.rename(part, folder)


if __name__ == "__main__":
    main()
