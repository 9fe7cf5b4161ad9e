"""What a comparison's page shows besides the measurements: the same function, looked at closely."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, get_args

from fxgrad.comparison.arguments import Arguments
from fxgrad.comparison.subject import Subject
from fxgrad.divergence.diverge import diverge
from fxgrad.divergence.result import Divergence
from fxgrad.errors import GraphError
from fxgrad.execution.explain import Explanation
from fxgrad.execution.function import AnyFunction, as_function
from fxgrad.footprint.measure import memory
from fxgrad.footprint.result import Memory
from fxgrad.graphs.graph import Graph
from fxgrad.graphs.make import graph
from fxgrad.graphs.record import Stage
from fxgrad.modes import mode as within_mode
from fxgrad.replay.promotion import FIRST_PATIENCE

_CALLS: Final = FIRST_PATIENCE + 2  # by then a tree that has decisions is folded

_MOST_NODES: Final = 20_000

T = TypeVar("T")


@dataclass(frozen=True)
class Details:
    """The views of one function.

    Attributes:
      graphs: what was traced, what XLA made of it, and the paths of replay.
      memory: what it takes; None if that could not be found out, or was not asked for.
      divergence: where a compiled value leaves eager's; None if none does, or it was not found out.
      explanation: what replay decides by, and why it compiled or fell back.
      missing: what could not be made, by its name, and why.
    """

    graphs: tuple[Graph, ...] = ()
    memory: Memory | None = None
    divergence: Divergence | None = None
    explanation: Explanation | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """All of it but the graphs as JSON."""
        parts = {
            "memory": self.memory,
            "divergence": self.divergence,
            "explanation": self.explanation,
        }
        plain: dict[str, Any] = {name: part and part.to_dict() for name, part in parts.items()}
        return json.dumps({**plain, "missing": self.missing}, allow_nan=False)


def details_of(subject: Subject) -> Details:
    """Look at a function closely. Each view is made on its own; one that fails is named."""
    missing: dict[str, str] = {}

    def made(name: str, make: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
        try:
            return make(*args, **kwargs)
        except Exception as error:  # a page with a gap that it names is better than no page
            missing[name] = f"{type(error).__name__}: {error}"
            return None

    function = subject.recorded
    if function is None:
        function = as_function(subject.fun).in_mode("replay")
        made("calls in replay", _call, function, subject.args)
    graphs = [
        made(f"graph, {stage}", _drawn, function, subject.args, stage) for stage in get_args(Stage)
    ]
    return Details(
        graphs=tuple(filter(None, graphs)),
        memory=made("memory", memory, function, *subject.args) if subject.memory else None,
        divergence=made("agreement", diverge, function, *subject.args),
        explanation=function.explain(),
        missing=missing,
    )


def _drawn(function: AnyFunction, args: tuple[Any, ...], stage: Stage) -> Graph:
    drawn = graph(function, *args, stage=stage)
    if len(drawn.nodes) > _MOST_NODES:
        raise GraphError(
            f"it has {len(drawn.nodes):,} nodes, and a page {_MOST_NODES:,} at most. Write it by "
            "fxgrad graph -o graph.json, or look at a part.",
            stage=stage,
        )
    return drawn


def _call(function: AnyFunction, args: tuple[Any, ...]) -> None:
    """Call so often that what is recorded is served as it will be."""
    arguments = Arguments(args)
    with within_mode("replay"):
        for _ in range(_CALLS):
            function(*function.spared(arguments.of_a_call()))
