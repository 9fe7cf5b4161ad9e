"""Rules: which dimension of a parameter is split over which axis, by the parameter's path.

A table of patterns, and presets that make one. What follows from them for a whole training state
belongs to `layout`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from fxgrad.errors import ShardingError, TrainingWarning
from fxgrad.parallel.mesh import product_of

Entry = str | tuple[str, ...] | None
Spec = tuple[Entry, ...]
"""For each dimension the axis or axes that split it, or None; left-out ones at the end are None."""

_WHOLE_BELOW: Final = 4096
_LARGE: Final = 2**20  # elements: 4 MiB in float32


@dataclass(frozen=True)
class Rules:
    """A table of rules; the first pattern that fits a parameter's path decides.

    A path is written as in ``blocks/0/attention/query/kernel``: keys, fields and indices with
    slashes. A pattern is matched with the whole path: ``*`` stands for any characters, slashes
    too, ``?`` for one, ``[ab]`` for one of these.

    Attributes:
      rows: pairs of a pattern and its spec, such as ``("*/up/kernel", (None, "tensor"))``. A
        parameter that no pattern fits stays whole on each device.
      optional: those patterns that may fit no parameter.
      spread: an axis over which parameters are split besides: each at its largest dimension that
        the axis divides and no other axis splits; at the first of equals.
      whole_below: parameters with fewer elements are not spread.
    """

    rows: Sequence[tuple[str, Spec]] = ()
    optional: frozenset[str] = field(default=frozenset(), kw_only=True)
    spread: str | None = field(default=None, kw_only=True)
    whole_below: int = field(default=_WHOLE_BELOW, kw_only=True)

    def specs(
        self, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]
    ) -> dict[str, Spec]:
        """The spec of each parameter: one entry for each dimension.

        Args:
          shapes: the parameters' shapes by their paths.
          sizes: the sizes of the mesh's axes by their names.

        Raises:
          ShardingError: a pattern fits no parameter, or only such as an earlier one fits; a spec is
            too long, names an axis that is not there or that is there twice; or an axis does not
            divide its dimension.

        Warns:
          TrainingWarning: a large parameter should be spread and cannot be.
        """
        self._check_use(shapes)
        specs = {path: self._spec(path, shape, sizes) for path, shape in shapes.items()}
        if self.spread is not None and sizes.get(self.spread, 1) > 1:
            _warn_of_whole(self.spread, shapes, specs, sizes)
        return specs

    def _check_use(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        decided: dict[str, str] = {}  # the pattern of each parameter
        for pattern, _ in self.rows:
            fitting = [path for path in shapes if fnmatchcase(path, pattern)]
            earlier = [decided.setdefault(path, pattern) for path in fitting]
            if pattern in self.optional or pattern in earlier:
                continue
            if fitting:
                raise ShardingError(
                    f"the rule {pattern!r} never applies: {earlier[0]!r}, which stands before it, "
                    f"decides of {fitting[0]}. Write it first, or leave it out.",
                    path=fitting[0],
                )
            raise ShardingError(
                f"the rule {pattern!r} fits no parameter. There are {_some(list(shapes))}. A "
                "pattern fits the whole path: begin it with * to leave out what is before."
            )

    def _spec(self, path: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> Spec:
        found = next((spec for pattern, spec in self.rows if fnmatchcase(path, pattern)), ())
        check_spec(path, shape, found, sizes)
        spec = (*found, *[None] * (len(shape) - len(found)))
        if self.spread is None or math.prod(shape) < self.whole_below:
            return spec
        return _spread(path, shape, spec, self.spread, sizes)


def fsdp(
    rules: Rules | None = None, *, axis: str = "fsdp", whole_below: int = _WHOLE_BELOW
) -> Rules:
    """Split every parameter over `axis` too, beside what `rules` split: ZeRO's third stage.

    Args:
      rules: what else is split, such as `tensor`'s rules.
      axis: the axis of the mesh.
      whole_below: parameters with fewer elements stay as they are.
    """
    rules = rules or Rules()
    return Rules(rules.rows, optional=rules.optional, spread=axis, whole_below=whole_below)


def tensor(columns: Iterable[str], rows: Iterable[str], *, axis: str = "tensor") -> Rules:
    """Split single layers over `axis`: the pairs of Megatron-LM (Shoeybi et al. 2019, section 3).

    Args:
      columns: patterns of the modules whose outputs are split: query, key, value, and the first
        layer of an MLP. Their kernels are split at dimension 1, their biases at dimension 0.
      rows: patterns of the modules that take those: the attention's output, and the last layer of
        an MLP. Their kernels are split at dimension 0, their biases stay whole.
      axis: the axis of the mesh.
    """
    columns, rows = tuple(columns), tuple(rows)
    kernels = [(f"{name}/kernel", (None, axis)) for name in columns]
    biases = [(f"{name}/bias", (axis,)) for name in columns]
    return Rules(
        (*kernels, *biases, *((f"{name}/kernel", (axis,)) for name in rows)),
        optional=frozenset(pattern for pattern, _ in biases),
    )


def check_spec(path: str, shape: tuple[int, ...], spec: Spec, sizes: Mapping[str, int]) -> None:
    """Refuse a spec that cannot split an array of this shape.

    Raises:
      ShardingError: as `Rules.specs` says.
    """
    where = f"{path} of shape {list(shape)}"
    if len(spec) > len(shape):
        raise ShardingError(
            f"{where} has {len(shape)} dimensions, and its rule {spec!r} splits {len(spec)}. "
            "Write one entry for each dimension, or fewer.",
            path=path,
        )
    axes = axes_in(spec)
    unknown = next((axis for axis in axes if axis not in sizes), None)
    if unknown is not None:
        raise ShardingError(
            f"{where}: its rule {spec!r} names the axis {unknown!r}, and the mesh has "
            f"{', '.join(map(repr, sizes))}. Write one of these.",
            path=path,
        )
    if len(set(axes)) < len(axes):
        raise ShardingError(
            f"{where}: its rule {spec!r} names an axis twice. An axis splits one dimension of an "
            "array; write None for the other.",
            path=path,
        )
    for dimension, entry in enumerate(spec):
        _check_division(path, shape, dimension, entry, product_of(sizes, entry))


def axes_in(spec: Iterable[Any]) -> tuple[str, ...]:
    """All axes that a spec names, in order."""
    entries = [(entry,) if isinstance(entry, str) else entry or () for entry in spec]
    return tuple(axis for entry in entries for axis in entry)


def _check_division(
    path: str, shape: tuple[int, ...], dimension: int, entry: Entry, parts: int
) -> None:
    size = shape[dimension]
    if size % parts:
        padded = -(-size // parts) * parts
        raise ShardingError(
            f"{path} of shape {list(shape)}: the axis {entry!r} has {parts} devices, which do not "
            f"divide dimension {dimension} of size {size}. Make that {padded}, write None for it "
            "in the rule, or choose a mesh whose axis divides it.",
            path=path,
        )


def _spread(
    path: str, shape: tuple[int, ...], spec: Spec, axis: str, sizes: Mapping[str, int]
) -> Spec:
    if axis in axes_in(spec):
        return spec
    check_spec(path, (0,), (axis,), sizes)
    free = [d for d, size in enumerate(shape) if spec[d] is None and size % sizes[axis] == 0]
    if not free:
        return spec
    chosen = max(free, key=lambda d: (shape[d], -d))
    return (*spec[:chosen], axis, *spec[chosen + 1 :])


def _warn_of_whole(
    axis: str,
    shapes: Mapping[str, tuple[int, ...]],
    specs: Mapping[str, Spec],
    sizes: Mapping[str, int],
) -> None:
    """Tell of large parameters that no dimension lets `axis` split."""
    held = {p: math.prod(s) // product_of(sizes, axes_in(specs[p])) for p, s in shapes.items()}
    whole = [p for p, n in held.items() if n >= _LARGE and axis not in axes_in(specs[p])]
    if whole:
        largest = max(whole, key=held.__getitem__)
        more = f" ({len(whole) - 1} more like it)" if len(whole) > 1 else ""
        text = (
            f"{largest} of shape {list(shapes[largest])} is not split over {axis!r}: its "
            f"{sizes[axis]} devices divide none of its free dimensions, and each holds "
            f"{held[largest]:,} elements of it{more}. Make a dimension a multiple of {sizes[axis]}."
        )
        warnings.warn(text, TrainingWarning, stacklevel=2)


def _some(paths: list[str]) -> str:
    named = ", ".join(paths[:6])
    return f"{named} and {len(paths) - 6} more" if len(paths) > 6 else named
