"""The article's train step as a pure JAX function, for JAX alone and for fxgrad."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from contenders import network
from contenders.protocol import Steps

Parameters = dict[str, jax.Array]
TrainStep = Callable[[Parameters, jax.Array, jax.Array], tuple[Parameters, jax.Array]]


def train_step(
    parameters: Parameters, images: jax.Array, labels: jax.Array
) -> tuple[Parameters, jax.Array]:
    """One step of SGD: the new parameters, and the loss at the old ones."""
    loss, gradients = jax.value_and_grad(_mean_loss)(parameters, images, labels)
    stepped = jax.tree.map(lambda p, g: p - network.LEARNING_RATE * g, parameters, gradients)
    return stepped, loss


def arguments() -> tuple[Parameters, jax.Array, jax.Array]:
    """What the first step takes."""
    images, labels = network.batch()
    parameters = jax.tree.map(jnp.asarray, network.initial_parameters())
    return parameters, jnp.asarray(images), jnp.asarray(labels)


def steps(
    train_step: TrainStep, parameters: Parameters, images: jax.Array, labels: jax.Array
) -> Steps:
    """Train steps one after the other, each waited for."""
    while True:
        parameters, loss = train_step(parameters, images, labels)
        jax.block_until_ready((parameters, loss))
        yield loss


def _mean_loss(parameters: Parameters, images: jax.Array, labels: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(images @ parameters["w1"] + parameters["b1"])
    logits = hidden @ parameters["w2"] + parameters["b2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
