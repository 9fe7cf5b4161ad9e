"""The record of a graph: nodes, edges and groups as frozen data. Its views belong to others."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from fxgrad.places import Place

Stage = Literal["jaxpr", "hlo", "paths"]
NodeKind = Literal["input", "constant", "operation", "output", "segment", "decision", "python"]
GroupKind = Literal["phase", "scope", "function", "loop", "branch", "fusion"]
EdgeKind = Literal["data", "carry", "answer"]
Phase = Literal["forward", "backward", "update"]


@dataclass(frozen=True)
class Node:
    """An operation, or what goes into or comes out of the graph.

    Attributes:
      number: its place in the graph's list, from 0.
      kind: what it stands for. The tree of paths has segments, decisions, outputs and places where
        Python takes over; the other stages have inputs, constants, operations and outputs.
      label: the operation, or the name of the input or output: ``"dot_general"``,
        ``"batch['image']"``.
      group: the number of the innermost group it is in, or None.
      phase: whether it belongs to the forward pass, the backward pass, or to what is computed from
        the derivatives.
      place: the user's line, if it is known.
      outputs: shape and dtype of each result: ``"f32[64,784]"``.
      detail: parameters and other facts in words.
      flops: floating-point operations of one run; None if they are not known.
      bytes: bytes read and written in one run; None if they are not known.
      runs: how often it runs in one call; None if the trip count depends on values.
      hits: for paths, how many calls came by.
    """

    number: int
    kind: NodeKind
    label: str
    group: int | None = None
    phase: Phase = "forward"
    place: Place | None = None
    outputs: tuple[str, ...] = ()
    detail: str = ""
    flops: float | None = None
    bytes: float | None = None
    runs: int | None = 1
    hits: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The node as plain values."""
        place = self.place.to_dict() if self.place else None
        at = str(self.place) if self.place else ""
        return {**vars(self), "place": place, "at": at, "outputs": list(self.outputs)}


@dataclass(frozen=True)
class Edge:
    """Data that flows from one node to another, by their numbers.

    Attributes:
      source: the node that makes it.
      target: the node that reads it.
      label: shape and dtype; for paths, the value that was decided on.
      kind: ``"carry"`` goes back to the node of a loop: what its next turn, or what follows it,
        takes; ``"answer"`` is a value that Python went on with.
    """

    source: int
    target: int
    label: str = ""
    kind: EdgeKind = "data"

    def to_dict(self) -> dict[str, Any]:
        """The edge as plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Group:
    """Nodes that belong together, and can be shown as one.

    Attributes:
      number: its place in the graph's list, from 0; a parent's is smaller.
      parent: the number of the group around it, or None.
      kind: a pass, a scope such as a module, a nested function, a loop, a branch, or a fusion.
      label: its name.
    """

    number: int
    parent: int | None
    kind: GroupKind
    label: str

    def to_dict(self) -> dict[str, Any]:
        """The group as plain values."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False)
class Record:
    """A graph as data.

    Attributes:
      title: the function.
      stage: ``"jaxpr"``, ``"hlo"`` or ``"paths"``.
      nodes: in the order in which they run.
      edges: from node to node.
      groups: parents before their children.
      notes: what is missing or estimated, in sentences.
    """

    title: str
    stage: Stage
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    groups: tuple[Group, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The graph as plain values."""
        return {
            "title": self.title,
            "stage": self.stage,
            "nodes": [node.to_dict() for node in self.nodes],
            "edges": [edge.to_dict() for edge in self.edges],
            "groups": [group.to_dict() for group in self.groups],
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        size = f"{len(self.nodes)} nodes, {len(self.edges)} edges"
        return f"{type(self).__name__}({self.title!r}, {self.stage!r}, {size})"

    def to_json(self) -> str:
        """`to_dict` as JSON; a number that is not finite, which JSON lacks, is refused."""
        return json.dumps(self.to_dict(), allow_nan=False)


def total(values: list[float | None]) -> float | None:
    """The sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None
