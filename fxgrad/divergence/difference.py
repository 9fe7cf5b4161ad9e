"""Differences: how far two arrays are apart, and how far is too far.

A difference is measured against the size of the array, not of the element alone: an element that
is small because large terms cancel carries the rounding errors of the large ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

DEFAULT_RTOL: Final[Mapping[str, float]] = {
    "bfloat16": 1.6e-2,  # 2 steps
    "float16": 4e-3,  # 4 steps
    "float32": 1e-5,  # 84 steps: sums of a million terms in another order stay below
    "float64": 1e-12,
    "complex64": 1e-5,
    "complex128": 1e-12,
}
_STEPS_OF_OTHERS: Final = 4
# A constant this large that an array holds unchanged is a mask's, and says nothing about its size.
_LEAST_MASK: Final = 1e4


@dataclass(frozen=True)
class Tolerance:
    """What two arrays may differ by: ``atol + rtol * max(abs(element), scale of the array)``.

    Attributes:
      rtol: relative to the scale; None for `DEFAULT_RTOL`, by dtype. Integers must be equal.
      atol: absolute; None for 0 and for forgiving what is zero but for rounding.
    """

    rtol: float | None = None
    atol: float | None = None

    def rtol_of(self, dtype: Any) -> float:
        """The relative tolerance for a dtype."""
        if not jnp.issubdtype(dtype, jnp.inexact):
            return 0.0
        if self.rtol is not None:
            return self.rtol
        others = _STEPS_OF_OTHERS * float(jnp.finfo(dtype).eps)
        return DEFAULT_RTOL.get(np.dtype(dtype).name, others)


@dataclass(frozen=True)
class Gap:
    """The element at which two arrays are furthest beyond, or nearest to, their tolerance.

    Attributes:
      value: dtype and shape: ``"f32[64]"``.
      relative: the difference there over the scale; infinite if one of them is not finite.
      absolute: the difference there.
      ulps: how many numbers of the dtype lie between, plus 1; None if it has no such steps.
      index: where it is.
      eager: the element as eager has it.
      compiled: the element as the compiled program has it.
      tolerance: the difference that would be allowed there.
      beyond: how many elements are beyond their tolerance.
      size: how many elements there are.
    """

    value: str
    relative: float
    absolute: float
    ulps: int | None
    index: tuple[int, ...]
    eager: float | complex | int | bool
    compiled: float | complex | int | bool
    tolerance: float
    beyond: int
    size: int

    @property
    def diverges(self) -> bool:
        """Whether any element is beyond its tolerance."""
        return self.beyond > 0

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain values."""
        facts = {**vars(self), "index": list(self.index)}
        return {name: plain(value) for name, value in facts.items()}


def gap_between(eager: Any, compiled: Any, tolerance: Tolerance) -> Gap:
    """Where two arrays of one shape and dtype differ most."""
    a, b = as_numpy(eager), as_numpy(compiled)
    if a.shape != b.shape:
        return _unlike(a, b)
    wide_a, wide_b = as_wide(a), as_wide(b)
    scale = scale_of(wide_a, wide_b)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = _distance(a, b)
        size = np.maximum(np.where(np.isfinite(wide_a), np.abs(wide_a), 0.0), scale)
        allowed = (tolerance.atol or 0.0) + tolerance.rtol_of(a.dtype) * size
    same = (a == b) | (np.isnan(wide_a) & np.isnan(wide_b))
    difference = np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))
    beyond = difference > allowed
    excess = np.divide(difference, allowed, out=np.zeros_like(difference), where=allowed > 0)
    excess = np.where(beyond & (allowed <= 0), difference, excess)
    worst = np.unravel_index(int(np.argmax(excess)), a.shape) if a.size else ()
    return Gap(
        value=_label(a),
        relative=_ratio(difference[worst], size[worst]) if a.size else 0.0,
        absolute=float(difference[worst]) if a.size else 0.0,
        ulps=ulps_between(a[worst], b[worst]) if a.size else 0,
        index=tuple(int(i) for i in worst),
        eager=a[worst].item() if a.size else 0.0,
        compiled=b[worst].item() if a.size else 0.0,
        tolerance=float(allowed[worst]) if a.size else 0.0,
        beyond=int(beyond.sum()),
        size=a.size,
    )


