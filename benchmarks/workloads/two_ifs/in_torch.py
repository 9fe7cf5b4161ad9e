"""The step with two ifs in PyTorch: the loss is wrapped, and so is the clipping with the update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from workloads.article.in_torch import model
from workloads.two_ifs import task

__all__ = ["make_step", "model"]


def make_step(model: Any, wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=task.LEARNING_RATE)

    @wrap
    def mean_loss(images: Any, labels: Any) -> Any:
        log_likelihoods = torch.log_softmax(model(images), dim=1)
        loss = torch.nn.functional.nll_loss(log_likelihoods, labels)
        if loss > task.HARD:
            loss = (1 - task.SMOOTHING) * loss - task.SMOOTHING * log_likelihoods.mean()
        return loss

    @wrap
    def update() -> None:
        gradients = [parameter.grad for parameter in parameters]
        norm = torch.nn.utils.get_total_norm(gradients)
        if norm > task.MAX_NORM:
            for gradient in gradients:
                gradient.mul_(task.MAX_NORM / norm)
        optimizer.step()

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = mean_loss(images, labels)
        loss.backward()
        update()
        return loss.detach()

    return step
