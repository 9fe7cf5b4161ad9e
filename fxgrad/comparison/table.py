"""The facts of a comparison in words, one row each; as text for a terminal, or for the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from fxgrad.comparison.record import Record
from fxgrad.comparison.timing import BreakEven, Timing
from fxgrad.modes import Mode


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
        "programs built": lambda t: str(t.stats.programs),
        "compiling": lambda t: in_seconds(t.stats.compile_seconds),
        "Python runs": lambda t: str(t.stats.python_runs),
        "program memory": lambda t: in_bytes(t.program_bytes),
    }
    found = [
        Row(label, tuple(_cell(comparison, mode, fact) for mode in modes_of(comparison)))
        for label, fact in facts.items()
    ]
    return [*found, *_break_even_row(comparison), *_training_rows(comparison)]


def sentences(comparison: Record) -> list[str]:
    """What the table means: ratios, break-evens, differences, and what could not run."""
    found = []
    for break_even in comparison.break_evens:
        fast, slow = comparison.timings[break_even.mode], comparison.timings[break_even.over]
        ratio = slow.median_seconds / fast.median_seconds
        found.append(f"{break_even.mode} takes 1/{ratio:.3g} of {break_even.over}'s median time.")
        found.append(_in_words(break_even, comparison.unit))
    if comparison.largest_difference is not None:
        what = "losses" if comparison.training else "outputs"
        found.append(
            f"Largest relative difference between the modes' {what}: "
            f"{comparison.largest_difference:.1e}."
        )
    found += [f"{mode} could not run it: {why}" for mode, why in comparison.failures.items()]
    return found


def text_table(comparison: Record) -> str:
    """The table, the sentences and the environment as plain text."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for mode in modes_of(comparison):
        table.add_column(mode, justify="right")
    for row in rows(comparison):
        table.add_row(row.label, *row.cells)
    text = io.StringIO()
    console = Console(file=text, width=100, color_system=None, force_jupyter=False)
    console.print(comparison.title, soft_wrap=True, markup=False)
    console.print(table)
    for sentence in (*sentences(comparison), str(comparison.environment)):
        console.print(sentence, soft_wrap=True, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").splitlines())


def in_seconds(seconds: float) -> str:
    """A duration with three digits and the unit that fits: ``1.23 ms``."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1e3 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e9:.0f} ns"


def in_bytes(count: int | None) -> str:
    """A size with the unit that fits, or ``n/a``."""
    if count is None:
        return "n/a"
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def _cell(comparison: Record, mode: Mode, fact: Callable[[Timing], str]) -> str:
    return fact(comparison.timings[mode]) if mode in comparison.timings else "–"


def _break_even_row(comparison: Record) -> Iterator[Row]:
    """From which call on each mode is ahead of all modes whose steady call is slower."""
    if len(comparison.timings) < 2:
        return
    cells = []
    for mode in modes_of(comparison):
        own = [b for b in comparison.break_evens if b.mode == mode]
        calls = [b.measured if b.measured is not None else b.predicted for b in own]
        known = [call for call in calls if call is not None]
        cells.append(str(max(known)) if known and len(known) == len(calls) else "–")
    yield Row(f"break-even {comparison.unit}", tuple(cells))


def _in_words(break_even: BreakEven, unit: str) -> str:
    mode, over = break_even.mode, break_even.over
    if break_even.measured == 1:
        return f"{mode} is ahead of {over} from the first {unit}."
    if break_even.measured is not None:
        return f"{mode} overtakes {over} at {unit} {break_even.measured}, measured."
    if break_even.predicted is not None:
        return f"{mode} overtakes {over} at {unit} {break_even.predicted}, predicted."
    return f"{mode} does not overtake {over}."


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
