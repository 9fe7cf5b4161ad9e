"""How checkpoints bear what befalls them: kills, signals, damage, full disks, second writers.

The whole takes about half an hour, mostly the starts of trainings. What is said in
docs/reliability.md is the table that this prints: ``--docs`` writes it there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import results
import soak_damage
import soak_processes
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

DOCS: Final = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->\n", "<!-- soak: end -->"


class Trial(NamedTuple):
    """What is done, how often, and which counts must be 0 or that of another."""

    words: str
    trials: int
    run: Callable[[int, Path, Callable[[], None]], Mapping[str, int]]
    zero: tuple[str, ...]
    equal: tuple[str, str]


TRIALS: Final = {
    "kills": Trial(
        "`kill -9` of a training, at random moments",
        100,
        soak_processes.kills,
        ("different", "steps_lost", "steps_damaged"),
        ("runs", "same"),
    ),
    "signals": Trial(
        "SIGTERM to a training, at random moments",
        30,
        soak_processes.signals,
        ("different", "slow", "steps_damaged"),
        ("signals", "exit_75"),
    ),
    "writers": Trial(
        "two trainings on one folder at once",
        20,
        soak_processes.writers,
        ("different", "steps_damaged"),
        ("pairs", "one_refused"),
    ),
    "flips": Trial(
        "one bit flipped, over every file of a step",
        1000,
        soak_damage.flips,
        ("silent",),
        ("flips", "refused"),
    ),
    "files": Trial(
        "each file cut in half, cut by a byte, zeroed, deleted",
        10,
        soak_damage.files,
        ("silent",),
        ("damages", "refused"),
    ),
    "disks": Trial(
        "a disk with room for 10–110 % of a step",
        20,
        soak_damage.disks,
        ("damaged", "left_behind", "not_saved_after"),
        ("sizes", "sizes"),
    ),
}


def main() -> int:
    """Run the trials, print the table, write the results; 1 if any has failed."""
    options = _options()
    counts = {}
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, _progress() as progress:
        for name in options.only:
            trial = TRIALS[name]
            count = max(1, trial.trials // 10) if options.tenth else trial.trials
            task = progress.add_task(name, total=count)
            (Path(folder) / name).mkdir()
            counts[name] = dict(
                trial.run(count, Path(folder) / name, lambda task=task: progress.advance(task))
            )
    print(table(counts))
    if options.output is not None:
        results.write("soak", options.output, command=_command(options), counts=counts)
    if options.docs:
        write_docs(counts)
    failed = [name for name, found in counts.items() if failures(name, found)]
    for name in failed:
        print(f"{name} failed: {failures(name, counts[name])}", file=sys.stderr)
    return 1 if failed else 0


def failures(name: str, counts: Mapping[str, int]) -> dict[str, int]:
    """The counts of a trial that are not what they must be."""
    trial = TRIALS[name]
    if "skipped" in counts:
        return {}
    wrong = {key: counts[key] for key in trial.zero if counts[key]}
    all_of, good = trial.equal
    return wrong | ({} if counts[all_of] == counts[good] else {good: counts[good]})


def table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The results as markdown."""
    rows = []
    for name, found in counts.items():
        said = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in found.items())
        rows.append((TRIALS[name].words, said, "failed" if failures(name, found) else "held"))
    lines = ["| what befalls it | counts | |", "| :-- | :-- | :-- |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def write_docs(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Put the table where docs/reliability.md has it."""
    before, rest = DOCS.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    text = f"{before}{BEGIN}{table(counts)}\n{END}{after}"
    DOCS.write_text(text, encoding="utf-8")


def documented() -> str:
    """The table in docs/reliability.md."""
    return DOCS.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenth", action="store_true", help="a tenth of it, as in the tests")
    parser.add_argument("--only", type=lambda names: names.split(","), default=[*TRIALS])
    parser.add_argument("--output", type=Path, help="a folder for the results as JSON")
    parser.add_argument("--docs", action="store_true", help="write the table into the docs")
    options = parser.parse_args()
    if unknown := [name for name in options.only if name not in TRIALS]:
        parser.error(f"there is no trial {unknown[0]!r}: choose from {', '.join(TRIALS)}")
    return options


def _command(options: argparse.Namespace) -> str:
    only = "" if options.only == [*TRIALS] else f" --only {','.join(options.only)}"
    return f"python benchmarks/soak.py{' --tenth' if options.tenth else ''}{only}"


def _progress() -> Progress:
    columns: tuple[Any, ...] = (TextColumn("{task.description:8}"), BarColumn())
    return Progress(
        *columns, MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True)
    )


if __name__ == "__main__":
    sys.exit(main())
