"""A network of three blocks, each with a classifier of its own, and batches that leave at each.

It leaves at the first block whose classifier is sure. Brighter batches make it sure earlier.
"""

from __future__ import annotations

import numpy as np
from workloads.article.task import normal

FEATURES, CLASSES, BATCH_SIZE, BLOCKS = 64, 10, 64, 3
LEARNING_RATE = 0.001
SURE = 0.6  # the mean over a batch of the largest probability
LIGHTS = (5.0, 1.2, 0.3)  # out at the first, second and third

CYCLE_STEPS = 15
PATHS = 3


def initial_state() -> dict[str, np.ndarray]:
    """float32: of each block w [64, 64], b [64], head_w [64, 10] and head_b [10]."""
    rng = np.random.default_rng(0)
    state: dict[str, np.ndarray] = {}
    for block in range(BLOCKS):
        state[f"w{block}"] = normal(rng, FEATURES, FEATURES)
        state[f"b{block}"] = np.zeros(FEATURES, np.float32)
        # Deeper classifiers are surer.
        state[f"head_w{block}"] = normal(rng, FEATURES, CLASSES) * np.float32(block + 1)
        state[f"head_b{block}"] = np.zeros(CLASSES, np.float32)
    return state


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Three: features, float32 [64, 64], and labels, int32 [64]."""
    rng = np.random.default_rng(1)
    features = rng.standard_normal((BATCH_SIZE, FEATURES), np.float32)
    labels = rng.integers(0, CLASSES, BATCH_SIZE, np.int32)
    return [(features * np.float32(light), labels) for light in LIGHTS]
