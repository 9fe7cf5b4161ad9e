"""What a search for a learning rate has found: the losses at each rate, and a suggestion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich import box
from rich.table import Table

from fxgrad.printing import printed

_ROWS: Final = 12


@dataclass(frozen=True, repr=False)
class LearningRates:
    """The losses of a training whose learning rate grew.

    Attributes:
      rates: the learning rate of each step; each is the one before times a constant.
      losses: the loss of each step, before the step was made.
      smoothed: its exponential average over the steps so far.
      exploded: whether the loss was no longer finite, or four times its smallest average.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    exploded: bool

    @property
    def suggestion(self) -> float | None:
        """The rate at which the loss fell fastest; None if it never fell.

        Fastest against the logarithm of the rate, by least squares over a window of a sixth of the
        steps around each, and before the window whose mean is smallest. A window does not lag
        behind as `smoothed` does, and a few noisy losses at its beginning do not deceive it.
        """
        known = np.array([loss for loss in self.losses if math.isfinite(loss)])
        half = max(3, len(self.losses) // 12)
        if len(known) < 2 * half + 1:
            return None
        offsets = np.arange(-half, half + 1)  # the rates are spaced evenly by logarithm
        windows = np.lib.stride_tricks.sliding_window_view(known, len(offsets))
        slopes = (windows @ offsets)[: int(np.argmin(windows.mean(axis=1)))]
        if not len(slopes) or slopes.min() >= 0:
            return None
        return self.rates[int(np.argmin(slopes)) + half]

    def __str__(self) -> str:
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("learning rate", "loss", "smoothed"):
            table.add_column(name, justify="right")
        for n in np.unique(np.linspace(0, len(self.rates) - 1, _ROWS).astype(int)):
            row = (f"{self.rates[n]:.1e}", f"{self.losses[n]:.4g}", f"{self.smoothed[n]:.4g}")
            table.add_row(*row)
        return printed(table, self._conclusion())

    __repr__ = __str__

    def _conclusion(self) -> str:
        end = f"{len(self.rates)} steps" + (", until the loss exploded" if self.exploded else "")
        if self.suggestion is None:
            return f"{end}. The loss never fell: begin with a smaller learning rate."
        return f"{end}. The loss fell fastest at {self.suggestion:.1e}."

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values; a loss that is not finite, which JSON lacks, is None."""
        return {
            "rates": list(self.rates),
            "losses": [_finite(value) for value in self.losses],
            "smoothed": [_finite(value) for value in self.smoothed],
            "exploded": self.exploded,
            "suggestion": self.suggestion,
        }

    def plot(self, path: str | Path) -> None:
        """Draw the losses against the learning rate into `path`: PNG, SVG or PDF, by its suffix.

        Raises:
          MissingExtraError: Matplotlib is not installed.
          DataError: another suffix.
        """
        from fxgrad.train.learning_rate_plot import save_plot  # noqa: PLC0415  (an extra)

        save_plot(self, Path(path))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
