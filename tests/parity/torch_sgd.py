"""The training run in PyTorch: ``python torch_sgd.py inputs.npz outputs.npz``."""

import sys
from collections.abc import Mapping

import numpy as np
import torch


def network(inputs: Mapping[str, np.ndarray]) -> torch.nn.Sequential:
    """784-128-10 with the given weights; a Linear keeps its matrix as [outputs, inputs]."""
    first, second = torch.nn.Linear(784, 128), torch.nn.Linear(128, 10)
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(inputs["w1"].T))
        first.bias.copy_(torch.from_numpy(inputs["b1"]))
        second.weight.copy_(torch.from_numpy(inputs["w2"].T))
        second.bias.copy_(torch.from_numpy(inputs["b2"]))
    return torch.nn.Sequential(first, torch.nn.ReLU(), second)


def train(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = network(inputs)
    mean_loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=float(inputs["learning_rate"]))
    losses = []
    for images, labels in zip(inputs["images"], inputs["labels"], strict=True):
        optimizer.zero_grad()
        loss = mean_loss(model(torch.from_numpy(images)), torch.from_numpy(labels).long())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    w1, b1, w2, b2 = (parameter.detach().numpy() for parameter in model.parameters())
    return {"losses": np.asarray(losses, np.float32), "w1": w1.T, "b1": b1, "w2": w2.T, "b2": b2}


if __name__ == "__main__":
    with np.load(sys.argv[1]) as arrays:
        inputs = dict(arrays)
    np.savez(sys.argv[2], **train(inputs))
