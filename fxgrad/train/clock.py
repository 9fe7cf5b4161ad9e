"""The clock: where the seconds of a training went."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fxgrad.compilation import heard

Section = Literal["data", "step", "evaluation", "saving", "other"]


@dataclass(frozen=True)
class TimeSpent:
    """Seconds of the training's own thread; together they are the whole.

    The device works beside this thread: a device that is late is waited for under `step`, and data
    that is prepared while the device works costs nothing under `data`.

    Attributes:
      compile: tracing, lowering and building programs, whoever asked for them.
      data: waiting for batches.
      step: calling the step, and waiting for its metrics.
      evaluation: `evaluate`.
      saving: copying the state for a checkpoint, and waiting for the last one.
      other: metrics, logs, callbacks and progress.
    """

    compile: float
    data: float
    step: float
    evaluation: float
    saving: float
    other: float

    @property
    def total(self) -> float:
        """The sum: the seconds of the whole training."""
        return sum(dataclasses.astuple(self))

    def to_dict(self) -> dict[str, float]:
        """The seconds as plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        shares = sorted(self.to_dict().items(), key=lambda item: -item[1])
        whole = self.total or 1.0
        told = [f"{name} {s / whole:.0%}" for name, s in shares if s / whole >= 0.005]
        return f"{self.total:.2f} s: {', '.join(told)}"


class Clock:
    """Seconds by section: each lap gives those since the last one to a section."""

    def __init__(self, before: Mapping[str, float] | None = None) -> None:
        """Begin to count, from the seconds of `before` on."""
        self._seconds = {field.name: 0.0 for field in dataclasses.fields(TimeSpent)}
        self._seconds.update(before or {})
        self._last = time.perf_counter()
        self._compiled = heard.all_work.seconds

    def lap(self, section: Section) -> float:
        """The seconds since the last lap went to `section`; returns the time now, in seconds."""
        now = time.perf_counter()
        self._seconds[section] += now - self._last
        self._last = now
        return now

    def compiled(self, section: Section) -> None:
        """What has been compiled since this was last asked was compiled within `section`."""
        compiled = heard.all_work.seconds
        moved = min(compiled - self._compiled, self._seconds[section])
        self._compiled = compiled
        self._seconds[section] -= moved
        self._seconds["compile"] += moved

    def spent(self) -> TimeSpent:
        """The seconds so far, by section."""
        return TimeSpent(**self._seconds)

    def total(self) -> float:
        """The seconds so far."""
        return sum(self._seconds.values())

    def steady(self) -> float:
        """The seconds so far without compiling."""
        return self.total() - self._seconds["compile"]

    def training(self) -> float:
        """The seconds so far without evaluations and checkpoints."""
        return self.total() - self._seconds["evaluation"] - self._seconds["saving"]
