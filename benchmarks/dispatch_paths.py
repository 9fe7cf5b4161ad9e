"""What a call of a replayed function costs with one path recorded and with a thousand.

Two functions have 1,024 paths: ten ifs in a row, and two integers of 32 values each. One copy of a
function knows the path of one argument, another all of them; both are called with that argument,
in blocks that alternate. Then the full copy is called with all arguments in turn and the memory of
the process is read before and after.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import results
from spread import Spread, spread

import fxgrad as fx

PATHS = 1024
IFS = 10
VALUES = 32
# A copy is called this often before it is timed, so that what it knows has been compiled for good.
SETTLING_ROUNDS = 3
MEBIBYTE = 2**20


class Case(NamedTuple):
    """A function and an argument for each of its paths."""

    name: str
    fun: Callable[[jax.Array], jax.Array]
    arguments: list[jax.Array]


@dataclass(frozen=True)
class Row:
    """One case, measured: a call's time in each block, and memory over many calls.

    Attributes:
      paths: how many paths the full copy has recorded, by its count of Python runs.
      recording_seconds: what the calls took that recorded them.
      memory_start_mib: resident memory with all paths recorded and settled.
      memory_end_mib: the same after `memory_calls` more calls.
    """

    case: str
    paths: int
    recording_seconds: float
    one_path: Spread
    all_paths: Spread
    difference: Spread
    memory_calls: int
    memory_start_mib: float
    memory_end_mib: float


def ten_ifs(x: jax.Array) -> jax.Array:
    total = jnp.float32(0)
    for place in range(IFS):
        total = total + x[place] if x[place] > 0 else total * 2
    return total


def two_integers(x: jax.Array) -> jax.Array:
    return x * int(x[0]) + int(x[1])


def cases() -> list[Case]:
    signs = itertools.product((-1, 1), repeat=IFS)
    integers = itertools.product(range(VALUES), repeat=2)
    return [
        Case("ten ifs", ten_ifs, [jnp.asarray(s, jnp.float32) for s in signs]),
        Case("two integers", two_integers, [jnp.asarray(i, jnp.float32) for i in integers]),
    ]


def measure(case: Case, *, rounds: int, calls: int, memory_calls: int) -> Row:
    """Record, check against plain eager, time both copies round by round, then read memory."""
    # Each copy is a Function of its own, of the same Python function.
    one, full = (fx.function(case.fun, mode="replay") for _ in range(2))
    known = case.arguments[PATHS // 2]  # neither the first nor the last recorded
    start = time.perf_counter()
    _call_with_each(full, case.arguments)
    recording_seconds = time.perf_counter() - start
    for _ in range(SETTLING_ROUNDS):
        _call_with_each(full, case.arguments)
        _nanoseconds_per_call(one, known, PATHS)
    _check(full, case)
    one_path, all_paths = [], []
    for _ in range(rounds):
        one_path.append(_nanoseconds_per_call(one, known, calls))
        all_paths.append(_nanoseconds_per_call(full, known, calls))
    memory_start = _resident_mib()
    for argument in itertools.islice(itertools.cycle(case.arguments), memory_calls):
        full(argument)
    assert set(full.stats().calls_by_mode) == {"replay"}, "unset FXGRAD_MODE for this benchmark"
    return Row(
        case=case.name,
        paths=full.stats().python_runs,
        recording_seconds=recording_seconds,
        one_path=spread(one_path),
        all_paths=spread(all_paths),
        difference=spread([b - a for a, b in zip(one_path, all_paths, strict=True)]),
        memory_calls=memory_calls,
        memory_start_mib=memory_start,
        memory_end_mib=_resident_mib(),
    )


def _call_with_each(function: Callable[..., Any], arguments: list[jax.Array]) -> None:
    for argument in arguments:
        jax.block_until_ready(function(argument))


def _check(function: Callable[..., Any], case: Case) -> None:
    for argument in case.arguments[:: PATHS // 16]:
        np.testing.assert_allclose(function(argument), case.fun(argument), rtol=1e-6)


def _nanoseconds_per_call(function: Callable[..., Any], argument: jax.Array, calls: int) -> float:
    """One block of calls with one argument, each waited for."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        jax.block_until_ready(function(argument))
    return (time.perf_counter_ns() - start) / calls


def _resident_mib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


def table(rows: list[Row]) -> str:
    """A row for each copy of each case, times in microseconds."""
    header = ["µs per call", "min", "median", "p90"]
    return results.markdown(header, [line for row in rows for line in _lines(row)])


def _lines(row: Row) -> list[list[str]]:
    sides = {
        f"{row.case}: 1 path recorded": row.one_path,
        f"{row.case}: {row.paths} paths recorded": row.all_paths,
        f"{row.case}: difference, round by round": row.difference,
    }
    return [
        [name, f"{s.min_us:.2f}", f"{s.median_us:.2f}", f"{s.p90_us:.2f}"]
        for name, s in sides.items()
    ]


def memory_line(row: Row) -> str:
    return (
        f"{row.case}: {row.paths} paths recorded in {row.recording_seconds:.1f} s; "
        f"{row.memory_start_mib:.1f} MiB before {row.memory_calls} calls over all paths, "
        f"{row.memory_end_mib:.1f} MiB after"
    )


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--calls", type=int, default=500, help="in a block")
    parser.add_argument("--memory-calls", type=int, default=100_000)
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    chosen = parser.parse_args()
    amount = {name: getattr(chosen, name) for name in ("rounds", "calls", "memory_calls")}
    rows = [measure(case, **amount) for case in cases()]
    print(table(rows), "", *map(memory_line, rows), sep="\n")
    options = " ".join(f"--{name.replace('_', '-')} {count}" for name, count in amount.items())
    results.write(
        "dispatch_paths",
        chosen.results,
        command=f"python benchmarks/dispatch_paths.py {options}",
        rows=[dataclasses.asdict(row) for row in rows],
    )


if __name__ == "__main__":
    main()
