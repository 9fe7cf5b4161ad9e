"""The summary of a graph: how much there is of each kind of operation, and on each user line."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.graphs.record import Node, Record, Stage, total

_ELSEWHERE: Final = "(no line of yours)"


@dataclass(frozen=True)
class Row:
    """Some of the operations of a graph.

    Attributes:
      label: what they have in common: a kind of operation, or a line.
      line: the text of that line, or the empty string.
      count: how many there are in the graph.
      hits: for paths, how many calls came by.
      flops: floating-point operations of one call, loops of known length counted by their turns;
        None if nothing is known.
      bytes: bytes read and written, counted alike.
    """

    label: str
    line: str
    count: int
    hits: int | None
    flops: float | None
    bytes: float | None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Summary:
    """A graph in two tables, the dearest first.

    Attributes:
      title: the function and the stage.
      stage: as of the graph.
      whole: all operations.
      by_operation: a row for each kind of operation.
      by_line: a row for each user line.
      notes: what is missing or estimated.
    """

    title: str
    stage: Stage
    whole: Row
    by_operation: tuple[Row, ...]
    by_line: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values."""
        return {
            "title": self.title,
            "stage": self.stage,
            "whole": self.whole.to_dict(),
            "by_operation": [row.to_dict() for row in self.by_operation],
            "by_line": [row.to_dict() for row in self.by_line],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from fxgrad.graphs.table import text_of  # noqa: PLC0415

        return text_of(self)


def summarize(graph: Record) -> Summary:
    """The summary of a graph's operations; of paths, their segments, decisions and ends."""
    if graph.stage == "paths":
        counted = list(graph.nodes)
        kinds, lined = _rows(counted, _kind), [n for n in counted if n.kind == "decision"]
    else:
        counted = lined = [node for node in graph.nodes if node.kind == "operation"]
        kinds = _rows(counted, lambda node: (node.label, ""))
    return Summary(
        title=f"{graph.title}, {graph.stage}",
        stage=graph.stage,
        whole=_row("whole", "", counted),
        by_operation=kinds,
        by_line=_rows(lined, _line),
        notes=graph.notes,
    )


def _kind(node: Node) -> tuple[str, str]:
    return node.kind, ""


def _line(node: Node) -> tuple[str, str]:
    return (str(node.place), node.place.line) if node.place else (_ELSEWHERE, "")


def _rows(nodes: Iterable[Node], key: Callable[[Node], tuple[str, str]]) -> tuple[Row, ...]:
    found: dict[Hashable, list[Node]] = {}
    for node in nodes:
        found.setdefault(key(node), []).append(node)
    rows = [_row(*key(nodes[0]), nodes) for nodes in found.values()]
    return tuple(sorted(rows, key=_size, reverse=True))


def _row(label: str, line: str, nodes: list[Node]) -> Row:
    return Row(
        label=label,
        line=line,
        count=len(nodes),
        hits=sum(node.hits for node in nodes if node.hits is not None) or None,
        flops=total([_times(node.flops, node.runs) for node in nodes]),
        bytes=total([_times(node.bytes, node.runs) for node in nodes]),
    )


def _times(count: float | None, runs: int | None) -> float | None:
    """Of a loop whose trip count is not known, one turn is counted."""
    return None if count is None else count * (1 if runs is None else runs)


def _size(row: Row) -> tuple[float, float, int]:
    return (row.flops or 0.0, row.bytes or 0.0, row.count)
