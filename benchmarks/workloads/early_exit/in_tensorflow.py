"""The train step with three exits in TensorFlow; AutoGraph takes the ifs."""

from __future__ import annotations

from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from workloads.early_exit import task

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes


def step(parameters: dict[str, Any], features: Any, labels: Any) -> Any:
    with tf.GradientTape() as tape:
        features, logits = _block(parameters, 0, features)
        if _sureness(logits) < task.SURE:
            features, logits = _block(parameters, 1, features)
            if _sureness(logits) < task.SURE:
                features, logits = _block(parameters, 2, features)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    for name, gradient in tape.gradient(loss, parameters).items():
        if gradient is not None:  # in eager, of a block that was not used
            parameters[name].assign_sub(task.LEARNING_RATE * gradient)
    return loss


def _block(parameters: dict[str, Any], block: int, features: Any) -> tuple[Any, Any]:
    features = tf.nn.relu(features @ parameters[f"w{block}"] + parameters[f"b{block}"])
    return features, features @ parameters[f"head_w{block}"] + parameters[f"head_b{block}"]


def _sureness(logits: Any) -> Any:
    return tf.reduce_mean(tf.reduce_max(tf.nn.softmax(logits), axis=1))
