#!/usr/bin/env python3
"""The figures of a run, from what `flexgen ... --stats` wrote: figures.py MODEL STATS.json"""
import json
import os
import sys

MIB = 1 << 20


def mib(count):
    return f"{count / MIB:,.1f} MiB"


def main(model, path):
    with open(path) as file:
        stats = json.load(file)
    tokens, phases, host, disk = stats["tokens"], stats["phases"], stats["tiers"]["host"], stats["tiers"]["disk"]
    inside = "within" if host["process_peak_bytes"] <= host["budget_bytes"] else "ABOVE"
    rows = [
        ("model file", mib(os.path.getsize(model))),
        ("memory budget", mib(host["budget_bytes"])),
        ("peak memory of the process", f"{mib(host['process_peak_bytes'])}, {inside} the budget"),
        ("weights streamed from disk", f"{mib(disk['weight_bytes_streamed'])} in {tokens['steps']} steps"),
        ("tokens", f"{tokens['prompt']:,} of prompts, {tokens['generated']:,} generated in {phases['run_s']:.1f} s"),
        ("speed", f"{tokens['prompt_per_s']:,.0f} prompt tokens/s and {tokens['generated_per_s']:,.1f} generated/s"),
        ("reading hidden under compute", f"{phases['read_overlapped_s']:.1f} of {phases['read_s']:.1f} s"),
    ]
    for name, value in rows:
        print(f"{name:<30}{value}")
    return 0 if inside == "within" else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
