"""What goes wrong, as exceptions. Each holds one line for a person, mostly as the engine said it."""
from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    from .results import Result


class FlexGenError(Exception):
    """All of them."""


class UsageError(FlexGenError, ValueError):
    """An option or an argument makes no sense: the command would end, or ended, with status 2."""


class CommandNotFound(FlexGenError, FileNotFoundError):
    """The compiled engine is not where it is looked for."""


class EngineError(FlexGenError, RuntimeError):
    """A run failed. `returncode` is the command's status, negative for a signal."""

    def __init__(self, message: str, returncode: int):
        super().__init__(message)
        self.returncode = returncode


class RequestError(FlexGenError):
    """Requests that could not be answered, while others could: `results` holds all, in order, and those that
    failed have an `error`. The message is the first one's."""

    def __init__(self, message: str, index: int, results: Sequence[Result]):
        super().__init__(message)
        self.index = index
        self.results = list(results)


USAGE_STATUS = 2


def failure(returncode: int, said: str) -> FlexGenError:
    """The exception for a command that ended with `returncode` after saying `said` on standard error."""
    lines = [line for line in said.splitlines() if line.strip()]
    line = lines[-1].strip() if lines else ""
    if returncode == USAGE_STATUS:
        return UsageError(line or "the command line makes no sense")
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        hint = "; the system may have had no memory left, see host_memory" if -returncode == signal.SIGKILL else ""
        return EngineError(f"the engine was ended by {name}{hint}" + (f"; it said last: {line}" if line else ""),
                           returncode)
    return EngineError(line or f"the engine ended with status {returncode}", returncode)
