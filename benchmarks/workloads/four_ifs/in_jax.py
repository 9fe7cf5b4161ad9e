"""The robust regression's train step, with Python's ifs and with lax's conds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from workloads.four_ifs import task

State = dict[str, jax.Array]


def step(state: State, inputs: jax.Array, targets: jax.Array) -> tuple[State, jax.Array]:
    matrix, average = state["matrix"], state["average"]
    loss, gradient = jax.value_and_grad(_loss)(matrix, inputs, targets)
    norm = jnp.linalg.norm(gradient)
    if norm > task.MAX_NORM:
        gradient = gradient * (task.MAX_NORM / norm)
    matrix = matrix - task.LEARNING_RATE * gradient
    if loss < task.LOW_LOSS:
        average = average + task.FOLLOWING * (matrix - average)
    return {"matrix": matrix, "average": average}, loss


def _loss(matrix: jax.Array, inputs: jax.Array, targets: jax.Array) -> jax.Array:
    centre = jnp.mean(inputs)
    if jnp.abs(centre) > task.OFF_CENTRE:
        inputs = inputs - centre
    errors = jnp.tanh(inputs @ matrix) - targets
    if jnp.max(jnp.abs(errors)) > task.OUTLIER:
        errors = jnp.clip(errors, -task.OUTLIER, task.OUTLIER)
    return jnp.mean(errors**2)


def step_by_hand(state: State, inputs: jax.Array, targets: jax.Array) -> tuple[State, jax.Array]:
    matrix, average = state["matrix"], state["average"]
    loss, gradient = jax.value_and_grad(_loss_by_hand)(matrix, inputs, targets)
    norm = jnp.linalg.norm(gradient)
    scale = lax.cond(norm > task.MAX_NORM, lambda: task.MAX_NORM / norm, lambda: 1.0)
    matrix = matrix - task.LEARNING_RATE * scale * gradient
    average = lax.cond(
        loss < task.LOW_LOSS,
        lambda: average + task.FOLLOWING * (matrix - average),
        lambda: average,
    )
    return {"matrix": matrix, "average": average}, loss


def _loss_by_hand(matrix: jax.Array, inputs: jax.Array, targets: jax.Array) -> jax.Array:
    centre = jnp.mean(inputs)
    inputs = lax.cond(
        jnp.abs(centre) > task.OFF_CENTRE,
        lambda: inputs - centre,
        lambda: inputs,
    )
    errors = jnp.tanh(inputs @ matrix) - targets
    errors = lax.cond(
        jnp.max(jnp.abs(errors)) > task.OUTLIER,
        lambda: jnp.clip(errors, -task.OUTLIER, task.OUTLIER),
        lambda: errors,
    )
    return jnp.mean(errors**2)
