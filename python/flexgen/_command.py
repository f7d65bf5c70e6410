"""The compiled engine: where it is, and running it to its end.

The package talks to the `flexgen` command and links nothing of it: a crash of the engine is an exception here, what
the caller has loaded (another OpenMP, say) does not meet the engine's libraries, and --host-memory counts the
engine's memory alone.
"""
from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from typing import IO, Sequence

from .errors import CommandNotFound, failure

log = logging.getLogger("flexgen")

BUNDLED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_engine", "bin", "flexgen")
SAID_LINES = 50  # of standard error that are kept to explain a failure


def find(command: str | os.PathLike[str] | None = None) -> str:
    """The path of the command: `command` itself, $FLEXGEN_COMMAND, the one that came with this package, one on PATH."""
    for named, by in ((command, "command"), (os.environ.get("FLEXGEN_COMMAND"), "FLEXGEN_COMMAND")):
        if named:
            path = shutil.which(os.fspath(named))
            if not path:
                raise CommandNotFound(f"{by} says {os.fspath(named)}, which is no program that can be run")
            return path
    if os.access(BUNDLED, os.X_OK):
        return BUNDLED
    path = shutil.which("flexgen")
    if path and not _is_script(path):  # a script is this package's own entry point, which would come back here
        return path
    raise CommandNotFound("the flexgen command is not there; install the flexgen-engine package with pip, or say in "
                          "FLEXGEN_COMMAND where it was built")


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


class Listener:
    """Reads a process's standard error: lines go to the log or on to our own, the last ones are kept."""

    def __init__(self, stream: IO[bytes], shown: bool):
        self._stream = stream
        self._shown = shown
        self._lines: deque[str] = deque(maxlen=SAID_LINES)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with self._stream:
            for raw in self._stream:
                line = raw.decode(errors="replace").rstrip("\n")
                self._lines.append(line)
                if self._shown:
                    print(line, file=sys.stderr, flush=True)
                else:
                    log.info("%s", line)

    def said(self) -> str:
        """All that is kept, once the process has ended."""
        self._thread.join()
        return "\n".join(self._lines)


def start(arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C in a terminal reaches the caller alone, who decides what it means."""
    return subprocess.Popen(arguments, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            start_new_session=True)


def run(arguments: Sequence[str], *, stdin: bytes | None = None, shown: bool = False) -> bytes:
    """Runs the command and returns its standard output; a status other than 0 is an exception.

    After Ctrl-C the command is asked to end, which leaves all finished rows safe; after a second one it is killed.
    """
    process = start(arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
    feeder = None
    try:
        assert process.stdout and process.stderr
        listener = Listener(process.stderr, shown)
        feeder = _feed(process, stdin)
        with process.stdout:
            output = process.stdout.read()
        process.wait()
    except BaseException:
        end(process, signal.SIGINT)
        raise
    finally:
        if feeder:
            feeder.join()
    if process.returncode != 0:
        raise failure(process.returncode, listener.said())
    return output


def _feed(process: subprocess.Popen[bytes], data: bytes | None) -> threading.Thread | None:
    if data is None:
        return None

    def write() -> None:
        assert process.stdin
        try:
            with process.stdin:
                process.stdin.write(data)
        except BrokenPipeError:
            pass  # it ended before it had read all; its status says why

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def end(process: subprocess.Popen[bytes], how: signal.Signals, timeout: float | None = None) -> None:
    """Sends `how` and waits; kills the process when that takes longer than `timeout` or is interrupted itself."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def main() -> None:
    """The `flexgen` that pip puts on PATH: the compiled command takes this process's place."""
    try:
        command = find()
    except CommandNotFound as error:
        sys.exit(f"flexgen: {error}")
    os.environ.setdefault("FLEXGEN_PYTHON", sys.executable)  # for commands that are written in Python
    os.execv(command, ["flexgen", *sys.argv[1:]])
