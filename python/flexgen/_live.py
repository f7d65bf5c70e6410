"""A command that stays open between calls.

`flexgen batch MODEL -i - -o -` answers rows as they come and in their order, and ends when its input does: so one
process with two pipes is all that is needed to keep a model in memory. `flexgen tokenize MODEL --jsonl` does the same for
texts. Lines are written by a thread of their own, since the command takes more only while its answers are read.
"""
from __future__ import annotations

import signal
import subprocess
import threading
from typing import Iterator, Sequence

from . import _command
from .errors import EngineError, failure

CLOSE_SECONDS = 10.0  # an idle engine ends at once; one that is busy has nothing that anybody waits for


class LiveProcess:
    def __init__(self, arguments: Sequence[str], shown: bool = False):
        self._process = _command.start(arguments, stdin=subprocess.PIPE)
        assert self._process.stderr
        self._listener = _command.Listener(self._process.stderr, shown)

    def exchange(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """One answer for each line, in order. Whoever stops early has to kill the engine: rows are under way."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout

        def write() -> None:
            try:
                for line in lines:
                    stdin.write(line)
                stdin.flush()
            except (BrokenPipeError, ValueError):  # ended or closed meanwhile; the reader finds out
                pass

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for _ in lines:
            answer = stdout.readline()
            if not answer.endswith(b"\n"):
                raise self._failure()
            yield answer
        writer.join()

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def _failure(self) -> Exception:
        returncode = self._process.wait()
        said = self._listener.said()
        self._close_pipes()
        if returncode == 0:
            return EngineError("the engine ended before it had answered", returncode)
        return failure(returncode, said)

    def close(self) -> None:
        """Ends an idle engine by ending its input."""
        assert self._process.stdin
        try:
            self._process.stdin.close()
            self._process.wait(CLOSE_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self) -> None:
        _command.end(self._process, signal.SIGKILL)
        self._listener.said()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            try:
                pipe.close()
            except BrokenPipeError:
                pass
