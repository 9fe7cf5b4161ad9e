"""The curve of a search for a learning rate, with what it suggests."""

from __future__ import annotations

import math
from pathlib import Path

from fxgrad.comparison.plot import INK, check_suffix
from fxgrad.errors import MissingExtraError
from fxgrad.train.learning_rates import LearningRates

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError("Matplotlib", extra="report", purpose="A plot") from error


def save_plot(found: LearningRates, path: Path) -> None:
    """Draw the losses against the learning rate into one file.

    Raises:
      DataError: the suffix of `path` is none that plots have.
    """
    check_suffix(path)
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color=INK, linewidth=0.8, alpha=0.5, label="loss")
    axes.plot(found.rates, found.smoothed, color="#3a8fd0", linewidth=1.8, label="smoothed")
    if found.suggestion is not None:
        label = f"fell fastest at {found.suggestion:.1e}"
        axes.axvline(found.suggestion, color="#d55e00", linewidth=1.2, label=label)
    axes.set_xscale("log")
    axes.set_ylim(_limits(found.smoothed))  # an explosion would flatten all before it
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _limits(smoothed: tuple[float, ...]) -> tuple[float, float] | None:
    known = [value for value in smoothed if math.isfinite(value)]
    if not known or min(known) == max(known):
        return None
    margin = 0.3 * (max(known) - min(known))
    return min(known) - margin, max(known) + margin
