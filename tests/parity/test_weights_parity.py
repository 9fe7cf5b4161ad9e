"""PyTorch's weights give PyTorch's outputs here, in Linen and in NNX, and ours do there."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from peer import run_peer

import fxgrad as fx
from fxgrad import train

SCRIPT = Path(__file__).parent / "torch_weights.py"


class Linen(nn.Module):
    @nn.compact
    def __call__(self, images, labels):
        x = nn.Conv(4, (3, 3), name="conv")(images)
        x = nn.relu(nn.BatchNorm(use_running_average=True, name="bn")(x))
        x = nn.Conv(6, (3, 5), 2, "VALID", feature_group_count=2, name="grouped")(x)
        x = nn.ConvTranspose(5, (3, 4), (2, 2), "VALID", name="up")(nn.relu(x))
        x = nn.Conv(7, (3,), padding="VALID", name="row")(x.mean(axis=1)).mean(axis=1)
        x = nn.Dense(3, name="second")(nn.relu(nn.Dense(8, name="first")(x)))
        return nn.LayerNorm(name="norm")(x) + nn.Embed(10, 3, name="classes")(labels)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.bn = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.grouped = nnx.Conv(
            4, 6, (3, 5), strides=2, padding="VALID", feature_group_count=2, rngs=rngs
        )
        self.up = nnx.ConvTranspose(6, 5, (3, 4), strides=(2, 2), padding="VALID", rngs=rngs)
        self.row = nnx.Conv(5, 7, (3,), padding="VALID", rngs=rngs)
        self.first = nnx.Linear(7, 8, rngs=rngs)
        self.second = nnx.Linear(8, 3, rngs=rngs)
        self.norm = nnx.LayerNorm(3, rngs=rngs)
        self.classes = nnx.Embed(10, 3, rngs=rngs)

    def __call__(self, images, labels):
        x = nnx.relu(self.bn(self.conv(images)))
        x = self.up(nnx.relu(self.grouped(x)))
        x = self.row(x.mean(axis=1)).mean(axis=1)
        x = self.second(nnx.relu(self.first(x)))
        return self.norm(x) + self.classes(labels)


def linen_variables(params, state):
    return {"params": params, **state}, lambda v: (v["params"], {"batch_stats": v["batch_stats"]})


def nnx_variables(params, state):
    variables = {**params, "bn": {**params["bn"], **state["bn"]}}

    def parted(variables):
        bn = variables["bn"]
        params = {**variables, "bn": {name: bn[name] for name in ("scale", "bias")}}
        return params, {"bn": {name: bn[name] for name in ("mean", "var")}}

    return variables, parted


LAYOUT = {
    "layout": "torch",
    "rename": {"first": "layers.0", "second": "layers.2"},
    "transposed": ["up"],
}


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 1, 12, 14)).astype(np.float32)
    return {"images": images, "labels": rng.integers(0, 10, size=5)}


def outputs_of_torch(command, weights, inputs, folder):
    np.savez(folder / "inputs.npz", **inputs)
    run_peer(SCRIPT, command, weights, folder / "inputs.npz", folder / "outputs.npz")
    with np.load(folder / "outputs.npz") as arrays:
        return arrays["outputs"]


@pytest.mark.parametrize(
    ("module", "variables_of"), [(Linen(), linen_variables), (Nnx, nnx_variables)]
)
def test_weights_of_pytorch_give_its_outputs_here_and_back(module, variables_of, inputs, tmp_path):
    model = fx.from_flax(module)
    images = jnp.asarray(inputs["images"].transpose(0, 2, 3, 1))
    labels = jnp.asarray(inputs["labels"], jnp.int32)
    first, parted = variables_of(*model.init(jax.random.key(0), images, labels))

    def outputs_here(variables):
        params, state = parted(variables)
        with jax.default_matmul_precision("float32"):
            return model.apply(params, images, labels, state=state)[0]

    theirs, ours = tmp_path / "torch.safetensors", tmp_path / "flax.safetensors"
    expected = outputs_of_torch("save", theirs, inputs, tmp_path)
    loaded = train.load_weights(theirs, first, **LAYOUT)
    np.testing.assert_allclose(outputs_here(loaded), expected, rtol=1e-4, atol=1e-4)
    changed = jax.tree.map(lambda leaf: leaf + 0.01, loaded)
    train.save_weights(ours, changed, **LAYOUT)
    again = outputs_of_torch("load", ours, inputs, tmp_path)
    np.testing.assert_allclose(outputs_here(changed), again, rtol=1e-4, atol=1e-4)
    assert np.abs(again - expected).max() > 1e-3
