"""Equations: one primitive with its parameters, computed, and what it holds taken apart.

What calls, branches and loops hold is computed equation by equation, each that holds none by a
function of one's own, and a state may go along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from fxgrad.divergence.bodies import Body, Equation, body_of_call, read
from fxgrad.divergence.loops import Loop, loop_of
from fxgrad.recorder import without_donation

Bind = Callable[[Equation, Sequence[Any]], Sequence[Any]]
"""Gives the results of an equation that holds no others."""
Step = Callable[[Equation, Sequence[Any], Any], tuple[Sequence[Any], Any]]
"""Gives these results, and the state after the equation for the state before."""


class EffectError(Exception):
    """What is to be computed needs an effect, which may not happen again."""


def bind_as_is(equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
    """Bind the primitive with its own parameters, but that it donates nothing."""
    return bind_with(equation.primitive, without_donation(equation.params), inputs)


def bind_silently(equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
    """Bind the primitive as it is unless that has an effect.

    Raises:
      EffectError: it has one.
    """
    if equation.has_effects:
        raise EffectError(equation.primitive.name)
    return bind_as_is(equation, inputs)


def run_silently(equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
    """The results of an equation; what only prints inside of it is left out.

    Raises:
      EffectError: its results need an effect.
    """
    if equation.has_effects:
        return run_equation(equation, inputs, bind_silently)
    return bind_as_is(equation, inputs)


def bind_with(primitive: Any, params: dict[str, Any], inputs: Sequence[Any]) -> Sequence[Any]:
    """Bind a primitive with other parameters."""
    results = primitive.bind(*inputs, **primitive.get_bind_params(params))
    return results if primitive.multiple_results else [results]


def run_equation(equation: Equation, inputs: Sequence[Any], bind: Bind) -> Sequence[Any]:
    """The results of an equation, those inside of it by `bind`, under the trace that is current.

    Constants and literals go through `bind` too, in the dtype that the jaxpr has them in.
    """
    return step_through(equation, inputs, _without_state(bind), ())[0]


def evaluate(body: Body, inputs: Sequence[Any], bind: Bind) -> list[Any]:
    """What a body gives, each equation by `bind`."""
    return step_through_body(body, inputs, _without_state(bind), ())[0]


def step_through_body(
    body: Body, inputs: Sequence[Any], step: Step, state: Any
) -> tuple[list[Any], Any]:
    """What a body gives, each equation by `step`, and the state after it."""
    values = dict(zip(body.inputs, inputs, strict=True)) | body.constants
    for equation in body.equations:
        results, state = step_through(equation, read(values, equation.operands), step, state)
        values.update(zip(equation.results, results, strict=True))
    return read(values, body.outputs), state


def step_through(
    equation: Equation, inputs: Sequence[Any], step: Step, state: Any
) -> tuple[Sequence[Any], Any]:
    """The results of an equation, those inside of it by `step`, and the state after it.

    The state is a pytree of arrays, whose shapes and dtypes stay.
    """
    body = body_of_call(equation)
    if body is not None:
        return jax.jit(_stepper(body, step))(state, *inputs)
    if equation.primitive.name == "cond":
        sides = [_stepper(Body(branch), step) for branch in equation.params["branches"]]
        return jax.lax.switch(inputs[0], sides, state, *inputs[1:])
    loop = loop_of(equation, inputs)
    if loop is None:
        return step(equation, inputs, state)
    return _while(loop, step, state) if loop.condition is not None else _scan(loop, step, state)


def _without_state(bind: Bind) -> Step:
    return lambda equation, inputs, state: (bind(equation, inputs), state)


def _stepper(body: Body, step: Step) -> Callable[..., tuple[list[Any], Any]]:
    return lambda state, *values: step_through_body(body, values, step, state)


def _while(loop: Loop, step: Step, state: Any) -> tuple[Sequence[Any], Any]:
    def turn(carry: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
        results, after = step_through_body(loop.body, loop.reads(carry[1]), step, carry[0])
        return after, results

    def goes_on(carry: tuple[Any, list[Any]]) -> Any:
        assert loop.condition is not None
        return step_through_body(loop.condition, [*loop.asked, *carry[1]], step, carry[0])[0][0]

    state, carry = jax.lax.while_loop(goes_on, turn, (state, list(loop.carried)))
    return carry, state


def _scan(loop: Loop, step: Step, state: Any) -> tuple[Sequence[Any], Any]:
    def turn(carry: tuple[Any, list[Any]], row: list[Any]) -> tuple[Any, list[Any]]:
        results, after = step_through_body(loop.body, loop.reads(carry[1], row), step, carry[0])
        return (after, results[: len(carry[1])]), results[len(carry[1]) :]

    (state, carry), stacked = jax.lax.scan(
        turn,
        (state, list(loop.carried)),
        list(loop.rows),
        length=loop.length,
        reverse=loop.reverse,
    )
    return [*carry, *stacked], state
