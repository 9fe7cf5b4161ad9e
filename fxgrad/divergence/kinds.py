"""Kinds of what is not finite, and which results of an operation follow from which inputs.

The tests are of NumPy arrays and of traced ones alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import jax.numpy as jnp
import numpy as np

from fxgrad.divergence.difference import as_numpy, is_inexact

Badness = Literal["nan", "inf"]
KINDS: Final[tuple[Badness, ...]] = ("nan", "inf")

# An element of their result depends on the same element of each input, or on a scalar.
BY_ELEMENT: Final = frozenset(
    [
        *("neg", "sign", "floor", "ceil", "round", "abs", "square", "sqrt", "rsqrt", "cbrt"),
        *("exp", "exp2", "expm1", "log", "log1p", "logistic", "pow", "integer_pow"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "tanh"),
        *("sinh", "cosh", "asinh", "acosh", "atanh"),
        *("add", "add_any", "sub", "mul", "div", "rem", "max", "min", "clamp", "nextafter"),
        *("erf", "erfc", "erf_inv", "lgamma", "digamma", "polygamma", "zeta"),
        *("igamma", "igammac", "igamma_grad_a", "random_gamma_grad", "regularized_incomplete_beta"),
        *("bessel_i0e", "bessel_i1e", "real", "imag", "conj", "complex"),
        *("convert_element_type", "reduce_precision", "copy", "copy_p", "name"),
        *("sharding_constraint", "layout_constraint", "reshard", "mesh_cast"),
    ]
)
# They pass elements on as they are, wherever to, and make none.
MOVES: Final = frozenset(
    [
        *("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "rev", "slice"),
        *("concatenate", "pad", "split", "select_n", "dynamic_slice", "dynamic_update_slice"),
        *("optimization_barrier", "device_put"),
    ]
)
# An infinity among what they add gives one of the same sign only.
_ADDS: Final = frozenset(
    [
        *("reduce_sum", "cumsum", "reduce_window_sum", "scatter-add", "scatter_add"),
        *("select_and_scatter_add", "psum"),
    ]
)


def is_nan(value: Any) -> Any:
    """Where an array is NaN."""
    return value != value


def is_infinite(value: Any) -> Any:
    """Where an array is infinite."""
    return abs(value) == math.inf


def is_up(value: Any) -> Any:
    """Where an array is plus infinity."""
    return value == math.inf


def is_down(value: Any) -> Any:
    """Where an array is minus infinity."""
    return value == -math.inf


Test = Callable[[Any], Any]
TESTS: Final[dict[Badness, Test]] = {"nan": is_nan, "inf": is_infinite}


def kinds_apart(name: str, results: Sequence[Any]) -> dict[Badness, tuple[Test, ...]]:
    """For each kind the tests that a primitive keeps apart: plus and minus, if it only adds."""
    has_signs = not any(jnp.issubdtype(value.dtype, jnp.complexfloating) for value in results)
    infinite = (is_up, is_down) if name in _ADDS and has_signs else (is_infinite,)
    return {"nan": (is_nan,), "inf": infinite}


def can_be_bad(value: Any) -> bool:
    """Whether it is a float or an array of floats."""
    return is_inexact(value) or isinstance(value, float | complex)


def where_bad(value: Any, kind: Badness) -> np.ndarray:
    """Where an array holds a NaN, or an infinity."""
    array = as_numpy(value)
    if not can_be_bad(value):
        return np.zeros(array.shape, bool)
    with np.errstate(all="ignore"):
        return np.asarray(TESTS[kind](array))


def is_bad(value: Any, kind: Badness) -> bool:
    """Whether an array of floats holds a NaN, or an infinity."""
    return bool(where_bad(value, kind).any())
