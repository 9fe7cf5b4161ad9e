"""Groups: which devices of a compiled program talk with each other, and along which axes.

XLA writes the groups of a collective in three ways, two of them short forms of the first.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

_LISTED: Final = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
_COUNTED: Final = re.compile(
    r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?(?![\w\[])"
)
_MESH: Final = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^{]*)\))? \{([^}]*)\}"
)
_PAIRS: Final = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")
_ORDER: Final = re.compile(r"\[([\d,]+)\](?:T\(([\d,]+)\))?")
_AXIS: Final = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+))?(?:=(\d+))?")

Groups = np.ndarray
"""Numbers of devices in the order of the mesh; int [groups, devices of a group]."""


def groups_in(attributes: str, devices: int) -> Groups | None:
    """The groups of a collective, from its attributes, or None if it has none that can be read.

    Args:
      attributes: XLA's text behind the operands.
      devices: how many run the program; they are all one group where none are written.
    """
    if found := _COUNTED.search(attributes):
        return _ordered(found[3], found[4]).reshape(int(found[1]), int(found[2]))
    if found := _MESH.search(attributes):
        along = _along(found[1], found[3])
        return along if found[2] is None else _listed(found[2])[along]
    if found := _PAIRS.search(attributes):
        return _even(_joined(_sets(found[1])), devices)
    if found := _LISTED.search(attributes):
        return _even(_sets(found[1]), devices)
    return None


def _even(groups: list[tuple[int, ...]], devices: int) -> Groups | None:
    """The groups as one array; None if they differ in size, all devices if there are none."""
    if len({len(group) for group in groups}) > 1:
        return None
    return np.array(groups) if groups else np.arange(devices)[None]


def _sets(text: str) -> list[tuple[int, ...]]:
    return [_numbers(group) for group in re.findall(r"\{([\d,]*)\}", text)]


def _joined(pairs: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The devices that pairs of them join, directly or through others."""
    groups: list[set[int]] = []
    for pair in pairs:
        met = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in met] + [set(pair).union(*met)]
    return [tuple(sorted(group)) for group in groups]


def axes_of(groups: Groups, sizes: Mapping[str, int]) -> tuple[str, ...] | None:
    """Along which axes of a mesh these groups lie, or None if along no whole axes."""
    wanted = {frozenset(group) for group in groups.tolist()}
    for axes in _choices([axis for axis, size in sizes.items() if size > 1]):
        numbered = np.arange(math.prod(sizes.values())).reshape(tuple(sizes.values()))
        names = list(sizes)
        lined = _grouped(numbered, [names.index(axis) for axis in axes])
        if {frozenset(group) for group in lined.tolist()} == wanted:
            return axes
    return None


def _along(mesh: str, axes: str) -> Groups:
    """The groups along axes of XLA's own mesh; an axis may be a part of one of the mesh."""
    sizes = {name: int(size) for name, _, _, size in _AXIS.findall(mesh)}
    split: list[int] = []
    chosen: list[int] = []
    parts = {
        name: (int(before or 1), int(size or sizes[name]))
        for name, before, size, _ in _AXIS.findall(axes)
    }
    for name, size in sizes.items():
        before, part = parts.get(name, (1, 1))
        chosen += [len(split) + 1] if name in parts else []
        split += [before, part, size // before // part]
    return _grouped(np.arange(math.prod(sizes.values())).reshape(split), chosen)


def _grouped(numbered: np.ndarray, dimensions: list[int]) -> Groups:
    """Devices that differ in these dimensions only, as one group each."""
    size = math.prod(numbered.shape[d] for d in dimensions)
    last = range(numbered.ndim - len(dimensions), numbered.ndim)
    return np.moveaxis(numbered, dimensions, last).reshape(-1, size)


def _choices(axes: list[str]) -> Iterator[tuple[str, ...]]:
    for count in range(1, len(axes) + 1):
        yield from itertools.combinations(axes, count)


def _listed(text: str) -> np.ndarray:
    """The order of devices in a mesh: written out, or counted along other dimensions."""
    order = _ORDER.search(text)
    return _ordered(order[1], order[2]) if order else np.array(_numbers(text))


def _ordered(sizes: str, order: str | None) -> np.ndarray:
    """Numbers from 0 in an array of these sizes, read with its dimensions in another order."""
    shape = _numbers(sizes)
    counted = np.arange(math.prod(shape)).reshape(shape)
    return counted.transpose(_numbers(order)).ravel() if order else counted.ravel()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
