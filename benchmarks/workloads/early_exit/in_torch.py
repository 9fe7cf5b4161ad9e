"""The train step with three exits in PyTorch: the network and its loss are wrapped together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from workloads.early_exit import task


class Block(torch.nn.Module):
    """A layer and the classifier on it."""

    def __init__(self, state: dict[str, Any], block: int) -> None:
        super().__init__()
        self.layer = _linear(state[f"w{block}"], state[f"b{block}"])
        self.head = _linear(state[f"head_w{block}"], state[f"head_b{block}"])

    def forward(self, features: Any) -> tuple[Any, Any]:
        features = torch.relu(self.layer(features))
        return features, self.head(features)


def model() -> Any:
    state = {name: torch.from_numpy(array) for name, array in task.initial_state().items()}
    return torch.nn.ModuleList(Block(state, block) for block in range(task.BLOCKS))


def make_step(model: Any, wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=task.LEARNING_RATE)

    @wrap
    def mean_loss(features: Any, labels: Any) -> Any:
        features, logits = model[0](features)
        if _sureness(logits) < task.SURE:
            features, logits = model[1](features)
            if _sureness(logits) < task.SURE:
                features, logits = model[2](features)
        return torch.nn.functional.cross_entropy(logits, labels)

    def step(features: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = mean_loss(features, labels)
        loss.backward()  # what was not used has no gradient, and SGD leaves it alone
        optimizer.step()
        return loss.detach()

    return step


def _sureness(logits: Any) -> Any:
    return torch.softmax(logits, dim=1).amax(dim=1).mean()


def _linear(weight: Any, bias: Any) -> Any:
    linear = torch.nn.Linear(*weight.shape)
    linear.load_state_dict({"weight": weight.T, "bias": bias})  # it is kept as [outputs, inputs]
    return linear
