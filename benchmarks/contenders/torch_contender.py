"""PyTorch, on the CPU: ``python -m contenders.torch_contender NAME``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from contenders import network
from contenders.protocol import Steps, serve
from machine import device_name


def model() -> Any:
    parameters = {name: torch.from_numpy(p) for name, p in network.initial_parameters().items()}
    first = torch.nn.Linear(network.PIXELS, network.HIDDEN)
    second = torch.nn.Linear(network.HIDDEN, network.CLASSES)
    # A Linear keeps its matrix as [outputs, inputs].
    first.load_state_dict({"weight": parameters["w1"].T, "bias": parameters["b1"]})
    second.load_state_dict({"weight": parameters["w2"].T, "bias": parameters["b2"]})
    return torch.nn.Sequential(first, torch.nn.ReLU(), second)


def steps(wrap: Callable[[Any], Any]) -> Steps:
    """Train steps of the model and its loss, wrapped together as `wrap` does."""
    trained = model()
    cross_entropy = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(trained.parameters(), lr=network.LEARNING_RATE)
    images, labels = (torch.from_numpy(array) for array in network.batch())
    mean_loss = wrap(lambda images, labels: cross_entropy(trained(images), labels))
    return _steps(mean_loss, optimizer, images, labels.long())


def _steps(mean_loss: Any, optimizer: Any, images: Any, labels: Any) -> Steps:
    while True:
        optimizer.zero_grad()
        loss = mean_loss(images, labels)
        loss.backward()
        optimizer.step()
        yield loss.item()


WRAPS: dict[str, Callable[[Any], Any]] = {
    "torch-eager": lambda function: function,
    "torch-compile": torch.compile,
}

if __name__ == "__main__":
    serve(steps(WRAPS[sys.argv[1]]), device=device_name("cpu"), packages=("torch",))
