"""What `train.fit` adds to the loop that one writes by hand, at steps of about a millisecond.

Each way is a process of its own, and one at a time runs a short segment. The order within a round
rotates, and what `fit` adds is the median of its differences to the loop by hand, round by round,
so that other work on the machine meets all alike. Where that work is too much, the time that the
loop's own thread was running still tells what `fit` adds to it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import results
from fit_child import WAYS
from spread import Spread, spread

BAR: Final = 0.02
_CHILD: Final = Path(__file__).with_name("fit_child.py")
_BY_HAND: Final = "by hand"
_LEFT_OUT: Final = ("FXGRAD_MODE", "XLA_FLAGS")


class Segment(NamedTuple):
    """A step's nanoseconds: by the clock, and of the loop's own thread while it was running."""

    wall: float
    thread: float


@dataclass(frozen=True)
class Row:
    """One way, measured: a step's time in each segment, and what it adds to the loop by hand.

    The shares are the medians of what it adds, of the median step by hand.
    """

    task: str
    way: str
    steps_in_segment: int
    step: Spread
    added: Spread
    share: float
    added_in_thread: Spread
    share_in_thread: float


def measure(task: str, depth: int, rounds: int, steps: int) -> list[Row]:
    """Rounds of a segment of each way."""
    segments: dict[str, list[Segment]] = {way: [] for way in WAYS}
    with contextlib.ExitStack() as stack:
        children = {way: stack.enter_context(_running(way, depth)) for way in WAYS}
        for turn in range(rounds):
            for way in _rotated(list(WAYS), turn):
                segments[way].append(_segment(children[way], steps))
    return [_row(task, way, steps, segments) for way in WAYS]


def _row(task: str, way: str, steps: int, segments: dict[str, list[Segment]]) -> Row:
    pairs = list(zip(segments[way], segments[_BY_HAND], strict=True))
    added = spread([ours.wall - by_hand.wall for ours, by_hand in pairs])
    in_thread = spread([ours.thread - by_hand.thread for ours, by_hand in pairs])
    by_hand_us = spread([by_hand.wall for _, by_hand in pairs]).median_us
    return Row(
        task=task,
        way=way,
        steps_in_segment=steps,
        step=spread([segment.wall for segment in segments[way]]),
        added=added,
        share=added.median_us / by_hand_us,
        added_in_thread=in_thread,
        share_in_thread=in_thread.median_us / by_hand_us,
    )


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


def _segment(process: subprocess.Popen[str], steps: int) -> Segment:
    assert process.stdin is not None
    assert process.stdout is not None
    print(steps, file=process.stdin, flush=True)
    wall, thread = map(int, process.stdout.readline().split())
    return Segment(wall / steps, thread / steps)


def _rotated(ways: Sequence[str], turn: int) -> list[str]:
    first = turn % len(ways)
    return [*ways[first:], *ways[:first]]


def table(rows: list[Row]) -> str:
    """A row for each way and step, in microseconds."""
    header = ["µs a step", "p10", "median", "p90", "adds", "p10–p90", "share"]
    header += ["adds in its thread", "p10–p90", "share"]
    return results.markdown(header, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    times = [f"{us:.1f}" for us in (row.step.p10_us, row.step.median_us, row.step.p90_us)]
    if row.way == _BY_HAND:
        return [f"{row.task}: {row.way}", *times, *[""] * 6]
    wall = _added_cells(row.added, row.share)
    return [
        f"{row.task}: {row.way}",
        *times,
        *wall,
        *_added_cells(row.added_in_thread, row.share_in_thread),
    ]


def _added_cells(added: Spread, share: float) -> list[str]:
    return [f"{added.median_us:.1f}", f"{added.p10_us:.1f}–{added.p90_us:.1f}", f"{share:.1%}"]


def main() -> None:
    """Measure, print the table and the bar, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400, help="in a segment")
    parser.add_argument("--depth", type=int, default=8, help="layers of the step")
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    options = parser.parse_args()
    rows = [
        *measure("nothing", 0, options.rounds, options.steps * 10),
        *measure("a train step", options.depth, options.rounds, options.steps),
    ]
    print(table(rows), end="\n\n")
    (held,) = [row for row in rows if (row.task, row.way) == ("a train step", "fit")]
    for words, share in (("by the clock", held.share), ("in its thread", held.share_in_thread)):
        reached = "yes" if share <= BAR else "no"
        print(f"within {BAR:.0%} of the loop by hand, {words}: {reached} ({share:.2%})")
    results.write(
        "fit",
        options.results,
        command=(
            f"python benchmarks/fit.py --rounds {options.rounds} --steps {options.steps} "
            f"--depth {options.depth}"
        ),
        bar=BAR,
        is_reached={"wall": held.share <= BAR, "thread": held.share_in_thread <= BAR},
        rows=[dataclasses.asdict(row) for row in rows],
    )


if __name__ == "__main__":
    main()
