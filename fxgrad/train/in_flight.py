"""Metrics in flight: scalars of steps that the device may still be making, oldest first.

They are read some steps later, so that the loop does not wait for the device. What is done with
the numbers belongs to `loop`.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from fxgrad.errors import LossError

# How many steps lie between two looks, and how many may then stay unread without being waited for.
_LOOK_EVERY: Final = 32
_LOOK_EVERY_WITH_BATCHES: Final = 16  # a batch that is no longer needed may be large
_MOST: Final = 64
_SECONDS: Final = 0.2
_OF_THE_LOG: Final = ("step", "epoch", "seconds", "evaluation")


class Made(NamedTuple):
    """A step that was made: its metrics, and its batch where batches are kept."""

    metrics: Mapping[str, Any]
    batch: Any


class InFlight:
    """The metrics of the last steps, on the device.

    Args:
      keeps_batches: keep the batch of each step until its metrics are read.
      check: called with the metrics of the first step, to refuse them.
      is_shared: other processes make the same steps, so what is read when must not depend on time.
    """

    def __init__(
        self, check: Callable[[Mapping[str, Any]], None], *, keeps_batches: bool, is_shared: bool
    ) -> None:
        self._check = check
        self._steps: collections.deque[Made] = collections.deque()
        self._keeps_batches = keeps_batches
        self._look_every = _LOOK_EVERY_WITH_BATCHES if keeps_batches else _LOOK_EVERY
        self._most = self._look_every if is_shared else _MOST
        self._by_time = not is_shared
        self._look_at = 0.0
        self._unseen = 0
        self._names: list[str] = []

    def add(self, metrics: Mapping[str, Any], batch: Any) -> None:
        """One more step was made.

        Raises:
          LossError: the metrics are not the same scalars as before, there is no ``loss``, or
            one has a name of the log's own.
        """
        if [*metrics] != self._names:
            self._check_names(metrics)
        for name, value in metrics.items():
            if getattr(value, "shape", None) != () and not isinstance(value, float | int):
                raise LossError(
                    f"the metric {name!r} is not a scalar, so it has no place in a history: reduce "
                    "it, with jax.numpy.mean for example, or leave it out."
                )
        self._steps.append(Made(metrics, batch if self._keeps_batches else None))
        self._unseen += 1

    def is_due(self, now: float) -> bool:
        """Whether it is time to read, at `now` seconds of `time.perf_counter`."""
        return self._unseen >= self._look_every or (self._by_time and now >= self._look_at)

    def take(self, now: float) -> list[Made]:
        """Read what is ready, and wait for the oldest if there are too many; oldest first."""
        self._look_at, self._unseen = now + _SECONDS, 0
        count = max(0, len(self._steps) - self._most)
        if self._by_time:
            while count < len(self._steps) and _is_ready(self._steps[count]):
                count += 1
        return self._read(count)

    def take_all(self) -> list[Made]:
        """Wait for every step, and read all; oldest first."""
        return self._read(len(self._steps))

    def _read(self, count: int) -> list[Made]:
        made = [self._steps.popleft() for _ in range(count)]
        for step in made:
            for value in step.metrics.values():
                if hasattr(value, "copy_to_host_async"):  # all at once, not one after the other
                    value.copy_to_host_async()
        return [
            Made({name: float(np.asarray(value)) for name, value in metrics.items()}, batch)
            for metrics, batch in made
        ]

    def _check_names(self, metrics: Mapping[str, Any]) -> None:
        if "loss" not in metrics:
            raise LossError(f"the step's metrics have no 'loss', only {[*metrics]}.")
        if taken := [name for name in metrics if name in _OF_THE_LOG]:
            raise LossError(f"the metrics {taken} have names that the log needs: rename them.")
        if self._names and {*self._names} != {*metrics}:
            raise LossError(f"the metrics were {self._names} and are now {[*metrics]}.")
        if not self._names:
            self._check(metrics)
        self._names = [*metrics]


def _is_ready(step: Made) -> bool:
    return all(value.is_ready() for value in step.metrics.values() if hasattr(value, "is_ready"))
