"""The engine's tokenizer for HELM's prompts and metrics. For `tokenizer_spec` of a tokenizer configuration."""
from __future__ import annotations

import json
import threading
from typing import Any

from helm.common.cache import CacheConfig
from helm.tokenizers.caching_tokenizer import CachingTokenizer

from .. import _command
from .._live import LiveProcess


class EngineTokenizer(CachingTokenizer):
    """Two processes of `flexgen tokenize`, one for each direction, which answer line by line."""

    def __init__(self, cache_config: CacheConfig, model: str):
        super().__init__(cache_config)
        arguments = [_command.find(), "tokenize", model, "--quiet"]
        self._encoder = LiveProcess([*arguments, "--jsonl", "--no-special"])
        self._decoder = LiveProcess([*arguments, "--decode"])
        self._lock = threading.Lock()

    def _ask(self, process: LiveProcess, values: list[Any]) -> list[Any]:
        lines = [json.dumps(value).encode() + b"\n" for value in values]
        with self._lock:
            return [json.loads(answer) for answer in process.exchange(lines)]

    def _tokenize_do_it(self, request: dict[str, Any]) -> dict[str, Any]:
        ids: list[int] = self._ask(self._encoder, [request["text"]])[0]
        if request["truncation"]:
            ids = ids[: max(request["max_length"], 0)]
        return {"tokens": ids if request["encode"] else self._ask(self._decoder, [[token] for token in ids])}

    def _decode_do_it(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"text": self._ask(self._decoder, [list(request["tokens"])])[0]}
