"""The robust regression in TensorFlow; AutoGraph takes the ifs."""

from __future__ import annotations

from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from workloads.four_ifs import task

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes


def step(state: dict[str, Any], inputs: Any, targets: Any) -> Any:
    matrix, average = state["matrix"], state["average"]
    with tf.GradientTape() as tape:
        centre = tf.reduce_mean(inputs)
        if tf.abs(centre) > task.OFF_CENTRE:
            inputs = inputs - centre
        errors = tf.tanh(inputs @ matrix) - targets
        if tf.reduce_max(tf.abs(errors)) > task.OUTLIER:
            errors = tf.clip_by_value(errors, -task.OUTLIER, task.OUTLIER)
        loss = tf.reduce_mean(errors**2)
    gradient = tape.gradient(loss, matrix)
    norm = tf.norm(gradient)
    if norm > task.MAX_NORM:
        gradient = gradient * (task.MAX_NORM / norm)
    matrix.assign_sub(task.LEARNING_RATE * gradient)
    if loss < task.LOW_LOSS:
        average.assign_add(task.FOLLOWING * (matrix - average))
    return loss
