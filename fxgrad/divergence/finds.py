"""Finds: the first NaN or infinity of every mode, and equations as sites that can be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fxgrad.divergence.difference import as_numpy
from fxgrad.divergence.equations import name_of
from fxgrad.divergence.nonfinite import Badness, Flags, is_bad, look_inside, origin
from fxgrad.divergence.outcomes import Leaf
from fxgrad.divergence.program import Program
from fxgrad.divergence.record import NonFinite, Site
from fxgrad.recorder import Slot, place_of, scope_of

_KINDS: tuple[Badness, ...] = ("nan", "inf")


class Finds:
    """Looks for what is not finite: in eager op by op, for other modes in the compiled program."""

    def __init__(
        self,
        program: Program,
        leaves: Sequence[Leaf],
        outputs: Mapping[str, Sequence[Any]],
        *,
        masked: bool,
    ) -> None:
        self._program, self._masked = program, masked
        self._slots = [leaf.slot for leaf in leaves]
        self._values = {"eager": [leaf.value for leaf in leaves], **outputs}

    def any(self) -> bool:
        """Whether there may be something to report."""
        bad = (is_bad(v, kind) for vs in self._values.values() for v in vs for kind in _KINDS)
        return (self._masked or any(bad)) and bool(self.by_mode())

    def by_mode(self) -> dict[str, NonFinite]:
        """What was made on the way in each mode; nothing for what was given."""
        finds: dict[str, NonFinite] = {}
        eager: _Trace | None = None
        compiled: _Trace | None = None
        for mode, values in self._values.items():
            if not self._masked and not any(is_bad(v, k) for v in values for k in _KINDS):
                continue
            if mode == "eager":
                trace = eager = eager or self._trace_eager()
            else:
                trace = compiled = compiled or self._trace_compiled()
            find = self._find(trace, values)
            if find is not None:
                finds[mode] = find
        return finds

    def _find(self, trace: _Trace, values: Sequence[Any]) -> NonFinite | None:
        for kind in _KINDS:
            ends = [s for s, v in zip(self._slots, values, strict=True) if is_bad(v, kind)]
            number = trace.origin(ends, kind, masked=self._masked)
            if number is not None:
                return trace.nonfinite(number, kind)
            if ends and not any(trace.is_marked(s, kind) for s in ends if s is not None):
                return NonFinite(kind, None)  # the program that returns all has it otherwise
        return None

    def _trace_eager(self) -> _Trace:
        flags = self._given()
        for _, made in self._program.eagerly(list(self._program.makers)):
            for slot, value in made.items():
                flags.note(slot, value)
        return _Trace(self._program, flags, self._program.eager_values)

    def _trace_compiled(self) -> _Trace:
        flags = self._given()
        wanted = list(self._program.makers)
        for slot, value in self._program.compiled_values(wanted).items():
            flags.note(slot, value)
        return _Trace(
            self._program, flags, lambda slots: self._program.compiled_values(list(slots))
        )

    def _given(self) -> Flags:
        flags = Flags()
        for slot, value in self._program.given.items():
            flags.note(slot, value)
        return flags


class _Trace:
    """One run's flags, and a way to get at its values."""

    def __init__(
        self,
        program: Program,
        flags: Flags,
        values_of: Callable[[Sequence[Slot]], Mapping[Slot, Any]],
    ) -> None:
        self._program, self._flags, self._values_of = program, flags, values_of
        self._wiring = [
            (program.slots_read(n), o.results) for n, o in enumerate(program.operations)
        ]

    def is_marked(self, slot: Slot, kind: Badness) -> bool:
        """Whether a value is bad in this run."""
        return slot in self._flags.of(kind)

    def origin(self, ends: Sequence[Slot | None], kind: Badness, *, masked: bool) -> int | None:
        """The operation that made the first bad value on a way to `ends`, by its place."""
        marked = self._flags.of(kind)
        return origin(self._wiring, list(marked) if masked else ends, marked)

    def nonfinite(self, number: int, kind: Badness) -> NonFinite:
        """The find at an operation, and for a NaN where the infinity in it came from."""
        made_of = None
        if kind == "nan":
            infinite = [s for s in self._program.slots_read(number) if self.is_marked(s, "inf")]
            before = origin(self._wiring, infinite, self._flags.inf)
            made_of = None if before is None else self._site(before, "inf")
        return NonFinite(kind, self._site(number, kind), made_of)

    def _site(self, number: int, kind: Badness) -> Site:
        operation = self._program.operations[number]
        values = self._values_of(self._program.slots_read(number))
        inputs = [values[o] if isinstance(o, Slot) else o for o in operation.operands]
        inside = look_inside(operation, inputs, kind)
        outer = site_of(self._program, number)
        return Site(
            number=outer.number,
            count=outer.count,
            operation=name_of(inside.equation),
            value=_aval_words(inside.equation.output_avals[0]),
            place=place_of(inside.equation.source) or outer.place,
            scope=outer.scope,
            within=inside.within,
            reads=tuple(_range_words(value) for value in inside.inputs),
        )


def site_of(program: Program, number: int, slot: Slot | None = None) -> Site:
    """An operation of a program as a site; `slot` says which of its results."""
    operation = program.operations[number]
    result = 0 if slot is None else operation.results.index(slot)
    return Site(
        number=number + 1,
        count=len(program.operations),
        operation=name_of(operation),
        value=_aval_words(operation.output_avals[result]),
        place=place_of(operation.source),
        scope=scope_of(operation.source),
    )


def _aval_words(aval: Any) -> str:
    return aval.str_short(short_dtypes=True)


def _range_words(value: Any) -> str:
    array = as_numpy(value)
    words = _aval_words(jax.typeof(array))
    if not array.size:
        return words
    if array.ndim == 0:
        return f"{words} {array.item():g}"
    finite = array[np.isfinite(array)] if array.dtype.kind != "b" else array
    if not finite.size:
        return f"{words} without a finite element"
    return f"{words} from {finite.min().item():g} to {finite.max().item():g}"
