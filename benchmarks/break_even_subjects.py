"""What break-evens are predicted of: functions whose compiled modes pay off after some calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from workloads import ARTICLE, part

from fxgrad.modes import Mode


class Subject(NamedTuple):
    """A function, what it takes, and the compiled modes that can run it.

    `is_warm` says that its operations have run one by one in the process before, as in a session
    that has used eager so far.
    """

    name: str
    label: str
    make: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]
    modes: tuple[Mode, ...] = ("static", "replay")
    is_warm: bool = False

    def ready(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function and its arguments, computed."""
        fun, args = self.make()
        args = jax.block_until_ready(jax.tree.map(jnp.asarray, args))
        if self.is_warm:
            jax.block_until_ready(fun(*args))
        return fun, args


def _unrolled() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    weights, inputs = (jax.random.key(seed) for seed in (0, 1))
    return unrolled, (
        jax.random.normal(weights, (64, 64)) / 10,
        jax.random.normal(inputs, (100, 64)),
    )


def unrolled(weights: jax.Array, inputs: jax.Array) -> jax.Array:
    """The last state of a recurrent network whose steps are written out by Python's for."""
    state = jnp.zeros(len(weights))
    for index in range(len(inputs)):
        state = jnp.tanh(weights @ state + inputs[index])
    return state


def _while() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    task = part("while_90", "task")
    return part("while_90", "in_jax").step, (task.initial_state(), *task.batches()[0])


def _article() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    task = part(ARTICLE, "task")
    return part(ARTICLE, "in_jax").step, (task.initial_state(), *task.batches()[0])


_ALL = (
    Subject("unrolled", "a recurrent network of 64 units, 100 steps written out", _unrolled),
    Subject("while_90", "a Python while of 88 turns on 1,000 floats", _while, modes=("replay",)),
    Subject(ARTICLE, "the article's train step, after a call op by op", _article, is_warm=True),
)
SUBJECTS = {subject.name: subject for subject in _ALL}
