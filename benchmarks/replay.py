"""Programs that decide by values, replayed by fxgrad and run as JAX, PyTorch and TensorFlow can.

Each workload is a function called over and over: train steps with ifs, loops of as many turns as
the values ask for. All contenders get the same numbers and must give the same answers before they
are timed. Every step is waited for; where calls are dispatched, an unwaited chain is timed too.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

import command_line
import results
from bars import Verdict, verdicts
from decisions import paths_of_cycle
from lineup import LINEUP
from rounds import Amount, Measured, Row, measure
from workloads import WORKLOADS, Workload

# A static graph holds no decision; fxgrad's eager mode is JAX's, op by op.
STATIC = "fx-static"
LEFT_OUT = ("fx-eager",)


def run(workload: Workload, chosen: argparse.Namespace) -> tuple[Measured, dict[str, Any]]:
    """Measure one workload and print it: what was measured, and it as data."""
    paths = paths_of_cycle(workload.name)
    contenders = [n for n in chosen.contenders if n != STATIC or not workload.has_decisions]
    amount = Amount(chosen.warm_up, chosen.rounds, chosen.steps)
    measured = measure(workload.name, contenders, chosen.peers_python, amount)
    for failure in measured.failures.values():
        print(failure, file=sys.stderr)
    reached = verdicts(workload, _medians(measured))
    print(report(workload, paths, measured, reached), flush=True)
    return measured, {
        "workload": workload.name,
        "label": workload.label,
        "paths": paths,
        "rows": [dataclasses.asdict(row) for row in measured.rows],
        "cannot": {name: error.reason for name, error in measured.failures.items()},
        "bars": [dataclasses.asdict(verdict) for verdict in reached],
    }


def _medians(measured: Measured) -> dict[str, float | None]:
    medians: dict[str, float | None] = dict.fromkeys(measured.failures)
    return medians | {row.contender: row.steady.median_us for row in measured.rows}


def report(
    workload: Workload, paths: dict[str, int], measured: Measured, reached: list[Verdict]
) -> str:
    """A title, the table, what the contenders tell of themselves, and a line for each bar."""
    ways = ", ".join(f"{way or 'no decision'} ({count})" for way, count in paths.items())
    facts = [f"- {row.label}: {told}" for row in measured.rows if (told := _told(row.facts))]
    lines = [
        f"\n### {workload.name}: {workload.label}",
        f"\nSteps of a cycle by the way they go: {ways}.\n",
        table(measured),
        "",
        *facts,
        *(f"- {verdict}" for verdict in reached),
    ]
    return "\n".join(lines)


def table(measured: Measured) -> str:
    """A row for each contender; times per step in microseconds."""
    header = [
        "",
        "first call, ms",
        "warm-up, s",
        "beyond steady, s",
        "median, µs",
        "p10–p90, µs",
        "ratio to `jax.jit`",
        "unwaited, µs",
    ]
    rows = [_line(row) for row in measured.rows]
    failed = [
        [LINEUP[name].label, f"cannot: {error.reason}", *[""] * (len(header) - 2)]
        for name, error in measured.failures.items()
    ]
    return results.markdown(header, rows + failed)


def _line(row: Row) -> list[str]:
    return [
        row.label,
        f"{row.first_call_ms:.0f}",
        f"{row.warm_up_seconds:.2f}",
        f"{row.beyond_steady_seconds:.2f}",
        f"{row.steady.median_us:.0f}",
        f"{row.steady.p10_us:.0f}–{row.steady.p90_us:.0f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.unwaited_us is None else f"{row.unwaited_us:.0f}",
    ]


def _told(facts: dict[str, Any]) -> str:
    """The facts that are not zero; of counts by kind, their sum."""
    numbers = {
        name.replace("_", " "): sum(fact.values()) if isinstance(fact, dict) else round(fact, 2)
        for name, fact in facts.items()
    }
    return ", ".join(f"{name} {number}" for name, number in numbers.items() if number)


def options() -> argparse.Namespace:
    """The command line, checked."""
    parser = command_line.parser(__doc__, rounds=15, steps=96)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME")
    parser.add_argument("--warm-up", type=int, default=320, help="steps before the first round")
    chosen = parser.parse_args()
    if chosen.workloads is None:
        chosen.workloads = list(WORKLOADS)
    if chosen.contenders is None:
        chosen.contenders = [name for name in LINEUP if name not in LEFT_OUT]
    command_line.check_peers(parser, chosen.peers_python, chosen.contenders)
    return chosen


def main() -> None:
    """Measure each workload, print its table and bars, write the results."""
    chosen = options()
    versions: dict[str, str] = {}
    workloads = []
    for name in chosen.workloads:
        measured, data = run(WORKLOADS[name], chosen)
        versions |= measured.versions
        workloads.append(data)
    command = command_line.repeating("replay.py", chosen)
    results.write(
        "replay",
        chosen.results,
        command=f"{command} --warm-up {chosen.warm_up} --workloads {' '.join(chosen.workloads)}",
        versions=versions,
        workloads=workloads,
    )


if __name__ == "__main__":
    command_line.run(main)
