"""The article's network and one batch for it: 784-128-10, ReLU, batches of 64, SGD at 0.01."""

from __future__ import annotations

import numpy as np

LEARNING_RATE = 0.01
BATCH_SIZE = 64
PIXELS, HIDDEN, CLASSES = 784, 128, 10

CYCLE_STEPS = 16
PATHS = 1

Batch = tuple[np.ndarray, np.ndarray]


def initial_state() -> dict[str, np.ndarray]:
    """float32: w1 [784, 128], b1 [128], w2 [128, 10], b2 [10]."""
    rng = np.random.default_rng(0)
    return {
        "w1": normal(rng, PIXELS, HIDDEN),
        "b1": np.zeros(HIDDEN, np.float32),
        "w2": normal(rng, HIDDEN, CLASSES),
        "b2": np.zeros(CLASSES, np.float32),
    }


def batches() -> list[Batch]:
    """One: random images, float32 [64, 784] in 0 to 1, and labels, int32 [64]."""
    rng = np.random.default_rng(1)
    images = rng.random((BATCH_SIZE, PIXELS), np.float32)
    return [(images, rng.integers(0, CLASSES, BATCH_SIZE, np.int32))]


def normal(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """He's initial weights, float32 [inputs, outputs]."""
    return ((2 / inputs) ** 0.5 * rng.standard_normal((inputs, outputs))).astype(np.float32)
