"""Progress of long work: a bar on a terminal, plain lines elsewhere, few however long it takes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_REDRAWN_EVERY: Final = 0.5  # seconds; a redraw takes about a millisecond from the training
_MOST_EPOCHS: Final = 100  # as lines
_LINE_EVERY: Final = 10.0  # seconds, within an epoch

Describe = Callable[[], str]


class Reporter(Protocol):
    """What a training tells while it runs."""

    def steps(self, made: int, describe: Describe) -> None:
        """So many steps are made; `describe` is called only when it is time to tell more."""
        ...

    def epoch(self, number: int, facts: Mapping[str, float], seconds: float, more: str) -> None:
        """Epoch `number`, from 0, has ended after so many seconds."""
        ...

    def say(self, line: str) -> None:
        """A line about the whole, at its beginning or end."""
        ...


@contextlib.contextmanager
def report(
    title: str, epochs: int | None, total: int | None, show: bool | None
) -> Iterator[Reporter]:
    """A reporter for so many epochs and steps in all, each None where it is not known.

    True for `show` is a bar, False nothing, None a bar on a terminal and lines elsewhere.
    """
    console = Console(stderr=True)
    if show is False:
        yield Silent()
    elif show or console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[more]}"),
        )
        with Progress(*columns, console=console, auto_refresh=False) as progress:
            yield _Bar(progress, title, total)
    else:
        yield _Lines(console, title, epochs, total)


class Silent:
    """Tells nothing."""

    def steps(self, made: int, describe: Describe) -> None:
        """Nothing."""

    def epoch(self, number: int, facts: Mapping[str, float], seconds: float, more: str) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""


class _Lines:
    """A line for an epoch, at most about a hundred; within a long one, ever fewer."""

    def __init__(self, console: Console, title: str, epochs: int | None, total: int | None) -> None:
        self._console = console
        self._title = title
        self._epochs = epochs
        self._of_steps = f"/{total}" if total else ""
        self._each = math.ceil(epochs / _MOST_EPOCHS) if epochs else 1
        self._start = time.perf_counter()
        self._next_line = self._start + _LINE_EVERY

    def steps(self, made: int, describe: Describe) -> None:
        if time.perf_counter() >= self._next_line:
            self._print(f"{self._title} step {made}{self._of_steps}  {describe()}")

    def epoch(self, number: int, facts: Mapping[str, float], seconds: float, more: str) -> None:
        is_last = number + 1 == self._epochs
        is_late = self._epochs is None and number >= _MOST_EPOCHS
        is_due = time.perf_counter() >= self._next_line if is_late else number % self._each == 0
        if is_last or is_due:
            of = "" if self._epochs is None else f"/{self._epochs}"
            told = [f"{self._title} epoch {number + 1}{of}", words(facts), f"{seconds:.2f} s", more]
            self._print("  ".join(filter(None, told)))

    def say(self, line: str) -> None:
        self._print(f"{self._title}  {line}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        now = time.perf_counter()
        self._next_line = now + max(_LINE_EVERY, (now - self._start) / 50)


class _Bar:
    """A bar that is redrawn by time, in the training's own thread."""

    def __init__(self, progress: Progress, title: str, total: int | None) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=total, more="")
        self._next_redraw = 0.0

    def steps(self, made: int, describe: Describe) -> None:
        if time.perf_counter() >= self._next_redraw:
            self._redraw(completed=made, more=describe())

    def epoch(self, number: int, facts: Mapping[str, float], seconds: float, more: str) -> None:
        self._redraw(description=f"{self._title}  {words(facts)}")

    def say(self, line: str) -> None:
        self._redraw(more="")
        self._progress.console.print(
            f"{self._title}  {line}", highlight=False, markup=False, soft_wrap=True
        )

    def _redraw(self, **changed: object) -> None:
        self._progress.update(self._task, **changed)  # pyright: ignore[reportArgumentType]
        self._progress.refresh()
        self._next_redraw = time.perf_counter() + _REDRAWN_EVERY


def words(facts: Mapping[str, float]) -> str:
    """Facts in a line: ``loss 0.1234  accuracy 0.9000``."""
    return "  ".join(f"{name} {value:.4f}" for name, value in facts.items())


def duration(seconds: float) -> str:
    """Seconds as ``0:59`` or ``1:02:03``."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
