"""What `fx.function` adds to a bare `jax.jit` for one call of a function that is compiled."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import results
from spread import Spread, spread
from workloads.article import in_jax, task

import fxgrad as fx

MODES: Final = ("static", "replay")


class Case(NamedTuple):
    """A function, its first arguments, and the next call's from a call's arguments and result."""

    name: str
    fun: Callable[..., Any]
    arguments: tuple[Any, ...]
    following: Callable[[tuple[Any, ...], Any], tuple[Any, ...]]
    calls: int  # in a block


@dataclass(frozen=True)
class Row:
    """One case, measured: a call's time in each block, and of each mode what it adds to `jit`.

    `by_mode` is the time of a call, `added` that less `jit`'s in the same round.
    """

    case: str
    calls_in_block: int
    jit: Spread
    by_mode: dict[str, Spread]
    added: dict[str, Spread]


def cases(calls: int) -> list[Case]:
    """Both cases; the train step, which takes longer, in blocks a tenth as long."""
    return [
        Case(
            name="x + 1 on 4 floats",
            fun=lambda x: x + 1,
            arguments=(jnp.zeros(4),),
            following=lambda arguments, result: arguments,
            calls=calls,
        ),
        Case(
            name="the article's train step, 4 parameter arrays",
            fun=in_jax.step,
            arguments=_first_train_step(),
            following=lambda arguments, result: (result[0], *arguments[1:]),
            calls=max(1, calls // 10),
        ),
    ]


def _first_train_step() -> tuple[Any, ...]:
    (batch,) = task.batches()
    return jax.tree.map(jnp.asarray, (task.initial_state(), *batch))


def measure(case: Case, rounds: int) -> Row:
    """Rounds of a block of `jax.jit` and one of each mode, so that drift meets all alike."""
    jitted = jax.jit(case.fun)
    functions = {mode: fx.function(case.fun, mode=mode) for mode in MODES}
    for function in (jitted, *functions.values()):
        nanoseconds_per_call(function, case)  # compiles, warms up
    jit: list[float] = []
    ours: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        jit.append(nanoseconds_per_call(jitted, case))
        for mode, function in functions.items():
            ours[mode].append(nanoseconds_per_call(function, case))
    for mode, function in functions.items():
        assert set(function.stats().calls_by_mode) == {mode}, "unset FXGRAD_MODE for this benchmark"
    return Row(
        case=case.name,
        calls_in_block=case.calls,
        jit=spread(jit),
        by_mode={mode: spread(times) for mode, times in ours.items()},
        added={
            mode: spread([b - a for a, b in zip(jit, times, strict=True)])
            for mode, times in ours.items()
        },
    )


def nanoseconds_per_call(function: Callable[..., Any], case: Case) -> float:
    """One block of calls, waited for at its end."""
    arguments, following = case.arguments, case.following
    result = None
    start = time.perf_counter_ns()
    for _ in range(case.calls):
        result = function(*arguments)
        arguments = following(arguments, result)
    jax.block_until_ready(result)
    return (time.perf_counter_ns() - start) / case.calls


def table(rows: list[Row]) -> str:
    """A row for each side of each case, in microseconds."""
    header = ["µs per call", "min", "median", "p90"]
    return results.markdown(header, [line for row in rows for line in _lines(row)])


def _lines(row: Row) -> list[list[str]]:
    sides = {
        f"{row.case}: `jax.jit`": row.jit,
        **{f"{row.case}: fxgrad, {mode}": times for mode, times in row.by_mode.items()},
        **{f"{row.case}: {mode} adds, round by round": added for mode, added in row.added.items()},
    }
    return [
        [name, f"{s.min_us:.2f}", f"{s.median_us:.2f}", f"{s.p90_us:.2f}"]
        for name, s in sides.items()
    ]


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=2000, help="in a block of the tiny function")
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    options = parser.parse_args()
    rows = [measure(case, options.rounds) for case in cases(options.calls)]
    print(table(rows))
    results.write(
        "dispatch",
        options.results,
        command=f"python benchmarks/dispatch.py --rounds {options.rounds} --calls {options.calls}",
        rows=[dataclasses.asdict(row) for row in rows],
    )


if __name__ == "__main__":
    main()
