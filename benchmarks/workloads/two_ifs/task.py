"""The article's network again, and four batches that take both sides of both ifs.

Labels are the ones that the initial network gives, or random: the loss is low or high. Images are
dim or bright: the gradients are small or large.
"""

from __future__ import annotations

import numpy as np
from workloads.article.task import (
    BATCH_SIZE,
    CLASSES,
    LEARNING_RATE,
    PIXELS,
    Batch,
    initial_state,
)

HARD = 2.05  # a batch of a higher mean loss has its labels softened
SMOOTHING = 0.1
MAX_NORM = 2.0  # of all gradients together; larger ones are clipped
DIM, BRIGHT = np.float32(0.3), np.float32(2)

CYCLE_STEPS = 16
PATHS = 4

__all__ = ["CYCLE_STEPS", "LEARNING_RATE", "PATHS", "batches", "initial_state"]


def batches() -> list[Batch]:
    """Four, one for each path: images, float32 [64, 784], and labels, int32 [64]."""
    rng = np.random.default_rng(1)
    images = rng.standard_normal((BATCH_SIZE, PIXELS), np.float32)
    easy, hard = _labels_of_initial_network(images), rng.integers(0, CLASSES, BATCH_SIZE, np.int32)
    return [(images * light, labels) for labels in (easy, hard) for light in (DIM, BRIGHT)]


def _labels_of_initial_network(images: np.ndarray) -> np.ndarray:
    weights = initial_state()  # biases are zero
    logits = np.maximum(images @ weights["w1"], 0) @ weights["w2"]
    return logits.argmax(axis=1).astype(np.int32)
