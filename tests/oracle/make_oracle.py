#!/usr/bin/env python3
"""Makes models/, goldens/ and sensitivity.md: tiny random checkpoints and what transformers computes from them.

Run it with the Python that scripts/oracle-env installs. Everything is derived from fixed seeds: the same
versions make the same files. Names on the command line limit the work to these models.
"""
import json
import os
import shutil
import sys

import torch
import transformers

import deepseek_gguf
import deepseek_models
import expert_gguf
import expert_models
import expert_mxfp4
import gguf_models
import glm_gguf
import glm_models
import gpt_gguf
import gpt_models
import gpt_oss_gguf
import llama_gguf
import llama_models
import quantised_models
import reference
import sensitivity
import sparse_models
import storage
import tiny_models

HERE = os.path.dirname(os.path.abspath(__file__))
# First seed, rows.
FAMILIES = [(1, tiny_models.MODELS), (201, llama_models.MODELS), (301, glm_models.MODELS), (301, gpt_models.MODELS),
            (501, expert_models.MODELS), (701, deepseek_models.MODELS)]
# First seed, module that writes them, how their names end.
FILES = [(101, gguf_models, ".gguf"), (351, gpt_gguf, ".gguf"), (371, glm_gguf, ".gguf"), (401, llama_gguf, ".gguf"),
         (551, expert_gguf, ".gguf"), (571, expert_mxfp4, ""), (581, gpt_oss_gguf, ".gguf"),
         (731, deepseek_gguf, ".gguf")]
ORACLE = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32"


def write_golden(name, path, why, prompts, tolerance=reference.TOLERANCE, options=()):
    golden = {"model": path, "why": why, "oracle": ORACLE, "tolerance": tolerance, "prompts": prompts}
    if options:
        golden["options"] = list(options)
    with open(os.path.join(HERE, "goldens", f"{name}.json"), "w") as file:
        text = json.dumps(golden, separators=(",", ":"))
        file.write(text.replace('{"ids"', '\n{"ids"').replace('],"', '],\n"') + "\n")


def read_back(tiny, folder, model):
    """What transformers reads from the files, in float32: this is the oracle, not what was written."""
    config = dict(config=tiny.config) if tiny.rewrite else {}  # transformers may not know the file's
    loaded, report = tiny.model.from_pretrained(folder, dtype=torch.float32, output_loading_info=True,
                                                attn_implementation=tiny.attention,
                                                experts_implementation="eager", **config)
    missing = [name for name in report["missing_keys"] if name not in tiny.drop and name != "lm_head.weight"]
    if missing or report["unexpected_keys"]:
        raise SystemExit(f"{tiny.name}: {report}")
    with torch.no_grad():
        for name in tiny.drop:  # transformers does not tie this way round
            loaded.get_parameter(name).copy_(model.get_parameter(name))
    expected = model.state_dict()
    for name, tensor in loaded.state_dict().items():
        if not torch.equal(tensor, expected[name]):
            raise SystemExit(f"{tiny.name}: {name} was not read back as it was written")
    return loaded.eval()


def make(tiny, seed):
    folder = os.path.join(HERE, "models", tiny.name)
    shutil.rmtree(folder, ignore_errors=True)
    model = tiny.model._from_config(tiny.config, dtype=torch.float32, attn_implementation=tiny.attention,
                                    experts_implementation="eager").eval()
    tiny_models.initialise(model, tiny, seed)
    storage.round_weights(model, tiny)
    storage.store(model, tiny, folder)
    read = read_back(tiny, folder, model)
    if tiny.remote:
        storage.rewrite(folder, tiny.remote)
    return folder, read


def other_attention(model, prompts):
    """How far transformers' two implementations of attention are from each other; 0 where there is one."""
    if model.config._attn_implementation != "eager" or not model._supports_sdpa:
        return 0.0
    model.set_attn_implementation("sdpa")
    largest = max(abs(a - b) for p in prompts[1:]
                  for a, b in zip(reference.score(model, p["ids"])[0][1:], p["logprobs"][1:]))
    model.set_attn_implementation("eager")
    return largest


def finish(name, path, why, model, seed, notes, tolerance=reference.TOLERANCE):
    prompts = reference.draw_prompts(model, seed)
    noise = reference.rounding(model, prompts)
    other = other_attention(model, prompts)
    if other > reference.TOLERANCE / 4:
        raise SystemExit(f"{name}: transformers' attention implementations differ by {other}")
    write_golden(name, path, why, prompts, tolerance)
    lines, unexplained = sensitivity.table(model, [p["ids"] for p in prompts])
    print(f"{name}: float64 differs by {noise:.1e}, other attention by {other:.1e}; without effect: {unexplained}",
          flush=True)
    notes[name] = [f"## {name}", "", why + ".", f"float32 against float64 computation: at most {noise:.1e}.", "", *lines,
                   ""]
    return unexplained


def main():
    wanted = set(sys.argv[1:])
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    os.makedirs(os.path.join(HERE, "goldens"), exist_ok=True)
    notes, unexplained = {}, []
    for seed, tiny in ((seed, tiny) for first, rows in FAMILIES for seed, tiny in enumerate(rows, first)):
        if not wanted or tiny.name in wanted:
            _, model = make(tiny, seed)
            unexplained += finish(tiny.name, f"models/{tiny.name}", tiny.why, model, seed, notes, tiny.tolerance)
    for seed, row, maker, end in ((seed, row, m, e) for first, m, e in FILES for seed, row in enumerate(m.MODELS, first)):
        if not wanted or row.name in wanted:
            path = os.path.join(HERE, "models", row.name + end)
            model = maker.make(row, path, seed)
            unexplained += finish(row.name, f"models/{row.name}{end}", row.why, model, seed, notes,
                                  getattr(row, "tolerance", reference.TOLERANCE))
    for seed, row in enumerate(quantised_models.MODELS, 201):
        if not wanted or row.name in wanted:
            prompts = quantised_models.make(row, seed, os.path.join(HERE, "models"))
            write_golden(row.name, f"models/{row.folder}", row.why, prompts, row.tolerance, row.options)
            print(f"{row.name}: {len(prompts)} prompts", flush=True)
    for seed, row in enumerate(sparse_models.MODELS, 801):
        if not wanted or row.name in wanted:
            prompts = sparse_models.make(row, seed, os.path.join(HERE, "models"))
            write_golden(row.name, f"models/{row.base}", row.why, prompts, row.tolerance, row.options)
            print(f"{row.name}: {len(prompts)} prompts", flush=True)
    if not wanted:
        with open(os.path.join(HERE, "sensitivity.md"), "w") as file:
            file.write("# What moves the goldens\n\nMade by make_oracle.py. One field of the configuration or one "
                       "tensor is changed at a time; a change must move\nsome log-probability of the prompts by at "
                       f"least {sensitivity.LEAST_EFFECT:g} (20 times the tolerance), or the note says why not.\n\n")
            file.write("\n".join(line for name in notes for line in notes[name]))
    if unexplained:
        raise SystemExit(f"without effect and unexplained: {unexplained}")


if __name__ == "__main__":
    main()
