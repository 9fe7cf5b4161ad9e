"""Telling: what a progress line says of a training's speed, programs and time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fxgrad.quantities import in_seconds
from fxgrad.train.clock import Clock
from fxgrad.train.progress import duration, words


class Telling:
    """The words about a training between its steps.

    Args:
      step: the step; a `Function` also tells how many programs it has built.
      clock: the training's.
      made: the steps that an earlier run made.
      total: the steps in all, if that is known.
    """

    def __init__(self, step: Any, clock: Clock, made: int, total: int | None) -> None:
        self._stats = getattr(step, "stats", None)
        self._clock = clock
        self._first = made
        self._steady_before = clock.steady()
        self._total = total

    def words(self, made: int, recent: Mapping[str, float]) -> str:
        """The loss, the speed, the programs built and the time left after `made` steps."""
        return "  ".join(filter(None, [words(recent), *self._facts(made)]))

    def at_epoch_end(self, made: int) -> str:
        """The same without the loss."""
        return "  ".join(self._facts(made))

    def _facts(self, made: int) -> list[str]:
        steps, seconds = made - self._first, self._clock.steady() - self._steady_before
        if not steps or seconds <= 0:
            return []
        facts = [f"{steps / seconds:,.0f} steps/s" if steps > seconds else _slow(seconds / steps)]
        if self._stats is not None:
            stats = self._stats()
            built = "program" if stats.programs == 1 else "programs"
            facts.append(f"{stats.programs} {built} in {in_seconds(stats.compile_seconds)}")
        if self._total is not None and self._total > made:
            facts.append(f"{duration((self._total - made) * seconds / steps)} left")
        return facts


def _slow(seconds: float) -> str:
    return f"{in_seconds(seconds)} a step"