def ulps_between(a: Any, b: Any) -> int | None:
    """How many steps of their dtype lie between two elements; None where there are none.

    Integers and bools have steps of 1, complex numbers and NaN have none.
    """
    a, b = np.asarray(a), np.asarray(b)
    if not jnp.issubdtype(a.dtype, jnp.floating):
        has_steps = not jnp.issubdtype(a.dtype, jnp.complexfloating)
        return abs(int(a) - int(b)) if has_steps else None
    if not (np.isfinite(a) and np.isfinite(b)):
        return None
    return abs(_step_number(a) - _step_number(b))


def is_bitwise_equal(eager: Any, compiled: Any) -> bool:
    """Whether two arrays have the same bits; any NaN equals any other."""
    a, b = as_numpy(eager), as_numpy(compiled)
    if a.shape != b.shape:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())


def as_numpy(value: Any) -> np.ndarray:
    """An array; random keys as their data, the derivative by an integer, a float0, as False."""
    if getattr(value, "dtype", None) == jax.dtypes.float0:
        return np.zeros(value.shape, bool)
    if is_key(value):
        value = jax.random.key_data(value)
    return np.asarray(value)


def is_inexact(value: Any) -> bool:
    """Whether an array, or an abstract one, is of floats or complex numbers."""
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.inexact)


def is_key(value: Any) -> bool:
    """Whether an array, or an abstract one, is of random keys."""
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def as_wide(array: np.ndarray) -> np.ndarray:
    """As float64 or complex128."""
    is_complex = jnp.issubdtype(array.dtype, jnp.complexfloating)
    return array.astype(np.complex128 if is_complex else np.float64)


def scale_of(a: np.ndarray, b: np.ndarray) -> float:
    """The size of two arrays: their largest finite magnitude but for a mask's large constant."""
    with np.errstate(invalid="ignore"):
        sizes = np.maximum(*(np.abs(np.where(np.isfinite(x), x, 0.0)) for x in (a, b)))
    largest = float(np.max(sizes, initial=0.0))
    if largest < _LEAST_MASK:
        return largest
    rest = float(np.max(sizes, initial=0.0, where=~((sizes == largest) & (a == b))))
    return rest or largest


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far the elements are apart: of integers as far as they are, however large."""
    if is_inexact(a) or is_inexact(b):
        return np.abs(as_wide(a) - as_wide(b))
    exact = [x if x.dtype == np.uint64 else x.astype(np.int64) for x in (a, b)]
    above, below = np.maximum(*exact), np.minimum(*exact)
    return (above.astype(np.uint64) - below.astype(np.uint64)).astype(np.float64)


def _step_number(element: np.ndarray) -> int:
    """The place of a float among all floats of its dtype, 0 for zero."""
    width = element.dtype.itemsize * 8
    bits = int(element.view(f"u{element.dtype.itemsize}"))
    magnitude = bits & ((1 << (width - 1)) - 1)
    return -magnitude if bits >> (width - 1) else magnitude


def _ratio(difference: float, size: float) -> float:
    if not difference:
        return 0.0
    return float(difference / size) if size else math.inf


def _unlike(a: np.ndarray, b: np.ndarray) -> Gap:
    value = f"{_label(a)} and {_label(b)}"
    return Gap(value, math.inf, math.inf, None, (), math.nan, math.nan, 0.0, a.size or 1, a.size)


def _label(array: np.ndarray) -> str:
    return jax.typeof(array).str_short(short_dtypes=True)


def plain(value: Any) -> Any:
    """JSON has no infinities, NaN or complex numbers: these are written as text."""
    is_odd = isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value))
    return str(value) if is_odd else value
