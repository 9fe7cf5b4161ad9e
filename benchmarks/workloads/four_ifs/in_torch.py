"""The robust regression in PyTorch: the loss is wrapped, and so is the update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from workloads.four_ifs import task


def model() -> Any:
    state = {name: torch.from_numpy(array) for name, array in task.initial_state().items()}
    regression = torch.nn.Module()
    regression.matrix = torch.nn.Parameter(state["matrix"])
    regression.register_buffer("average", state["average"])
    return regression


def make_step(model: Any, wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=task.LEARNING_RATE)

    @wrap
    def mean_loss(inputs: Any, targets: Any) -> Any:
        centre = inputs.mean()
        if centre.abs() > task.OFF_CENTRE:
            inputs = inputs - centre
        errors = torch.tanh(inputs @ model.matrix) - targets
        if errors.abs().max() > task.OUTLIER:
            errors = errors.clamp(-task.OUTLIER, task.OUTLIER)
        return (errors**2).mean()

    @wrap
    @torch.no_grad
    def update(loss: Any) -> None:
        gradient = model.matrix.grad
        norm = torch.linalg.vector_norm(gradient)
        if norm > task.MAX_NORM:
            gradient.mul_(task.MAX_NORM / norm)
        optimizer.step()
        if loss < task.LOW_LOSS:
            model.average.lerp_(model.matrix, task.FOLLOWING)

    def step(inputs: Any, targets: Any) -> Any:
        optimizer.zero_grad()
        loss = mean_loss(inputs, targets)
        loss.backward()
        update(loss.detach())
        return loss.detach()

    return step
