"""Equations: one primitive with its parameters, and the equations that it may hold inside.

`run_equation` takes an equation apart: what calls, branches and loops hold is evaluated equation by
equation, with a `bind` of one's own for each that holds none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jax
import numpy as np

from fxgrad.recorder import called_jaxpr, is_jaxpr, is_literal, open_jaxpr, scan_parts

_CONVERSIONS: Final = frozenset(["convert_element_type", "broadcast_in_dim", "reshape", "squeeze"])


class Equation(Protocol):
    """What an observed operation and an equation of a jaxpr have in common."""

    @property
    def primitive(self) -> Any:
        """JAX's primitive."""
        ...

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters."""
        ...

    @property
    def input_avals(self) -> tuple[Any, ...]:
        """The abstract values of its inputs."""
        ...

    @property
    def output_avals(self) -> tuple[Any, ...]:
        """The abstract values of its outputs."""
        ...

    @property
    def has_effects(self) -> bool:
        """Whether it, or what it holds, prints, calls back, or touches a reference."""
        ...

    @property
    def source(self) -> Any:
        """JAX's source information."""
        ...


@dataclass(frozen=True, eq=False)
class InnerEquation:
    """An equation of a jaxpr.

    Attributes:
      primitive: JAX's primitive.
      params: its parameters.
      operands: for each input a variable or a literal of the jaxpr.
      input_avals: the abstract values of the inputs.
      results: the variables of the outputs.
      output_avals: the abstract values of the outputs.
      has_effects: whether it, or what it holds, prints, calls back, or touches a reference.
      source: JAX's source information.
    """

    primitive: Any
    params: dict[str, Any]
    operands: tuple[Any, ...]
    input_avals: tuple[Any, ...]
    results: tuple[Any, ...]
    output_avals: tuple[Any, ...]
    has_effects: bool
    source: Any


