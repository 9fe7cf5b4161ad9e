"""How repeated timings of one thing spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Of `count` timings, in microseconds."""

    count: int
    min_us: float
    p10_us: float
    median_us: float
    p90_us: float


def spread(nanoseconds: Sequence[float]) -> Spread:
    """The spread of two or more timings."""
    deciles = statistics.quantiles(nanoseconds, n=10, method="inclusive")
    return Spread(
        count=len(nanoseconds),
        min_us=min(nanoseconds) / 1e3,
        p10_us=deciles[0] / 1e3,
        median_us=statistics.median(nanoseconds) / 1e3,
        p90_us=deciles[-1] / 1e3,
    )
