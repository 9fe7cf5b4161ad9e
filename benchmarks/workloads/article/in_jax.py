"""The article's train step as a pure JAX function, for JAX alone and for fxgrad."""

from __future__ import annotations

import jax
import optax
from workloads.article import task

Parameters = dict[str, jax.Array]


def step(
    parameters: Parameters, images: jax.Array, labels: jax.Array
) -> tuple[Parameters, jax.Array]:
    """One step of SGD: the new parameters, and the loss at the old ones."""
    loss, gradients = jax.value_and_grad(_mean_loss)(parameters, images, labels)
    return descend(parameters, gradients), loss


step_by_hand = step


def logits(parameters: Parameters, images: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(images @ parameters["w1"] + parameters["b1"])
    return hidden @ parameters["w2"] + parameters["b2"]


def descend(parameters: Parameters, gradients: Parameters) -> Parameters:
    return jax.tree.map(lambda p, g: p - task.LEARNING_RATE * g, parameters, gradients)


def _mean_loss(parameters: Parameters, images: jax.Array, labels: jax.Array) -> jax.Array:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(parameters, images), labels)
    return losses.mean()
