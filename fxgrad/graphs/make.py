"""`fx.graph`: the graph of a function at the stage that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, get_args

from fxgrad.errors import GraphError
from fxgrad.execution.function import AnyFunction, as_function
from fxgrad.graphs.graph import Graph
from fxgrad.graphs.hlo import HloSketch
from fxgrad.graphs.hlo_text import read_program
from fxgrad.graphs.jaxprs import JaxprSketch
from fxgrad.graphs.paths import draw_paths
from fxgrad.graphs.record import Group, Node, Stage
from fxgrad.graphs.sketch import Sketch
from fxgrad.graphs.trace import trace
from fxgrad.modes import mode
from fxgrad.places import name_of_function

_UNKNOWN_TURNS: Final = (
    "FLOPs and bytes count one turn of a loop whose number of turns depends on values."
)
_ALL_BRANCHES: Final = "FLOPs and bytes count every branch of a choice, and one call takes one."
_OF_ONE_DEVICE: Final = "Shapes, FLOPs and bytes are those of one device."


def graph(fun: Callable[..., Any], *args: Any, stage: Stage = "jaxpr") -> Graph:
    """The graph of `fun` on such arguments: operations, and the data that flows between them.

    Nothing is run, with two exceptions. Where a static graph cannot be traced, because Python
    decides by values or takes arguments of its own, the function runs once op by op, and the path
    that `args` take is shown. And `stage="paths"` calls a `Function` once that has recorded nothing
    for such arguments.

    Args:
      fun: a pure function or a `Function`, whose options are kept.
      args: its arguments, by position (`functools.partial` fixes keywords): arrays, or for stages
        that only trace `jax.ShapeDtypeStruct`.
      stage: ``"jaxpr"``, what was traced: an operation for each equation, with nested functions,
        loops and branches as groups; ``"hlo"``, what XLA compiled for the device that is there: an
        instruction each, with what went into every fusion; ``"paths"``, the paths that replay has
        recorded, with the lines that decide and their hits.

    Returns:
      A `Graph`. FLOPs and bytes of a traced operation are XLA's own count for that operation
      alone; those of an instruction are counted alike, and memory is touched once by a fusion.

    Raises:
      GraphError: `stage` is not one of these, the backend has no text of the program, or shapes
        alone are not enough.
    """
    if stage not in get_args(Stage):
        stages = ", ".join(map(repr, get_args(Stage)))
        raise GraphError(f"stage={stage!r}: a graph has the stages {stages}.", stage=str(stage))
    sketch = Sketch()
    notes = _draw(sketch, as_function(fun), args, stage)
    nodes, edges, groups = sketch.finish()
    notes += _notes(nodes, groups)
    return Graph(name_of_function(fun), stage, nodes, edges, groups, tuple(notes))


def _draw(sketch: Sketch, subject: AnyFunction, args: tuple[Any, ...], stage: Stage) -> list[str]:
    if stage == "paths":
        if not subject.tree(*args).segments:
            with mode("replay"):
                subject(*subject.spared(args))
        draw_paths(sketch, subject.tree(*args))
        return list(subject.explain().fallbacks)
    traced = trace(subject, args, stage)
    notes = [traced.note] if traced.note else []
    if stage == "jaxpr":
        drawing = JaxprSketch(sketch)
        drawing.draw(traced.stage.jaxpr, list(traced.inputs.values()), traced.outputs)
        if drawing.closed:
            notes.append(f"What is inside is not shown of: {', '.join(sorted(drawing.closed))}.")
    else:
        program = read_program(traced.stage.lower().compile().as_text() or "")
        HloSketch(sketch, program).draw(traced.inputs, traced.outputs)
        if program.is_partitioned:
            notes.append(_OF_ONE_DEVICE)
    return notes


def _notes(nodes: tuple[Node, ...], groups: tuple[Group, ...]) -> Iterator[str]:
    if any(node.runs is None for node in nodes):
        yield _UNKNOWN_TURNS
    if any(group.kind == "branch" for group in groups):
        yield _ALL_BRANCHES
    unknown = {node.label for node in nodes if node.kind == "operation" and node.flops is None}
    if unknown:
        yield f"FLOPs are not known of: {', '.join(sorted(unknown))}."
