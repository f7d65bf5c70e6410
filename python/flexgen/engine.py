"""Engine: a model that answers lists of prompts.

The first call opens the model, in a process of its own, and the next ones find it there. A batch job over a file gets
a process to itself, planned for that file; the open model makes room for it first, so that both never claim the
machine's memory at once.
"""
from __future__ import annotations

import json
import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterable, Literal, Mapping, Sequence

from . import _command
from ._live import LiveProcess
from .errors import RequestError, UsageError
from .options import engine_arguments, request_body
from .results import BatchSummary, Message, Prompt, Result, check_row, result_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import EngineOptions, Path, SamplingOptions

OnError = Literal["raise", "keep"]
_INSPECTED = {"synthetic", "alias_layers", "adapter"}  # what changes which model MODEL is


class Engine:
    """A model (a folder, a .gguf file, a packed store, the ORG/NAME of a pulled one) with the options of
    `flexgen batch`: Engine("./opt-6.7b", host_memory="6G", compress_weight=True).

    command: the compiled engine, where it is not the one that came with this package. verbose: what it says on
    standard error is passed on; otherwise it goes to the logger "flexgen".
    Calls from several threads wait for each other. `with` closes the engine, and so does the end of the program.
    """

    def __init__(self, model: Path, *, command: Path | None = None, verbose: bool = False,
                 **options: Unpack[EngineOptions]):
        self.model = os.fspath(model)
        self._command = _command.find(command)
        self._arguments = engine_arguments(options)
        self._verbose = verbose
        self._live: LiveProcess | None = None
        self._rows = 0
        self._lock = threading.RLock()
        self._closed = False
        looked_at = engine_arguments({k: v for k, v in options.items() if k in _INSPECTED})
        self.info: dict[str, Any] = json.loads(
            _command.run([self._command, "inspect", self.model, "--json", "--quiet", *looked_at]))
        if not self.info["supported"]:
            raise UsageError(f"{self.model}: {self.info['reason']}")

    # ---- prompts --------------------------------------------------------------------------------------------------

    def generate(self, prompts: Prompt | Sequence[Prompt], *, on_error: OnError = "raise",
                 **sampling: Unpack[SamplingOptions]) -> list[Result]:
        """Continues each prompt, a text or its token ids; results stand in the order of the prompts.

        Greedy, 32 tokens, unless told otherwise. on_error: a prompt that cannot be answered does not keep the others
        from being; then RequestError is raised with all results, or with "keep" its result has an `error`.
        """
        listed = _listed(prompts)
        body = request_body(sampling, chat=False)
        return self._answer(listed, [{**body, "prompt": _prompt(prompt)} for prompt in listed], on_error,
                            "/v1/completions")

    def chat(self, conversations: str | Sequence[str | Sequence[Message]], *, on_error: OnError = "raise",
             **sampling: Unpack[SamplingOptions]) -> list[Result]:
        """The same in the model's chat template. A conversation is a list of messages with "role" and "content", or
        a text, which is a user's only message."""
        listed = [conversations] if isinstance(conversations, str) else list(conversations)
        body = request_body(sampling, chat=True)
        return self._answer(listed, [{**body, "messages": _messages(c)} for c in listed], on_error,
                            "/v1/chat/completions")

    def _answer(self, prompts: Sequence[Any], bodies: Sequence[dict[str, Any]], on_error: OnError,
                url: str) -> list[Result]:
        if on_error not in ("raise", "keep"):
            raise UsageError('on_error is "raise" or "keep"')
        with self._lock:
            rows = self._exchange(bodies, url) if bodies else []
        results = [result_of(prompt, row) for prompt, row in zip(prompts, rows)]
        for index, result in enumerate(results):
            if result.error is not None and on_error == "raise":
                raise RequestError(f"prompt {index}: {result.error}", index, results)
        return results

    def _exchange(self, bodies: Sequence[dict[str, Any]], url: str) -> list[dict[str, Any]]:
        """Rows through the open engine. Whatever ends this early leaves rows under way behind, so it ends the engine
        too; the next call opens another."""
        first, self._rows = self._rows, self._rows + len(bodies)
        live = self._open()
        try:
            answers = live.exchange([_line(str(first + i), url, body) for i, body in enumerate(bodies)])
            rows = [json.loads(answer) for answer in answers]
            for i, row in enumerate(rows):
                check_row(row, str(first + i))
            return rows
        except BaseException:
            live.kill()
            self._live = None
            raise

    def _open(self) -> LiveProcess:
        self._check_open()
        if self._live is not None and self._live.has_ended():  # killed while nobody asked
            self._drop_live()
        if self._live is None:
            self._live = LiveProcess([self._command, "batch", self.model, "-i", "-", "-o", "-", "--no-progress",
                                     *self._arguments], self._verbose)
        return self._live

    # ---- files ------------------------------------------------------------------------------------------------------

    def batch(self, file_in: Path, file_out: Path, *, resume: bool = False, overwrite: bool = False,
              retry_errors: bool = False, shard: tuple[int, int] | None = None, deterministic_ids: bool = False,
              progress: bool = False) -> BatchSummary:
        """Answers a file of OpenAI Batch requests, as `flexgen batch` does (docs/batch.md): a job that was stopped
        goes on when it is given again. Rows with errors are counted, not raised. progress: on standard error.

        Ctrl-C ends it after the step under way, with all finished rows safe; a second one at once.
        """
        arguments = [self._command, "batch", self.model, "-i", os.fspath(file_in), "-o", os.fspath(file_out), "--json"]
        for name, wanted in (("resume", resume), ("overwrite", overwrite), ("retry-errors", retry_errors),
                             ("deterministic-ids", deterministic_ids), ("no-progress", not progress)):
            arguments += [f"--{name}"] if wanted else []
        if shard is not None:
            arguments.append(f"--shard={shard[0]}/{shard[1]}")
        with self._lock:
            self._check_open()
            self._drop_live()
            output = _command.run([*arguments, *self._arguments], shown=progress or self._verbose)
        stats = json.loads(output)
        return BatchSummary(stats["rows"]["done"], stats["rows"]["failed"], stats)

    def job_key(self) -> list[str]:
        """What a job's results depend on beside its rows: the model's files as they are now, and the options."""
        paths = [self.model]
        if os.path.isdir(self.model):
            paths += sorted(entry.path for entry in os.scandir(self.model) if entry.is_file())
        dates = [f"{path} {os.stat(path).st_size} {os.stat(path).st_mtime_ns}" for path in paths if os.path.isfile(path)]
        return [self.model, *dates, *self._arguments]

    # ---- tokens -----------------------------------------------------------------------------------------------------

    def tokenize(self, texts: Iterable[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        """Token ids of each text; add_special_tokens: with those that a prompt gets."""
        flags = [] if add_special_tokens else ["--no-special"]
        return self._lines([json.dumps(text) for text in texts], "--jsonl", *flags)

    def detokenize(self, ids: Iterable[Sequence[int]], *, skip_special_tokens: bool = False) -> list[str]:
        flags = ["--skip-special"] if skip_special_tokens else []
        return self._lines([json.dumps(list(one)) for one in ids], "--decode", *flags)

    def _lines(self, lines: Sequence[str], *flags: str) -> list[Any]:
        text = "".join(line + "\n" for line in lines)
        output = _command.run([self._command, "tokenize", self.model, "--quiet", *flags], stdin=text.encode())
        return [json.loads(line) for line in output.splitlines()]

    # ---- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._lock:
            self._drop_live()
            self._closed = True

    def _drop_live(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this engine is closed")

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


# ---- prompts as rows -------------------------------------------------------------------------------------------------

def _listed(prompts: Prompt | Sequence[Prompt]) -> list[Any]:
    """One text, or one prompt of ids, is a list of one."""
    if isinstance(prompts, str):
        return [prompts]
    listed = list(prompts)
    return [listed] if listed and all(isinstance(item, int) for item in listed) else listed


def _prompt(prompt: Any) -> str | list[int]:
    return prompt if isinstance(prompt, str) else [int(token) for token in prompt]


def _messages(conversation: str | Sequence[Message]) -> list[Mapping[str, Any]]:
    if isinstance(conversation, str):
        return [{"role": "user", "content": conversation}]
    return [dict(message) for message in conversation]


def _line(custom_id: str, url: str, body: Mapping[str, Any]) -> bytes:
    row = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return json.dumps(row).encode() + b"\n"
