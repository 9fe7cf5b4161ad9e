"""Choices: a decision inside a program, by the values that Python has seen there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fxgrad.replay.code import Block
from fxgrad.replay.structure import Key, constant_key


class Choice:
    """Runs the branch of the answer that the guard equals, bit for bit.

    The first operand is the guard, the others are the branches' parameters. The guard equals one
    of the answers.
    """

    has_effects = False

    def __init__(self, answers: Sequence[np.ndarray], branches: Sequence[Block]) -> None:
        self._answers = tuple(answers)
        self._branches = tuple(branches)
        self.key = Key(
            "choice", *map(constant_key, answers), *(branch.key for branch in self._branches)
        )

    @property
    def size(self) -> int:
        """The operations in all branches."""
        return sum(branch.size for branch in self._branches)

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """The results of the chosen branch."""
        guard, *values = inputs
        index = jnp.zeros((), jnp.int32)
        for number, answer in enumerate(self._answers[1:], 1):
            index = lax.select(is_same(guard, answer), jnp.int32(number), index)
        return lax.switch(index, [branch.run for branch in self._branches], *values)


class Gate:
    """Runs the code behind a decision if the guard equals one of the answers, else `miss`."""

    has_effects = False

    def __init__(self, answers: Sequence[np.ndarray], seen: Block, miss: Block) -> None:
        self._answers = tuple(answers)
        self._seen = seen
        self._miss = miss
        self.key = Key("gate", *map(constant_key, answers), seen.key, miss.key)

    @property
    def size(self) -> int:
        """The operations behind it."""
        return self._seen.size

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """The results of what was seen, or of a miss."""
        guard, *values = inputs
        seen = is_same(guard, self._answers[0])
        for answer in self._answers[1:]:
            seen = lax.bitwise_or(seen, is_same(guard, answer))
        return lax.cond(seen, self._seen.run, self._miss.run, *values)


def is_same(value: Any, answer: np.ndarray) -> jax.Array:
    """Whether an array has the bits of another of its shape and dtype, as a boolean scalar."""
    if jnp.issubdtype(answer.dtype, np.complexfloating):
        real = is_same(lax.real(value), np.real(answer))
        return lax.bitwise_and(real, is_same(lax.imag(value), np.imag(answer)))
    expected = jnp.asarray(answer)
    if jnp.issubdtype(answer.dtype, jnp.floating):
        bits = jnp.dtype(f"uint{8 * answer.dtype.itemsize}")
        value, expected = (lax.bitcast_convert_type(a, bits) for a in (value, expected))
    return jnp.all(lax.eq(value, expected))
