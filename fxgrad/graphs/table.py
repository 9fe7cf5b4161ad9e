"""The summary of a graph as text: two tables, the dearest rows first."""

from __future__ import annotations

import re
from typing import Final

from rich import box
from rich.table import Table

from fxgrad.graphs.record import total
from fxgrad.graphs.summary import Row, Summary
from fxgrad.printing import printed
from fxgrad.quantities import in_bytes, in_flops

_ROWS: Final = 12
_LINE: Final = 44  # characters of a source line


def text_of(summary: Summary) -> str:
    """Totals, a table by operation, a table by user line, and the notes."""
    is_paths = summary.stage == "paths"
    first = "on the paths" if is_paths else "operation"
    tables = (
        _table(title, rows, summary.whole, has_hits=is_paths)
        for title, rows in ((first, summary.by_operation), ("line", summary.by_line))
        if rows
    )
    text = printed(f"{summary.title}{_sums(summary)}", *tables, *summary.notes)
    return re.sub("\n{3,}", "\n\n", text)


def _sums(summary: Summary) -> str:
    if summary.stage == "paths":
        return ""
    whole = summary.whole
    if not whole.count:
        return ": no operations"
    return (
        f": {whole.count} operations, {in_flops(whole.flops)}, "
        f"{in_bytes(whole.bytes)} read and written"
    )


def _table(title: str, rows: tuple[Row, ...], whole: Row, *, has_hits: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(title, no_wrap=True, overflow="ellipsis")
    for name in ("count", "hits") if has_hits else ("count", "FLOPs", "share", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = list(rows[:_ROWS])
    if len(rows) > _ROWS:
        shown.append(_rest(rows[_ROWS:]))
    for row in shown:
        label = f"{row.label}  {row.line[:_LINE]}".rstrip()
        count = str(row.count)
        if has_hits:
            table.add_row(label, count, str(row.hits or 0))
        else:
            cells = in_flops(row.flops), _share(row, whole), in_bytes(row.bytes)
            table.add_row(label, count, *cells)
    return table


def _rest(rows: tuple[Row, ...]) -> Row:
    return Row(
        label=f"{len(rows)} more",
        line="",
        count=sum(row.count for row in rows),
        hits=sum(row.hits or 0 for row in rows),
        flops=total([row.flops for row in rows]),
        bytes=total([row.bytes for row in rows]),
    )


def _share(row: Row, whole: Row) -> str:
    return f"{row.flops / whole.flops:.1%}" if row.flops and whole.flops else ""