@dataclass(frozen=True, eq=False)
class Body:
    """The equations of a jaxpr, closed or open, as a function."""

    jaxpr: Any

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The variables of the inputs."""
        return tuple(self._open.invars)

    @property
    def outputs(self) -> tuple[Any, ...]:
        """The variables and literals of the outputs."""
        return tuple(self._open.outvars)

    @functools.cached_property
    def equations(self) -> tuple[InnerEquation, ...]:
        """In order, those that the outputs need: what only prints is not among them."""
        needed = set(variables(self.outputs))
        found: list[InnerEquation] = []
        for equation in map(_inner, reversed(self._open.eqns)):
            if not needed.isdisjoint(equation.results):
                needed.update(variables(equation.operands))
                found.append(equation)
        return tuple(reversed(found))

    def only_equation(self) -> InnerEquation | None:
        """The one equation that does more than to convert and reshape, if there is one only."""
        working = [e for e in self.equations if e.primitive.name not in _CONVERSIONS]
        return working[0] if len(working) == 1 else None

    @property
    def constants(self) -> dict[Any, Any]:
        """The captured arrays by their variables."""
        consts = getattr(self.jaxpr, "consts", ())
        return dict(zip(self._open.constvars, consts, strict=False))

    @property
    def _open(self) -> Any:
        return open_jaxpr(self.jaxpr)


Bind = Callable[[Equation, Sequence[Any]], Sequence[Any]]
"""Gives the results of an equation that holds no others."""


def bind_as_is(equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
    """Bind the primitive with its own parameters."""
    return bind_with(equation.primitive, equation.params, inputs)


def bind_with(primitive: Any, params: dict[str, Any], inputs: Sequence[Any]) -> Sequence[Any]:
    """Bind a primitive with other parameters."""
    results = primitive.bind(*inputs, **primitive.get_bind_params(params))
    return results if primitive.multiple_results else [results]


class EffectError(Exception):
    """What is to be computed needs an effect, which may not happen again."""


def bind_silently(equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
    """Bind the primitive as it is unless that has an effect.

    Raises:
      EffectError: it has one.
    """
    if equation.has_effects:
        raise EffectError(equation.primitive.name)
    return bind_as_is(equation, inputs)


def evaluate(body: Body, inputs: Sequence[Any], bind: Bind) -> list[Any]:
    """What a body gives, each equation by `bind`; its constants and literals go through `bind` too.

    They are the inputs of an equation's like any other, in the dtype that the jaxpr has them in.
    """
    values = dict(zip(body.inputs, inputs, strict=True)) | body.constants
    for equation in body.equations:
        results = run_equation(equation, read(values, equation.operands), bind)
        values.update(zip(equation.results, results, strict=True))
    return read(values, body.outputs)


def read(values: Mapping[Any, Any], atoms: Sequence[Any]) -> list[Any]:
    """The values of variables and literals, in the dtype that the jaxpr has them in."""
    return [
        np.asarray(atom.val, atom.aval.dtype) if is_literal(atom) else values[atom]
        for atom in atoms
    ]


def variables(atoms: Sequence[Any]) -> list[Any]:
    """Without the literals."""
    return [atom for atom in atoms if not is_literal(atom)]


def run_equation(equation: Equation, inputs: Sequence[Any], bind: Bind) -> Sequence[Any]:
    """The results of an equation, those inside of it by `bind`, under the trace that is current."""
    name, body = equation.primitive.name, body_of_call(equation)
    if body is not None:
        return jax.jit(lambda *values: evaluate(body, values, bind))(*inputs)
    if name == "cond":
        sides = [_side(Body(branch), bind) for branch in equation.params["branches"]]
        return jax.lax.switch(inputs[0], sides, *inputs[1:])
    if name == "while":
        return _run_while(equation, inputs, bind)
    if name == "scan":
        return _run_scan(equation, inputs, bind)
    return bind(equation, inputs)


def body_of_call(equation: Equation) -> Body | None:
    """The equations that a call holds; None for what is no call."""
    called = called_jaxpr(equation.primitive, equation.params)
    return None if called is None else Body(called)


def name_of(equation: Equation) -> str:
    """The primitive; of a call what it holds, if that is one but for conversions, or its name."""
    body = body_of_call(equation)
    if body is not None and (only := body.only_equation()) is not None:
        return name_of(only)
    called = equation.params.get("name") if body is not None else None
    return f"{equation.primitive.name} {called}" if called else equation.primitive.name


def bodies_of(equation: Equation) -> list[Body]:
    """All the equations that an equation holds."""
    leaves = jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr)
    return [Body(leaf) for leaf in leaves if is_jaxpr(leaf)]


def primitives_in(equation: Equation) -> set[str]:
    """The names of the primitives of an equation and of those inside of it."""
    inner = (primitives_in(e) for body in bodies_of(equation) for e in body.equations)
    return {equation.primitive.name}.union(*inner)


def _run_while(equation: Equation, inputs: Sequence[Any], bind: Bind) -> Sequence[Any]:
    params = equation.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    asked, turned = list(inputs[:first]), list(inputs[first : first + second])
    condition, body = Body(params["cond_jaxpr"]), Body(params["body_jaxpr"])
    return jax.lax.while_loop(
        lambda carry: evaluate(condition, [*asked, *carry], bind)[0],
        lambda carry: evaluate(body, [*turned, *carry], bind),
        list(inputs[first + second :]),
    )


def _run_scan(equation: Equation, inputs: Sequence[Any], bind: Bind) -> Sequence[Any]:
    constants, carried, gone_through = scan_parts(equation.params, inputs)
    body = Body(equation.params["jaxpr"])

    def turn(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        results = evaluate(body, [*constants, *carry, *x], bind)
        return results[: len(carried)], results[len(carried) :]

    carry, stacked = jax.lax.scan(
        turn,
        carried,
        gone_through,
        length=equation.params["length"],
        reverse=equation.params["reverse"],
    )
    return [*carry, *stacked]


def _side(body: Body, bind: Bind) -> Callable[..., list[Any]]:
    return lambda *values: evaluate(body, values, bind)


def _inner(eqn: Any) -> InnerEquation:
    return InnerEquation(
        primitive=eqn.primitive,
        params=eqn.params,
        operands=tuple(eqn.invars),
        input_avals=tuple(var.aval for var in eqn.invars),
        results=tuple(eqn.outvars),
        output_avals=tuple(var.aval for var in eqn.outvars),
        has_effects=bool(eqn.effects),
        source=eqn.source_info,
    )
