"""Which steps are kept, and which is the best. Taking the others away belongs to `writing`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from fxgrad.checkpoints.manifest import Manifest
from fxgrad.errors import OptionError

Direction = Literal["min", "max"]


@dataclass(frozen=True)
class Retention:
    """How many steps are kept, by age and by a metric.

    Attributes:
      keep_last: how many of the newest, at least 1.
      keep_best: how many of the best, at least 0.
      best: the metric that decides.
      best_is: whether its smallest or its largest value is best.
    """

    keep_last: int
    keep_best: int
    best: str
    best_is: Direction

    def __post_init__(self) -> None:
        for option, least in (("keep_last", 1), ("keep_best", 0)):
            if getattr(self, option) < least:
                raise OptionError(
                    f"{option}={getattr(self, option)}: it is at least {least}.", option=option
                )
        if self.best_is not in get_args(Direction):
            raise OptionError(f'best_is={self.best_is!r}: write "min" or "max".', option="best_is")

    def kept(self, manifests: Iterable[Manifest]) -> set[int]:
        """The serials of the steps to keep, the newest among them."""
        by_age = sorted(manifests, key=lambda manifest: manifest.serial, reverse=True)
        kept = by_age[: self.keep_last] + self.ranked(by_age)[: self.keep_best]
        return {manifest.serial for manifest in kept}

    def ranked(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """Those with a finite metric, best first; of equals the one that was saved first."""
        sign = 1 if self.best_is == "min" else -1
        measured = [m for m in manifests if math.isfinite(m.metrics.get(self.best, math.nan))]
        return sorted(measured, key=lambda m: (sign * m.metrics[self.best], m.serial))
