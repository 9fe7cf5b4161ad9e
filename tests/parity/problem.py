"""The problem that everyone trains on: initial weights of 784-128-10 and batches of real digits."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

STEPS = 100
BATCH_SIZE = 64
LEARNING_RATE = 0.01


def problem() -> dict[str, np.ndarray]:
    """All that a run starts from, as arrays: a peer gets it as an ``.npz`` file.

    ``w1`` is float32 [784, 128], ``b1`` [128], ``w2`` [128, 10], ``b2`` [10]; ``images`` is float32
    [steps, batch, 784] in 0 to 1, ``labels`` int32 [steps, batch], ``learning_rate`` a float.
    """
    rng = np.random.default_rng(0)
    images, labels = _batches(rng)
    return {
        **_initial_parameters(rng),
        "images": images,
        "labels": labels,
        "learning_rate": np.asarray(LEARNING_RATE),
    }


def _initial_parameters(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """He's normal weights and small biases, which a run that drops the biases would miss."""
    return {
        "w1": _normal(rng, 784, 128, scale=(2 / 784) ** 0.5),
        "b1": _normal(rng, 128, scale=0.1),
        "w2": _normal(rng, 128, 10, scale=(2 / 128) ** 0.5),
        "b2": _normal(rng, 10, scale=0.1),
    }


def _normal(rng: np.random.Generator, *shape: int, scale: float) -> np.ndarray:
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def _batches(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Each step's batch, drawn without replacement from the whole data set."""
    images, labels = _digits()
    rows = np.stack([rng.choice(len(labels), size=BATCH_SIZE, replace=False) for _ in range(STEPS)])
    return images[rows], labels[rows]


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 8×8 digits, each pixel three wide, with MNIST's empty margin: 28×28."""
    digits = load_digits()
    wide = digits.images.repeat(3, axis=1).repeat(3, axis=2)
    framed = np.pad(wide, ((0, 0), (2, 2), (2, 2)))
    return (framed.reshape(-1, 784) / 16).astype(np.float32), digits.target.astype(np.int32)
