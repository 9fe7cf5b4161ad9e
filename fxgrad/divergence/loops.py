"""Loops: a scan and a while as one thing, what they hold, read and carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fxgrad.divergence.bodies import Body, Equation
from fxgrad.recorder import scan_parts


@dataclass(frozen=True)
class Loop:
    """A loop and its inputs.

    Attributes:
      body: one turn: of the constants, what is carried, and a row, to what is carried and stacked.
      constants: what each turn reads.
      carried: what the first turn is given.
      rows: what is gone through, row by row, in a scan.
      length: how many turns a scan has; None if a condition decides.
      reverse: whether a scan begins with the last row.
      condition: of what is asked and what is carried, whether another turn follows; None of a scan.
      asked: what the condition reads besides.
    """

    body: Body
    constants: Sequence[Any]
    carried: Sequence[Any]
    rows: Sequence[Any] = ()
    length: int | None = None
    reverse: bool = False
    condition: Body | None = None
    asked: Sequence[Any] = ()

    def reads(self, carry: Sequence[Any], row: Sequence[Any] = ()) -> list[Any]:
        """The inputs of a turn."""
        return [*self.constants, *carry, *row]

    def row(self, turn: Any) -> list[Any]:
        """What a turn, from 0 as they run, reads of the rows."""
        index = turn if self.length is None or not self.reverse else self.length - 1 - turn
        rows = [jnp.asarray(values) for values in self.rows]
        return [jax.lax.dynamic_index_in_dim(values, index, keepdims=False) for values in rows]

    def words(self, turn: int) -> str:
        """A turn, from 0 as they run, in words: numbered from 1 in the order of the rows."""
        if self.length is None:
            return f"while, turn {turn + 1}"
        if self.reverse:
            return f"loop, turn {self.length - turn} of {self.length}, run backwards"
        return f"loop, turn {turn + 1} of {self.length}"


def loop_of(equation: Equation, inputs: Sequence[Any]) -> Loop | None:
    """An equation with its inputs as a loop, or None if it is none."""
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return Loop(
            Body(params["jaxpr"]),
            *scan_parts(params, inputs),
            length=params["length"],
            reverse=params["reverse"],
        )
    if name == "while":
        first, second = params["cond_nconsts"], params["body_nconsts"]
        return Loop(
            Body(params["body_jaxpr"]),
            constants=inputs[first : first + second],
            carried=inputs[first + second :],
            condition=Body(params["cond_jaxpr"]),
            asked=inputs[:first],
        )
    return None
