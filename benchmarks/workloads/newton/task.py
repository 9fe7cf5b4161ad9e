"""Newton's method for A x + x³ = b with 16 unknowns, from x = 0, until the residual is small."""

from __future__ import annotations

import numpy as np

UNKNOWNS = 16
TOLERANCE = 1e-3  # of the largest residual; rounding leaves a hundredth of it
SCALES = (3, 5, 10, 20)  # of b: 5, 6, 7 and 8 turns

CYCLE_STEPS = 16
PATHS = len(SCALES)


def matrix() -> np.ndarray:
    """A, float32 [16, 16], symmetric and positive definite."""
    factor = np.random.default_rng(0).standard_normal((UNKNOWNS, UNKNOWNS))
    return (np.eye(UNKNOWNS) + factor @ factor.T / UNKNOWNS).astype(np.float32)


def initial_state() -> dict[str, np.ndarray]:
    """The system, which stays as it is."""
    return {"a": matrix()}


def batches() -> list[tuple[np.ndarray]]:
    """Right-hand sides b, float32 [16]."""
    direction = np.random.default_rng(1).standard_normal(UNKNOWNS)
    return [((scale * direction).astype(np.float32),) for scale in SCALES]
