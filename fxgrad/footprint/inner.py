"""What one operation takes while it runs, besides its operands and results.

Eager runs a nested function, a loop or a branch as one compiled program, and its own memory is the
compiler's to tell. What `jax.checkpoint` wraps is run op by op, and is observed in its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import jax

from fxgrad.footprint.compiled import analysis_of
from fxgrad.footprint.stand_in import stand_in, zeros
from fxgrad.observed import Observed, observe
from fxgrad.recorder import Operation, inner_function, is_jaxpr
from fxgrad.replay.structure import Step

# Each is compiled once more to be asked, in some 20 ms.
MAX_ASKED: Final = 400
_MAX_KNOWN: Final = 4096
_known: Final[dict[Hashable, int | None]] = {}


class InnerBytes:
    """Asks for each kind of operation once in a process, and for so many of them at most.

    Attributes:
      is_complete: whether every operation could be asked so far.
    """

    def __init__(self, peak_bytes_of: Callable[[Observed], int]) -> None:
        self._peak_bytes_of = peak_bytes_of
        self._asked = 0
        self.is_complete = True

    def __call__(self, operation: Operation) -> int | None:
        """Bytes that one operation takes in between; None if they are not known."""
        if not any(map(_holds_jaxpr, operation.params.values())):
            return 0
        key = Step(operation).key
        if key in _known:
            known = _known.get(key)
        elif self._asked >= MAX_ASKED or operation.has_effects:
            known = None
        else:
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            self._asked += 1
            known = _known[key] = self._ask(operation)
        self.is_complete &= known is not None
        return known

    def _ask(self, operation: Operation) -> int | None:
        inner = inner_function(operation)
        if inner is not None:
            return self._bytes_inside(inner, operation)
        inputs = map(stand_in, operation.input_avals)
        lowered = jax.jit(lambda *values: operation.run(values)).lower(*inputs)
        analysis = analysis_of(lowered)
        return None if analysis is None else analysis.temp_size_in_bytes

    def _bytes_inside(self, inner: Callable[..., Any], operation: Operation) -> int:
        inputs = tuple(map(zeros, operation.input_avals))
        observed = observe(inner, inputs)
        taken = observed.bytes_of((*observed.arguments, *observed.returned))
        return max(self._peak_bytes_of(observed) - taken, 0)


def _holds_jaxpr(value: Any) -> bool:
    return any(map(is_jaxpr, value)) if isinstance(value, tuple | list) else is_jaxpr(value)
