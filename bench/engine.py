"""Runs of this engine with the machine's limits measured beside them."""
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import capped
import roofline
import tables

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

# memory: as --host-memory takes it, the cgroup's limit too; None: all there is.
Job = collections.namedtuple("Job", "model prompt generated sequences memory", defaults=(None,))
SMALL = {"tinyllama-1.1b": "smollm2-135m", "opt-1.3b": "opt-125m", "opt-6.7b": "opt-125m"}


def small(job):
    """The job of a trial: no figure of it means anything."""
    return job._replace(model=SMALL[job.model], prompt=min(job.prompt, 32), generated=min(job.generated, 4),
                        sequences=min(job.sequences, 4))


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def add_options(parser):
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--store", type=pathlib.Path, default=ROOT / ".cache/store", help="folder of packed weights")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / ".cache/bench")


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return (git("rev-parse", "--short", "HEAD") or "none") + ("-dirty" if git("status", "--porcelain", "-uno") else "")


def to_bytes(size):
    return int(float(size[:-1]) * UNITS[size[-1]]) if size else None


def arithmetic(weights):
    """The instruction whose peak counts: int8 for int8, int4, Q8_0, Q4_0."""
    return "bf16" if weights.lower().endswith("f16") else "int8"


def synthetic(options, command, model, weights):
    return [options.build / "flexgen", command, model, "--synthetic", "--weight-dtype", weights, "--offload-dir",
            options.store, "--quiet", "--no-progress"]


def pack(options, model, weights):
    """So that no timed run packs."""
    subprocess.run(synthetic(options, "pack", model, weights), check=True, stdout=subprocess.DEVNULL)


def limits_now(options, model):
    """Limits of all threads in this minute, in op/s and B/s of wall time: others may use the machine too. The disk is
    measured with the newest store of the model: a host may serve another file faster or slower."""
    command = [options.build / "bench/bench_limits", "--quick", "--rounds", "1", "--dir", options.store]
    stores = sorted(options.store.glob(f"{model}-*.fgstore"), key=lambda path: path.stat().st_mtime)
    if stores:
        command += ["--file", stores[-1]]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    peaks = {name: tables.limit(result, "peak", name, result["threads"]) for name in ("f32", "bf16", "int8")}
    limits = {name: (peak or peaks["f32"] or 0) * 1e9 for name, peak in peaks.items()}
    return {**limits, "memory": tables.limit(result, "memory", "read") * 1e9,
            "disk": tables.limit(result, "disk", "at depth") * 1e9}


def run(options, job, weights, folder):
    """One run of `flexgen bench`; None if it failed."""
    stats, trace = folder / "stats.json", folder / "trace.json"
    command = synthetic(options, "bench", job.model, weights) + [
        "--prompt-len", job.prompt, "--gen-len", job.generated, "--num-prompts", job.sequences, "--max-num-seqs",
        job.sequences, "--json", "--stats", stats, "--trace", trace]
    if weights == "bf16":
        command += ["--dtype", "bf16"]
    if job.memory:
        command += ["--host-memory", job.memory]
    done = capped.run(command, to_bytes(job.memory))
    if done.returncode:
        return None
    return {**json.loads(done.stdout), "limited": done.limited, "stats": json.loads(stats.read_text()),
            "trace": trace}


def of_roofline(job, weights, figures, limits):
    """Share of the roofline that a run of ours reached."""
    if job.memory:
        return roofline.step_sum(figures["trace"], limits["disk"]) / figures["stats"]["phases"]["steps_s"]
    most = roofline.limit_in_memory(job.model, job.prompt, job.generated, job.sequences,
                                    figures["stats"]["model"]["weight_bytes"], limits[arithmetic(weights)],
                                    limits["memory"])
    return figures["generated_tokens_per_s"] / most


def measured(options, job, weights):
    """A run between two measurements of the limits; None if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        before = limits_now(options, job.model)
        figures = run(options, job, weights, pathlib.Path(folder))
        if not figures:
            return None
        limits = {name: (value + after) / 2 for (name, value), after in
                  zip(before.items(), limits_now(options, job.model).values())}
        figures |= {"limits": limits, "of_roofline": of_roofline(job, weights, figures, limits)}
        del figures["trace"]
        return figures


def summary(job, weights, runs):
    """The row of several runs: median and range of the rate, the rest of the run in the middle."""
    rates = sorted(run["generated_tokens_per_s"] for run in runs)
    middle = next(run for run in runs if run["generated_tokens_per_s"] == rates[len(rates) // 2])
    operations = roofline.operations(job.model, job.prompt, job.generated) * job.sequences
    row = {"model": job.model, "weights": weights, "memory": job.memory or "all", "prompt_len": job.prompt,
           "gen_len": job.generated, "sequences": job.sequences, "unit": "token/s", "median": statistics.median(rates),
           "low": rates[0], "high": rates[-1], "runs": rates, "operations_per_s": operations / middle["total_s"],
           "of_roofline": statistics.median(run["of_roofline"] for run in runs) if "of_roofline" in middle else None,
           **{name: middle[name] for name in ("prefill_s", "decode_s", "total_s", "peak_memory_bytes", "limited",
                                              "limits", "bytes_read", "peak_group", "memory_limit", "settings")
              if name in middle}}
    row["of_peak"] = row["operations_per_s"] / row["limits"][arithmetic(weights)]
    if "stats" in middle:
        stats = middle["stats"]
        row |= {"steps": stats["tokens"]["steps"], "weight_bytes": stats["model"]["weight_bytes"],
                "phases": stats["phases"], "weight_bytes_streamed": stats["tiers"]["disk"]["weight_bytes_streamed"]}
    return row
