"""Outcomes: what each mode really returns for the same arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fxgrad.divergence.difference import Gap, Tolerance, gap_between
from fxgrad.divergence.record import OutputGap
from fxgrad.execution.function import as_function
from fxgrad.execution.watched import Watched
from fxgrad.modes import Mode
from fxgrad.modes import mode as within_mode
from fxgrad.observed import Observed, observe
from fxgrad.recorder import Slot


@dataclass(frozen=True)
class Leaf:
    """A leaf of eager's output.

    Attributes:
      path: where it stands: ``"['w1']"``.
      slot: its slot in the observed run; None if it is no array of that run.
      value: its value.
    """

    path: str
    slot: Slot | None
    value: Any


def run_and_watch(
    fun: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Observed, tuple[str, ...]]:
    """Run `fun` once op by op, and name the arguments that it changed in place.

    A Function stays as it is.
    """
    watched = Watched(as_function(fun).in_mode("eager"))
    observed = observe(watched, args)
    return observed, tuple(dict.fromkeys(watched.changed.values()))


def run_in_mode(fun: Callable[..., Any], args: tuple[Any, ...], mode: Mode) -> Any:
    """Run `fun` once in another mode, with a cache of its own, on copies of what it donates."""
    fresh = as_function(fun).in_mode(mode)
    with within_mode(mode):
        return fresh(*fresh.spared(args))


def leaves_of(observed: Observed) -> list[Leaf]:
    """The leaves of what eager returned."""
    return [
        Leaf(path, leaf, observed.values[leaf])
        if isinstance(leaf, Slot)
        else Leaf(path, None, leaf)
        for path, leaf in observed.leaves
    ]


def gaps_of(
    leaves: Sequence[Leaf], values: Sequence[Any], tolerance: Tolerance
) -> list[tuple[Leaf, Gap]]:
    """Each leaf that is a number, and how far another mode's is from it."""
    return [
        (leaf, gap_between(_of_dtype(leaf.value, value), value, tolerance))
        for leaf, value in zip(leaves, values, strict=True)
        if _is_number(leaf.value) and _is_number(value)
    ]


def worst_of(gaps: Sequence[tuple[Leaf, Gap]]) -> OutputGap:
    """The leaf with the largest relative difference."""
    leaf, gap = max(gaps, key=lambda pair: pair[1].relative)
    return OutputGap(leaf.path, gap)


def values_by_slot(leaves: Sequence[Leaf], values: Mapping[Slot, Any]) -> list[Any]:
    """The leaves as a program of the observed run gives them."""
    by_slot: Mapping[Any, Any] = values
    return [by_slot.get(leaf.slot, leaf.value) for leaf in leaves]


def _of_dtype(eager: Any, other: Any) -> Any:
    """A Python number of eager's in the dtype that another mode returns it in."""
    is_array = isinstance(eager, jax.Array | np.ndarray | np.generic)
    return eager if is_array or not hasattr(other, "dtype") else np.asarray(eager, other.dtype)


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)
