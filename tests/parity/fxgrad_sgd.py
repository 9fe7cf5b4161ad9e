"""The training run in fxgrad, in any of its modes."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from trained import PARAMETER_NAMES, Trained

import fxgrad as fx
from fxgrad.modes import Mode


def mean_loss(parameters: dict[str, jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(images @ parameters["w1"] + parameters["b1"])
    logits = hidden @ parameters["w2"] + parameters["b2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def train_in_fxgrad(inputs: Mapping[str, np.ndarray], mode: Mode) -> Trained:
    # Without it, JAX may multiply matrices in fewer bits than float32 on an accelerator.
    with fx.mode(mode), jax.default_matmul_precision("float32"):
        return _train(inputs, mode)


def _train(inputs: Mapping[str, np.ndarray], mode: Mode) -> Trained:
    optimizer = optax.sgd(float(inputs["learning_rate"]))

    @fx.function
    def train_step(parameters, state, images, labels):
        loss, gradients = jax.value_and_grad(mean_loss)(parameters, images, labels)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(parameters, updates), state, loss

    parameters = {name: jnp.asarray(inputs[name]) for name in PARAMETER_NAMES}
    state = optimizer.init(parameters)
    losses = []
    for images, labels in zip(inputs["images"], inputs["labels"], strict=True):
        parameters, state, loss = train_step(parameters, state, images, labels)
        losses.append(loss)
    assert train_step.stats().calls_by_mode == {mode: len(losses)}
    return Trained(
        np.asarray(jnp.stack(losses)),
        {name: np.asarray(parameters[name]) for name in PARAMETER_NAMES},
    )
