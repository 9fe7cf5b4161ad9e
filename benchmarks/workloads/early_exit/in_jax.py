"""A train step of the network with three exits, with Python's ifs and with lax's conds."""

from __future__ import annotations

import jax
import optax
from jax import lax
from workloads.early_exit import task

Parameters = dict[str, jax.Array]


def step(
    parameters: Parameters, features: jax.Array, labels: jax.Array
) -> tuple[Parameters, jax.Array]:
    loss, gradients = jax.value_and_grad(_loss)(parameters, features, labels)
    return _descend(parameters, gradients), loss


def _loss(parameters: Parameters, features: jax.Array, labels: jax.Array) -> jax.Array:
    features, logits = _block(parameters, 0, features)
    if _sureness(logits) < task.SURE:
        features, logits = _block(parameters, 1, features)
        if _sureness(logits) < task.SURE:
            features, logits = _block(parameters, 2, features)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def step_by_hand(
    parameters: Parameters, features: jax.Array, labels: jax.Array
) -> tuple[Parameters, jax.Array]:
    loss, gradients = jax.value_and_grad(_loss_by_hand)(parameters, features, labels)
    return _descend(parameters, gradients), loss


def _loss_by_hand(parameters: Parameters, features: jax.Array, labels: jax.Array) -> jax.Array:
    def go_on(block: int, features: jax.Array, logits: jax.Array) -> jax.Array:
        """The logits at the exit, where `logits` are those before `block`."""
        if block == task.BLOCKS:
            return logits
        return lax.cond(
            _sureness(logits) < task.SURE,
            lambda: go_on(block + 1, *_block(parameters, block, features)),
            lambda: logits,
        )

    logits = go_on(1, *_block(parameters, 0, features))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _block(parameters: Parameters, block: int, features: jax.Array) -> tuple[jax.Array, jax.Array]:
    features = jax.nn.relu(features @ parameters[f"w{block}"] + parameters[f"b{block}"])
    return features, features @ parameters[f"head_w{block}"] + parameters[f"head_b{block}"]


def _sureness(logits: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits).max(axis=1).mean()


def _descend(parameters: Parameters, gradients: Parameters) -> Parameters:
    return jax.tree.map(lambda p, g: p - task.LEARNING_RATE * g, parameters, gradients)
