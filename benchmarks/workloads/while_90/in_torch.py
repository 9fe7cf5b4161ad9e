"""The descent in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from workloads.while_90 import task


def model() -> Any:
    return torch.nn.Module()  # nothing is trained


def make_step(model: Any, wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    return wrap(_descend)


def _descend(x: Any) -> tuple[Any, int]:
    turns = 0
    while torch.linalg.vector_norm(x) > 1:
        x = x - task.RATE * x
        turns += 1
    return x, turns
