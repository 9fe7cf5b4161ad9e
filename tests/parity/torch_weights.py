"""A network in PyTorch: ``python torch_weights.py save|load weights inputs.npz outputs.npz``.

``save`` draws weights and writes them; ``load`` reads them, strictly. Both write the outputs.
"""

import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(4)
        self.grouped = torch.nn.Conv2d(4, 6, (3, 5), stride=2, groups=2)
        self.up = torch.nn.ConvTranspose2d(6, 5, (3, 4), stride=2)
        self.row = torch.nn.Conv1d(5, 7, 3)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(7, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        )
        self.norm = torch.nn.LayerNorm(3, eps=1e-6)
        self.classes = torch.nn.Embedding(10, 3)

    def forward(self, images, labels):
        x = torch.relu(self.bn(self.conv(images)))
        x = self.up(torch.relu(self.grouped(x)))
        x = self.row(x.mean(dim=2)).mean(dim=2)
        return self.norm(self.layers(x)) + self.classes(labels)


def drawn_weights():
    generator = torch.Generator().manual_seed(0)
    return {
        name: value if value.dtype == torch.int64 else _drawn(value, generator)
        for name, value in Net().state_dict().items()
    }


def _drawn(like, generator):
    return 0.1 + torch.rand(like.shape, generator=generator)  # above 0, as variances are


if __name__ == "__main__":
    command, weights, inputs, outputs = sys.argv[1:]
    if command == "save":
        save_file(drawn_weights(), weights)
    net = Net().eval()
    net.load_state_dict(load_file(weights), strict=True)
    with np.load(inputs) as arrays, torch.no_grad():
        images, labels = (torch.from_numpy(arrays[name]) for name in ("images", "labels"))
        np.savez(outputs, outputs=net(images, labels).numpy())
