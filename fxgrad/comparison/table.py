"""The facts of a comparison in words, one row each; as text for a terminal, or for the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich import box
from rich.table import Table

from fxgrad.comparison.break_even import BreakEven
from fxgrad.comparison.new_process import compiled_before
from fxgrad.comparison.record import Record
from fxgrad.comparison.timing import Timing
from fxgrad.modes import Mode
from fxgrad.printing import printed
from fxgrad.quantities import in_bytes, in_seconds

# Modes differ by rounding: some 1e-7 in float32, more where errors add up.
DISAGREEMENT: Final = 1e-2

LEGEND: Final = {
    "first": "with all tracing and compiling",
    "median": "half of the calls after the first ones took less",
    "10–90 %": "between these two lie eight of ten calls",
    "programs built": "XLA programs compiled; eager compiles one for each kind of operation",
    "compiling": "seconds in which they were traced, lowered and built",
    "Python runs": "how often the function's Python code ran",
    "memory": "at its worst moment, arguments and results included: of static what the compiled "
    "program takes, of eager what is held op by op",
    "break-even": "from here on the total, first call included, is less than the slower modes'; "
    "~ is predicted, from the calls before the steady ones and the medians",
}


@dataclass(frozen=True)
class Row:
    """One fact, for each mode."""

    label: str
    cells: tuple[str, ...]


def modes_of(comparison: Record) -> tuple[Mode, ...]:
    """Every mode that was asked for: those that ran, then those that could not."""
    return (*comparison.timings, *comparison.failures)


def rows(comparison: Record) -> list[Row]:
    """The table: what each mode cost and reached."""
    unit = comparison.unit
    calls = max((len(timing.all_seconds) for timing in comparison.timings.values()), default=0)
    facts: dict[str, Callable[[Timing], str]] = {
        f"first {unit}": lambda t: in_seconds(t.first_seconds),
        f"median {unit}": lambda t: in_seconds(t.median_seconds),
        "10–90 % of them": lambda t: " – ".join(map(in_seconds, t.spread_seconds)),
        f"total, {calls} {unit}s": lambda t: in_seconds(t.total_seconds),
        "programs built": lambda t: str(t.programs),
        "compiling": lambda t: in_seconds(t.compile_seconds),
        "Python runs": lambda t: str(t.stats.python_runs),
        "memory": lambda t: in_bytes(t.memory_bytes),
    }
    found = [
        Row(label, tuple(_cell(comparison, mode, fact) for mode in modes_of(comparison)))
        for label, fact in facts.items()
    ]
    return [*found, *_break_even_row(comparison), *_training_rows(comparison)]


def _here(comparison: Record, break_even: BreakEven) -> str:
    """A crossing of a mode that had been compiled before is one of this process only."""
    before = compiled_before(comparison.timings)
    return " in this process" if {break_even.mode, break_even.over} & {*before} else ""


def sentences(comparison: Record) -> list[str]:
    """What the table means: which mode to take, ratios, break-evens, what could not run."""
    found = [f"Recommended: {comparison.recommendation}"] if comparison.timings else []
    for break_even in comparison.break_evens:
        fast, slow = comparison.timings[break_even.mode], comparison.timings[break_even.over]
        found.append(_ratio_in_words(break_even, fast, slow, comparison.unit))
        if not break_even.is_tie:
            found.append(_in_words(break_even, comparison.unit, _here(comparison, break_even)))
    found += _agreement(comparison)
    found += [f"{mode} could not run it: {why}" for mode, why in comparison.failures.items()]
    return found


def _agreement(comparison: Record) -> Iterator[str]:
    difference = comparison.largest_difference
    if difference is None:
        return
    what = "losses" if comparison.training else "outputs"
    yield f"Largest relative difference between the modes' {what}: {difference:.1e}."
    if difference > DISAGREEMENT:
        yield (
            "That is more than rounding explains. Is the function pure: no random numbers, "
            "counters or clocks of its own? Is it so steep that rounding grows?"
        )
    if any(not np.isfinite(run.losses).all() for run in comparison.training.values()):
        yield "Some losses are not finite: is a label out of range, or the learning rate too high?"


def text_table(comparison: Record) -> str:
    """The table, the sentences and the environment as plain text."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for mode in modes_of(comparison):
        table.add_column(mode, justify="right")
    for row in rows(comparison):
        table.add_row(row.label, *row.cells)
    return printed(comparison.title, table, *sentences(comparison), str(comparison.environment))


def _cell(comparison: Record, mode: Mode, fact: Callable[[Timing], str]) -> str:
    return fact(comparison.timings[mode]) if mode in comparison.timings else "–"


def _break_even_row(comparison: Record) -> Iterator[Row]:
    """From which call on each mode is ahead of all modes whose steady call is slower."""
    if len(comparison.timings) < 2:
        return
    cells = []
    for mode in modes_of(comparison):
        own = [b for b in comparison.break_evens if b.mode == mode and not b.is_tie]
        last = max(own, key=lambda b: math.inf if b.call is None else b.call, default=None)
        call = None if last is None else last.call
        is_predicted = last is not None and last.measured is None
        cells.append("–" if call is None else f"~{call}" if is_predicted else str(call))
    yield Row(f"break-even {comparison.unit}", tuple(cells))


def _ratio_in_words(break_even: BreakEven, fast: Timing, slow: Timing, unit: str) -> str:
    mode, over = break_even.mode, break_even.over
    if break_even.is_tie:
        return f"{mode} and {over} cost the same within their spread, by the median {unit}."
    ratio = slow.median_seconds / fast.median_seconds
    return f"{mode} is {ratio:.3g} times as fast as {over}, by the median {unit}."


def _in_words(break_even: BreakEven, unit: str, here: str) -> str:
    mode, over = break_even.mode, break_even.over
    if break_even.measured == 1:
        return f"{mode} was ahead of {over} from the first {unit}{here}."
    if break_even.measured is not None:
        return f"{mode} overtook {over} at {unit} {break_even.measured}, measured{here}."
    if break_even.predicted is None:
        return f"{mode} did not overtake {over}{here}."
    return (
        f"{mode} overtakes {over} at {unit} {break_even.predicted}, predicted{here}"
        f"{_range(break_even)}."
    )


def _range(break_even: BreakEven) -> str:
    if break_even.between is None:
        return ""
    earliest, latest = break_even.between
    return f" ({earliest} to {latest})" if latest else f" ({earliest} at the earliest)"


def _training_rows(comparison: Record) -> Iterator[Row]:
    runs = comparison.training
    if not runs:
        return
    cells = (f"{runs[m].losses[-1]:.6f}" if m in runs else "–" for m in modes_of(comparison))
    yield Row("last loss", tuple(cells))
    names = dict.fromkeys(name for run in runs.values() for name in run.evaluation)
    for name in names:
        values = (
            f"{runs[m].evaluation[name]:.4f}" if m in runs else "–" for m in modes_of(comparison)
        )
        yield Row(name, tuple(values))
