"""Who takes part in `article_step`: each contender's name, label in the table, and module."""

from __future__ import annotations

from typing import NamedTuple

from fxgrad.modes import MODES


class Contender(NamedTuple):
    """One way to run the train step. A peer's runs in the peers' interpreter."""

    name: str
    label: str
    module: str
    is_peer: bool


def _jax(name: str, label: str) -> Contender:
    return Contender(name, label, "contenders.jax_contender", is_peer=False)


def _fxgrad(name: str, label: str) -> Contender:
    return Contender(name, label, "contenders.fxgrad_contender", is_peer=False)


def _torch(name: str, label: str) -> Contender:
    return Contender(name, label, "contenders.torch_contender", is_peer=True)


def _tensorflow(name: str, label: str) -> Contender:
    return Contender(name, label, "contenders.tensorflow_contender", is_peer=True)


BASELINE = "jax-jit"
OPTIONAL = "torch-compile"  # its first call takes tens of seconds and a C++ compiler

_EVERYONE = (
    _jax("jax-eager", "JAX, op by op"),
    _jax(BASELINE, "`jax.jit`"),
    *(_fxgrad(f"fx-{mode}", f"fxgrad, {mode}") for mode in MODES),
    _torch("torch-eager", "PyTorch, eager"),
    _torch(OPTIONAL, "`torch.compile` (model and loss)"),
    _tensorflow("tf-eager", "TensorFlow, eager"),
    _tensorflow("tf-function", "`tf.function`"),
    _tensorflow("tf-xla", "`tf.function(jit_compile=True)`"),
)
LINEUP = {contender.name: contender for contender in _EVERYONE}
