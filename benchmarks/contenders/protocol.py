"""What a contender's process says to the one that times it: a line of JSON for each line asked.

First it greets with its device and versions. Each command starts from the initial state:

``run N``      the nanoseconds of each of N steps, every one waited for;
``chain N``    the nanoseconds of N steps together, only the last one waited for;
``answers N``  what each of N steps gives, as numbers;
``facts``      what the contender can tell of itself, such as how often it compiled.

A command that fails is answered with its error, and ends the process.
"""

from __future__ import annotations

import abc
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, TextIO

import numpy as np


class Run(abc.ABC):
    """One workload as one contender runs it."""

    def __init__(self, batches: list[Any], cycle_steps: int) -> None:
        self._batches = batches
        self._cycle_steps = cycle_steps

    @abc.abstractmethod
    def restart(self) -> None:
        """Go back to the initial state."""

    @abc.abstractmethod
    def step(self, *batch: Any) -> Any:
        """Take one step: its answer, an array or a tuple of them, perhaps not yet computed."""

    @abc.abstractmethod
    def wait(self, answer: Any) -> None:
        """Until the answer and the new state are computed."""

    def facts(self) -> dict[str, Any]:
        return {}

    def batches(self, count: int) -> Iterator[Any]:
        """The next `count` steps' batches, going back to the initial state after each cycle."""
        for index in range(count):
            turn = index % self._cycle_steps
            if turn == 0:
                self.restart()
            yield self._batches[turn % len(self._batches)]


def serve(run: Run, *, device: str, packages: tuple[str, ...]) -> None:
    """Greet, then answer every command on stdin until it closes."""
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    _say(answers, device=device, versions={package: version(package) for package in packages})
    for line in sys.stdin:
        command, *counts = line.split()
        try:
            answer = COMMANDS[command](run, *map(int, counts))
        except Exception as error:
            _say(answers, error=_in_one_line(error))
            raise
        _say(answers, **{command: answer})


def _run(run: Run, count: int) -> list[int]:
    nanoseconds: list[int] = []
    for batch in run.batches(count):
        start = time.perf_counter_ns()
        run.wait(run.step(*batch))
        nanoseconds.append(time.perf_counter_ns() - start)
    return nanoseconds


def _chain(run: Run, count: int) -> int:
    answer: Any = None
    start = time.perf_counter_ns()
    for batch in run.batches(count):
        answer = run.step(*batch)
    run.wait(answer)
    return time.perf_counter_ns() - start


def _answers(run: Run, count: int) -> list[list[float]]:
    return [_numbers(run.step(*batch)) for batch in run.batches(count)]


def _numbers(answer: Any) -> list[float]:
    parts = answer if isinstance(answer, tuple) else (answer,)
    return [number for part in parts for number in np.ravel(np.asarray(part)).tolist()]


COMMANDS: dict[str, Callable[..., Any]] = {
    "run": _run,
    "chain": _chain,
    "answers": _answers,
    "facts": lambda run: run.facts(),
}


def _in_one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    # AutoGraph puts its own traceback first and the error last.
    line = lines[-1] if lines[0].startswith("in user code") else lines[0]
    return f"{type(error).__name__}: {line}"


def _say(stream: TextIO, /, **answer: Any) -> None:
    print(json.dumps(answer), file=stream, flush=True)
