"""Origins: for each element that is not finite, the equation that made it, or that it was given.

An element of an element-wise result follows from the same element of the inputs; what moves
elements moves their origins; any element of another result follows from any of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax.numpy as jnp
import numpy as np

from fxgrad.divergence.bodies import Equation
from fxgrad.divergence.difference import as_numpy
from fxgrad.divergence.equations import bind_with
from fxgrad.divergence.kinds import (
    BY_ELEMENT,
    MOVES,
    Badness,
    Test,
    can_be_bad,
    kinds_apart,
    where_bad,
)

# What an element comes from: the number of an equation, or one of these. The smallest of several
# is the answer, so that what was made is preferred to what was given.
FINITE: Final = 2**31 - 1
GIVEN: Final = FINITE - 1
HERE: Final = FINITE - 2


@dataclass(frozen=True)
class Traced:
    """A value, and where its elements come from.

    Attributes:
      value: an array or a Python number.
      origins: for each element the number of an equation, `GIVEN`, `HERE`, or `FINITE`; None if
        all elements are finite.
    """

    value: Any
    origins: np.ndarray | None

    @classmethod
    def given(cls, value: Any) -> Traced:
        """What nothing made."""
        return cls.of(value, np.asarray(GIVEN, np.int32))

    @classmethod
    def of(cls, value: Any, origins: np.ndarray) -> Traced:
        """A value whose elements come from `origins` where they are not finite."""
        bad = _where_not_finite(value)
        if not bad.any():
            return cls(value, None)
        return cls(value, _folded(np.where(bad, origins, FINITE)))

    def first(self, kind: Badness) -> int:
        """The smallest of the origins of its elements of a kind; `FINITE` if it has none."""
        if self.origins is None:
            return FINITE
        where = where_bad(self.value, kind)
        return int(np.min(self.origins, initial=FINITE, where=where))

    def is_made_here(self, kind: Badness) -> bool:
        """Whether an element of a kind has the origin `HERE`."""
        if self.origins is None:
            return False
        return bool((where_bad(self.value, kind) & (self.origins == HERE)).any())

    def renamed(self, number: int) -> Traced:
        """With a number for `HERE`."""
        if self.origins is None:
            return self
        return Traced(self.value, _folded(np.where(self.origins == HERE, number, self.origins)))


def origins_of(
    equation: Equation, inputs: Sequence[Traced], results: Sequence[Any]
) -> list[Traced]:
    """The results of an equation that holds no others; `HERE` is what it made itself."""
    name = equation.primitive.name
    if all(not _where_not_finite(value).any() for value in results):
        return [Traced(value, None) for value in results]
    if name in MOVES:
        return _moved(equation, inputs, results)
    first = _by_element if name in BY_ELEMENT else _by_array
    return [_traced(value, inputs, kinds_apart(name, results), first) for value in results]


def _traced(
    value: Any,
    inputs: Sequence[Traced],
    kinds: dict[Badness, tuple[Test, ...]],
    first: Callable[[Traced, Test], Any],
) -> Traced:
    if not _where_not_finite(value).any():
        return Traced(value, None)
    array = as_numpy(value)
    origins = np.full(array.shape, FINITE, np.int32)
    with np.errstate(all="ignore"):
        for test in (test for tests in kinds.values() for test in tests):
            source = np.asarray(FINITE, np.int32)
            for given in inputs:
                if given.origins is not None:
                    source = np.minimum(source, first(given, test))
            source = np.where(source == FINITE, HERE, source)
            origins = np.where(test(array), np.minimum(origins, source), origins)
    return Traced.of(value, origins)


def _by_element(given: Traced, test: Test) -> Any:
    return np.where(test(as_numpy(given.value)), given.origins, FINITE)


def _by_array(given: Traced, test: Test) -> Any:
    assert given.origins is not None
    return np.min(given.origins, initial=FINITE, where=test(as_numpy(given.value)))


def _moved(equation: Equation, inputs: Sequence[Traced], results: Sequence[Any]) -> list[Traced]:
    """The same operation, done to the origins, unless they are all one."""
    single = _single([given.origins for given in inputs if given.origins is not None])
    if single is not None:
        return [Traced.of(value, single) for value in results]
    moved = bind_with(equation.primitive, equation.params, [_origins(given) for given in inputs])
    return [Traced.of(v, np.asarray(o)) for v, o in zip(results, moved, strict=True)]


def _single(origins: Sequence[np.ndarray]) -> np.ndarray | None:
    """The one origin of all elements that are not finite; None if there are several."""
    first = min((int(each.min()) for each in origins), default=FINITE)
    if all(((each == first) | (each == FINITE)).all() for each in origins):
        return np.asarray(first, np.int32)
    return None


def _origins(given: Traced) -> Any:
    if not can_be_bad(given.value):
        return given.value
    if given.origins is None:
        return jnp.full(np.shape(given.value), FINITE, jnp.int32)
    return jnp.asarray(given.origins)


def _where_not_finite(value: Any) -> np.ndarray:
    if not can_be_bad(value):
        return np.zeros((), bool)
    return ~np.isfinite(as_numpy(value))


def _folded(origins: np.ndarray) -> np.ndarray:
    """One element for all, if all are equal: most of what follows a NaN is NaN throughout."""
    least = origins.min(initial=FINITE)
    if (origins == least).all():
        return np.broadcast_to(np.asarray(least, np.int32), origins.shape)
    return origins.astype(np.int32)
