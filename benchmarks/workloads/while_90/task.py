"""Gradient descent on |x|²/2 from four starts, until the norm of x is at most 1."""

from __future__ import annotations

import numpy as np

FLOATS = 1000
RATE = 0.05
TURNS = (88, 90, 91, 92)

CYCLE_STEPS = 16
PATHS = len(TURNS)


def initial_state() -> dict[str, np.ndarray]:
    """None: each descent starts from what it is given."""
    return {}


def batches() -> list[tuple[np.ndarray]]:
    """Starts, float32 [1000], half a turn away from one turn more or less."""
    direction = np.random.default_rng(0).standard_normal(FLOATS)
    direction /= np.linalg.norm(direction)
    return [((direction * (1 - RATE) ** (0.5 - turns)).astype(np.float32),) for turns in TURNS]
