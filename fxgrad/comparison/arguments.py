"""The arguments of a comparison's calls: the caller's own arrays are taken over by none."""

from __future__ import annotations

from typing import Any

import jax

from fxgrad.execution.function import copied


class Arguments:
    """Gives each call its arguments: copies that all calls share, until one has taken over some.

    A function that donates by `jax.jit` inside of it does not say so. Once a call has deleted what
    it was given, each further call is given copies of its own.
    """

    def __init__(self, args: tuple[Any, ...]) -> None:
        self._own = args
        self._given = jax.tree.map(copied, args)

    @property
    def are_taken_over(self) -> bool:
        """Whether the last call has deleted some of what it was given."""
        return any(_is_deleted(leaf) for leaf in jax.tree.leaves(self._given))

    def of_a_call(self) -> tuple[Any, ...]:
        """What to call with."""
        if self.are_taken_over:
            self._given = jax.tree.map(copied, self._own)
        return self._given


def _is_deleted(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and leaf.is_deleted()
