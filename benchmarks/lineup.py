"""Who can take part: each contender's name, label in the table, and module."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from fxgrad.modes import MODES

_NO_CHANGE: Mapping[str, str] = MappingProxyType({})
_ONE_THREAD = MappingProxyType({"OMP_NUM_THREADS": "1"})


class Contender(NamedTuple):
    """One way to run a workload. A peer's process is of the peers' interpreter.

    `is_dispatched` says that a call returns before its work is done, so that steps which are not
    waited for are something else than steps that are.
    """

    name: str
    label: str
    module: str
    is_peer: bool
    is_dispatched: bool = False
    environment: Mapping[str, str] = _NO_CHANGE


def _jax(name: str, label: str) -> Contender:
    return Contender(name, label, "contenders.in_jax", is_peer=False, is_dispatched=True)


def _fxgrad(name: str, label: str) -> Contender:
    return Contender(name, label, "contenders.in_jax", is_peer=False, is_dispatched=True)


def _torch(name: str, label: str, environment: Mapping[str, str] = _NO_CHANGE) -> Contender:
    return Contender(name, label, "contenders.in_torch", is_peer=True, environment=environment)


def _tensorflow(name: str, label: str) -> Contender:
    return Contender(name, label, "contenders.in_tensorflow", is_peer=True)


BASELINE = "jax-jit"
# The same, with what a call of Python costs before it: how much of a short step that takes.
LATE = "jax-jit-late"
OPTIONAL = "torch-compile"  # its first call takes tens of seconds and a C++ compiler

_EVERYONE = (
    _jax("jax-eager", "JAX, op by op"),
    _jax(BASELINE, "`jax.jit`"),
    _jax(LATE, "`jax.jit`, 2 µs of Python before it"),
    *(_fxgrad(f"fx-{mode}", f"fxgrad, {mode}") for mode in MODES),
    _torch("torch-eager", "PyTorch, eager"),
    _torch(OPTIONAL, "`torch.compile`"),
    _torch("torch-eager-1", "PyTorch, eager, 1 thread", _ONE_THREAD),
    _torch("torch-compile-1", "`torch.compile`, 1 thread", _ONE_THREAD),
    _tensorflow("tf-eager", "TensorFlow, eager"),
    _tensorflow("tf-function", "`tf.function`"),
    _tensorflow("tf-xla", "`tf.function(jit_compile=True)`"),
)
# With its default number of threads PyTorch loses tens of milliseconds of many a step to threads
# that wait for each other, where other work runs on the same cores.
ONE_THREAD = ("torch-eager-1", "torch-compile-1")
LINEUP = {contender.name: contender for contender in _EVERYONE}
