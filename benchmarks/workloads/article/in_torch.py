"""The article's train step in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from workloads.article import task


def model() -> Any:
    parameters = {name: torch.from_numpy(p) for name, p in task.initial_state().items()}
    first = torch.nn.Linear(task.PIXELS, task.HIDDEN)
    second = torch.nn.Linear(task.HIDDEN, task.CLASSES)
    # A Linear keeps its matrix as [outputs, inputs].
    first.load_state_dict({"weight": parameters["w1"].T, "bias": parameters["b1"]})
    second.load_state_dict({"weight": parameters["w2"].T, "bias": parameters["b2"]})
    return torch.nn.Sequential(first, torch.nn.ReLU(), second)


def make_step(model: Any, wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    """A train step; the model and its loss are wrapped together."""
    optimizer = torch.optim.SGD(model.parameters(), lr=task.LEARNING_RATE)
    cross_entropy = torch.nn.CrossEntropyLoss()
    mean_loss = wrap(lambda images, labels: cross_entropy(model(images), labels))

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = mean_loss(images, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
