"""The client that HELM asks after the batch job: it looks answers up. For `client_spec` of a model deployment."""
from __future__ import annotations

import dataclasses
import json
from typing import Any

from helm.clients.client import Client, truncate_sequence
from helm.common.request import GeneratedOutput, Request, RequestResult, Token

from .requests import key

END_OF_TEXT = "<|endoftext|>"  # at which HELM's client for OpenAI's completions cuts as well


class AnswersClient(Client):
    """answers: a file of lines {"key": of the request, "body": of OpenAI's completions endpoint}."""

    def __init__(self, answers: str):
        self._path = answers
        self._places: dict[str, int] = {}  # answers with the log-probabilities of prompts are large
        with open(answers, "rb") as file:
            place = file.tell()
            for line in file:
                self._places[json.loads(line)["key"]] = place
                place += len(line)

    def make_request(self, request: Request) -> RequestResult:
        place = self._places.get(key(dataclasses.asdict(request)))
        if place is None:
            return RequestResult(success=False, cached=False, completions=[], embedding=[],
                                 error="this request was not in the dry run; the scenario asks something else each time")
        with open(self._path, "rb") as file:
            file.seek(place)
            body = json.loads(file.readline())["body"]
        return RequestResult(success=True, cached=False, request_time=0.0, request_datetime=int(body["created"]),
                             completions=[_completion(choice, request) for choice in body["choices"]], embedding=[])


def _completion(choice: dict[str, Any], request: Request) -> GeneratedOutput:
    found = choice["logprobs"]
    # The first token of an echoed prompt has no log-probability.
    tokens = [Token(text=text, logprob=logprob or 0) for text, logprob in zip(found["tokens"], found["token_logprobs"])]
    whole = GeneratedOutput(text=choice["text"], logprob=sum(token.logprob for token in tokens), tokens=tokens,
                            finish_reason={"reason": choice["finish_reason"]})
    return truncate_sequence(whole, dataclasses.replace(request, stop_sequences=[*request.stop_sequences, END_OF_TEXT]))
