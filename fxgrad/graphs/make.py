"""`fx.graph`: the graph of a function at the stage that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_args

import jax
import numpy as np

from fxgrad.errors import GraphError, ValueDependenceError
from fxgrad.execution.function import AnyFunction, as_function
from fxgrad.graphs.graph import Graph
from fxgrad.graphs.hlo import HloSketch
from fxgrad.graphs.hlo_text import read_program
from fxgrad.graphs.jaxprs import JaxprSketch
from fxgrad.graphs.paths import draw_paths
from fxgrad.graphs.record import Stage
from fxgrad.graphs.sketch import Sketch
from fxgrad.modes import mode
from fxgrad.observed import observe
from fxgrad.places import Place
from fxgrad.recorder import names_in

_OF_ONE_PATH: Final = (
    "Python decides by values here ({place}): this is the path that these arguments take. "
    'All recorded paths: stage="paths".'
)
_UNKNOWN_TURNS: Final = (
    "FLOPs and bytes count one turn of a loop whose number of turns depends on values."
)


class _Traced(NamedTuple):
    """A traced function, and its inputs and outputs in the user's words."""

    stage: jax.stages.Traced
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def graph(fun: Callable[..., Any], *args: Any, stage: Stage = "jaxpr") -> Graph:
    """The graph of `fun` on such arguments: operations, and the data that flows between them.

    Args:
      fun: a pure function or a `Function`, whose options are kept.
      args: its arguments: arrays, or for stages that only trace `jax.ShapeDtypeStruct`.
      stage: ``"jaxpr"``, what was traced: an operation for each equation, with nested functions,
        loops and branches as groups; ``"hlo"``, what XLA compiled for the device that is there: an
        instruction each, with what went into every fusion; ``"paths"``, the paths that replay has
        recorded, with the lines that decide and their hits. A `Function` that has recorded
        nothing for such arguments is called once for that.

    Returns:
      A `Graph`. FLOPs and bytes of a traced operation are XLA's own count for that operation
      alone; those of an instruction are counted alike, and memory is touched once by a fusion.
      Where Python decides by values, the first two stages show the path that `args` take.

    Raises:
      GraphError: `stage` is not one of these, or the backend has no text of the program.
    """
    if stage not in get_args(Stage):
        stages = ", ".join(map(repr, get_args(Stage)))
        raise GraphError(f"stage={stage!r}: a graph has the stages {stages}.", stage=str(stage))
    subject = as_function(fun)
    sketch = Sketch()
    notes = _draw(sketch, subject, args, stage)
    nodes, edges, groups = sketch.finish()
    if any(node.runs is None for node in nodes):
        notes.append(_UNKNOWN_TURNS)
    unknown = sorted(
        {node.label for node in nodes if node.kind == "operation" and node.flops is None}
    )
    if unknown:
        notes.append(f"FLOPs are not known for: {', '.join(unknown)}.")
    title = getattr(fun, "__qualname__", None) or repr(fun)
    return Graph(title, stage, nodes, edges, groups, tuple(notes))


def _draw(sketch: Sketch, subject: AnyFunction, args: tuple[Any, ...], stage: Stage) -> list[str]:
    if stage == "paths":
        if not subject.tree(*args).segments:
            with mode("replay"):
                subject(*subject.spared(args))
        draw_paths(sketch, subject.tree(*args))
        return _fallbacks(subject)
    traced, notes = _traced(subject, args)
    if stage == "jaxpr":
        JaxprSketch(sketch).draw(traced.stage.jaxpr, traced.inputs, traced.outputs)
    else:
        program = read_program(traced.stage.lower().compile().as_text() or "")
        told = names_in(traced.stage.jaxpr)[1]
        renamed = dict(zip(told, traced.inputs, strict=False))
        HloSketch(sketch, program).draw(renamed, traced.outputs)
    return notes


def _traced(subject: AnyFunction, args: tuple[Any, ...]) -> tuple[_Traced, list[str]]:
    """The function traced; where Python decides by values, the path that the arguments take."""
    try:
        traced = subject.trace(*args)
        return _Traced(traced, *names_in(traced.jaxpr)[1:]), []
    except ValueDependenceError as error:
        place = Place(error.filename, error.lineno, error.line)
        return _path_of(subject, args), [_OF_ONE_PATH.format(place=place)]


def _path_of(subject: AnyFunction, args: tuple[Any, ...]) -> _Traced:
    """The operations of one eager run, traced as a function of the arrays among its arguments."""
    with mode("eager"):
        observed = observe(subject.in_mode("eager"), args, keep_values=False)
    arrays = [leaf for leaf in jax.tree.leaves(args) if isinstance(leaf, jax.Array | np.ndarray)]
    captured = list(observed.captured.values())

    def path(*arguments: Any) -> Any:
        return observed.output_of(observed.run(arguments, captured))

    traced = jax.jit(path).trace(*arrays)
    names = tuple(map("".join, observed.names))
    return _Traced(traced, names, names_in(traced.jaxpr)[2])


def _fallbacks(subject: AnyFunction) -> list[str]:
    return list(subject.explain().fallbacks)
