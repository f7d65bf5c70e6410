"""What the engine says of a job beforehand beside what the job did: commands, figures, tables. Nothing runs by import."""
import collections
import json
import pathlib
import statistics
import subprocess
import tempfile

import capped
import engine
import tables

# memory: as --host-memory takes it; cache: as --cache-dtype does. more: further options, as a policy is.
Job = collections.namedtuple("Job", "model prompt generated sequences weights cache memory more", defaults=(None, ()))


def name_of(job):
    where = f"in {job.memory}" if job.memory else "in memory"
    more = " " + " ".join(map(str, job.more)) if job.more else ""
    return (f"{job.model} {job.weights}, KV {job.cache}, {job.prompt} in, {job.generated} out, "
            f"{job.sequences} sequences, {where}{more}")


def command(options, word, job):
    """`flexgen plan` or `flexgen bench` of a job."""
    words = engine.synthetic(options, word, job.model, job.weights) + [
        "--prompt-len", job.prompt, "--gen-len", job.generated, "--num-prompts", job.sequences, "--cache-dtype", job.cache,
        "--json", *job.more]
    if job.weights == "f32":
        words += ["--dtype", "f32"]
    if job.memory:
        words += ["--host-memory", job.memory]
    return words


def profile(options, groups):
    """Measures the machine anew; a word on what came of it."""
    done = capped.run([options.build / "flexgen", "profile", "--offload-dir", options.store, "--quiet", "--quick",
                       "--force"], groups=groups, stderr=subprocess.DEVNULL)
    return {0: "taken just before", 2: "there is no flexgen profile"}.get(done.returncode,
                                                                         f"failed with {done.returncode}")


def plan(options, job, groups):
    """The object that `flexgen plan` prints; None without one."""
    done = capped.run(command(options, "plan", job), groups=groups, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None


def bench(options, job, groups, limited=True):
    """A run: bench's object, with stats and peaks; or {"refused": exit status}. limited: in a memory cgroup, caches
    dropped before."""
    with tempfile.TemporaryDirectory() as folder:
        stats = pathlib.Path(folder) / "stats.json"
        done = capped.run(command(options, "bench", job) + ["--stats", stats],
                          engine.to_bytes(job.memory) if limited else None, groups=groups, stderr=subprocess.DEVNULL)
        if done.returncode:
            return {"refused": done.returncode}
        return {**json.loads(done.stdout), "stats": json.loads(stats.read_text()), "limited": done.limited,
                "peak_group": done.peak_group}


def prediction_of(planned, measured):
    """What was said beforehand: by the plan, or by the run itself as it began; None while there is no planner."""
    return (planned or {}).get("predicted") or measured.get("predicted")


def ratio(a, b):
    return a / b if a is not None and b else None


def row_of(job, planned, measured):
    """A line of the table; a run that was refused has its status alone."""
    row = {"job": name_of(job), "budget_bytes": engine.to_bytes(job.memory)}
    if "refused" in measured:
        return {**row, "refused": measured["refused"]}
    predicted = prediction_of(planned, measured) or {}
    disk = measured["stats"]["tiers"]["disk"]
    peak = max(measured["peak_memory_bytes"], measured.get("peak_group") or 0)
    row |= {"predicted": predicted or None, "tokens_per_s": measured["generated_tokens_per_s"],
            "bytes_read": measured["bytes_read"], "bytes_written": disk["written_bytes"], "peak_bytes": peak,
            "bound_by": predicted.get("bound_by"), "aliased_layers": measured.get("aliased_layers", 0),
            "rate_ratio": ratio(predicted.get("generated_tokens_per_s"), measured["generated_tokens_per_s"]),
            "read_ratio": ratio(predicted.get("bytes_read"), measured["bytes_read"]),
            "written_ratio": ratio(predicted.get("bytes_written"), disk["written_bytes"]),
            "within_budget": peak <= row["budget_bytes"] if row["budget_bytes"] else None}
    return row


def errors(rows, key):
    """(median, worst) of how far a ratio is from 1; None without any."""
    off = [abs(row[key] - 1) for row in rows if row.get(key) is not None]
    return (statistics.median(off), max(off)) if off else None


def summary(rows):
    ran = [row for row in rows if "refused" not in row]
    budgets = [row["within_budget"] for row in ran if row["within_budget"] is not None]
    return {"jobs": len(rows), "ran": len(ran), "predicted": sum(row["predicted"] is not None for row in ran),
            **{key: errors(ran, key) for key in ("rate_ratio", "read_ratio", "written_ratio")},
            "budgets": len(budgets), "within_budget": sum(budgets)}


def _cell(value, form):
    return "-" if value is None else format(value, form)


def table(rows):
    body = []
    for row in rows:
        if "refused" in row:
            body.append((row["job"], f"refused ({row['refused']})", *("-",) * 8))
            continue
        predicted = row["predicted"] or {}
        gigabytes = [_cell(value and value * 1e-9, ".3f") for value in (predicted.get("bytes_read"), row["bytes_read"])]
        body.append((row["job"], _cell(predicted.get("generated_tokens_per_s"), ".2f"), f"{row['tokens_per_s']:.2f}",
                     _cell(row["rate_ratio"], ".2f"), *gigabytes, _cell(row["read_ratio"], ".3f"),
                     f"{row['peak_bytes'] * 1e-9:.2f}",
                     _cell(row["budget_bytes"] and row["budget_bytes"] * 1e-9, ".2f"), row["bound_by"] or "-"))
    return tables._table(("job", "predicted token/s", "measured", "ratio", "predicted GB read", "measured", "ratio",
                          "peak GB", "budget GB", "bound by"), body)


def summary_lines(result):
    """The sentences below the table."""
    s = result["summary"]
    lines = [f"Disk: {result['disk']}. Profile: {result['profile']}.",
             f"{s['ran']} of {s['jobs']} jobs ran, {s['predicted']} of them with a prediction."]
    for key, what in (("rate_ratio", "tokens per second"), ("read_ratio", "bytes read"),
                      ("written_ratio", "bytes written")):
        if s[key]:
            lines.append(f"Predicted {what}: off by {s[key][0]:.1%} in the median, {s[key][1]:.1%} at worst.")
    if not s["predicted"]:
        lines.append("Nothing was predicted: this build has no planner; figures are measured ones only.")
    aliased = [row["job"] for row in result["rows"] if row.get("aliased_layers")]
    if aliased:
        lines.append("Layers are aliased, because the disk is small, so that caches may answer reads, in: "
                     + "; ".join(aliased) + ".")
    return lines + [f"Peak memory within the budget in {s['within_budget']} of {s['budgets']} jobs that have one.", ""]
