"""Direct: calls of trees that have become programs go through one `jax.jit`.

`jax.jit` tells calls by their arguments faster than Python can. What it traces for a call is the
tree that has been recorded for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax

from fxgrad.execution.options import Options
from fxgrad.recorder import is_tracer
from fxgrad.replay.fold import Folded
from fxgrad.replay.promotion import Tree


def may_be_a_number(aval: Any) -> bool:
    """Whether `jax.jit` cannot tell an array of this kind from a number of Python's."""
    return aval.shape == () and (getattr(aval, "weak_type", False) or aval.dtype == bool)


class _NotRecordedError(Exception):
    """No recorded tree serves the call."""


# What a call raises that it cannot serve: jax.jit refuses arguments that are no arrays.
NOT_SERVED = (_NotRecordedError, TypeError, ValueError)


class Direct:
    """Serves the calls of trees as `jax.jit` serves its own, or raises `NOT_SERVED`.

    `trees` are several that are closed, or a single one, which may miss: then a call waits for the
    code that says so, and may give `MISSED`.

    Attributes:
      jitted: gives the output of a call, or what `open` builds it from.
      captured: what the function captured when the trees were recorded.
      open: the single tree that may miss, or None.
      is_pure: whether a call may be made for nothing: no effects, and no argument taken over.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        options: Options,
        captured: tuple[Any, ...],
        trees: Mapping[Hashable, Tree],
        key: Callable[[Any, Sequence[Any]], Hashable],
    ) -> None:
        @functools.wraps(fun)  # jax.jit finds the names of the donated arguments here
        def recorded(*args: Any, **kwargs: Any) -> Any:
            leaves, structure = jax.tree.flatten((args, kwargs))
            # A number of Python's looks like a scalar of its dtype here, and belongs to the path.
            if any(not is_tracer(leaf) or may_be_a_number(leaf.aval) for leaf in leaves):
                raise _NotRecordedError
            folded = self._folded(trees.get(key(structure, leaves)))
            columns = folded.run(leaves)
            return columns if self.open else folded.build(columns, lambda: leaves)

        self.captured = captured
        self.open: Folded | None = None
        several = list(trees.values())
        for tree in several:
            promoted = tree.promoted
            if promoted is not None and not promoted.folded.is_closed:
                self.open = promoted.folded
        self._donates = bool(options.donate_argnames)
        self.is_pure = False
        self.has_changed(several)
        donated = sorted(options.donate_argnames) if self.open is None else ()
        self.jitted = jax.jit(recorded, donate_argnames=donated or None)

    def has_changed(self, trees: Sequence[Tree]) -> None:
        """There are other trees than before."""
        several = [promoted for tree in trees if (promoted := tree.promoted) is not None]
        has_effects = any(promoted.folded.block.has_effects for promoted in several)
        self.is_pure = not self._donates and not has_effects

    def _folded(self, tree: Tree | None) -> Folded:
        promoted = None if tree is None else tree.promoted
        if promoted is None or not (promoted.folded.is_closed or promoted.folded is self.open):
            raise _NotRecordedError
        return promoted.folded
