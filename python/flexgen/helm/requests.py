"""HELM's requests as rows of a batch, and the key by which an answer is found again.

A request comes as JSON from the dry run, where what has its default may be missing and 0 may be 0.0, and as an object from
HELM's metrics later: both go through the same fields here, so that their keys agree.
"""
from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

from ..errors import UsageError

# HELM's defaults (helm/common/request.py), by type: numbers are compared as floats.
FIELDS: dict[str, Any] = {
    "prompt": "", "temperature": 1.0, "num_completions": 1, "top_k_per_token": 1, "max_tokens": 100,
    "stop_sequences": [], "echo_prompt": False, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
    "random": None}
# What asks for something else than a completion of a text.
REFUSED = ("embedding", "messages", "multimodal_prompt", "image_generation_parameters", "response_format")
MOST_LOGPROBS = 20


def normal(request: Mapping[str, Any]) -> dict[str, Any]:
    for name in REFUSED:
        if request.get(name):
            raise UsageError(f"a request of HELM has {name}, which cannot be answered in a batch of completions")
    fields: dict[str, Any] = {}
    for name, default in FIELDS.items():
        value = request.get(name)
        value = default if value is None else value
        fields[name] = type(default)(value) if isinstance(default, (int, float)) else value
    fields["stop_sequences"] = list(fields["stop_sequences"])
    return fields


def key(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(normal(request), sort_keys=True).encode()).hexdigest()


def body(request: Mapping[str, Any]) -> dict[str, Any]:
    """As HELM's client for OpenAI's completions asks; `random` only makes requests differ, and rows of a batch draw
    differently anyway."""
    fields = normal(request)
    asked = {
        "prompt": fields["prompt"], "temperature": fields["temperature"], "n": fields["num_completions"],
        "max_tokens": fields["max_tokens"], "echo": fields["echo_prompt"], "top_p": fields["top_p"],
        "presence_penalty": fields["presence_penalty"], "frequency_penalty": fields["frequency_penalty"],
        "logprobs": min(max(fields["top_k_per_token"], fields["num_completions"]), MOST_LOGPROBS)}
    if fields["stop_sequences"]:
        asked["stop"] = fields["stop_sequences"]
    return asked
