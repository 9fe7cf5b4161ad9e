"""Bodies: what an equation is, and the equations that it may hold inside.

How they are computed belongs to `equations`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jax
import numpy as np

from fxgrad.recorder import called_jaxpr, is_jaxpr, is_literal, open_jaxpr

_CONVERSIONS: Final = frozenset(["convert_element_type", "broadcast_in_dim", "reshape", "squeeze"])
_WRITTEN: Final = {"remat": "checkpoint", "remat2": "checkpoint"}


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

    def ended_at(self, number: int) -> list[Any]:
        """The variables that no equation after this one, and no output, reads."""
        return self._ended.get(number, [])

    @functools.cached_property
    def _ended(self) -> dict[int, list[Any]]:
        last = {
            name: number
            for number, equation in enumerate(self.equations)
            for name in (*equation.results, *variables(equation.operands))
        }
        ended: dict[int, list[Any]] = {}
        for name in last.keys() - set(variables(self.outputs)):
            ended.setdefault(last[name], []).append(name)
        return ended

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


def read(values: Mapping[Any, Any], atoms: Sequence[Any]) -> list[Any]:
    """The values of variables and literals, in the dtype that the jaxpr has them in."""
    return [
        np.asarray(atom.val, atom.aval.dtype) if is_literal(atom) else values[atom]
        for atom in atoms
    ]


def literals_in(body: Body) -> list[Any]:
    """The values that are written in a body, captured arrays among them."""
    atoms = [*body.outputs, *(atom for e in body.equations for atom in e.operands)]
    return [*body.constants.values(), *(atom.val for atom in atoms if is_literal(atom))]


def variables(atoms: Sequence[Any]) -> list[Any]:
    """Without the literals."""
    return [atom for atom in atoms if not is_literal(atom)]


def body_of_call(equation: Equation) -> Body | None:
    """The equations that a call holds; None for what is no call."""
    called = called_jaxpr(equation.primitive, equation.params)
    return None if called is None else Body(called)


def name_of(equation: Equation) -> str:
    """The primitive; of a call what it holds, if that is one but for conversions, or its name."""
    body = body_of_call(equation)
    if body is not None and (only := body.only_equation()) is not None:
        return name_of(only)
    return words_of(equation)


def words_of(equation: Equation) -> str:
    """The primitive as users write it; of a call its name besides."""
    name: str = equation.primitive.name
    called = equation.params.get("name") if body_of_call(equation) is not None else None
    return f"{name} {called}" if called else _WRITTEN.get(name, name)


def bodies_of(equation: Equation) -> list[Body]:
    """All the equations that an equation holds."""
    leaves = jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr)
    return [Body(leaf) for leaf in leaves if is_jaxpr(leaf)]


def primitives_in(equation: Equation) -> set[str]:
    """The names of the primitives of an equation and of those inside of it."""
    inner = (primitives_in(e) for body in bodies_of(equation) for e in body.equations)
    return {equation.primitive.name}.union(*inner)


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
