"""The one door to JAX's core: no other module of fxgrad touches `jax.core`."""

from __future__ import annotations

from typing import Any

import jax.core


def is_tracer(value: Any) -> bool:
    """Whether `value` stands for an array inside a JAX transform, without a value of its own."""
    return isinstance(value, jax.core.Tracer)
