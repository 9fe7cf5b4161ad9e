"""A contender in a process of its own, from outside: asked for steps, it tells their times.

What is said is in `contenders.protocol`; which contenders there are, in `lineup`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lineup import Contender

_FOLDER = Path(__file__).parent
# They would change what a contender runs, end it, or spare it a compilation.
_VARIABLES_LEFT_OUT = ("FXGRAD_MODE", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")


class ChildError(RuntimeError):
    """A contender's process ended early. What it wrote to stderr is in the message.

    Attributes:
      reason: the error that it told of, in a line.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Child:
    """A running contender. Made by `running`."""

    def __init__(self, name: str, process: subprocess.Popen[str], stderr: IO[str]) -> None:
        self._name = name
        self._process = process
        self._stderr = stderr
        greeting = self._answer("starting")
        self.device: str = greeting["device"]
        self.versions: dict[str, str] = greeting["versions"]

    def ask(self, command: str, count: int | None = None) -> Any:
        """What the process answers to a command of `contenders.protocol`."""
        line = command if count is None else f"{command} {count}"
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer says it better
            print(line, file=self._process.stdin, flush=True)
        return self._answer(line)[command]

    def _answer(self, asked: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" not in answer:
            return answer
        status = self._process.wait()
        self._stderr.seek(0)
        raise ChildError(
            f"{self._name} ended with status {status} while {asked!r} was to be answered. "
            f"Its stderr:\n{self._stderr.read()}",
            reason=answer["error"],
        )


@contextlib.contextmanager
def running(contender: Contender, workload: str, interpreter: str) -> Iterator[Child]:
    """The contender's process, started with nothing compiled before; it ends with the block."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            [interpreter, "-m", contender.module, contender.name, workload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**_environment(cache), **contender.environment},
        )
        try:
            yield Child(contender.name, process, stderr)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Close its stdin, at which a contender ends by itself and ends the helpers that it has."""
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _environment(cache: str) -> dict[str, str]:
    kept = {name: v for name, v in os.environ.items() if name not in _VARIABLES_LEFT_OUT}
    search = [str(_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(search),
        # Else PyTorch finds what it compiled in an earlier run, as no other contender does.
        "TORCHINDUCTOR_CACHE_DIR": cache,
    }
