"""One training step, made from a loss and an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp
import optax

from fxgrad.errors import LossError
from fxgrad.execution.function import Function, function
from fxgrad.modes import Mode
from fxgrad.train.state import TrainState

Metrics = dict[str, Any]
Step = Function[[TrainState, Any], tuple[TrainState, Metrics]]

_OPTIONAL: Final = ("state", "key")


def make_step(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    mode: Mode | None = None,
    donate: bool = False,
) -> Step:
    """Make the step ``(state, batch) -> (state, metrics)``, a `Function` of one `mode`.

    Args:
      loss: a pure function ``loss(params, batch)`` that returns a float scalar, or a pair of it and
        a dict of metrics. If it also has a parameter named ``key``, it is given a random key of
        its own for each step. If it has one named ``state``, it is given the model's state and
        returns ``(scalar, (new_state, metrics))``.
      optimizer: an Optax optimizer.
      mode: as for `fxgrad.function`.
      donate: let the compiled step reuse the buffers of the old state, which saves memory; the old
        state must not be used after the step.

    Returns:
      A `Function` from a `TrainState` and a batch (any pytree of arrays) to the next `TrainState`
      and the metrics: ``{"loss": scalar, **metrics}``, so no metric may be named ``loss``.

    Raises:
      LossError: `loss` has other parameters, `optimizer` is none; or, in the first step, the loss
        returned something else.
    """
    if not callable(getattr(optimizer, "update", None)):
        raise LossError(f"{optimizer!r} is not an optimizer: write optax.sgd(0.01) or another.")
    wanted = _optional_parameters(loss)
    update = optax.with_extra_args_support(optimizer).update

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        _check_state(state)
        extra = _extra_arguments(wanted, state, loss)

        def objective(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
            returned = loss(params, batch, **extra)
            return _checked(loss, returned, has_state="state" in wanted)

        compute = jax.value_and_grad(objective, has_aux=True)
        (value, (model_state, metrics)), gradients = compute(state.params)
        updates, opt_state = update(
            gradients,
            state.opt_state,
            state.params,
            value=value,  # some optimizers search along a line
            grad=gradients,
            value_fn=lambda params: objective(params)[0],
        )
        return state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            model_state=model_state if "state" in wanted else state.model_state,
        ), {"loss": value, **metrics}

    train_step.__name__ = train_step.__qualname__ = f"train_step of {_name(loss)}"
    return function(train_step, mode=mode, donate_argnames=("state",) if donate else ())


def _check_state(state: Any) -> None:
    if not isinstance(state, TrainState):
        raise LossError(
            f"a step takes a TrainState first, not a {type(state).__name__}: write "
            "TrainState.create(params, optimizer)."
        )


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
            f"{_name(loss)}{inspect.signature(loss)} is not a loss: write loss(params, batch), "
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
                f"{_name(loss)} takes the model's state, and the training has none: write "
                "TrainState.create(params, optimizer, model_state=state)."
            )
        extra["state"] = state.model_state
    if "key" in wanted:
        if state.key is None:
            raise LossError(
                f"{_name(loss)} takes a random key, and the state has none: write "
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
                f"{_name(loss)} takes the model's state, so it returns (scalar, (new_state, "
                f"metrics)), with {{}} for no metrics; it returned {_shape(returned)}."
            )
        model_state, metrics = rest
    else:
        model_state, metrics = None, rest
    is_scalar = hasattr(value, "dtype") and jnp.shape(value) == ()
    if not is_scalar or not jnp.issubdtype(value.dtype, jnp.floating):
        raise LossError(
            f"{_name(loss)} must return a float scalar, or (scalar, metrics); it returned "
            f"{_shape(returned)}. To reduce a loss for each example, take jax.numpy.mean of it."
        )
    if not isinstance(metrics, Mapping):
        raise LossError(
            f"{_name(loss)} must return its metrics as a dict, such as {{'accuracy': …}}; it "
            f"returned {_shape(metrics)}."
        )
    if "loss" in metrics:
        raise LossError(
            f"{_name(loss)} has a metric named 'loss', which is the name of the loss itself: give "
            "the metric another name."
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


def _name(loss: Callable[..., Any]) -> str:
    return getattr(loss, "__qualname__", repr(loss))
