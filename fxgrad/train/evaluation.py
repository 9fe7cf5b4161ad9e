"""Evaluations: a function of the state that returns named scalars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from fxgrad.errors import LossError

Evaluate = Callable[[Any], Mapping[str, Any]]


def floats(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """What an evaluation gave, as Python floats.

    Raises:
      LossError: it is no dict of scalars.
    """
    is_named = isinstance(evaluation, Mapping)
    if not is_named or not all(map(_is_scalar, evaluation.values())):
        raise LossError(
            f"evaluate must return a dict of scalars, such as {{'accuracy': …}}; it returned "
            f"{evaluation!r}."
        )
    return {name: float(value) for name, value in evaluation.items()}


def _is_scalar(value: Any) -> bool:
    is_number = isinstance(value, int | float) or hasattr(value, "dtype")
    return is_number and jnp.ndim(value) == 0
