"""What one operation costs by XLA's own count, before any fusion: FLOPs and bytes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax

from fxgrad.replay.structure import Key, params_key

_KEPT: Final = 4096


@dataclass(frozen=True)
class Cost:
    """The cost of one run; None where the backend tells nothing.

    Attributes:
      flops: floating-point operations; a transcendental function counts as one, and so do an
        integer operation and a comparison, as XLA counts.
      bytes: bytes read and written.
    """

    flops: float | None
    bytes: float | None


UNKNOWN: Final = Cost(None, None)
FREE: Final = Cost(0.0, 0.0)


def cost_of_equation(primitive: Any, params: dict[str, Any], avals: Sequence[Any]) -> Cost:
    """The cost of one primitive on inputs of these shapes and dtypes."""
    key = Key(primitive, *((n, params_key(v)) for n, v in sorted(params.items())), tuple(avals))
    return _costs(_Call(key, primitive, params, tuple(avals)))


class _Call:
    """A primitive with its parameters, compared by structure."""

    def __init__(self, key: Key, primitive: Any, params: dict[str, Any], avals: Any) -> None:
        self._key = key
        self._primitive = primitive
        self._params = params
        self._avals = avals

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self._key == other._key

    def measure(self) -> Cost:
        """Ask XLA, by a program of this one primitive that is not compiled."""

        def run(*inputs: Any) -> Any:
            return self._primitive.bind(*inputs, **self._primitive.get_bind_params(self._params))

        try:
            told = jax.jit(run).lower(*self._avals).cost_analysis()
        except Exception:  # it cannot stand alone: a collective, a callback, a reference
            return UNKNOWN
        return cost_told(told)


@functools.lru_cache(_KEPT)
def _costs(call: _Call) -> Cost:
    return call.measure()


def cost_told(told: Any) -> Cost:
    """What a cost analysis of XLA's says; a backend may give a list, or nothing."""
    if isinstance(told, list):
        told = told[0] if told else None
    if told is None:
        return UNKNOWN
    flops = told.get("flops", 0.0) + told.get("transcendentals", 0.0)
    return Cost(max(flops, 0.0), max(told.get("bytes accessed", 0.0), 0.0))
