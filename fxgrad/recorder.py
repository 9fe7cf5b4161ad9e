"""The one door to JAX's core: no other module of fxgrad touches `jax.core`."""

from __future__ import annotations

from typing import Any

import jax.core


def is_tracer(value: Any) -> bool:
    """Whether `value` stands for an array inside a JAX transform, without a value of its own."""
    return isinstance(value, jax.core.Tracer)


def transform_of(value: Any) -> str:
    """The transform that a tracer belongs to, in words: ``"vmap of 8 in a derivative"``."""
    trace = type(value._trace).__name__
    if trace == "BatchTrace":
        words = f"vmap of {value.val.shape[value.batch_dim]}"
        return f"{words} in {transform_of(value.val)}" if is_tracer(value.val) else words
    if trace in ("JVPTrace", "LinearizeTrace"):
        words = "a derivative"
        return f"{words} in {transform_of(value.primal)}" if is_tracer(value.primal) else words
    return "another program" if trace == "DynamicJaxprTrace" else trace
