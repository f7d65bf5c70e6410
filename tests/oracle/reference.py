"""The oracle's float32 results for a model: log-probabilities of prompts and greedy continuations."""
import copy

import torch

PROMPT_LENGTHS = (1, 7, 40, 200)
GREEDY_STEPS = 64
TOP = 5
TOLERANCE = 2e-4
LEAST_MARGIN = 1e-3  # between the two best tokens of every greedy step; prompts are drawn until it holds


def is_dynamic(model):
    """A rotary base that grows with the text: what transformers has computed before matters."""
    return (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") == "dynamic"


def logprobs(model, ids):
    """[len(ids), vocab]: log-probabilities of the token after each position."""
    with torch.no_grad():
        if is_dynamic(model):
            model(torch.tensor([ids[:1]]), use_cache=False)  # a short text brings it back to the beginning
        return torch.log_softmax(model(torch.tensor([ids]), use_cache=False).logits[0], dim=-1)


def top(row, count=TOP):
    values, indices = row.topk(count)
    return [[i, round(v, 6)] for i, v in zip(indices.tolist(), values.tolist())]


def greedy(model, ids, steps=GREEDY_STEPS):
    """Tokens, their log-probabilities and the margins of the best token over the second, without a cache."""
    if is_dynamic(model):
        return greedy_cached(model, ids, steps)
    ids, tokens, values, margins = list(ids), [], [], []
    for _ in range(steps):
        best = logprobs(model, ids)[-1].topk(2)
        tokens.append(best.indices[0].item())
        values.append(round(best.values[0].item(), 6))
        margins.append(round((best.values[0] - best.values[1]).item(), 6))
        ids.append(tokens[-1])
    return tokens, values, margins


def greedy_cached(model, ids, steps=GREEDY_STEPS):
    """The same with a cache, as transformers generates: keys stay as they were turned when they were new."""
    tokens, values, margins, cache = [], [], [], None
    logprobs(model, ids[:1])
    with torch.no_grad():
        new = ids
        for _ in range(steps):
            out = model(torch.tensor([new]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            best = torch.log_softmax(out.logits[0, -1], dim=-1).topk(2)
            tokens.append(best.indices[0].item())
            values.append(round(best.values[0].item(), 6))
            margins.append(round((best.values[0] - best.values[1]).item(), 6))
            new = tokens[-1:]
    return tokens, values, margins


def score(model, ids):
    rows = logprobs(model, ids)
    chosen = [None] + [round(rows[i - 1][ids[i]].item(), 6) for i in range(1, len(ids))]
    return chosen, [None] + [top(rows[i]) for i in range(len(ids) - 1)]


def golden_prompt(model, ids, steps=GREEDY_STEPS):
    chosen, tops = score(model, ids)
    tokens, values, margins = greedy(model, ids, steps)
    return {"ids": ids, "logprobs": chosen, "top": tops, "greedy": tokens, "greedy_logprobs": values,
            "margins": margins}


def draw_prompts(model, seed):
    """Random prompts whose greedy continuations never hang on a margin near the tolerance."""
    generator = torch.Generator().manual_seed(seed)
    prompts = []
    for length in PROMPT_LENGTHS:
        while True:
            ids = torch.randint(3, model.config.vocab_size, (length,), generator=generator).tolist()
            if min(greedy(model, ids)[2]) > LEAST_MARGIN:
                break
        prompts.append(golden_prompt(model, ids))
    return prompts


def rounding(model, prompts):
    """How far the float32 reference is from the same computation in float64."""
    double = copy.deepcopy(model).double()
    return max((logprobs(model, p["ids"]).double() - logprobs(double, p["ids"])).abs().max().item() for p in prompts)
