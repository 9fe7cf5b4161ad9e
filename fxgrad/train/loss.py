"""Calling a loss: what it is given, and what it must return. What follows belongs to `step`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp

from fxgrad.errors import LossError
from fxgrad.train.state import TrainState

Metrics = dict[str, Any]
Objective = Callable[[Any], tuple[jax.Array, tuple[Any, Metrics]]]

_OPTIONAL: Final = ("state", "key")


def caller(loss: Callable[..., Any]) -> Callable[[TrainState, Any], Objective]:
    """How a step calls `loss`: from state and batch to ``params -> (value, (state, metrics))``.

    Raises:
      LossError: `loss` has other parameters; or, when called, needs what the state lacks, or
        returns something else.
    """
    wanted = _optional_parameters(loss)

    def objective_of(state: TrainState, batch: Any) -> Objective:
        extra = _extra_arguments(wanted, state, loss)
        has_state = "state" in wanted

        def objective(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
            value, (model_state, metrics) = _checked(
                loss, loss(params, batch, **extra), has_state=has_state
            )
            return value, (model_state if has_state else state.model_state, metrics)

        return objective

    return objective_of


def _optional_parameters(loss: Callable[..., Any]) -> frozenset[str]:
    parameters = list(inspect.signature(loss).parameters.values())
    wanted = frozenset(p.name for p in parameters[2:] if p.name in _OPTIONAL)
    required = [
        p.name
        for p in parameters[2:]
        if p.name not in _OPTIONAL and p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    if required or len(parameters) < 2:
        raise LossError(
            f"{name_of(loss)}{inspect.signature(loss)} is not a loss: write loss(params, batch), "
            "with parameters named state and key if it needs them."
        )
    return wanted


def _extra_arguments(
    wanted: frozenset[str], state: TrainState, loss: Callable[..., Any]
) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if "state" in wanted:
        if not jax.tree.leaves(state.model_state):
            raise LossError(
                f"{name_of(loss)} takes the model's state, and the training has none: write "
                "TrainState.create(params, optimizer, model_state=state)."
            )
        extra["state"] = state.model_state
    if "key" in wanted:
        if state.key is None:
            raise LossError(
                f"{name_of(loss)} takes a random key, and the state has none: write "
                "TrainState.create(params, optimizer, key=jax.random.key(0))."
            )
        extra["key"] = jax.random.fold_in(state.key, state.step)
    return extra


def _checked(
    loss: Callable[..., Any], returned: Any, *, has_state: bool
) -> tuple[jax.Array, tuple[Any, Metrics]]:
    """The parts of what a loss returned: the scalar, the model's new state, the metrics."""
    is_pair = isinstance(returned, tuple) and len(returned) == 2
    value: Any = returned[0] if is_pair else returned
    rest: Any = returned[1] if is_pair else {}
    if has_state:
        if not (isinstance(rest, tuple) and len(rest) == 2):
            raise LossError(
                f"{name_of(loss)} takes the model's state, so it returns (scalar, (new_state, "
                f"metrics)), with {{}} for no metrics; it returned {_shape(returned)}."
            )
        model_state, metrics = rest
    else:
        model_state, metrics = None, rest
    is_scalar = hasattr(value, "dtype") and jnp.shape(value) == ()
    if not is_scalar or not jnp.issubdtype(value.dtype, jnp.floating):
        raise LossError(
            f"{name_of(loss)} must return a float scalar, or (scalar, metrics); it returned "
            f"{_shape(returned)}. To reduce a loss for each example, take jax.numpy.mean of it."
        )
    if not isinstance(metrics, Mapping):
        raise LossError(
            f"{name_of(loss)} must return its metrics as a dict, such as {{'accuracy': …}}; it "
            f"returned {_shape(metrics)}."
        )
    if "loss" in metrics:
        raise LossError(
            f"{name_of(loss)} has a metric named 'loss', which is the name of the loss itself: "
            "give the metric another name."
        )
    return value, (model_state, dict(metrics))


def _shape(value: Any) -> str:
    """A value in words: arrays by dtype and shape."""
    return str(
        jax.tree.map(
            lambda leaf: f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else leaf,
            value,
        )
    )


def name_of(loss: Callable[..., Any]) -> str:
    """The name of a loss, for names and errors."""
    return getattr(loss, "__qualname__", repr(loss))
