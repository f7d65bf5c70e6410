"""`flexgen helm config` and `flexgen helm run`: the command line."""
from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Sequence

from ..errors import FlexGenError, UsageError
from ..options import EngineOptions, boolean_options

# Shown for each run, those that it has, in this order.
METRICS = ("exact_match", "quasi_exact_match", "prefix_exact_match", "exact_match_indicator", "exact_set_match",
           "iou_set_match", "f1_set_match", "f1_score", "rouge_l", "logprob", "bits_per_byte")
# FlexGen's, that make no difference here.
UNNEEDED = {"pad_to_seq_len": "prompts are not padded here, each has its own length"}
_OWN = {"model", "synthetic"}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="flexgen helm", description="HELM's benchmarks on this engine (docs/helm.md).")
    commands = top.add_subparsers(dest="command", required=True, metavar="config|run")

    for_config = commands.add_parser("config", allow_abbrev=False, help="write what HELM needs to ask a server")
    _add_model(for_config)
    for_config.add_argument("--base-url", default="http://127.0.0.1:8000/v1/", help="of the server (%(default)s)")
    for_config.add_argument("--served-model-name", help="the model's name there (its base name)")
    for_config.add_argument("--local-path", default="prod_env", help="where helm-run looks (%(default)s)")

    for_run = commands.add_parser("run", allow_abbrev=False, help="HELM's dry run as one batch job, and HELM's metrics",
                                  epilog="All other options are those of flexgen batch.")
    _add_model(for_run)
    for_run.add_argument("--description", "-r", "--run-entries", nargs="+", action="extend", required=True,
                         metavar="ENTRY", help="HELM's run entries, such as synthetic_reasoning:mode=pattern_match")
    for_run.add_argument("--max-eval-instances", "--max-eval-instance", "-m", type=int, required=True, metavar="N")
    for_run.add_argument("--num-train-trials", "-t", type=int, metavar="N")
    for_run.add_argument("--suite", default="flexgen", help="HELM's name for runs that belong together (%(default)s)")
    for_run.add_argument("--output-path", "-o", default="benchmark_output", help="(%(default)s)")
    for_run.add_argument("--mmlu-folder", metavar="DIR", help="MMLU's CSV files, with dev, val and test")
    for_run.add_argument("--work-dir", metavar="DIR", help="keep the batch job there, to go on after a stop")
    for_run.add_argument("--plugins", nargs="+", default=[], metavar="MODULE", help="HELM's")
    for_run.add_argument("--pad-to-seq-len", metavar="N", help="FlexGen's; not needed here, since nothing is padded")
    for name in EngineOptions.__annotations__:
        if name not in _OWN:
            _add_engine_option(for_run, name)
    return top


def _add_model(to: argparse.ArgumentParser) -> None:
    to.add_argument("--model", required=True, help="a folder, a .gguf file, a packed store, a pulled ORG/NAME")
    to.add_argument("--name", help="HELM's name of it, HOST/NAME (flexgen/ and its base name)")


def _add_engine_option(to: argparse.ArgumentParser, name: str) -> None:
    flag = "--" + name.replace("_", "-")
    if name == "percent":
        to.add_argument(flag, nargs=6, type=int, help=argparse.SUPPRESS)
    elif name in boolean_options():
        to.add_argument(flag, nargs="?", const=True, type=_boolean, help=argparse.SUPPRESS)
    else:
        to.add_argument(flag, help=argparse.SUPPRESS)


def _boolean(word: str) -> bool:
    if word.lower() in ("true", "yes", "t", "y", "1"):
        return True
    if word.lower() in ("false", "no", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{word} is neither true nor false")


def helm_name(given: str | None, model: str) -> str:
    if given is None:
        base = os.path.basename(os.path.normpath(model)).removesuffix(".gguf")
        return "flexgen/" + "".join(c if c.isalnum() or c in ".-_" else "-" for c in base)
    if given.count("/") != 1 or not all(given.split("/")) or any(c in given for c in " ,:="):
        raise UsageError(f"--name {given}: HELM wants HOST/NAME")
    return given


def config_command(arguments: argparse.Namespace) -> None:
    from ..engine import Engine
    from . import config
    name = helm_name(arguments.name, arguments.model)
    with Engine(arguments.model) as engine:
        served = arguments.served_model_name or engine.info["name"]
        deployment = config.Deployment(name, config.server_client(arguments.base_url, served))
        for path in config.write(arguments.local_path, deployment, engine):
            print(path)
    print(f"helm-run --local-path {arguments.local_path} --run-entries ENTRY,model={name} ...", file=sys.stderr)


def run_command(arguments: argparse.Namespace) -> None:
    from ..engine import Engine
    from . import run
    for name, why in UNNEEDED.items():
        if getattr(arguments, name) is not None:
            print(f"flexgen helm: --{name.replace('_', '-')} is not needed: {why}", file=sys.stderr)
    options: Any = {name: value for name, value in vars(arguments).items() if name in EngineOptions.__annotations__}
    benchmark = run.Benchmark(
        entries=arguments.description, max_eval_instances=arguments.max_eval_instances, suite=arguments.suite,
        output_path=arguments.output_path, name=helm_name(arguments.name, arguments.model),
        num_train_trials=arguments.num_train_trials, mmlu_folder=arguments.mmlu_folder, work_dir=arguments.work_dir,
        helm_arguments=["--plugins", *arguments.plugins] if arguments.plugins else [])
    with Engine(arguments.model, **options) as engine:
        for folder in run.run(benchmark, engine):
            print(folder)
            for line in metrics(os.path.join(folder, "stats.json")):
                print("  " + line)


def metrics(path: str) -> list[str]:
    """The best known of a run's metrics, over the test split without perturbations."""
    with open(path, encoding="utf-8") as file:
        found = {stat["name"]["name"]: stat.get("mean") for stat in json.load(file)
                 if stat["name"].get("split") == "test" and "perturbation" not in stat["name"]}
    return [f"{name} {found[name]:.4f}" for name in METRICS if found.get(name) is not None]


def main(words: Sequence[str] | None = None) -> None:
    arguments = parser().parse_args(words)
    try:
        {"config": config_command, "run": run_command}[arguments.command](arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("helm", "yaml"):
            raise
        sys.exit(f"flexgen helm: {error}; HELM is missing: pip install crfm-helm==0.5.16")
    except FlexGenError as error:
        sys.exit(f"flexgen helm: {error}")


if __name__ == "__main__":
    main()
