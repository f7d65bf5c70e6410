"""HELM at full batch: its dry run says what it will ask, one batch job answers, HELM asks and scores."""
from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping

from ..engine import Engine
from ..errors import EngineError, UsageError
from ..jobs import run_job
from . import config, requests

SPLITS = ("dev", "val", "test")


@dataclass(frozen=True)
class Benchmark:
    entries: list[str]  # HELM's run entries, without the model
    max_eval_instances: int
    suite: str = "flexgen"
    output_path: str = "benchmark_output"
    name: str = "flexgen/model"
    num_train_trials: int | None = None
    mmlu_folder: str | None = None
    work_dir: str | None = None  # keeps the batch job's files
    helm_arguments: list[str] = field(default_factory=list)

    def with_model(self) -> list[str]:
        """Entries that name this model, as HELM wants them, whatever model they name."""
        named = []
        for entry in self.entries:
            scenario, _, arguments = entry.partition(":")
            kept = [argument for argument in arguments.split(",") if argument and not argument.startswith("model=")]
            named.append(f"{scenario}:{','.join([*kept, 'model=' + self.name])}")
        return named


def run(benchmark: Benchmark, engine: Engine) -> list[str]:
    """Returns the folders of the runs, each with what HELM writes (stats.json, ...)."""
    if benchmark.mmlu_folder:
        _place_mmlu(benchmark.mmlu_folder, benchmark.output_path)
    with tempfile.TemporaryDirectory(prefix="flexgen-helm-") as work:
        answers = os.path.join(work, "answers.jsonl")
        open(answers, "w").close()  # nobody asks in a dry run
        config.write(work, config.Deployment(benchmark.name, config.answers_client(answers)), engine)
        names, asked = _ask(benchmark, work)
        _answer(asked, answers, engine, benchmark.work_dir)
        _helm(benchmark, work, benchmark.suite)
    return [os.path.join(benchmark.output_path, "runs", benchmark.suite, name) for name in names]


def _ask(benchmark: Benchmark, work: str) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The names of the runs, and each distinct request of theirs by its key."""
    suite = f"{benchmark.suite}-requests"
    place = os.path.join(benchmark.output_path, "runs", suite)
    shutil.rmtree(place, ignore_errors=True)
    try:
        _helm(benchmark, work, suite, "--dry-run")
        states = sorted(glob.glob(os.path.join(glob.escape(place), "*", "scenario_state.json")))
        asked = {requests.key(request): dict(request) for state in states for request in _requests_of(state)}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not asked:
        raise UsageError("HELM asks nothing for " + " ".join(benchmark.entries))
    return [os.path.basename(os.path.dirname(state)) for state in states], asked


def _requests_of(path: str) -> Iterator[Mapping[str, Any]]:
    with open(path, encoding="utf-8") as file:
        for state in json.load(file)["request_states"]:
            yield state["request"]


def _answer(asked: Mapping[str, Mapping[str, Any]], target: str, engine: Engine, work_dir: str | None) -> None:
    print(f"flexgen helm: {len(asked)} distinct requests", file=sys.stderr)
    bodies = [requests.body(request) for request in asked.values()]
    with open(target, "w", encoding="utf-8") as file:
        for key, body in zip(asked, run_job(engine, bodies, folder=work_dir)):
            file.write(json.dumps({"key": key, "body": body}) + "\n")
    engine.close()


def _helm(benchmark: Benchmark, local_path: str, suite: str, *more: str) -> None:
    """HELM's own command, in this Python. The cache of requests would keep answers of another model."""
    words = [sys.executable, "-m", "helm.benchmark.run", "--run-entries", *benchmark.with_model(),
             "--max-eval-instances", str(benchmark.max_eval_instances), "--suite", suite, "--disable-cache",
             "--output-path", benchmark.output_path, "--local-path", local_path, *more, *benchmark.helm_arguments]
    if benchmark.num_train_trials:
        words += ["--num-train-trials", str(benchmark.num_train_trials)]
    returncode = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
    if returncode != 0:
        raise EngineError(f"helm-run ended with status {returncode}; what it said stands above", returncode)


def _place_mmlu(folder: str, output_path: str) -> None:
    """MMLU's own CSV files where HELM would download them to."""
    source = os.path.join(folder, "data") if os.path.isdir(os.path.join(folder, "data")) else folder
    missing = [split for split in SPLITS if not glob.glob(os.path.join(glob.escape(os.path.join(source, split)), "*.csv"))]
    if missing:
        raise UsageError(f"{folder}: MMLU's data has folders dev, val and test with a CSV file for each subject; "
                         f"{missing[0]} has none")
    target = os.path.join(output_path, "scenarios", "mmlu", "data")
    if os.path.realpath(target) == os.path.realpath(source):
        return
    if os.path.lexists(target) and not os.path.islink(target):
        raise UsageError(f"{target} is there already; remove it, or leave --mmlu-folder out")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(target):
        os.unlink(target)
    os.symlink(os.path.abspath(source), target)
