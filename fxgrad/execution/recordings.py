"""Recordings: the trees of one Function, one for each call signature, and how calls are served."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import jax

from fxgrad.agreement import are_many
from fxgrad.execution.captures import Captures
from fxgrad.execution.direct import Direct, may_be_a_number
from fxgrad.execution.options import UNSET, Options
from fxgrad.execution.replayable import leaf_key
from fxgrad.recorder import is_tracer, trace_context
from fxgrad.replay.ownership import own_decision
from fxgrad.replay.promotion import Tree
from fxgrad.replay.together import owners
from fxgrad.replay.tree import Node

MAX_TREES: Final = 256
_MAX_REBOUND: Final = 2
# JAX's classes of arrays are private: each is added when one of its arrays is met.
_JAX_ARRAYS: Final[set[type]] = set()


class Recordings:
    """The recorded trees by their keys; bounded, and safe under concurrent calls.

    Attributes:
      captured: what the function captures now.
      captures_are: whether what the function captures still is what it was.
      direct: serves the calls of every tree while all are closed, and those of a single one that
        has a program; else None.
    """

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        self._fun = fun
        self._options = options
        self._captures = Captures(fun)
        self._lock = threading.Lock()
        self._trees: OrderedDict[Hashable, Tree] = OrderedDict()
        self._held: dict[Hashable, tuple[Any, ...]] = {}
        # Arguments and outputs that are to be moved are moved around the program, by key.
        self._all_arrays = options.in_shardings is UNSET and options.out_shardings is UNSET
        self._evicted = 0
        self._rebound = 0
        self.direct: Direct | None = None
        self.captured = self._captures.now
        self.captures_are = self._captures.are

    def key(self, structure: Any, leaves: Sequence[Any]) -> Hashable:
        """What a call is told by: all that a path may depend on besides values."""
        signature = [leaf.aval if type(leaf) in _JAX_ARRAYS else _leaf_key(leaf) for leaf in leaves]
        return (structure, trace_context(), self._captures.key(), *owners(leaves), *signature)

    def get(self, key: Hashable) -> Tree | None:
        """The tree of a key."""
        return self._trees.get(key)

    def trees(self) -> list[Tree]:
        """All trees, oldest first."""
        with self._lock:
            return list(self._trees.values())

    def add(
        self,
        key: Hashable,
        root: Node,
        arrays: Sequence[Any],
        leaf_count: int,
        captured: tuple[Any, ...],
    ) -> None:
        """Keep a new tree. Of two threads that have recorded one tree, the first one's stays.

        `captured` is what the function captured when it was called.
        """
        avals = [jax.typeof(array) for array in arrays]
        refuse = functools.partial(own_decision, owners=owners(arrays))
        forwards = not self._options.donate_argnames
        tree = Tree(root, avals, forwards=forwards, refuse=refuse)
        with self._lock:
            self._trees.setdefault(key, tree)
            self._held[key] = captured  # so that no identity in the key returns
            self._all_arrays &= len(arrays) == leaf_count and not any(map(may_be_a_number, avals))
            while len(self._trees) > MAX_TREES:
                self._held.pop(self._trees.popitem(last=False)[0], None)
                self._evicted += 1
                if self._evicted % MAX_TREES == 0:
                    self.direct = None  # it holds the programs of trees that are gone
        self.choose_way()

    def drop(self, key: Hashable) -> None:
        """Forget the tree of a key."""
        with self._lock:
            self._trees.pop(key, None)
            self._held.pop(key, None)
            self._all_arrays = False
        self.choose_way()

    def tell_by_key(self) -> None:
        """`jax.jit` cannot tell some calls from others: take the direct way no more."""
        self._all_arrays = False
        self.direct = None

    def choose_way(self) -> None:
        """Find out whether calls can be served directly: trees change more rarely than they run."""
        captured, trees = self._captures.now(), self.trees()
        is_open = not all(tree.is_closed for tree in trees)
        is_rebound = self.direct is not None and not self._captures.are(self.direct.captured)
        can_serve = not is_open or (len(trees) == 1 and trees[0].promoted is not None)
        # With several processes, calls are told by whose arrays they have, too, which jit is not.
        if not can_serve or not self._all_arrays or are_many():
            self.direct = None
        elif is_open or self.direct is None or is_rebound:
            self._rebound += is_rebound
            if self._rebound > _MAX_REBOUND:  # by key, such calls share their programs
                self.tell_by_key()
            else:
                self.direct = Direct(self._fun, self._options, captured, self._trees, self.key)
        else:
            self.direct.has_changed(trees)


def _leaf_key(leaf: Any) -> Hashable:
    if isinstance(leaf, jax.Array) and not is_tracer(leaf):
        _JAX_ARRAYS.add(type(leaf))
    return leaf_key(leaf)
