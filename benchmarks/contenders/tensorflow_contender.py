"""TensorFlow, on the CPU: ``python -m contenders.tensorflow_contender NAME``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from contenders import network
from contenders.protocol import Steps, serve
from machine import device_name

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes


def train_step(parameters: dict[str, Any], images: Any, labels: Any) -> Any:
    with tf.GradientTape() as tape:
        hidden = tf.nn.relu(images @ parameters["w1"] + parameters["b1"])
        logits = hidden @ parameters["w2"] + parameters["b2"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, parameters)
    for name, parameter in parameters.items():
        parameter.assign_sub(network.LEARNING_RATE * gradients[name])
    return loss


def steps(wrap: Callable[[Any], Any]) -> Steps:
    """Train steps that are wrapped as `wrap` does, on variables of their own."""
    parameters = {name: tf.Variable(p) for name, p in network.initial_parameters().items()}
    images, labels = (tf.constant(array) for array in network.batch())
    step = wrap(lambda images, labels: train_step(parameters, images, labels))
    return _steps(step, images, labels)


def _steps(step: Callable[[Any, Any], Any], images: Any, labels: Any) -> Steps:
    while True:
        yield step(images, labels).numpy()


WRAPS: dict[str, Callable[[Any], Any]] = {
    "tf-eager": lambda function: function,
    "tf-function": tf.function,
    "tf-xla": tf.function(jit_compile=True),
}

if __name__ == "__main__":
    serve(steps(WRAPS[sys.argv[1]]), device=device_name("cpu"), packages=("tensorflow-cpu",))
