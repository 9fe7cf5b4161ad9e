"""The article's train step, with labels softened by an if and gradients clipped by another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import lax
from workloads.article.in_jax import Parameters, descend, logits
from workloads.two_ifs import task


def step(
    parameters: Parameters, images: jax.Array, labels: jax.Array
) -> tuple[Parameters, jax.Array]:
    loss, gradients = jax.value_and_grad(_loss)(parameters, images, labels)
    norm = optax.global_norm(gradients)
    if norm > task.MAX_NORM:
        gradients = jax.tree.map(lambda g: g * (task.MAX_NORM / norm), gradients)
    return descend(parameters, gradients), loss


def _loss(parameters: Parameters, images: jax.Array, labels: jax.Array) -> jax.Array:
    log_likelihoods = jax.nn.log_softmax(logits(parameters, images))
    loss = _cross_entropy(log_likelihoods, labels)
    if loss > task.HARD:
        loss = _softened(loss, log_likelihoods)
    return loss


def step_by_hand(
    parameters: Parameters, images: jax.Array, labels: jax.Array
) -> tuple[Parameters, jax.Array]:
    loss, gradients = jax.value_and_grad(_loss_by_hand)(parameters, images, labels)
    norm = optax.global_norm(gradients)
    scale = lax.cond(norm > task.MAX_NORM, lambda: task.MAX_NORM / norm, lambda: 1.0)
    gradients = jax.tree.map(lambda g: g * scale, gradients)
    return descend(parameters, gradients), loss


def _loss_by_hand(parameters: Parameters, images: jax.Array, labels: jax.Array) -> jax.Array:
    log_likelihoods = jax.nn.log_softmax(logits(parameters, images))
    loss = _cross_entropy(log_likelihoods, labels)
    return lax.cond(
        loss > task.HARD,
        lambda: _softened(loss, log_likelihoods),
        lambda: loss,
    )


def _cross_entropy(log_likelihoods: jax.Array, labels: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(log_likelihoods, labels[:, None], axis=1).mean()


def _softened(loss: jax.Array, log_likelihoods: jax.Array) -> jax.Array:
    return (1 - task.SMOOTHING) * loss - task.SMOOTHING * log_likelihoods.mean()
