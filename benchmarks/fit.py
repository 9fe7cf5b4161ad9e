"""What `train.fit` adds to the loop that one writes by hand, at steps of about a millisecond.

Each way is a process of its own, and one at a time runs a short segment. The order within a round
rotates, and what `fit` adds is the median of its differences to the loop by hand, round by round,
so that other work on the machine meets all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import results
from fit_child import WAYS
from spread import Spread, spread

BAR: Final = 0.02
_CHILD: Final = Path(__file__).with_name("fit_child.py")
_BY_HAND: Final = "by hand"
_LEFT_OUT: Final = ("FXGRAD_MODE", "XLA_FLAGS")


@dataclass(frozen=True)
class Row:
    """One way, measured: a step's time in each segment, and what it adds to the loop by hand.

    `share` is the median of what it adds, by the median step by hand; None for a step of nothing.
    """

    task: str
    way: str
    steps_in_segment: int
    step: Spread
    added: Spread | None
    share: float | None


def measure(task: str, depth: int, rounds: int, steps: int) -> list[Row]:
    """Rounds of a segment of each way."""
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with contextlib.ExitStack() as stack:
        children = {way: stack.enter_context(_running(way, depth)) for way in WAYS}
        for turn in range(rounds):
            for way in _rotated(list(WAYS), turn):
                times[way].append(_segment(children[way], steps) / steps)
    return [_row(task, way, steps, times) for way in WAYS]


def _row(task: str, way: str, steps: int, times: dict[str, list[float]]) -> Row:
    by_hand = times[_BY_HAND]
    if way == _BY_HAND:
        return Row(task, way, steps, spread(by_hand), None, None)
    added = [a - b for a, b in zip(times[way], by_hand, strict=True)]
    share = statistics.median(added) / statistics.median(by_hand)
    return Row(task, way, steps, spread(times[way]), spread(added), share)


@contextlib.contextmanager
def _running(way: str, depth: int) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    process = subprocess.Popen(
        [sys.executable, str(_CHILD), way, str(depth)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=kept,
    )
    try:
        yield process
    finally:
        process.communicate()


def _segment(process: subprocess.Popen[str], steps: int) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    print(steps, file=process.stdin, flush=True)
    return int(process.stdout.readline())


def _rotated(ways: Sequence[str], turn: int) -> list[str]:
    first = turn % len(ways)
    return [*ways[first:], *ways[:first]]


def table(rows: list[Row]) -> str:
    """A row for each way and step, in microseconds."""
    header = ["µs a step", "p10", "median", "p90", "adds, median", "adds, p10–p90", "share"]
    return results.markdown(header, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    step, added = row.step, row.added
    cells = [f"{row.task}: {row.way}"]
    cells += [f"{value:.1f}" for value in (step.p10_us, step.median_us, step.p90_us)]
    if added is None or row.share is None:
        return [*cells, "", "", ""]
    spread_of_added = f"{added.p10_us:.1f}–{added.p90_us:.1f}"
    share = "" if row.task == "nothing" else f"{row.share:.2%}"
    return [*cells, f"{added.median_us:.1f}", spread_of_added, share]


def main() -> None:
    """Measure, print the table and the bar, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=300, help="in a segment")
    parser.add_argument("--depth", type=int, default=8, help="layers of the step")
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    options = parser.parse_args()
    rows = [
        *measure("nothing", 0, options.rounds, options.steps * 10),
        *measure("a train step", options.depth, options.rounds, options.steps),
    ]
    print(table(rows))
    (share,) = [row.share for row in rows if (row.task, row.way) == ("a train step", "fit")]
    assert share is not None
    print(
        f"\nwithin {BAR:.0%} of the loop by hand: {'yes' if share <= BAR else 'no'} ({share:.2%})"
    )
    results.write(
        "fit",
        options.results,
        command=(
            f"python benchmarks/fit.py --rounds {options.rounds} --steps {options.steps} "
            f"--depth {options.depth}"
        ),
        bar=BAR,
        is_reached=share <= BAR,
        rows=[dataclasses.asdict(row) for row in rows],
    )


if __name__ == "__main__":
    main()
