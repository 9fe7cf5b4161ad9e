"""NaN and infinity inside of equations: what calls, branches and loops hold, followed op by op.

An infinity that is given, such as the ``-inf`` of a mask, was not made, and what a ``where`` drops
reaches no output. No effect is repeated for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.divergence.bodies import (
    Body,
    Equation,
    bodies_of,
    body_of_call,
    literals_in,
    read,
    words_of,
)
from fxgrad.divergence.equations import EffectError, evaluate, run_silently, step_through_body
from fxgrad.divergence.kinds import KINDS, Badness, is_bad, where_bad
from fxgrad.divergence.loops import Loop, loop_of
from fxgrad.divergence.origins import FINITE, GIVEN, HERE, Traced, origins_of
from fxgrad.divergence.tally import holds, nothing_made, tally
from fxgrad.divergence.trail import Trail, first_of

# A turn may make what it drops. Then the next that makes one is looked into, so often.
_MOST_TURNS: Final = 20


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
    """Follow a kind that an equation made into it, run op by op with these inputs.

    Where that does not show it again, or needs an effect to happen again, the equation itself is
    the answer.
    """
    try:
        found = _made_inside(equation, inputs, kind)
    except EffectError:
        found = None
    return found or Inside(equation, tuple(inputs))


def origins_inside(
    equation: Equation, inputs: Sequence[Traced], results: Sequence[Any]
) -> Sequence[Traced]:
    """The results of an equation, traced back through what it holds; `HERE` is what that made."""
    if not any(is_bad(value, kind) for value in results for kind in KINDS):
        return [Traced(value, None) for value in results]
    try:
        opened = _opened(equation, inputs)
        if opened is not None:
            body, given = opened
            _, outputs = _walk(body, given, numbered=False)
            return [_as_in(o, value) for o, value in zip(outputs, results, strict=True)]
        loop = loop_of(equation, [given.value for given in inputs])
        if loop is not None and not _reads_what_was_made(inputs):
            return _origins_in_loop(equation, loop, inputs, results)
    except EffectError:
        pass  # then what it holds is not looked into
    return [_unless_written(value, equation) for value in origins_of(equation, inputs, results)]


def _made_inside(equation: Equation, inputs: Sequence[Any], kind: Badness) -> Inside | None:
    loop = loop_of(equation, inputs)
    if loop is not None:
        return _made_in_loop(loop, kind)
    given = [Traced.given(value) for value in inputs]
    opened = _opened(equation, given)
    if opened is None:
        return None
    body, given = opened
    found = _first_in(body, given, kind)
    if found is None or (body_of_call(equation) and body.only_equation() is not None):
        return found  # what it calls is a mere name for the one equation
    return _within(_words(equation, inputs), found)


def _first_in(body: Body, given: Sequence[Traced], kind: Badness) -> Inside | None:
    """The first equation that made a kind on a way to an output."""
    trail, outputs = _walk(body, given, numbered=True)
    number = first_of(outputs, kind)
    if number is None:
        return None
    return look_inside(body.equations[number], trail.made[number].inputs, kind)


def _walk(body: Body, given: Sequence[Traced], *, numbered: bool) -> tuple[Trail, Sequence[Traced]]:
    """Follow the equations of a body to its outputs; what they make is `HERE` or has a number."""
    trail = Trail(dict(zip(body.inputs, given, strict=True)), origins_inside)
    values = dict(zip(body.inputs, (value.value for value in given), strict=True))
    values |= body.constants
    for number, equation in enumerate(body.equations):
        inputs = read(values, equation.operands)
        results = run_silently(equation, inputs)
        values.update(zip(equation.results, results, strict=True))
        trail.follow(number if numbered else HERE, equation, inputs, results)
        for name in body.ended_at(number):
            values.pop(name, None)
            trail.drop([name])
    ends = zip(body.outputs, read(values, body.outputs), strict=True)
    return trail, [trail.traced(name, value) for name, value in ends]


def _opened(equation: Equation, inputs: Sequence[Traced]) -> tuple[Body, Sequence[Traced]] | None:
    """The equations that a call or a branch holds, and what they are given."""
    body = body_of_call(equation)
    if body is not None:
        return body, inputs
    if equation.primitive.name == "cond":
        return Body(equation.params["branches"][_branch(equation, inputs[0].value)]), inputs[1:]
    return None


def _branch(equation: Equation, index: Any) -> int:
    return min(max(int(index), 0), len(equation.params["branches"]) - 1)


def _words(equation: Equation, inputs: Sequence[Any]) -> str:
    if body_of_call(equation) is not None:
        return words_of(equation)
    return f"cond, branch {_branch(equation, inputs[0])}"


def _within(words: str, found: Inside) -> Inside:
    return Inside(found.equation, found.inputs, (words, *found.within))


def _as_in(output: Traced, value: Any) -> Traced:
    """The origins for a value that was computed before; what is not bad in both is made here."""
    origins = np.asarray(FINITE) if output.origins is None else output.origins
    return Traced.of(value, np.where(origins == FINITE, HERE, origins))


def _reads_what_was_made(inputs: Sequence[Traced]) -> bool:
    return any(first_of(inputs, kind) is not None for kind in KINDS)


def _origins_in_loop(
    equation: Equation, loop: Loop, inputs: Sequence[Traced], results: Sequence[Any]
) -> Sequence[Traced]:
    """`HERE` if a turn made it; what is in an input or written in the loop is given."""
    sources = {}
    for kind in KINDS:
        is_made = _made_in_loop(loop, kind) is not None
        is_given = any(value.first(kind) < FINITE for value in inputs) or _writes(equation, kind)
        sources[kind] = HERE if is_made or not is_given else GIVEN
    return [
        Traced.of(value, np.where(where_bad(value, "nan"), sources["nan"], sources["inf"]))
        for value in results
    ]


def _unless_written(traced: Traced, equation: Equation) -> Traced:
    """Taken for given, where a literal of that kind is written in what the equation holds."""
    origins = traced.origins
    if origins is None:
        return traced
    for kind in KINDS:
        if traced.is_made_here(kind) and _writes(equation, kind):
            is_made = where_bad(traced.value, kind) & (origins == HERE)
            origins = np.where(is_made, GIVEN, origins)
    return Traced.of(traced.value, origins)


def _writes(equation: Equation, kind: Badness) -> bool:
    """Whether a literal or a captured array of a kind is written in what an equation holds."""
    return any(
        any(is_bad(value, kind) for value in literals_in(body))
        or any(_writes(inner, kind) for inner in body.equations)
        for body in bodies_of(equation)
    )


def _made_in_loop(loop: Loop, kind: Badness) -> Inside | None:
    for turn, inputs in itertools.islice(_turns_that_make(loop, kind), _MOST_TURNS):
        found = _first_in(loop.body, [Traced.given(value) for value in inputs], kind)
        if found is not None:
            return _within(loop.words(turn), found)
    return None


def _turns_that_make(loop: Loop, kind: Badness) -> Iterator[tuple[int, list[Any]]]:
    """The turns, from 0 as they run, that make a kind and give one, and what they were given."""
    turn, carry = 0, [jnp.asarray(value) for value in loop.carried]
    search = jax.jit(lambda turn, carry: _next_turn_that_makes(loop, kind, turn, carry))
    while True:
        after, next_carry, given, is_found = search(turn, carry)
        if not is_found:
            return
        yield int(after) - 1, loop.reads(given, loop.row(int(after) - 1))
        turn, carry = int(after), next_carry


def _next_turn_that_makes(loop: Loop, kind: Badness, turn: Any, carry: list[Any]) -> Any:
    """The number of turns run by then, what is carried on, what the last turn was given, if any."""

    def goes_on(state: Any) -> Any:
        turn, carry, _, is_found = state
        if loop.condition is None:
            return ~is_found & (turn < loop.length)
        return ~is_found & evaluate(loop.condition, [*loop.asked, *carry], run_silently)[0]

    def advance(state: Any) -> Any:
        turn, carry, _, _ = state
        reads = loop.reads(carry, loop.row(turn))
        results, made = step_through_body(loop.body, reads, tally, nothing_made())
        is_found = made[KINDS.index(kind)] & holds(results, kind)
        return turn + 1, list(results[: len(carry)]), carry, is_found

    begin = (jnp.asarray(turn, jnp.int32), carry, carry, jnp.array(False))
    return jax.lax.while_loop(goes_on, advance, begin)
