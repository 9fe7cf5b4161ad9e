"""``fxgrad demo``: a 784-128-10 network trained in every mode, on handwritten digits."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fxgrad.cli.output import check_outputs, positive, write
from fxgrad.errors import MissingExtraError
from fxgrad.modes import MODES
from fxgrad.train import Batches, TrainState, compare_training, load_images


def add_parser(subparsers: Any) -> None:
    """Declare the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="train one network as a dynamic and as a static graph, and compare",
    )
    parser.add_argument("--epochs", type=positive, default=10, help="epochs in each mode (10)")
    parser.add_argument("--batch-size", type=positive, default=64, help="images in a batch (64)")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="of plain SGD (0.01)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order (0)")
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=list(MODES), help="which ones (all)"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="a folder with MNIST or Fashion-MNIST in IDX files or one .npz; "
        "scikit-learn's digits if left out",
    )
    parser.add_argument("--output", type=Path, help="write an HTML page with the curves here")
    parser.add_argument("--json", type=Path, help="write all that was measured here")
    parser.add_argument("--plot", type=Path, help="draw the curves here: .png, .svg or .pdf")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, print the table, write the page."""
    _check_extras(options)
    check_outputs(page=options.output, data=options.json, plot=options.plot)
    data = load_images(options.data_dir)
    optimizer = optax.sgd(options.learning_rate)
    params = init(jax.random.key(options.seed))
    test = jax.tree.map(jnp.asarray, data.test)
    comparison = compare_training(
        loss,
        optimizer,
        TrainState.create(params, optimizer),
        Batches(data.train, options.batch_size, seed=options.seed),
        epochs=options.epochs,
        modes=options.modes,
        evaluate=lambda state: {"test accuracy": accuracy(state.params, test)},
        title=f"784-128-10 on {data.name}, {options.epochs} epochs of SGD "
        f"at {options.learning_rate:g}, batches of {options.batch_size}",
    )
    write(comparison, page=options.output, data=options.json, plot=options.plot)
    return 0


def _check_extras(options: argparse.Namespace) -> None:
    """Name the one extra that brings all that the demo needs."""
    needed = ["sklearn"] if options.data_dir is None else []
    needed += ["jinja2", "matplotlib"] if options.output or options.plot else []
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra="demo", purpose="The demo")


def init(key: jax.Array) -> dict[str, jax.Array]:
    """The parameters of the network: two dense layers."""
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (784, 128)) * (2 / 784) ** 0.5,
        "b1": jnp.zeros(128),
        "w2": jax.random.normal(second, (128, 10)) * (1 / 128) ** 0.5,
        "b2": jnp.zeros(10),
    }


def logits(params: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """The scores of the ten classes; float32 [images, 10]."""
    pixels = images.reshape(len(images), 784)
    hidden = jax.nn.relu(pixels @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def loss(params: dict[str, jax.Array], batch: dict[str, jax.Array]) -> jax.Array:
    """The mean cross-entropy of a batch; float32 scalar."""
    scores = logits(params, batch["image"])
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["label"]).mean()


def accuracy(params: dict[str, jax.Array], data: dict[str, jax.Array]) -> jax.Array:
    """The share of images whose highest score is the right class; float32 scalar."""
    return jnp.mean(logits(params, data["image"]).argmax(axis=-1) == data["label"])
