"""What a model consists of: each parameter's place, shape, dtype, size and sharding, and totals.

How many bytes a step needs at its worst moment is `fxgrad.memory`'s to say.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import jax
from rich import box
from rich.table import Table

from fxgrad.printing import printed
from fxgrad.quantities import in_bytes
from fxgrad.train.state import TrainState
from fxgrad.weights.names import parts_of

_NUMBER: Final = re.compile(r"\d+")
_PARTS: Final = ("opt_state", "model_state", "ema")


@dataclass(frozen=True)
class Row:
    """Arrays of one shape, dtype and sharding whose paths differ in one number, or one array.

    Attributes:
      path: where it stands: ``layers.0.kernel``; ``layers.{0-11}.kernel`` for twelve of them.
      count: how many there are.
      shape: of one of them.
      dtype: of one of them.
      sharding: how one of them is split over devices, in words; empty for one device.
      parameters: numbers in all of them together.
      bytes: in all of them together, over all devices, copies not counted.
    """

    path: str
    count: int
    shape: tuple[int, ...]
    dtype: str
    sharding: str
    parameters: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values."""
        return {**vars(self), "shape": list(self.shape)}


@dataclass(frozen=True, repr=False)
class Summary:
    """The parameters of a model, and what else a training holds.

    Attributes:
      rows: the parameters, in the order of the tree.
      other_bytes: bytes of the other parts of a `TrainState`, by name.
    """

    rows: tuple[Row, ...]
    other_bytes: dict[str, int]

    @property
    def parameters(self) -> int:
        """How many numbers the parameters are."""
        return sum(row.parameters for row in self.rows)

    @property
    def bytes(self) -> int:
        """How many bytes they take."""
        return sum(row.bytes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "parameters": self.parameters,
            "bytes": self.bytes,
            "other_bytes": dict(self.other_bytes),
        }

    def __str__(self) -> str:
        is_sharded = any(row.sharding for row in self.rows)
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("path", "shape", "dtype", *(["sharding"] if is_sharded else [])):
            table.add_column(name, overflow="fold")
        for name in ("parameters", "bytes"):
            table.add_column(name, justify="right")
        for row in self.rows:
            shape = f"{row.count} × {list(row.shape)}" if row.count > 1 else str(list(row.shape))
            sharding = [row.sharding] if is_sharded else []
            size = (f"{row.parameters:,}", in_bytes(row.bytes))
            table.add_row(row.path, shape, row.dtype, *sharding, *size)
        return printed(table, self._totals())

    __repr__ = __str__

    def _totals(self) -> str:
        others = [f"{name} {in_bytes(size)}" for name, size in self.other_bytes.items() if size]
        return "; ".join([f"{self.parameters:,} parameters, {in_bytes(self.bytes)}", *others])


def summary(params: Any) -> Summary:
    """A table of parameters: path, shape, dtype, number, bytes, and sharding if there is any.

    Layers that repeat are one row: arrays that are equal in shape, dtype and sharding and whose
    paths differ in one number. Shapes are those of the whole array, over all devices.

    Args:
      params: a pytree of arrays, or of `jax.ShapeDtypeStruct`; or a `TrainState`, whose other parts
        are summed up below.

    Returns:
      A `Summary`, which prints as the table.
    """
    if not isinstance(params, TrainState):
        return Summary(tuple(_collapsed(_rows(params))), {})
    others = {name: sum(row.bytes for row in _rows(getattr(params, name))) for name in _PARTS}
    return Summary(tuple(_collapsed(_rows(params.params))), others)


def _rows(tree: Any) -> list[Row]:
    return [
        _row(".".join(parts_of(keys)), leaf)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _row(path: str, leaf: Any) -> Row:
    array = leaf if hasattr(leaf, "dtype") else jax.numpy.asarray(leaf)
    count = math.prod(array.shape)
    return Row(
        path=path,
        count=1,
        shape=tuple(array.shape),
        dtype=str(array.dtype),
        sharding=_sharding_in_words(getattr(array, "sharding", None)),
        parameters=count,
        bytes=count * array.dtype.itemsize,
    )


def _sharding_in_words(sharding: Any) -> str:
    if sharding is None or len(sharding.device_set) < 2:
        return ""
    spec = getattr(sharding, "spec", None)
    if sharding.is_fully_replicated:
        return "on every device"
    return str(tuple(spec)) if spec is not None else str(sharding)


def _collapsed(rows: Iterable[Row]) -> list[Row]:
    """The rows, with those that differ in one number of their paths taken together."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        alike = (_NUMBER.sub("#", row.path), row.shape, row.dtype, row.sharding)
        groups.setdefault(alike, []).append(row)
    return [row for group in groups.values() for row in _together(group)]


def _together(group: list[Row]) -> list[Row]:
    """One row for a group; several where its paths differ in more than one number."""
    numbers = [_NUMBER.findall(row.path) for row in group]
    varying = [
        place for place, values in enumerate(zip(*numbers, strict=True)) if len({*values}) > 1
    ]
    if len(varying) > 1:
        parts: dict[str, list[Row]] = {}
        for row, found in zip(group, numbers, strict=True):
            parts.setdefault(found[varying[0]], []).append(row)
        return [row for part in parts.values() for row in _together(part)]
    if not varying:
        return group
    span = _span([int(found[varying[0]]) for found in numbers])
    return [
        dataclasses.replace(
            group[0],
            path=_with_number(group[0].path, varying[0], span),
            count=len(group),
            parameters=sum(row.parameters for row in group),
            bytes=sum(row.bytes for row in group),
        )
    ]


def _with_number(path: str, place: int, words: str) -> str:
    match = list(_NUMBER.finditer(path))[place]
    return path[: match.start()] + words + path[match.end() :]


def _span(numbers: list[int]) -> str:
    """``{0-3,7}`` for 0, 1, 2, 3 and 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = (f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"{{{','.join(words)}}}"
