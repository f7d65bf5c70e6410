"""Answers as plain objects: what the engine's rows say, with types."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence, Union

from .errors import EngineError

Prompt = Union[str, Sequence[int]]
Message = Mapping[str, Any]


@dataclass(frozen=True)
class Logprobs:
    """Of each token of an answer, with `echo` of the prompt's before them: natural logarithms in the model's own
    distribution. The first token of a prompt has none. `top_logprobs` holds the likeliest tokens of each place."""
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]


@dataclass(frozen=True)
class Choice:
    text: str
    token_ids: list[int]  # with the one that ended it
    finish_reason: str  # "stop" or "length"
    stop_reason: str | int | None = None  # the stop string or token id that ended it; None: the model's own end
    logprobs: Logprobs | None = None


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Result:
    """What came of one prompt. `text` and its like are the first choice's; there are `n`."""
    prompt: Any
    choices: list[Choice]
    usage: Usage
    prompt_token_ids: list[int]
    error: str | None = None

    @property
    def text(self) -> str:
        return self._first().text

    @property
    def token_ids(self) -> list[int]:
        return self._first().token_ids

    @property
    def finish_reason(self) -> str:
        return self._first().finish_reason

    @property
    def logprobs(self) -> Logprobs | None:
        return self._first().logprobs

    def _first(self) -> Choice:
        if not self.choices:
            raise ValueError(f"this prompt has no answer: {self.error}")
        return self.choices[0]


@dataclass(frozen=True)
class BatchSummary:
    """How a batch job ended. `stats` is the object of --stats (docs/command-line.md)."""
    rows: int
    failed: int
    stats: dict[str, Any]


def result_of(prompt: Any, row: Mapping[str, Any]) -> Result:
    """From a row of a batch's output."""
    error = row_error(row)
    if error is not None:
        return Result(prompt, [], Usage(0, 0), [], error)
    body = row["response"]["body"]
    usage = body["usage"]
    ids = body["choices"][0].get("prompt_token_ids") or body.get("prompt_token_ids") or []
    return Result(prompt, [_choice(choice) for choice in body["choices"]],
                  Usage(usage["prompt_tokens"], usage["completion_tokens"]), list(ids))


def check_row(row: Mapping[str, Any], custom_id: str) -> None:
    """Rows come in order; one that could not be read as a row has an error and no id."""
    if row["custom_id"] != custom_id and not (row["custom_id"] is None and row["error"] is not None):
        raise EngineError(f"row {custom_id} was answered as {row['custom_id']}", 0)


def row_error(row: Mapping[str, Any]) -> str | None:
    """Why a row of a batch's output is no answer; None: it is one."""
    if row["error"] is not None:
        return str(row["error"]["message"])
    if row["response"]["status_code"] != 200:
        return str(row["response"]["body"]["error"]["message"])
    return None


def _choice(choice: Mapping[str, Any]) -> Choice:
    message = choice.get("message")
    text = choice["text"] if message is None else message["content"]
    return Choice(text, list(choice.get("token_ids") or []), choice["finish_reason"], choice.get("stop_reason"),
                  _logprobs(choice.get("logprobs")))


def _logprobs(found: Mapping[str, Any] | None) -> Logprobs | None:
    if found is None:
        return None
    if "content" in found:  # as chat has them
        entries = found["content"]
        return Logprobs([e["token"] for e in entries], [e["logprob"] for e in entries],
                        [{t["token"]: t["logprob"] for t in reversed(e["top_logprobs"])} for e in entries])
    return Logprobs(found["tokens"], found["token_logprobs"], found["top_logprobs"])
