"""What a contender's process says to the one that times it: a line of JSON for each line asked.

First it greets with its device and versions. Then ``run N`` takes N train steps and answers with
the nanoseconds of each and the last loss. Standard library only: every environment can import it.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, TextIO

# Each next() takes one train step, waits until it is done, and gives its loss.
Steps = Iterator[Any]


def serve(steps: Steps, *, device: str, packages: tuple[str, ...]) -> None:
    """Greet, then answer every command on stdin until it closes."""
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    _say(answers, device=device, versions={package: version(package) for package in packages})
    for command in sys.stdin:
        name, count = command.split()
        if name != "run":
            raise ValueError(f"{command!r} is not a command. Write 'run N'.")
        nanoseconds, loss = _timed(steps, int(count))
        _say(answers, nanoseconds=nanoseconds, loss=loss)


def _timed(steps: Steps, count: int) -> tuple[list[int], float]:
    nanoseconds: list[int] = []
    loss: Any = math.nan
    for _ in range(count):
        start = time.perf_counter_ns()
        loss = next(steps)
        nanoseconds.append(time.perf_counter_ns() - start)
    return nanoseconds, float(loss)


def _say(answers: TextIO, **answer: Any) -> None:
    print(json.dumps(answer), file=answers, flush=True)
