"""Many requests as one batch job: what the plug-ins for evaluation harnesses are made of.

A harness that knows all of its requests beforehand gets the most out of the machine when they are one job, not a
stream. With a folder to keep it in, the job's files are named after what is asked of which model, so that the same
evaluation goes on where it was when it was stopped, and asks nothing again when it was finished.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

from .errors import EngineError, RequestError
from .results import check_row, row_error

if TYPE_CHECKING:
    from .engine import Engine
    from .options import Path

COMPLETIONS = "/v1/completions"


def run_job(engine: Engine, bodies: Sequence[Mapping[str, Any]], *, url: str = COMPLETIONS,
            folder: Path | None = None, progress: bool = True) -> Iterator[dict[str, Any]]:
    """The response's body for each request's, in order. A request that cannot be answered is a RequestError."""
    if not bodies:
        return
    with contextlib.ExitStack() as stack:
        place = os.fspath(folder) if folder else stack.enter_context(tempfile.TemporaryDirectory(prefix="flexgen-"))
        os.makedirs(place, exist_ok=True)
        source, target = _write_input(engine, bodies, url, place)
        if not _is_finished(target, len(bodies)):
            engine.batch(source, target, progress=progress)
        yield from _read_answers(target, len(bodies))


def _write_input(engine: Engine, bodies: Sequence[Mapping[str, Any]], url: str, place: str) -> tuple[str, str]:
    digest = hashlib.sha256(json.dumps(engine.job_key()).encode())
    part = os.path.join(place, f"requests-{os.getpid()}.part")
    with open(part, "w", encoding="ascii") as file:
        for i, body in enumerate(bodies):
            line = json.dumps({"custom_id": str(i), "method": "POST", "url": url, "body": body}) + "\n"
            digest.update(line.encode())
            file.write(line)
    name = os.path.join(place, digest.hexdigest()[:24])
    os.replace(part, name + ".in.jsonl")
    return name + ".in.jsonl", name + ".out.jsonl"


def _is_finished(target: str, rows: int) -> bool:
    """A job's journal goes when its last row is written."""
    if not os.path.exists(target) or os.path.exists(target + ".journal"):
        return False
    with open(target, "rb") as file:
        return sum(1 for _ in file) == rows


def _read_answers(target: str, rows: int) -> Iterator[dict[str, Any]]:
    index = -1
    with open(target, encoding="utf-8") as file:
        for index, line in enumerate(file):
            row = json.loads(line)
            check_row(row, str(index))
            error = row_error(row)
            if error is not None:
                raise RequestError(f"request {index}: {error}", index, [])
            yield row["response"]["body"]
    if index + 1 != rows:
        raise EngineError(f"{target}: {index + 1} rows for {rows} requests", 0)
