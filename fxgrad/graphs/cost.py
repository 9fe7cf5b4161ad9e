"""What one operation costs by XLA's own count, when it stands alone: FLOPs and bytes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax

from fxgrad.graphs.hlo_cost import HloCost
from fxgrad.graphs.hlo_text import read_program
from fxgrad.replay.structure import Key, params_key


@dataclass(frozen=True)
class Cost:
    """The cost of one run; None where it is not known.

    Attributes:
      flops: floating-point operations; a transcendental function counts as one, and so do an
        integer operation and a comparison, as XLA counts.
      bytes: bytes read and written.
    """

    flops: float | None
    bytes: float | None


UNKNOWN: Final = Cost(None, None)
# Before it compiles, XLA counts one turn of a loop, and a running sum as one sum for each element.
_BETTER_COMPILED: Final = ("stablehlo.while", "stablehlo.reduce_window")
# What a library does is not counted.
_OPAQUE: Final = "stablehlo.custom_call"


class Costs:
    """The costs of equations; each kind is asked for once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Cost] = {}

    def of(self, primitive: Any, params: dict[str, Any], avals: Sequence[Any]) -> Cost:
        """The cost of one primitive on inputs of these shapes and dtypes."""
        parameters = ((name, params_key(value)) for name, value in sorted(params.items()))
        key = Key(primitive, *parameters, tuple(avals))
        if key not in self._known:
            self._known[key] = _measured(primitive, params, avals)
        return self._known[key]


def _measured(primitive: Any, params: dict[str, Any], avals: Sequence[Any]) -> Cost:
    """Ask XLA, by a program of this one primitive."""

    def run(*inputs: Any) -> Any:
        return primitive.bind(*inputs, **primitive.get_bind_params(params))

    try:
        lowered = jax.jit(run).lower(*map(_unplaced, avals))
        text = lowered.as_text()
        if _OPAQUE in text:
            return UNKNOWN
        if not any(name in text for name in _BETTER_COMPILED):
            return _cost_told(lowered.cost_analysis())
        compiled = lowered.compile()
        program = read_program(compiled.as_text() or "")
        flops = HloCost(program).flops_of_computation(program.entry)
        return Cost(flops, _cost_told(compiled.cost_analysis()).bytes)
    except Exception:  # whatever it is that cannot stand alone: a collective, a mutable array
        return UNKNOWN


def _unplaced(aval: Any) -> Any:
    """Shape and dtype alone: what is sharded over a mesh is counted as a whole."""
    if not hasattr(aval, "weak_type"):
        return aval
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _cost_told(told: Any) -> Cost:
    """What a cost analysis of XLA's says; a backend may give a list, nothing, or less than 0."""
    if isinstance(told, list):
        told = told[0] if told else None
    if told is None or told.get("flops", 0.0) < 0 or told.get("bytes accessed", 0.0) < 0:
        return UNKNOWN
    flops = told.get("flops", 0.0) + told.get("transcendentals", 0.0)
    return Cost(flops, told.get("bytes accessed", 0.0))
