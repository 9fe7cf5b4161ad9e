"""What a training run leaves behind, and how far two runs are apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

PARAMETER_NAMES = ("w1", "b1", "w2", "b2")


@dataclass(frozen=True)
class Trained:
    """The loss of each step, float32 [steps], and the final parameters by name."""

    losses: np.ndarray
    parameters: dict[str, np.ndarray]

    @classmethod
    def load(cls, path: Path) -> Trained:
        with np.load(path) as arrays:
            return cls(arrays["losses"], {name: arrays[name] for name in PARAMETER_NAMES})


@dataclass(frozen=True)
class Distance:
    """The largest relative difference of a step's loss, and the max norm of the parameters'.

    The max norm is the largest absolute difference of any one entry of any parameter.
    """

    relative_loss: float
    parameters: float


def distance(one: Trained, other: Trained) -> Distance:
    """How far `one` is from `other`, to which relative differences refer."""
    assert one.losses.shape == other.losses.shape
    return Distance(
        relative_loss=float(np.max(np.abs(one.losses - other.losses) / np.abs(other.losses))),
        # NumPy's max, because Python's loses a NaN that is not the first.
        parameters=float(np.max([_max_norm(one, other, name) for name in PARAMETER_NAMES])),
    )


def _max_norm(one: Trained, other: Trained, name: str) -> np.floating:
    assert one.parameters[name].shape == other.parameters[name].shape
    return np.max(np.abs(one.parameters[name] - other.parameters[name]))
