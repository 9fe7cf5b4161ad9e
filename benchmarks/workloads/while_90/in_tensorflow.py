"""The descent in TensorFlow; AutoGraph takes the while."""

from __future__ import annotations

from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from workloads.while_90 import task

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes


def step(variables: dict[str, Any], x: Any) -> tuple[Any, Any]:
    turns = 0
    while tf.norm(x) > 1:
        x = x - task.RATE * x
        turns += 1
    return x, turns
