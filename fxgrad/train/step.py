"""One training step, made from a loss and an optimizer.

How the loss is called belongs to `loss`, what the state must hold to `plan`, how the loss of a
training in float16 is scaled to `loss_scale`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fxgrad.errors import LossError
from fxgrad.execution.function import Function, function
from fxgrad.modes import Mode
from fxgrad.precision import Precision, in_precision, summed_in_f32
from fxgrad.train.loss import Metrics, Objective, caller, name_of
from fxgrad.train.plan import Plan, remember
from fxgrad.train.state import TrainState, check_state

Step = Function[[TrainState, Any], tuple[TrainState, Metrics]]


def make_step(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    mode: Mode | None = None,
    donate: bool = False,
    precision: Precision = "f32",
    skip_nonfinite: bool = False,
    ema: float | None = None,
    gradient_norm: bool = False,
) -> Step:
    """Make the step ``(state, batch) -> (state, metrics)``, a `Function` of one `mode`.

    Args:
      loss: a pure function ``loss(params, batch)`` that returns a float scalar, or a pair of it and
        a dict of metrics. If it also has a parameter named ``key``, it is given a random key of
        its own for each step. If it has one named ``state``, it is given the model's state and
        returns ``(scalar, (new_state, metrics))``.
      optimizer: an Optax optimizer. Clipping, schedules and accumulation are its parts:
        `optax.chain`, `optax.inject_hyperparams`, `optax.MultiSteps`.
      mode: as for `fxgrad.function`.
      donate: let the compiled step reuse the buffers of the old state, which saves memory; the old
        state must not be used after the step.
      precision: of the matrix products and convolutions in `loss`, as for `in_precision`. With
        ``"f16"`` the loss is scaled before it is differentiated, by the state's `LossScale`; a step
        that overflows is skipped as by `skip_nonfinite`. Gradients are added up over devices in
        float32.
      skip_nonfinite: where the loss or a gradient is not finite, `params`, `opt_state`,
        `model_state` and `ema` stay as they are; the step's number advances.
      ema: the decay of an exponential moving average of the parameters, such as 0.999, which
        `TrainState.averaged` gives back. With `optax.MultiSteps` it decays at each small step.
      gradient_norm: add the global norm of the gradients, before any clipping, to the metrics.

    Returns:
      A `Function` from a `TrainState` and a batch (any pytree of arrays) to the next `TrainState`
      and the metrics, float32 scalars beside the loss's own: ``loss``; ``skipped``, 0 or 1, where
      steps may be skipped; ``loss_scale`` with ``"f16"``; ``gradient_norm`` on request; and
      ``learning_rate`` if `optax.inject_hyperparams` has it in the optimizer's state. No metric
      of the loss may have one of these names, except the last.

    Raises:
      LossError: `loss` has other parameters, `optimizer` is none; or, in the first step, the loss
        returned something else, or the state lacks what the step needs.
      OptionError: `precision` or `ema` makes no sense.
    """
    plan = Plan(optimizer, precision, skip_nonfinite, ema, gradient_norm)
    objective_of = caller(in_precision(loss, precision))

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        check_state(state, plan)
        objective = objective_of(state, batch)
        value, gradients, model_state, metrics = _differentiated(objective, state, precision)
        updates, opt_state = plan.update(
            gradients,
            state.opt_state,
            state.params,
            value=value,  # some optimizers search along a line
            grad=gradients,
            value_fn=lambda params: objective(params)[0],
        )
        changed = state.replace(
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            model_state=model_state,
        )
        is_finite = _all_finite((value, gradients)) if plan.may_skip else None
        new = _settled(state, _with_average(changed, plan), is_finite)
        facts = _facts(plan, new, gradients, is_finite)
        return new, _joined(loss, {"loss": value, **metrics}, facts)

    train_step.__name__ = train_step.__qualname__ = f"train_step of {name_of(loss)}"
    remember(train_step, plan)
    return function(train_step, mode=mode, donate_argnames=("state",) if donate else ())


def _differentiated(
    objective: Objective, state: TrainState, precision: Precision
) -> tuple[jax.Array, Any, Any, Metrics]:
    """The loss, its gradients, the model's new state, and the metrics."""

    def scaled(params: Any) -> tuple[jax.Array, tuple[jax.Array, tuple[Any, Metrics]]]:
        value, rest = objective(params)
        scale = state.loss_scale
        return (value if scale is None else scale.multiply(value)), (value, rest)

    (_, (value, rest)), gradients = _value_and_gradients(scaled, state.params, precision)
    model_state, metrics = rest
    if state.loss_scale is not None:
        gradients = state.loss_scale.divide(gradients)
    return value, gradients, model_state, metrics


