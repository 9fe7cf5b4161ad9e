"""The curves of a comparison: time against calls, and for a training its losses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fxgrad.comparison.curves import crossings, curves
from fxgrad.comparison.record import Record
from fxgrad.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError("Matplotlib", extra="report", purpose="A plot") from error

# After Okabe and Ito, told apart by people who see colours differently; the blue is lighter than
# theirs, so that it stands out from a dark page too.
_COLOURS: Final = ("#d55e00", "#3a8fd0", "#009e73", "#cc79a7")
_SUFFIXES: Final = (".png", ".svg", ".pdf")

# Matplotlib writes this grey for all text and axes; the page replaces it by its own text colour.
INK: Final = "#777778"


def save_plot(comparison: Record, path: Path) -> None:
    """Draw all curves, side by side, into one file.

    Raises:
      DataError: as `check_suffix`.
    """
    check_suffix(path)
    panels = 2 if comparison.training else 1
    figure = Figure(figsize=(5.2 * panels, 3.6), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    draw_times(comparison, axes[0])
    if comparison.training:
        draw_losses(comparison, axes[1])
    figure.savefig(path, dpi=150)


def check_suffix(path: Path) -> None:
    """Refuse a plot that is none of .png, .svg, .pdf.

    Raises:
      DataError: the suffix of `path` is another one.
    """
    if path.suffix not in _SUFFIXES:
        raise DataError(
            f"{path}: a plot is written as {', '.join(_SUFFIXES)}; the suffix is {path.suffix!r}.",
            path=path,
            field="suffix",
        )


def svg_of_times(comparison: Record) -> str:
    """Cumulative time against calls, as an SVG element."""
    figure, axes = _inked_figure()
    draw_times(comparison, axes)
    return _svg(figure, axes)


def svg_of_losses(comparison: Record) -> str:
    """The loss of each step, as an SVG element."""
    figure, axes = _inked_figure()
    draw_losses(comparison, axes)
    return _svg(figure, axes)


def draw_times(comparison: Record, axes: Axes) -> None:
    """The running total of seconds, one line for each mode, with the crossings marked.

    What is predicted is dotted, and its crossings are diamonds; measured ones are circles.
    """
    for colour, curve in zip(_COLOURS, curves(comparison), strict=False):
        calls = np.arange(1, len(curve.measured) + 1)
        axes.plot(calls, curve.measured, label=curve.mode, color=colour, linewidth=1.8)
        if curve.predicted:
            ends = ((calls[-1], curve.predicted[0]), (curve.measured[-1], curve.predicted[1]))
            axes.plot(*ends, color=colour, linewidth=1.2, linestyle=":")
    for crossing in crossings(comparison):
        at = (crossing.call, crossing.seconds)
        marker = "o" if crossing.is_measured else "D"
        size = 9 if crossing.is_measured else 7
        axes.plot(*at, marker, color=INK, fillstyle="none", markersize=size)
        is_right = crossing.call > sum(axes.get_xlim()) / 2
        axes.annotate(
            crossing.label,
            at,
            xytext=(-8, 6) if is_right else (12, -4),
            textcoords="offset points",
            color=INK,
            horizontalalignment="right" if is_right else "left",
            verticalalignment="bottom" if is_right else "top",
        )
    axes.margins(y=0.12)
    axes.set_xlabel(comparison.unit)
    axes.set_ylabel("seconds so far")
    axes.set_ylim(bottom=0)
    axes.set_title("Time, first call included", loc="left")
    axes.legend(frameon=False, loc="best")


def draw_losses(comparison: Record, axes: Axes) -> None:
    """The losses: where modes agree, the thinner line lies upon the wider one."""
    runs = comparison.training
    for i, (colour, (mode, run)) in enumerate(zip(_COLOURS, runs.items(), strict=False)):
        steps = np.arange(1, len(run.losses) + 1)
        width = 1.2 + 3.0 * (len(runs) - 1 - i)
        axes.plot(steps, run.losses, label=mode, color=colour, linewidth=width)
    axes.set_xlabel(comparison.unit)
    axes.set_ylabel("loss")
    axes.set_title("Loss", loc="left")
    axes.legend(frameon=False, loc="upper right")


def _inked_figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    figure.patch.set_alpha(0)
    return figure, figure.subplots()


def _svg(figure: Figure, axes: Axes) -> str:
    axes.patch.set_alpha(0)
    axes.spines[["top", "right"]].set_visible(False)
    for part in (axes.xaxis.label, axes.yaxis.label, axes.title, *axes.spines.values()):
        part.set_color(INK)
    axes.title.set_color(INK)
    axes.set_title(axes.get_title(loc="left"), loc="left", color=INK)
    axes.tick_params(colors=INK)
    legend = axes.get_legend()
    for text in legend.get_texts() if legend else ():
        text.set_color(INK)
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fxgrad"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    drawn = file.getvalue()
    return drawn[drawn.index("<svg") :].replace(INK, "currentColor")
