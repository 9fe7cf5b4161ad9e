"""Sites: equations of an observed run, or inside of it, as they are shown."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from fxgrad.divergence.bodies import name_of
from fxgrad.divergence.difference import as_numpy
from fxgrad.divergence.nonfinite import Inside
from fxgrad.divergence.program import Program
from fxgrad.divergence.record import Site
from fxgrad.recorder import Slot, place_of, scope_of


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


def site_inside(program: Program, number: int, inside: Inside) -> Site:
    """An equation inside of an operation, or the operation itself, with what it read."""
    outer = site_of(program, number)
    return Site(
        number=outer.number,
        count=outer.count,
        operation=name_of(inside.equation),
        value=_aval_words(inside.equation.output_avals[0]),
        place=place_of(inside.equation.source) or outer.place,
        scope=outer.scope,
        within=inside.within,
        reads=tuple(_range_words(value) for value in inside.inputs if value is not None),
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
    others = _others(array)
    if not finite.size:
        return f"{words}, {others}"
    range_words = f"{words} from {finite.min().item():g} to {finite.max().item():g}"
    return f"{range_words} and {others}" if others else range_words


def _others(array: np.ndarray) -> str:
    """How many elements are not finite: ``"2 NaN and 6 infinite"``."""
    nan = int(np.isnan(array).sum())
    infinite = array.size - nan - int(np.isfinite(array).sum())
    counts = ((nan, "NaN"), (infinite, "infinite"))
    return " and ".join(f"{count} {words}" for count, words in counts if count)
