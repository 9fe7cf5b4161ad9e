"""Finds: the first NaN or infinity of every mode, and equations as sites that can be shown."""

from __future__ import annotations

import functools
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


def find_nonfinite(
    program: Program,
    leaves: Sequence[Leaf],
    outputs: Mapping[str, Sequence[Any]],
    *,
    masked: bool,
) -> dict[str, NonFinite]:
    """For eager and each other mode, what was made on the way; nothing for what was given.

    Args:
      program: the observed operations: eager runs them op by op, the other modes compiled.
      leaves: eager's output.
      outputs: the leaves that each other mode returned.
      masked: report what reaches no output as well.
    """
    tracers = {"eager": functools.cache(lambda: _trace_eager(program))}
    tracers |= dict.fromkeys(outputs, functools.cache(lambda: _trace_compiled(program)))
    slots = [leaf.slot for leaf in leaves]
    finds: dict[str, NonFinite] = {}
    for mode, values in {"eager": [leaf.value for leaf in leaves], **outputs}.items():
        if masked or any(is_bad(value, kind) for value in values for kind in _KINDS):
            find = _find(tracers[mode](), slots, values, masked=masked)
            if find is not None:
                finds[mode] = find
    return finds


def _find(
    trace: _Trace, slots: Sequence[Slot | None], values: Sequence[Any], *, masked: bool
) -> NonFinite | None:
    for kind in _KINDS:
        ends = [s for s, v in zip(slots, values, strict=True) if is_bad(v, kind)]
        number = trace.origin(ends, kind, masked=masked)
        if number is not None:
            return trace.nonfinite(number, kind)
        if ends and not any(trace.is_marked(slot, kind) for slot in ends if slot is not None):
            return NonFinite(kind, None)  # the program that returns all has it otherwise
    return None


def _trace_eager(program: Program) -> _Trace:
    flags = _given(program)
    for _, made in program.eagerly(list(program.makers)):
        for slot, value in made.items():
            flags.note(slot, value)
    return _Trace(program, flags, program.eager_values)


def _trace_compiled(program: Program) -> _Trace:
    flags = _given(program)
    for slot, value in program.compiled_values(list(program.makers)).items():
        flags.note(slot, value)
    return _Trace(program, flags, lambda slots: program.compiled_values(list(slots)))


def _given(program: Program) -> Flags:
    flags = Flags()
    for slot, value in program.given.items():
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
