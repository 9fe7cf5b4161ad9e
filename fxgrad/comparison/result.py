"""`Comparison`: the record of a comparison with doors to its views."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from fxgrad.comparison.record import Record
from fxgrad.comparison.subject import Subject


@dataclass(frozen=True)
class Comparison(Record):
    """One function in every mode: what each cost, and how far their results are apart.

    Printing it prints the table. Each view brings the packages that it draws with.

    Attributes:
      subject: what was compared; no part of its data.
    """

    subject: Subject | None = field(default=None, compare=False, repr=False)

    def table(self) -> str:
        """A text table: a column for each mode, a row for each fact."""
        from fxgrad.comparison.table import text_table  # noqa: PLC0415

        return text_table(self)

    __str__ = table

    @overload
    def to_html(self, path: None = None) -> str: ...
    @overload
    def to_html(self, path: str | Path) -> None: ...
    def to_html(self, path: str | Path | None = None) -> str | None:
        """One self-contained page, written to `path`; without a path it is returned.

        Raises:
          MissingExtraError: Jinja or Matplotlib is not installed.
        """
        from fxgrad.comparison.page import render_page  # noqa: PLC0415

        page = render_page(self, self.subject)
        if path is None:
            return page
        Path(path).write_text(page, encoding="utf-8")
        return None

    def plot(self, path: str | Path) -> None:
        """Draw the curves into `path`: PNG, SVG or PDF, by its suffix.

        Raises:
          MissingExtraError: Matplotlib is not installed.
          DataError: another suffix.
        """
        from fxgrad.comparison.plot import save_plot  # noqa: PLC0415

        save_plot(self, Path(path))
