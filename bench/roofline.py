"""What a run could reach at most: operations, bytes and the machine's limits."""
import json

SHAPES = {  # hidden, layers, heads, kv heads, ffn, matrices of the feed-forward, vocabulary
    "smollm2-135m": (576, 30, 9, 3, 1536, 3, 49152),
    "opt-125m": (768, 12, 12, 12, 3072, 2, 50272),
    "tinyllama-1.1b": (2048, 22, 32, 4, 5632, 3, 32000),
    "llama-3-8b": (4096, 32, 32, 8, 14336, 3, 128256),
    "opt-1.3b": (2048, 24, 32, 32, 8192, 2, 50272),
    "opt-6.7b": (4096, 32, 32, 32, 16384, 2, 50272),
}


def layer_parameters(model):
    hidden, layers, heads, kv_heads, ffn, matrices, _ = SHAPES[model]
    return layers * (2 * hidden * hidden + 2 * hidden * hidden * kv_heads // heads + matrices * hidden * ffn)


def head_parameters(model):
    return SHAPES[model][0] * SHAPES[model][6]


def operations(model, prompt, generated):
    """Useful operations of one sequence: products of all tokens, the head's where logits are needed, attention."""
    hidden, layers = SHAPES[model][:2]
    tokens = prompt + generated - 1  # the last token is not fed back
    return (2 * layer_parameters(model) * tokens + 2 * head_parameters(model) * generated
            + 4 * layers * hidden * tokens * (tokens + 1) / 2)


def limit_in_memory(model, prompt, generated, sequences, weight_bytes, peak, bandwidth):
    """Generated tokens a second at the peak (op/s) and the memory's rate (B/s)."""
    prefill = operations(model, prompt, 1) * sequences / peak
    all_of_it = operations(model, prompt, generated) * sequences / peak
    steps = generated - 1
    step = max((all_of_it - prefill) / max(steps, 1), weight_bytes / bandwidth)
    return sequences * generated / (prefill + steps * step)


def limit_out_of_core(model, prompt, generated, sequences, bytes_a_step, peak, disk):
    """The same with `bytes_a_step` read from disk (B/s) in every step; the prompt is one step."""
    prefill = max(operations(model, prompt, 1) * sequences / peak, bytes_a_step / disk)
    rest = (operations(model, prompt, generated) - operations(model, prompt, 1)) * sequences / peak
    steps = generated - 1
    return sequences * generated / (prefill + steps * max(rest / max(steps, 1), bytes_a_step / disk))


def step_sum(trace_path, disk):
    """Sum over the steps of a trace of max(compute as measured, bytes read in it at the disk's rate), in seconds."""
    spans = {"step": [], "compute": [], "read": []}
    with open(trace_path, encoding="utf-8") as file:
        for event in json.load(file):
            if event.get("ph") == "X" and event["name"] in spans:
                begin = event["ts"] * 1e-6
                spans[event["name"]].append((begin, event["dur"] * 1e-6, event["args"].get("bytes", 0)))
    for kind in spans.values():
        kind.sort()
    total = 0
    for begin, length, _ in spans["step"]:
        def inside(span):
            return begin <= span[0] + span[1] / 2 < begin + length
        compute = sum(span[1] for span in spans["compute"] if inside(span))
        read = sum(span[2] for span in spans["read"] if inside(span))
        total += max(compute, read / disk)
    return total
