"""Where a command writes its comparison: standard output, a page, JSON, a plot."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from fxgrad.comparison.result import Comparison
from fxgrad.errors import FxError


def check_outputs(
    *, page: Path | None = None, data: Path | None = None, plot: Path | None = None
) -> None:
    """Refuse what cannot be written before the work rather than after it.

    Raises:
      FxError: a folder does not exist, or the path is one or cannot be written; a plot of an
        unknown suffix; or a package that draws is not installed.
    """
    for path in (page, data, plot):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            why = "is a folder" if path.is_dir() else f"is in {path.parent}, which does not exist"
            raise FxError(f"cannot write {path}: it {why}.")
        if path is not None:
            _check_writable(path)
    if page is not None:
        importlib.import_module("fxgrad.comparison.page")
    if plot is not None:
        importlib.import_module("fxgrad.comparison.plot").check_suffix(plot)


def _check_writable(path: Path) -> None:
    """Open what is a file or will be one; what is neither, such as a pipe, is left alone."""
    is_new = not path.exists()
    if not is_new and not path.is_file():
        return
    try:
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise FxError(f"cannot write {path}: {error.strerror}.") from error


def positive(text: str) -> int:
    """An option's value that is a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def write(
    comparison: Comparison,
    *,
    page: Path | None = None,
    data: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Write the page, the data and the plot where asked for; then print the table."""
    if page is not None:
        comparison.to_html(page)
    if data is not None:
        data.write_text(comparison.to_json() + "\n", encoding="utf-8")
    if plot is not None:
        comparison.plot(plot)
    print(comparison.table())
    for name, path in (("page", page), ("data", data), ("plot", plot)):
        if path is not None:
            print(f"{name}: {path}")
