"""A tiny random model that speaks with a given tokenizer, for answers of a form."""
import json
import os
import shutil

import harness
import wide_model

TOKENIZERS = os.path.join(harness.ROOT, "tests", "text", "goldens")
VOCAB = 700  # more than any of these tokenizers has
EOS = VOCAB - 1


def write(folder, tokenizer, **shape):
    """Its last id is no token of the tokenizer, and ends an answer."""
    wide_model.write(folder, **{"hidden": 32, "layers": 2, "heads": 2, "dim": 16, "ffn": 32, "vocab": VOCAB, **shape})
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    with open(path, "w") as file:
        json.dump({**config, "eos_token_id": EOS, "bos_token_id": None, "max_position_embeddings": 8192}, file)
    files = os.path.join(TOKENIZERS, tokenizer)
    for name in os.listdir(files):
        shutil.copy(os.path.join(files, name), folder)
    return folder


def without_text(folder):
    """A bias against every id that is no token, for answers without a form."""
    with open(os.path.join(folder, "tokenizer.json")) as file:
        tokenizer = json.load(file)
    used = {*tokenizer["model"]["vocab"].values(), *(t["id"] for t in tokenizer["added_tokens"])}
    return {str(i): -100 for i in range(VOCAB) if i not in used}