def _value_and_gradients(fun: Callable[[Any], Any], params: Any, precision: Precision) -> Any:
    """`jax.value_and_grad`; of a lowered function, whose backward pass sums in float32."""
    if precision == "f32":
        return jax.value_and_grad(fun, has_aux=True)(params)
    for leaf in jax.tree.leaves(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise LossError(
                f"the parameters hold {jnp.result_type(leaf)}, which has no gradient: put it into "
                "the model's state, or into the batch."
            )
    value, backward, rest = jax.vjp(fun, params, has_aux=True)
    (gradients,) = summed_in_f32(backward)(jnp.ones_like(value))
    return (value, rest), gradients


def _with_average(state: TrainState, plan: Plan) -> TrainState:
    if plan.ema is None:
        return state
    weight = 1 - plan.ema

    def moved(average: jax.Array, value: jax.Array) -> jax.Array:
        if not jnp.issubdtype(average.dtype, jnp.floating):
            return value
        return average + weight * (value.astype(average.dtype) - average)

    return state.replace(ema=jax.tree.map(moved, state.ema, state.params))


def _settled(old: TrainState, new: TrainState, is_finite: jax.Array | None) -> TrainState:
    """The state after the step: the new one, or the old one if the step is skipped."""
    if is_finite is not None:
        keep = functools.partial(jnp.where, is_finite)
        new = new.replace(**jax.tree.map(keep, _changing(new), _changing(old)))
        if old.loss_scale is not None:
            new = new.replace(loss_scale=old.loss_scale.after(is_finite))
    return new.replace(step=old.step + 1)


def _changing(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("params", "opt_state", "model_state", "ema")}


def _all_finite(tree: Any) -> jax.Array:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return functools.reduce(jnp.logical_and, leaves)


def _facts(plan: Plan, state: TrainState, gradients: Any, is_finite: Any) -> Metrics:
    """What the step tells about itself, beside the loss."""
    facts: Metrics = {}
    if is_finite is not None:
        facts["skipped"] = 1 - is_finite.astype(jnp.float32)
    if state.loss_scale is not None:
        facts["loss_scale"] = state.loss_scale.scale
    if plan.gradient_norm:
        facts["gradient_norm"] = optax.tree.norm(gradients).astype(jnp.float32)
    rates = list(_learning_rates(state.opt_state))
    if len(rates) == 1 and jnp.shape(rates[0]) == ():
        facts["learning_rate"] = jnp.asarray(rates[0], jnp.float32)
    return facts


def _learning_rates(opt_state: Any) -> Iterator[Any]:
    """What `optax.inject_hyperparams` holds by the name ``learning_rate``, wherever it stands."""
    is_injected = lambda node: hasattr(node, "hyperparams")  # noqa: E731
    for node in filter(is_injected, jax.tree.leaves(opt_state, is_leaf=is_injected)):
        if "learning_rate" in node.hyperparams:
            yield node.hyperparams["learning_rate"]
        else:
            yield from _learning_rates(node.inner_state)


def _joined(loss: Callable[..., Any], metrics: Metrics, facts: Metrics) -> Metrics:
    """All metrics. The loss may tell the learning rate itself: it is found, not asked for."""
    for name in (metrics.keys() & facts.keys()) - {"learning_rate"}:
        raise LossError(
            f"{name_of(loss)} has a metric named {name!r}, which is the name of one of the "
            "step's own: give the metric another name."
        )
    return {**facts, **metrics}
