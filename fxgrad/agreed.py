"""Agreed: a compiled function is called, and what it has to build is first compared.

A call of a known signature says nothing to anybody. How processes speak belongs to `agreement`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

import jax
import numpy as np

from fxgrad.agreement import agree, group_of, processes_of
from fxgrad.recorder import devices_of, trace_context
from fxgrad.statements import Statement

_ARRAYS: Final = (jax.Array, np.ndarray, np.generic)
# What differs between processes that lower the same program: numbers of channels, addresses of
# callbacks, places.
_OF_THIS_PROCESS: Final = re.compile(
    r"handle = \d+|backend_config = \"\d+\"|loc\(.*\)$", re.MULTILINE
)
_INSTEAD: Final = (
    "Call it with the same shapes, dtypes and Python values in every process; pad or drop a last "
    "batch that is smaller in one."
)
_digests: Final[set[bytes]] = set()


class Agreed:
    """Calls a function of `jax.jit` when all processes have the same program for the call.

    What is compared is the SHA-256 of the lowered program with its devices, before the first call
    of each signature, among the processes that have these devices: a program of one process is its
    own affair. JAX does not tell a miss before it runs, so signatures are kept here.
    """

    def __init__(self) -> None:
        self._known: set[Hashable] = set()

    def __call__(
        self,
        jitted: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        name: str,
        words: Callable[[], Mapping[str, str]],
        static: Hashable = (),
    ) -> Any:
        """The output of `jitted`, which is one function for the life of this object.

        Args:
          jitted: what `jax.jit` has made.
          args: the positional arguments.
          kwargs: the keyword arguments.
          name: the function, for errors.
          words: gives the facts of the call by name, for errors.
          static: the values of the arguments that are part of the program.

        Raises:
          DisagreementError: another process is about to run another program, or does not come.
        """
        leaves, structure = jax.tree.flatten((args, kwargs))
        key = (structure, static, trace_context(), *map(_leaf_key, leaves))
        if key not in self._known:
            if not any(map(_is_bound_here, leaves)):  # to lower takes time, and JAX does it again
                agree_on_program(jitted.lower(*args, **kwargs), name, words)
            self._known.add(key)
        group = group_of(processes_of(leaves))
        if group is not None:
            group.launch(name)
        return jitted(*args, **kwargs)


def _leaf_key(leaf: Any) -> Hashable:
    if isinstance(leaf, _ARRAYS):  # by its parts, for the hash of a `jax.typeof` is slow
        weak, sharding = getattr(leaf, "weak_type", None), getattr(leaf, "sharding", None)
        return leaf.shape, leaf.dtype, weak, sharding
    return type(leaf)


def _is_bound_here(leaf: Any) -> bool:
    """Whether a program with this argument can run on devices of this process only."""
    return isinstance(leaf, jax.Array) and leaf.is_fully_addressable and leaf.committed


def agree_on_program(lowered: Any, name: str, words: Callable[[], Mapping[str, str]]) -> None:
    """Return when all processes whose devices a lowered program runs on have the same one.

    Args:
      lowered: what `lower` of `jax.jit` has made.
      name: the function, for errors.
      words: gives the facts of the call by name, for errors.

    Raises:
      DisagreementError: another process is about to run another program, or does not come.
    """
    devices = devices_of(lowered)
    members = frozenset(device.process_index for device in devices)
    if len(members) < 2:
        return
    text = _OF_THIS_PROCESS.sub("", lowered.as_text())
    digest = hashlib.sha256(f"{[device.id for device in devices]}\n{text}".encode())
    if digest.digest() in _digests:  # built before, for another function or signature
        return
    topic = f"a new program of {name}"
    agree(members, Statement(topic, digest.hexdigest(), words(), _INSTEAD), text)
    _digests.add(digest.digest())
