"""What HELM reads of models from its local path: deployments and tokenizers as YAML, entries of others kept."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..engine import Engine

DEFAULT_CONTEXT = 2048  # for a model without a limit of its own


@dataclass(frozen=True)
class Deployment:
    name: str  # HOST/NAME: HELM's name of model, deployment and tokenizer
    client: dict[str, Any]  # client_spec


def answers_client(path: str) -> dict[str, Any]:
    return {"class_name": "flexgen.helm.client.AnswersClient", "args": {"answers": os.path.abspath(path)}}


def server_client(base_url: str, served: str) -> dict[str, Any]:
    """HELM's own client of OpenAI's completions; it wants a key, whatever it is."""
    return {"class_name": "helm.clients.openai_client.OpenAILegacyCompletionsClient",
            "args": {"base_url": base_url, "openai_model_name": served, "api_key": "none"}}


def write(folder: str, deployment: Deployment, engine: Engine) -> list[str]:
    """Returns the files that were written."""
    os.makedirs(folder, exist_ok=True)
    # The engine puts special tokens before a prompt, which HELM does not count.
    length = (engine.info["context"] or DEFAULT_CONTEXT) - len(engine.tokenize([""])[0])
    model = os.path.abspath(engine.model) if os.path.exists(engine.model) else engine.model
    end, prefix = _special_texts(engine)
    entries: dict[str, dict[str, Any]] = {
        "model_deployments": {"name": deployment.name, "model_name": deployment.name, "tokenizer_name": deployment.name,
                              "max_sequence_length": length, "max_request_length": length,
                              "max_sequence_and_generated_tokens_length": length, "client_spec": deployment.client},
        "tokenizer_configs": {"name": deployment.name, "end_of_text_token": end, "prefix_token": prefix,
                              "tokenizer_spec": {"class_name": "flexgen.helm.tokenizer.EngineTokenizer",
                                                 "args": {"model": model}}}}
    return [_put(os.path.join(folder, kind + ".yaml"), kind, entry) for kind, entry in entries.items()]


def _special_texts(engine: Engine) -> tuple[str, str]:
    """What ends a text, and what stands before one: the beginning token where the model has one."""
    special = engine.info["special_tokens"]
    ends = [special["eos_token"]["text"]] if "eos_token" in special else engine.detokenize([engine.info["eos_ids"][:1]])
    begins = special.get("bos_token", {}).get("text")
    return ends[0], begins or ends[0]


def _put(path: str, kind: str, entry: dict[str, Any]) -> str:
    """Adds an entry to a file's list, in the place of one of that name."""
    import yaml  # HELM needs it too

    entries: list[dict[str, Any]] = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            entries = (yaml.safe_load(file) or {}).get(kind) or []
    entries = [old for old in entries if old.get("name") != entry["name"]] + [entry]
    with open(path + ".part", "w", encoding="utf-8") as file:
        yaml.safe_dump({kind: entries}, file, sort_keys=False, allow_unicode=True)
    os.replace(path + ".part", path)
    return path
