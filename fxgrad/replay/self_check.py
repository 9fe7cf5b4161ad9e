"""The self-check: whether the JAX that is installed can be recorded. Replay asks it first."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from fxgrad.recorder import Operation, Recorder, Slot, record, why_unavailable


@functools.cache
def self_check() -> str:
    """Why this JAX cannot be recorded, or the empty string.

    Records a function with one decision inside a derivative, and counts what is heard and asked.
    """
    if why_unavailable():
        return why_unavailable()
    try:
        heard = _Check()
        recorder = record(_checked, heard.arguments, heard)[1]
        recorder.invalidate()
    except Exception as error:
        return f"JAX {jax.__version__} cannot be recorded: {type(error).__name__}: {error}"
    if not heard.operations or heard.forced != 1:
        return f"JAX {jax.__version__} hides operations or decisions from the recorder"
    return ""


def _checked(x: Any) -> Any:
    return jax.grad(lambda y: y * y if y > 0 else -y)(x)


class _Check:
    """A listener that counts, and answers every question with true."""

    def __init__(self) -> None:
        self.operations = 0
        self.forced = 0
        self._asked: set[Slot] = set()

    def arguments(self, recorder: Recorder) -> Any:
        return (recorder.tracer(jax.typeof(np.float32(3))),), {}

    def hear(self, operation: Operation) -> None:
        self.operations += 1

    def capture(self, value: Any) -> Slot:
        raise NotImplementedError

    def force(self, slot: Slot) -> np.ndarray:
        self._asked.add(slot)
        self.forced = len(self._asked)
        return np.array(True)

    def log(self, name: str, value: Any) -> None:
        raise NotImplementedError

    def is_live(self) -> bool:
        return False

    def hear_live(self) -> None:
        raise NotImplementedError

    def value(self, slot: Slot) -> Any:
        raise NotImplementedError
