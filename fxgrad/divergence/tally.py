"""A tally: which kinds of NaN and infinity were made on the way, computed beside the values.

It works inside of a compiled program, and through calls, branches and loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fxgrad.divergence.bodies import Equation
from fxgrad.divergence.equations import bind_silently, step_through
from fxgrad.divergence.kinds import (
    BY_ELEMENT,
    KINDS,
    MOVES,
    TESTS,
    Badness,
    Test,
    can_be_bad,
    kinds_apart,
)


def nothing_made() -> jax.Array:
    """The tally of no equations: bool[2], for NaN and for infinity."""
    return jnp.zeros(len(KINDS), bool)


def run_and_tally(equation: Equation, inputs: Sequence[Any]) -> tuple[Sequence[Any], jax.Array]:
    """The results of an equation, and what it or those inside of it made."""
    return step_through(equation, inputs, tally, nothing_made())


def tally(
    equation: Equation, inputs: Sequence[Any], made: jax.Array
) -> tuple[Sequence[Any], jax.Array]:
    """The results of an equation that holds no others, and the tally with what it made."""
    results = bind_silently(equation, inputs)
    floats = [value for value in results if can_be_bad(value)]
    name = equation.primitive.name
    if name in MOVES or not floats:
        return results, made
    read = [jnp.asarray(value) for value in inputs if can_be_bad(value)]
    makes = _makes_elements if name in BY_ELEMENT else _makes_any
    kinds = kinds_apart(name, floats)
    here = [
        _any(makes(value, read, test) for value in floats for test in kinds[kind]) for kind in KINDS
    ]
    return results, made | jnp.stack(here)


def holds(values: Sequence[Any], kind: Badness) -> Any:
    """Whether any of some traced values holds a kind."""
    return _any(TESTS[kind](value).any() for value in values if can_be_bad(value))


def _makes_elements(result: Any, inputs: Sequence[Any], test: Test) -> Any:
    new = test(result)
    for value in inputs:
        new = new & ~test(value)
    return new.any()


def _makes_any(result: Any, inputs: Sequence[Any], test: Test) -> Any:
    return test(result).any() & ~_any(test(value).any() for value in inputs)


def _any(flags: Any) -> Any:
    found = jnp.array(False)
    for flag in flags:
        found = found | flag
    return found
