"""Measuring one workload: each contender in a process of its own, one at a time, in rounds.

How a run of steps is timed is in `contenders.protocol`; what becomes of the rows, in the scripts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from child import Child, ChildError, running
from lineup import BASELINE, LINEUP
from spread import Spread, spread
from workloads import part

# Thread pools spin for a while after their last work; the next contender shall not pay for it.
PAUSE_SECONDS = 0.3


class Amount(NamedTuple):
    """How much is measured: steps to warm up, then `rounds` of `steps` steps."""

    warm_up: int
    rounds: int
    steps: int


@dataclass(frozen=True)
class Row:
    """One contender, measured.

    Attributes:
      first_call_ms: its first step, with tracing and compiling, without imports.
      warm_up_seconds: the first step and the warm-up's together.
      beyond_steady_seconds: what of these it would not have taken, had each been a median step.
      steady: each step of all rounds, every one waited for.
      unwaited_us: a step in a chain of which only the last is waited for; the median over rounds.
      ratio: its median over that of `jax.jit`, if that took part.
      facts: what it tells of itself.
    """

    contender: str
    label: str
    device: str
    first_call_ms: float
    warm_up_seconds: float
    beyond_steady_seconds: float
    steady: Spread
    medians_by_round_us: list[float]
    unwaited_us: float | None
    ratio: float | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """A workload's rows; and by contender the errors of those that could not run it."""

    rows: list[Row]
    failures: dict[str, ChildError]
    versions: dict[str, str]


def measure(
    workload: str,
    contenders: Sequence[str],
    peers_python: str | None,
    amount: Amount,
) -> Measured:
    """Start the contenders, compare their answers, time them, end them.

    Raises:
      ValueError: two of them give different answers.
    """
    with contextlib.ExitStack() as stack:
        children = {
            name: stack.enter_context(
                running(LINEUP[name], workload, _interpreter(name, peers_python))
            )
            for name in contenders
        }
        turns = _Turns(children)
        first = turns.take("run", 1)
        warm_up = turns.take("run", amount.warm_up)
        cycle_steps = part(workload, "task").CYCLE_STEPS
        _check_answers(turns.take("answers", cycle_steps))
        timings = [turns.take("run", amount.steps) for _ in range(amount.rounds)]
        # What is called often may have been compiled anew in the meantime.
        _check_answers(turns.take("answers", cycle_steps))
        dispatched = {name for name in contenders if LINEUP[name].is_dispatched}
        chains = [turns.take("chain", amount.steps, only=dispatched) for _ in timings]
        facts = turns.take("facts")
        rows = [
            _row(
                name,
                child,
                warm_up=first[name] + warm_up[name],
                rounds=[timing[name] for timing in timings],
                chains=[chain[name] / amount.steps for chain in chains if name in chain],
                facts=facts[name],
            )
            for name, child in turns.children.items()
        ]
        versions = {name: v for child in children.values() for name, v in child.versions.items()}
    return Measured(_with_ratios(rows), turns.failures, versions)


class _Turns:
    """The children in turn, each after a pause. One that fails takes no further part."""

    def __init__(self, children: Mapping[str, Child]) -> None:
        self.children = dict(children)
        self.failures: dict[str, ChildError] = {}

    def take(
        self, command: str, count: int | None = None, *, only: Collection[str] | None = None
    ) -> dict[str, Any]:
        answers = {}
        for name, child in list(self.children.items()):
            if only is not None and name not in only:
                continue
            time.sleep(PAUSE_SECONDS)
            try:
                answers[name] = child.ask(command, count)
            except ChildError as error:
                self.failures[name] = error
                del self.children[name]
        return answers


def _interpreter(contender: str, peers_python: str | None) -> str:
    if not LINEUP[contender].is_peer:
        return sys.executable
    assert peers_python is not None, f"{contender} needs the peers' interpreter"
    return peers_python


def _check_answers(answers: Mapping[str, list[list[float]]]) -> None:
    """The same work has been done only if the same answers came out of a cycle."""
    if not answers:
        return
    name, expected = next(iter(answers.items()))
    for other, given in answers.items():
        for step, (right, numbers) in enumerate(zip(expected, given, strict=True)):
            if not _is_close(right, numbers):
                raise ValueError(
                    f"step {step} of a cycle gives {numbers[:3]}… in {other} "
                    f"and {right[:3]}… in {name}"
                )


def _is_close(right: list[float], numbers: list[float]) -> bool:
    return len(right) == len(numbers) and all(
        math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) for a, b in zip(right, numbers, strict=True)
    )


def _row(
    name: str,
    child: Child,
    *,
    warm_up: list[int],
    rounds: list[list[int]],
    chains: list[float],
    facts: dict[str, Any],
) -> Row:
    steady = spread([nanoseconds for turn in rounds for nanoseconds in turn])
    warm_up_seconds = sum(warm_up) / 1e9
    return Row(
        contender=name,
        label=LINEUP[name].label,
        device=child.device,
        first_call_ms=warm_up[0] / 1e6,
        warm_up_seconds=warm_up_seconds,
        beyond_steady_seconds=warm_up_seconds - len(warm_up) * steady.median_us / 1e6,
        steady=steady,
        medians_by_round_us=[spread(turn).median_us for turn in rounds],
        unwaited_us=statistics.median(chains) / 1e3 if chains else None,
        ratio=None,
        facts=facts,
    )


def _with_ratios(rows: list[Row]) -> list[Row]:
    medians = {row.contender: row.steady.median_us for row in rows}
    if BASELINE not in medians:
        return rows
    return [
        dataclasses.replace(row, ratio=row.steady.median_us / medians[BASELINE]) for row in rows
    ]
