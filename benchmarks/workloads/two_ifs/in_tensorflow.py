"""The step with two ifs in TensorFlow; AutoGraph takes the ifs."""

from __future__ import annotations

from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from workloads.article.in_tensorflow import descend, logits
from workloads.two_ifs import task

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes


def step(parameters: dict[str, Any], images: Any, labels: Any) -> Any:
    with tf.GradientTape() as tape:
        given = logits(parameters, images)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, given))
        if loss > task.HARD:
            evenly = tf.reduce_mean(tf.nn.log_softmax(given))
            loss = (1 - task.SMOOTHING) * loss - task.SMOOTHING * evenly
    gradients = tape.gradient(loss, parameters)
    norm = tf.linalg.global_norm(list(gradients.values()))
    if norm > task.MAX_NORM:
        gradients = {name: g * (task.MAX_NORM / norm) for name, g in gradients.items()}
    descend(parameters, gradients)
    return loss
