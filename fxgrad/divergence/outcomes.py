"""Outcomes: what each mode really returns for the same arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fxgrad.divergence.difference import Gap, Tolerance, gap_between
from fxgrad.divergence.record import OutputGap
from fxgrad.execution.function import as_function
from fxgrad.modes import Mode
from fxgrad.modes import mode as within_mode
from fxgrad.observed import Observed, observe
from fxgrad.paths import bind_names, call_shape_of
from fxgrad.recorder import Slot, is_tracer


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


def run_eagerly(fun: Callable[..., Any], args: tuple[Any, ...]) -> Observed:
    """Run `fun` once op by op, inner Functions too, and hear it; a Function stays as it is."""
    with within_mode("eager"):
        return observe(as_function(fun).in_mode("eager"), args, keep_values=False)


def run_and_watch(
    fun: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Observed, tuple[str, ...]]:
    """Run `fun` as `run_eagerly`, and name the arguments that it changed in place."""
    changed: list[str] = []
    names = [*bind_names(call_shape_of(fun), args, {})][: len(args)]

    @functools.wraps(fun, updated=())
    def watched(*given: Any) -> Any:
        before = list(map(jax.tree.flatten, given))
        output = as_function(fun).in_mode("eager")(*given)
        after = map(jax.tree.flatten, given)
        pairs = zip(names, before, after, strict=True)
        changed.extend(name for name, old, new in pairs if _is_changed(old, new))
        return output

    return run_eagerly(watched, args), tuple(changed)


def run_in_mode(fun: Callable[..., Any], args: tuple[Any, ...], mode: Mode) -> Any:
    """Run `fun` once in another mode, with a cache of its own, on copies of what it donates."""
    fresh = as_function(fun).in_mode(mode)
    with within_mode(mode):
        return fresh(*fresh.spared(args))


def leaves_of(observed: Observed) -> list[Leaf]:
    """The leaves of what eager returned."""
    pairs = jax.tree_util.tree_leaves_with_path(
        observed.output, is_leaf=lambda leaf: isinstance(leaf, Slot)
    )
    return [
        Leaf(jax.tree_util.keystr(path), leaf, observed.values[leaf])
        if isinstance(leaf, Slot)
        else Leaf(jax.tree_util.keystr(path), None, leaf)
        for path, leaf in pairs
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


def _is_changed(before: tuple[list[Any], Any], after: tuple[list[Any], Any]) -> bool:
    """Whether an object has other leaves than it had, or stands otherwise."""
    if before[1] != after[1]:
        return True
    pairs = zip(before[0], after[0], strict=True)
    return any(a is not b and (is_tracer(a) or is_tracer(b) or a != b) for a, b in pairs)


def _of_dtype(eager: Any, other: Any) -> Any:
    """A Python number of eager's in the dtype that another mode returns it in."""
    is_array = isinstance(eager, jax.Array | np.ndarray | np.generic)
    return eager if is_array or not hasattr(other, "dtype") else np.asarray(eager, other.dtype)


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)
