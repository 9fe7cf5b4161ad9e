"""A robust regression on one 64×64 matrix, and a batch for each of the 16 ways through its ifs.

Inputs that are off centre are centred, errors with an outlier are clipped, large gradients are
clipped, and the average follows the matrix only where the loss is low.
"""

from __future__ import annotations

import itertools

import numpy as np

SIZE = 64
LEARNING_RATE = 0.01
OFF_CENTRE = 0.25  # of the mean of the inputs
OUTLIER = 5.0  # of the largest error
MAX_NORM = 0.045
LOW_LOSS = 0.4
FOLLOWING = 0.1  # how much of the way the average goes

CYCLE_STEPS = 16
PATHS = 16


def initial_state() -> dict[str, np.ndarray]:
    """The matrix and its average, float32 [64, 64]."""
    matrix = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    matrix *= np.float32(0.01)
    return {"matrix": matrix, "average": matrix.copy()}


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Sixteen: inputs and targets, float32 [64, 64]."""
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((SIZE, SIZE), np.float32)
    targets = rng.standard_normal((SIZE, SIZE), np.float32)
    inputs -= inputs.mean()
    return [
        (_inputs(inputs, shifted, bright), _targets(targets, spiked, far))
        for shifted, spiked, bright, far in itertools.product((False, True), repeat=4)
    ]


def _inputs(inputs: np.ndarray, shifted: bool, bright: bool) -> np.ndarray:
    return (inputs * (1 if bright else 0.1) + (0.5 if shifted else 0)).astype(np.float32)


def _targets(targets: np.ndarray, spiked: bool, far: bool) -> np.ndarray:
    targets = (targets * (1 if far else 0.3)).astype(np.float32)
    if spiked:
        targets[0, 0] = 20
    return targets
