"""Where a command writes its comparison: standard output, a page, JSON, a plot."""

from __future__ import annotations

import argparse
from pathlib import Path

from fxgrad.comparison.result import Comparison
from fxgrad.errors import FxError


def check_writable(*paths: Path | None) -> None:
    """Refuse an output path before the work rather than after it.

    Raises:
      FxError: the folder does not exist, or the path is a folder.
    """
    for path in paths:
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            why = "is a folder" if path.is_dir() else f"is in {path.parent}, which does not exist"
            raise FxError(f"cannot write {path}: it {why}.")


def positive(text: str) -> int:
    """An option's value that is a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def write(comparison: Comparison, *, page: Path | None, data: Path | None) -> None:
    """Print the table; write the page and the JSON where asked for."""
    print(comparison.table())
    if page is not None:
        comparison.to_html(page)
        print(f"\npage: {page}")
    if data is not None:
        data.write_text(comparison.to_json() + "\n", encoding="utf-8")
        print(f"data: {data}")
