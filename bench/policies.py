"""A grid of policies, its order, and how the planner's choice stands in what was measured. Nothing runs by import."""
import collections
import hashlib
import itertools
import json
import random
import statistics

Policy = collections.namedtuple("Policy", "sequences tokens resident cache")

# Around what a small machine can do with a small model: below, at and beyond what fits.
SEQUENCES = (1, 2, 4, 8, 16)
TOKENS = (32, 64, 128, 512)
RESIDENT = (0, 15, 30, 45, 60)  # per cent of every layer's weights that stay in memory
CACHES = ("bf16", "int8")


def grid():
    """All combinations; a block of tokens smaller than the number of sequences is one that the engine may refuse."""
    return [Policy(*values) for values in itertools.product(SEQUENCES, TOKENS, RESIDENT, CACHES)]


def words(policy):
    """The options that fix a policy; on the CPU the host's percentages hold all."""
    return ("--max-num-seqs", policy.sequences, "--max-num-batched-tokens", policy.tokens,
            "--percent", 0, policy.resident, 0, 100, 0, 100)


def key(policy):
    return f"{policy.sequences} sequences, {policy.tokens} tokens, {policy.resident} % resident, KV {policy.cache}"


def fingerprint(policies, job):
    """Of what is measured: results of another grid or job are not gone on with."""
    text = json.dumps([[list(policy) for policy in policies], list(job)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def order(names, seed):
    """All of them, once each, in a random order that the seed gives again."""
    shuffled = list(names)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def read_results(path, wanted):
    """Results of earlier runs of the same grid, by name; a torn last line is dropped."""
    results = collections.defaultdict(list)
    if not path.exists():
        return results
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row.get("fingerprint") == wanted:
            results[row["name"]].append(row)
    return results


def rate(rows):
    """The median of a policy's runs; None if it never ran."""
    rates = [row["tokens_per_s"] for row in rows if row.get("tokens_per_s")]
    return statistics.median(rates) if rates else None


def fastest(results, names, count):
    """The names of the fastest, best first."""
    rated = [(rate(results[name]), name) for name in names if rate(results[name]) is not None]
    return [name for _, name in sorted(rated, reverse=True)[:count]]


def standing(results, names, choice):
    """How the planner's choice stands among policies: its rank (1: none is faster) and its ratio to the best. In a second
    look the fastest and the choice run in turn, so that the best is not the luckiest of two hundred; those runs count
    where there are some."""
    mine = rate([row for row in results[choice] if row.get("again")] or results[choice])
    seen = {name: rate([row for row in results[name] if row.get("again")] or results[name]) for name in names}
    ran = {name: value for name, value in seen.items() if value is not None}
    if mine is None or not ran:
        return None
    looked_again = [name for name in ran if any(row.get("again") for row in results[name])]
    best = max(looked_again or ran, key=ran.get)
    return {"choice": choice, "tokens_per_s": mine, "rank": 1 + sum(value > mine for value in ran.values()),
            "of": len(ran), "refused": len(names) - len(ran), "best": best, "best_tokens_per_s": ran[best],
            "ratio": mine / ran[best]}
