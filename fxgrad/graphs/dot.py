"""A graph in Graphviz's language: groups are clusters, loops go back by dashed edges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from fxgrad.graphs.record import Edge, Node, Record

_FILLS: Final = {"forward": "#dbe9f6", "backward": "#fde3cf", "update": "#dcefe0"}
_SHAPES: Final = {"input": "ellipse", "constant": "ellipse", "output": "ellipse"}


def to_dot(graph: Record) -> str:
    """The text of a ``.dot`` file."""
    lines = [
        f"digraph {_quoted(graph.title)} {{",
        '  node [shape=box, style=filled, fontname="sans-serif", fontsize=10];',
        '  edge [fontname="sans-serif", fontsize=8];',
        *_inside(graph, None, "  "),
        *(f"  {_edge(edge)}" for edge in graph.edges),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _inside(graph: Record, group: int | None, indent: str) -> Iterator[str]:
    """The nodes of a group and the groups in it."""
    for node in graph.nodes:
        if node.group == group:
            yield f"{indent}{_node(node)}"
    for inner in graph.groups:
        if inner.parent == group:
            yield f"{indent}subgraph cluster_{inner.number} {{"
            yield f"{indent}  label={_quoted(inner.label)};"
            yield from _inside(graph, inner.number, indent + "  ")
            yield f"{indent}}}"


def _node(node: Node) -> str:
    label = "\n".join([node.label, *node.outputs[:1], *([str(node.place)] if node.place else [])])
    shape = "diamond" if node.kind == "decision" else _SHAPES.get(node.kind, "box")
    return (
        f"n{node.number} [label={_quoted(label)}, shape={shape}, "
        f'fillcolor="{_FILLS[node.phase]}", tooltip={_quoted(node.detail)}];'
    )


def _edge(edge: Edge) -> str:
    style = ", style=dashed, constraint=false" if edge.kind == "carry" else ""
    return f"n{edge.source} -> n{edge.target} [label={_quoted(edge.label)}{style}];"


def _quoted(text: str) -> str:
    """A string of Graphviz's; JSON's escapes but for unicode are the same."""
    return json.dumps(text, ensure_ascii=False)
