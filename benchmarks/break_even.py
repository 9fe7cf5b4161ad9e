"""How well `fx.compare` predicts from a few calls where a compiled mode overtakes eager.

In each round a new process compares the modes by first calls and 20 steady ones, and predicts;
and each mode makes all its calls in a process of its own. The measured break-even is where its
running total comes to lie below eager's for good. The medians over the rounds are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import command_line
import results
from break_even_subjects import SUBJECTS, Subject
from child import running
from lineup import Contender

from fxgrad.comparison.break_even import measured_break_even
from fxgrad.comparison.timing import HEAD_VARIES, MEDIAN_VARIES

STEADY_CALLS: Final = 20
BAR: Final = 0.2
# A long run is so many times as long as the first prediction, so that it holds the break-even.
_LONGER: Final = 3


@dataclass(frozen=True)
class Row:
    """One mode against eager, on one subject.

    Attributes:
      predicted, measured: the call of each round; None where no break-even was found.
      ratio: the median predicted call over the median measured one; None where either is none.
      covered: in how many rounds the measured call lay in the range that was predicted.
    """

    subject: str
    mode: str
    predicted: list[int | None]
    measured: list[int | None]
    ratio: float | None
    covered: int

    @property
    def is_within_bar(self) -> bool:
        """Whether predicted and measured are as near as the bar asks."""
        return self.ratio is not None and abs(self.ratio - 1) <= BAR


@dataclass(frozen=True)
class Varies:
    """What the long runs of one mode differ by, each over the median run's.

    Attributes:
      first: the first calls' smallest and largest.
      median: the steady medians' smallest and largest.
    """

    subject: str
    mode: str
    first: tuple[float, float]
    median: tuple[float, float]


def measure(subject: Subject, rounds: int) -> tuple[list[Row], list[Varies]]:
    """Predict and run in every round, in every second round the other way about."""
    told = [_ask("all", subject, "predict", STEADY_CALLS)]
    calls = max(b["predicted"] or 1 for b in _against_eager(told[0]).values())
    calls = max(_LONGER * calls, 2 * STEADY_CALLS)
    runs: dict[str, list[list[float]]] = {mode: [] for mode in ("eager", *subject.modes)}
    for turn in range(rounds):
        if turn and turn % 2 == 0:
            told.append(_ask("all", subject, "predict", STEADY_CALLS))
        for mode, seconds in runs.items():
            seconds.append(_ask(mode, subject, "run", calls))
        if turn % 2:
            told.append(_ask("all", subject, "predict", STEADY_CALLS))
    rows = [_row(subject, mode, told, runs) for mode in subject.modes]
    return rows, [_varies(subject, mode, seconds) for mode, seconds in runs.items()]


def _ask(name: str, subject: Subject, command: str, calls: int) -> Any:
    contender = Contender(name, name, "break_even_child", is_peer=False)
    with running(contender, subject.name, sys.executable) as child:
        return child.ask(command, calls)


def _against_eager(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {b["mode"]: b for b in told["break_evens"] if b["over"] == "eager"}


def _row(
    subject: Subject,
    mode: str,
    told: Sequence[Mapping[str, Any]],
    runs: Mapping[str, Sequence[Sequence[float]]],
) -> Row:
    break_evens = [_against_eager(data)[mode] for data in told]
    predicted = [b["predicted"] for b in break_evens]
    measured = [measured_break_even(*pair) for pair in zip(runs[mode], runs["eager"], strict=True)]
    ratio = _median(predicted) / _median(measured)
    return Row(
        subject=subject.name,
        mode=mode,
        predicted=predicted,
        measured=measured,
        ratio=ratio if 0 < ratio < math.inf else None,
        covered=sum(
            _covers(b["between"], call) for b, call in zip(break_evens, measured, strict=True)
        ),
    )


def _median(calls: Sequence[int | None]) -> float:
    """The median, where what was not found lies beyond all that was."""
    return statistics.median(math.inf if call is None else call for call in calls)


def _covers(between: Sequence[int | None] | None, call: int | None) -> bool:
    if between is None or call is None:
        return False
    earliest, latest = between
    return (earliest or 1) <= call <= (math.inf if latest is None else latest)


def _varies(subject: Subject, mode: str, runs: Sequence[Sequence[float]]) -> Varies:
    firsts = [run[0] for run in runs]
    medians = [statistics.median(run[STEADY_CALLS:]) for run in runs]
    return Varies(subject.name, mode, _relative(firsts), _relative(medians))


def _relative(values: Sequence[float]) -> tuple[float, float]:
    middle = statistics.median(values)
    return min(values) / middle, max(values) / middle


def table(rows: Sequence[Row]) -> str:
    """A row for each mode of each subject."""
    header = ["", "predicted call", "measured call", "ratio", "in the predicted range"]
    return results.markdown(header, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    return [
        f"{SUBJECTS[row.subject].label}: {row.mode} overtakes eager",
        _calls(row.predicted),
        _calls(row.measured),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        f"{row.covered} of {len(row.measured)}",
    ]


def _calls(calls: Sequence[int | None]) -> str:
    low, high = (f(math.inf if c is None else c for c in calls) for f in (min, max))
    return f"{_median(calls):.0f} ({low:.0f}–{high:.0f})"


def table_of_varies(found: Sequence[Varies]) -> str:
    """What repeated processes differ by."""
    header = ["", "first call", "median steady call"]
    return results.markdown(
        header,
        [
            [
                f"{SUBJECTS[v.subject].label}: {v.mode}",
                f"{v.first[0]:.2f}–{v.first[1]:.2f}",
                f"{v.median[0]:.2f}–{v.median[1]:.2f}",
            ]
            for v in found
        ],
    )


def main() -> None:
    """Measure, print the tables, write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    measured = [measure(SUBJECTS[name], chosen.rounds) for name in chosen.subjects]
    rows = [row for found, _ in measured for row in found]
    varies = [v for _, found in measured for v in found]
    print(table(rows))
    for row in rows:
        words = "yes" if row.is_within_bar else "no"
        print(f"- {row.subject}, {row.mode}: within {BAR:.0%} of the measured call: {words}")
    print(f"\nProcesses of one mode, each over the median one:\n\n{table_of_varies(varies)}")
    loads = [load, os.getloadavg()[0]]
    print(f"\nProcesses that ran or waited for a core, before and after: {loads}")
    results.write(
        "break_even",
        chosen.results,
        command=f"python benchmarks/break_even.py --rounds {chosen.rounds} "
        f"--subjects {' '.join(chosen.subjects)}",
        steady_calls=STEADY_CALLS,
        assumed={"head_varies": HEAD_VARIES, "median_varies": MEDIAN_VARIES},
        load_averages=loads,
        rows=[dataclasses.asdict(row) for row in rows],
        varies=[dataclasses.asdict(v) for v in varies],
    )


if __name__ == "__main__":
    command_line.run(main)
