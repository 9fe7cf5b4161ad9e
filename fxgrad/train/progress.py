"""Progress of long work: a bar on a terminal, one line for each epoch elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Reporter(Protocol):
    """What a training tells while it runs."""

    def advance(self) -> None:
        """One more step was made."""
        ...

    def epoch(self, number: int, facts: Mapping[str, float], seconds: float) -> None:
        """Epoch `number`, from 0, has ended."""
        ...


@contextlib.contextmanager
def report(title: str, epochs: int, steps: int | None, show: bool | None) -> Iterator[Reporter]:
    """A reporter for a training of `epochs`; None for `show` means a bar only on a terminal."""
    console = Console(stderr=True)
    if show is False:
        yield _Silent()
    elif show or console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            yield _Bar(progress, title, epochs, steps)
    else:
        yield _Lines(console, title, epochs)


class _Silent:
    def advance(self) -> None: ...
    def epoch(self, number: int, facts: Mapping[str, float], seconds: float) -> None: ...


class _Lines:
    def __init__(self, console: Console, title: str, epochs: int) -> None:
        self._console = console
        self._title = title
        self._epochs = epochs

    def advance(self) -> None: ...

    def epoch(self, number: int, facts: Mapping[str, float], seconds: float) -> None:
        line = f"{self._title} epoch {number + 1}/{self._epochs}  {_words(facts)}  {seconds:.2f} s"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Bar:
    def __init__(self, progress: Progress, title: str, epochs: int, steps: int | None) -> None:
        self._progress = progress
        self._title = title
        total = None if steps is None else epochs * steps
        self._task = progress.add_task(title, total=total, speed="")

    def advance(self) -> None:
        self._progress.advance(self._task)
        speed = self._progress.tasks[self._task].speed
        if speed:
            self._progress.update(self._task, speed=f"{speed:,.0f} steps/s")

    def epoch(self, number: int, facts: Mapping[str, float], seconds: float) -> None:
        self._progress.update(self._task, description=f"{self._title}  {_words(facts)}")


def _words(facts: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in facts.items())
