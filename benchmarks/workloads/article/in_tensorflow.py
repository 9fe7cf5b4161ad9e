"""The article's train step in TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from workloads.article import task

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes


def step(parameters: dict[str, Any], images: Any, labels: Any) -> Any:
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits(parameters, images))
        loss = tf.reduce_mean(losses)
    descend(parameters, tape.gradient(loss, parameters))
    return loss


def logits(parameters: dict[str, Any], images: Any) -> Any:
    hidden = tf.nn.relu(images @ parameters["w1"] + parameters["b1"])
    return hidden @ parameters["w2"] + parameters["b2"]


def descend(parameters: dict[str, Any], gradients: dict[str, Any]) -> None:
    for name, parameter in parameters.items():
        parameter.assign_sub(task.LEARNING_RATE * gradients[name])
