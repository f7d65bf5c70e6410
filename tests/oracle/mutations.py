#!/usr/bin/env python3
"""Does the engine follow every field of a configuration? Changes one at a time and asks transformers and the engine.

For each tiny model: a field is changed in config.json, the weights stay. If that moves what transformers computes, the
engine must compute the same or refuse the file; a field that it ignores shows here. Fields that fix the shapes of
tensors cannot be changed alone; what a null may become is tried too.

Run it with the Python that scripts/oracle-env installs; no part of any check. Names limit the work to these models.

    tests/oracle/mutations.py [--flexgen build/flexgen] [NAME ...]
"""
import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers

import make_oracle
import reference
import sensitivity
import storage
import tiny_models

HERE = os.path.dirname(os.path.abspath(__file__))
MOVED = 1e-4  # by less a change is none
TOLERANCE = 5e-4
NULLS = (24, 2.0, True)  # what a field that is null may become
# Where the engine does not follow transformers.
OTHERWISE = {"opt": {"enable_bias", "layer_norm_elementwise_affine"},  # the stored tensors decide
             "qwen2_moe": {"use_sliding_window"}}  # switched off, but layers listed: there a window of 0 keys, here none
FALCON = "falcon"  # eager attention adds ALiBi twice there


def fields(config):
    """Path and value of all fields that may matter, nulls too."""
    skip = sensitivity.NOT_THE_FUNCTION | {"tie_word_embeddings"} | OTHERWISE.get(config["model_type"], set())
    for key in config:
        for field, value in sensitivity.leaves(key, config[key]):
            if not set(field.split(".")) & skip and not field.endswith(sensitivity.DROPOUTS):
                yield field.split("."), value


def changed(config, path, value):
    config = copy.deepcopy(config)
    inner = config
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    if path[-1] == "rope_type":
        inner.setdefault("factor", 4.0)
    return config


def model_of(model, config):
    """The same weights under another configuration, or nothing where they do not fit it."""
    try:
        made = type(model.config).from_dict(copy.deepcopy(config))
        made._attn_implementation = model.config._attn_implementation
        made._experts_implementation = "eager"
        other = type(model)(made).float().eval()
        return None if other.load_state_dict(model.state_dict(), strict=False).missing_keys else other
    except Exception:  # whatever transformers says of it, it is no model
        return None


def scores(model, prompts):
    try:
        return [reference.score(model, ids)[0][1:] for ids in prompts]
    except Exception:
        return None


def largest(a, b):
    return max(abs(x - y) for row, other in zip(a, b) for x, y in zip(row, other))


def engine_scores(flexgen, model, prompts, folder):
    """The engine's, or what it says in refusal."""
    source, target = os.path.join(folder, "in.jsonl"), os.path.join(folder, "out.jsonl")
    body = dict(model="tiny", temperature=0, max_tokens=0, echo=True, logprobs=1, return_tokens_as_token_ids=True)
    with open(source, "w") as file:
        for i, ids in enumerate(prompts):
            file.write(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/completions",
                                   "body": dict(body, prompt=ids)}) + "\n")
    store = os.path.join(folder, "store")
    done = subprocess.run([flexgen, "batch", model, "-i", source, "-o", target, "--overwrite", "--quiet", "--dtype", "f32",
                           "--offload-dir", store], capture_output=True, text=True)
    shutil.rmtree(store, ignore_errors=True)
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1].rpartition("config.json: ")[2]
    with open(target) as file:
        rows = {int(row["custom_id"]): row["response"] for row in map(json.loads, file)}
    return [rows[i]["body"]["choices"][0]["logprobs"]["token_logprobs"][1:] for i in range(len(prompts))], ""


def try_field(flexgen, model, path, value, files, prompts):
    """("", "") if the change moves nothing, else what became of it and a remark."""
    before = scores(model, prompts)
    for other_value in sensitivity.changed(value) if value is not None else NULLS:
        config = changed(model.config.to_dict(), path, other_value)
        other = model_of(model, config)
        after = other and scores(other, prompts)
        if not after or largest(before, after) < MOVED:
            continue
        with tempfile.TemporaryDirectory() as folder:
            copied = os.path.join(folder, "model")
            shutil.copytree(files, copied)
            storage.write_json(os.path.join(copied, "config.json"), {k: v for k, v in config.items() if k != "dtype"})
            ours, refusal = engine_scores(flexgen, copied, prompts, folder)
        change = f"{'.'.join(path)} from {value} to {other_value}"
        if not ours:
            return "refused", f"{change}: {refusal}"
        if largest(ours, after) > TOLERANCE:
            return "ignored", f"{change}: differs by {largest(ours, after):.2g}"
        return "followed", ""
    return "", ""


def try_model(flexgen, tiny, seed):
    """How many fields were ignored."""
    attention = "sdpa" if tiny.config.model_type == FALCON else tiny.attention
    model = tiny.model._from_config(tiny.config, dtype=torch.float32, attn_implementation=attention,
                                    experts_implementation="eager").eval()
    tiny_models.initialise(model, tiny, seed)
    storage.round_weights(model, tiny)
    with open(os.path.join(HERE, "goldens", f"{tiny.name}.json")) as file:
        prompts = [prompt["ids"] for prompt in json.load(file)["prompts"] if len(prompt["ids"]) > 1]
    count = {"followed": 0, "refused": 0, "ignored": 0, "": 0}
    for path, value in list(fields(model.config.to_dict())):
        result, remark = try_field(flexgen, model, path, value, os.path.join(HERE, "models", tiny.name), prompts)
        count[result] += 1
        if remark:
            print(f"  {result}: {remark}")
    print(f"{tiny.name}: {count['followed']} followed, {count['refused']} refused, {count['ignored']} ignored", flush=True)
    return count["ignored"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flexgen", default=os.path.join(HERE, "..", "..", "build", "flexgen"), help="the command")
    parser.add_argument("names", nargs="*", help="models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    rows = [(seed, tiny) for first, rows in make_oracle.FAMILIES for seed, tiny in enumerate(rows, first)]
    # Files under names that transformers does not have are not its configuration's.
    rows = [(seed, tiny) for seed, tiny in rows if not tiny.remote and not tiny.drop and not tiny.rename]
    ignored = sum(try_model(options.flexgen, tiny, seed) for seed, tiny in rows
                  if not options.names or tiny.name in options.names)
    sys.exit(1 if ignored else 0)


if __name__ == "__main__":
    main()
