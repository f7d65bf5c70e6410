"""Goldens of sparse attention: transformers with its attention replaced by FlexGen's rule.

FlexGen (flex_opt's _sparse_attention_value): of one new token, weights over all keys; the int(sparsity * (keys - 1))
old ones of the largest weights, and the token's own; their values, weighted as they were. Prompts are dense.
"""
import dataclasses
import os

import torch
import transformers

import reference

STEPS = 40
# Between scores of the last key that counts and the first that does not: less, and another order of float32
# sums may choose the other one.
LEAST_GAP = 1e-5


@dataclasses.dataclass
class Row:
    name: str
    why: str
    base: str  # the folder of models/
    sparsity: float
    tolerance: float = reference.TOLERANCE

    @property
    def options(self):
        return ("--attn-sparsity", str(self.sparsity))


MODELS = [
    Row("sparse-opt", "sparse attention: OPT, a query head for each KV head", "opt-125m-like", 0.1),
    Row("sparse-llama", "sparse attention: Llama, three query heads for each KV head", "llama-gqa", 0.25),
]


class Sparse:
    """An attention function of transformers, and the smallest gap between chosen and other scores."""

    def __init__(self, sparsity):
        self.sparsity, self.gap = sparsity, float("inf")

    def __call__(self, module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        if scaling is None:
            scaling = query.shape[-1] ** -0.5
        scores = query @ key.transpose(2, 3) * scaling
        if query.shape[2] > 1:
            if attention_mask is None:
                raise SystemExit("no mask for a prompt")
            weights = torch.softmax(scores + attention_mask[:, :, :, :key.shape[2]], dim=-1)
            return (weights @ value).transpose(1, 2).contiguous(), weights
        weights = torch.softmax(scores, dim=-1)
        old = scores[..., :-1]
        kept = int(self.sparsity * old.shape[-1])
        if 0 < kept < old.shape[-1]:
            order = old.sort(dim=-1, descending=True).values
            self.gap = min(self.gap, (order[..., kept - 1] - order[..., kept]).min().item())
        chosen, places = weights[..., :-1].topk(kept, dim=-1)
        out = weights[..., -1:] * value[:, :, -1:]
        if kept:
            rows = value.gather(2, places[:, :, 0, :, None].expand(-1, -1, -1, value.shape[-1]))
            out = out + chosen @ rows
        return out.transpose(1, 2).contiguous(), weights


def generate(model, rule, ids):
    """What reference.greedy_cached gives, and the smallest gap of a choice."""
    rule.gap = float("inf")
    return (*reference.greedy_cached(model, ids, STEPS), rule.gap)


def make(row, seed, models):
    """The golden's prompts: scored by dense attention, continued by sparse attention."""
    folder, rule = os.path.join(models, row.base), Sparse(row.sparsity)
    transformers.AttentionInterface.register("sparse", rule)
    transformers.AttentionMaskInterface.register("sparse", transformers.masking_utils.eager_mask)
    dense, sparse = (transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                                       attn_implementation=kind).eval()
                     for kind in ("eager", "sparse"))
    generator, prompts, differing = torch.Generator().manual_seed(seed), [], 0
    for length in reference.PROMPT_LENGTHS:
        while True:
            ids = torch.randint(3, dense.config.vocab_size, (length,), generator=generator).tolist()
            tokens, values, margins, gap = generate(sparse, rule, ids)
            if min(margins) > reference.LEAST_MARGIN and gap > LEAST_GAP:
                break
        chosen, tops = reference.score(dense, ids)
        differing += tokens != reference.greedy(dense, ids, STEPS)[0]
        prompts.append({"ids": ids, "logprobs": chosen, "top": tops, "greedy": tokens, "greedy_logprobs": values,
                        "margins": margins})
    if differing < len(prompts) - 1:
        raise SystemExit(f"{row.name}: dense attention continues {len(prompts) - differing} prompts alike")
    return prompts
