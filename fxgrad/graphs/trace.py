"""A function traced for its graph; where that cannot be, the path that the arguments take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jax
import numpy as np

from fxgrad.errors import GraphError, ValueDependenceError, first_line_of
from fxgrad.execution.function import AnyFunction
from fxgrad.observed import observe
from fxgrad.places import Place
from fxgrad.recorder import Slot, names_in

_OF_ONE_PATH: Final = (
    "{why}: this is the path that these arguments take, run once op by op. "
    'All recorded paths: stage="paths".'
)


@dataclass(frozen=True)
class Traced:
    """A traced function.

    Attributes:
      stage: what JAX traced.
      inputs: the user's name of each input, by JAX's.
      outputs: the user's names of the outputs.
      note: what it leaves out, or the empty string.
    """

    stage: jax.stages.Traced
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    note: str = ""


def trace(subject: AnyFunction, args: tuple[Any, ...], stage: str) -> Traced:
    """Trace a function as a static graph, or else the operations of one run.

    Raises:
      GraphError: it has to be run, and shapes alone are not enough for that.
      Exception: what the function raises.
    """
    try:
        # A Function of its own: looking leaves nothing behind in the user's.
        traced = subject.in_mode("static").trace(*args)
    except Exception as error:  # the function's own errors come up again where it is run
        why = _why(error)
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(args)):
            raise GraphError(f"{why}: give arrays instead of shapes.", stage=stage) from error
        return _path_of(subject, args, _OF_ONE_PATH.format(why=why))
    _, inputs, outputs = names_in(traced.jaxpr)
    return Traced(traced, {name: name for name in inputs}, outputs)


def _why(error: Exception) -> str:
    if isinstance(error, ValueDependenceError):
        place = Place(error.filename, error.lineno, error.line)
        return f"Python decides by values at {place}"
    return f"A static graph cannot be traced ({first_line_of(error)})"


def _path_of(subject: AnyFunction, args: tuple[Any, ...], note: str) -> Traced:
    """The operations of one eager run, traced as a function of the arrays among its arguments."""
    observed = observe(subject.in_mode("eager"), subject.spared(args))
    arrays = [leaf for leaf in jax.tree.leaves(args) if isinstance(leaf, jax.Array | np.ndarray)]
    captured = list(observed.captured.values())

    def path(*arguments: Any) -> list[Any]:
        values = observed.run(arguments, captured)
        return [values[slot] for slot in observed.returned]

    traced = jax.jit(path).trace(*arrays)
    named = map("".join, observed.names)
    inputs = dict(zip(names_in(traced.jaxpr)[1], named, strict=True))
    outputs = tuple(f"result{at}" for at, leaf in observed.leaves if isinstance(leaf, Slot))
    return Traced(traced, inputs, outputs, note)
