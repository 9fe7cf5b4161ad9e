"""`Graph`: the record of a graph with doors to its views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import overload

from fxgrad.graphs.record import Record
from fxgrad.graphs.summary import Summary, summarize


@dataclass(frozen=True, repr=False)
class Graph(Record):
    """Operations and the data between them: as traced, as XLA compiled them, or replay's paths.

    Printing it prints the summary; a notebook shows the picture.
    """

    def summary(self) -> Summary:
        """Operations, FLOPs and bytes by kind of operation and by user line."""
        return summarize(self)

    def __str__(self) -> str:
        return str(self.summary())

    def to_dot(self) -> str:
        """The graph in Graphviz's language, groups as clusters."""
        from fxgrad.graphs.dot import to_dot  # noqa: PLC0415

        return to_dot(self)

    @overload
    def to_html(self, path: None = None) -> str: ...
    @overload
    def to_html(self, path: str | Path) -> None: ...
    def to_html(self, path: str | Path | None = None) -> str | None:
        """One self-contained page to look at it: its text, or written to `path` if given.

        Raises:
          MissingExtraError: Jinja is not installed.
        """
        from fxgrad.graphs.page import render_page  # noqa: PLC0415

        page = render_page(self)
        if path is None:
            return page
        Path(path).write_text(page, encoding="utf-8")
        return None

    def _repr_html_(self) -> str:
        from fxgrad.graphs.page import render_frame  # noqa: PLC0415

        return render_frame(self)
