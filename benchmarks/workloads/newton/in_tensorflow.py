"""Newton's method in TensorFlow; AutoGraph takes the while."""

from __future__ import annotations

from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from workloads.newton import task

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes


def step(system: dict[str, Any], b: Any) -> Any:
    a, x = system["a"], tf.zeros_like(b)
    residual = _residual(a, x, b)
    while tf.reduce_max(tf.abs(residual)) > task.TOLERANCE:
        jacobian = a + tf.linalg.diag(3 * x**2)
        x = x - tf.linalg.solve(jacobian, residual[:, None])[:, 0]
        residual = _residual(a, x, b)
    return x


def _residual(a: Any, x: Any, b: Any) -> Any:
    return tf.linalg.matvec(a, x) + x**3 - b
