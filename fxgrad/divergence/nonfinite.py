"""NaN and infinity: which equation made the first one that reaches an output.

An infinity that is given, such as the ``-inf`` of a mask, was not made, and what a ``where`` drops
reaches no output.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.divergence.difference import as_numpy
from fxgrad.divergence.equations import (
    Body,
    EffectError,
    Equation,
    bind_silently,
    body_of_call,
    evaluate,
    read,
    run_equation,
    variables,
)
from fxgrad.recorder import scan_parts

Badness = Literal["nan", "inf"]


def is_bad(value: Any, kind: Badness) -> bool:
    """Whether an array of floats holds a NaN, or an infinity."""
    if not _can_be_bad(value):
        return False
    array = as_numpy(value)
    return bool((np.isnan(array) if kind == "nan" else np.isinf(array)).any())


@dataclass
class Flags:
    """Which values, by their slots or variables, hold a NaN or an infinity."""

    nan: set[Hashable] = field(default_factory=set)
    inf: set[Hashable] = field(default_factory=set)

    def note(self, name: Hashable, value: Any) -> None:
        """Look at a value."""
        if is_bad(value, "nan"):
            self.nan.add(name)
        if is_bad(value, "inf"):
            self.inf.add(name)

    def of(self, kind: Badness) -> set[Hashable]:
        """The values of one kind."""
        return self.nan if kind == "nan" else self.inf


def origin(
    equations: Sequence[tuple[Collection[Any], Collection[Any]]],
    outputs: Collection[Hashable],
    marked: Collection[Hashable],
) -> int | None:
    """The first equation that makes a marked value of unmarked ones, on a marked way to an output.

    Args:
      equations: what each reads and makes.
      outputs: where the ways end.
      marked: what is followed.
    """
    ahead = {name for name in outputs if name in marked}
    found = None
    for number in reversed(range(len(equations))):
        reads, makes = equations[number]
        if ahead.isdisjoint(makes):
            continue
        before = {name for name in reads if name in marked}
        ahead |= before
        if not before:
            found = number
    return found


@dataclass(frozen=True)
class Inside:
    """Where inside of an equation a value went bad.

    Attributes:
      equation: the innermost equation that made it.
      inputs: what that read.
      within: the calls, branches and loops around it, the outermost first.
    """

    equation: Equation
    inputs: tuple[Any, ...]
    within: tuple[str, ...] = ()


def look_inside(equation: Equation, inputs: Sequence[Any], kind: Badness) -> Inside:
    """Follow a bad value into an equation whose inputs have none, run op by op with these inputs.

    Where that does not show it again, or needs an effect to happen again, the equation itself is
    the answer.
    """
    here = Inside(equation, tuple(inputs))
    try:
        opened = _opened(equation, inputs, kind)
        if opened is None:
            return here
        words, body, given = opened
        found = _first_in(body, given, kind)
    except EffectError:
        return here
    if found is None:
        return here
    is_a_mere_name = body_of_call(equation) is not None and body.only_equation() is not None
    within = found.within if is_a_mere_name else (words, *found.within)
    return Inside(found.equation, found.inputs, within)


def _first_in(body: Body, inputs: Sequence[Any], kind: Badness) -> Inside | None:
    equations = body.equations
    values: dict[Any, Any] = dict(zip(body.inputs, inputs, strict=True)) | body.constants
    flags = Flags()
    for name, value in values.items():
        flags.note(name, value)
    for equation in equations:
        results = run_equation(equation, read(values, equation.operands), bind_silently)
        for name, value in zip(equation.results, results, strict=True):
            values[name] = value
            flags.note(name, value)
    wiring = [(variables(e.operands), e.results) for e in equations]
    first = origin(wiring, variables(body.outputs), flags.of(kind))
    if first is None:
        return None
    found = equations[first]
    return look_inside(found, read(values, found.operands), kind)


def _opened(
    equation: Equation, inputs: Sequence[Any], kind: Badness
) -> tuple[str, Body, Sequence[Any]] | None:
    """What an equation holds, in words, as equations, and with which inputs it went bad."""
    name = equation.primitive.name
    body = body_of_call(equation)
    if body is not None:
        return f"{name} {equation.params.get('name', '')}".strip(), body, inputs
    if name == "cond":
        branches = equation.params["branches"]
        chosen = min(max(int(inputs[0]), 0), len(branches) - 1)
        return f"cond, branch {chosen}", Body(branches[chosen]), inputs[1:]
    if name == "scan":
        return _bad_turn_of_scan(equation, inputs, kind)
    if name == "while":
        return _bad_turn_of_while(equation, inputs, kind)
    return None


def _bad_turn_of_scan(
    equation: Equation, inputs: Sequence[Any], kind: Badness
) -> tuple[str, Body, Sequence[Any]] | None:
    body, length = Body(equation.params["jaxpr"]), equation.params["length"]
    constants, first, gone_through = scan_parts(equation.params, inputs)
    reverse = equation.params["reverse"]

    def reads(turn: Any, carry: Sequence[Any]) -> list[Any]:
        index = length - 1 - turn if reverse else turn
        slices = [jax.lax.dynamic_index_in_dim(xs, index, keepdims=False) for xs in rows]
        return [*constants, *carry, *slices]

    rows = [jnp.asarray(xs) for xs in gone_through]
    found = _first_bad_turn(
        lambda turn, carry: evaluate(body, reads(turn, carry), bind_silently),
        lambda turn, _: turn < length,
        first,
        kind,
    )
    if found is None:
        return None
    turn, carry = found
    return f"scan, turn {turn + 1} of {length}", body, reads(turn, carry)


def _bad_turn_of_while(
    equation: Equation, inputs: Sequence[Any], kind: Badness
) -> tuple[str, Body, Sequence[Any]] | None:
    params = equation.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    asked, turned = inputs[:first], inputs[first : first + second]
    condition, body = Body(params["cond_jaxpr"]), Body(params["body_jaxpr"])
    found = _first_bad_turn(
        lambda _, carry: evaluate(body, [*turned, *carry], bind_silently),
        lambda _, carry: evaluate(condition, [*asked, *carry], bind_silently)[0],
        inputs[first + second :],
        kind,
    )
    if found is None:
        return None
    turn, carry = found
    return f"while, turn {turn + 1}", body, [*turned, *carry]


def _first_bad_turn(
    run: Callable[[Any, Sequence[Any]], Sequence[Any]],
    goes_on: Callable[[Any, Sequence[Any]], Any],
    carry: Sequence[Any],
    kind: Badness,
) -> tuple[int, Sequence[Any]] | None:
    """The first turn whose results are bad, from 0, and what it was given."""
    start = [jnp.asarray(value) for value in carry]

    def is_next(state: Any) -> Any:
        turn, values, _, bad = state
        return ~bad & goes_on(turn, values)

    def advance(state: Any) -> Any:
        turn, values, _, _ = state
        results = run(turn, values)
        bad = jnp.array(False)
        for result in results:
            bad = bad | _is_bad_traced(result, kind)
        return turn + 1, list(results[: len(values)]), values, bad

    begin = (jnp.asarray(0, jnp.int32), start, start, jnp.array(False))
    turns, _, given, bad = jax.lax.while_loop(is_next, advance, begin)
    return (int(turns) - 1, given) if bool(bad) else None


def _is_bad_traced(value: Any, kind: Badness) -> Any:
    if not _can_be_bad(value):
        return jnp.array(False)
    return (jnp.isnan(value) if kind == "nan" else jnp.isinf(value)).any()


def _can_be_bad(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return isinstance(value, float | complex)
    return jnp.issubdtype(dtype, jnp.inexact)
