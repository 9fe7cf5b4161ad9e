"""Names: which array of a tree goes by which name in a file, and in what layout."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from fxgrad.errors import OptionError, WeightsError
from fxgrad.weights.torch_layout import (
    Rule,
    is_transposed_convolution,
    layer_of,
    other_kernels,
    same,
    torch_rule,
)

Layout = Literal["flax", "torch"]
Rename = Mapping[str, str] | Callable[[str], str]

_SEPARATOR: Final = "."
_BOX: Final = jax.tree_util.GetAttrKey("value")


class Named(NamedTuple):
    """An array of a tree.

    Attributes:
      path: where it stands, dotted.
      leaf: the array, or what has its shape and dtype.
      rule: its name in the file, and its axes there.
    """

    path: str
    leaf: Any
    rule: Rule


def named_leaves(
    tree: Any, layout: Layout, rename: Rename | None, transposed: Collection[str], file: Path
) -> list[Named]:
    """Every array of a tree with its name in a file, in the order of the tree.

    Raises:
      OptionError: `layout` is none, or `transposed` is a single name.
      WeightsError: the tree is a single array or holds what is none, two arrays would have one
        name, or a name in `rename` or `transposed` fits nothing.
    """
    if layout not in get_args(Layout):
        choices = " or ".join(map(repr, get_args(Layout)))
        raise OptionError(f"layout={layout!r}: write {choices}.", option="layout")
    if isinstance(transposed, str):
        message = f"transposed={transposed!r} is one name: write [{transposed!r}]."
        raise OptionError(message, option="transposed")
    leaves = _leaves(tree, file)
    if layout == "torch":
        rules = _torch_rules({parts: leaf.shape for parts, leaf in leaves}, transposed, file)
    else:
        rules = {parts: same(_SEPARATOR.join(parts)) for parts, _ in leaves}
    if isinstance(rename, Mapping):
        there = {each for rule in rules.values() for each in _beginnings(rule.name)}
        _check_fit("rename", rename, there, file)
    found = []
    for parts, leaf in leaves:
        rule = rules[parts]
        renamed = rule._replace(name=_renamed(rule.name, rename))
        found.append(Named(_SEPARATOR.join(parts), leaf, renamed))
    _check_distinct(found, file)
    return found


def _leaves(tree: Any, file: Path) -> list[tuple[tuple[str, ...], Any]]:
    """The arrays of a tree with their paths."""
    found = []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not keys:
            message = f"{file}: a single array has no name: write {{'w': array}}."
            raise WeightsError(message, path=file)
        parts = parts_of(keys)
        if not hasattr(leaf, "shape") or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            path = _SEPARATOR.join(parts)
            message = f"{file}: {path} is no array of numbers: leave it out."
            raise WeightsError(message, path=file, name=path)
        found.append((parts, leaf))
    return found


def _torch_rules(
    shapes: Mapping[tuple[str, ...], tuple[int, ...]], transposed: Collection[str], file: Path
) -> dict[tuple[str, ...], Rule]:
    """PyTorch's rule of each array. A transposed convolution goes by its layer's path."""
    convolutions = {
        name
        for parts, shape in shapes.items()
        if parts[-1] == "kernel" and len(shape) > 2
        for name in _names_of_layer(parts)
    }
    _check_fit("transposed", transposed, convolutions, file)
    others = other_kernels(shapes)
    rules = {}
    for parts, shape in shapes.items():
        is_named = not _names_of_layer(parts).isdisjoint(transposed)
        is_transposed = is_named or is_transposed_convolution(parts[-2:][0])
        is_other = parts in others and not is_transposed
        rules[parts] = torch_rule(parts, len(shape), is_transposed=is_transposed, is_other=is_other)
    return rules


def _names_of_layer(parts: tuple[str, ...]) -> set[str]:
    """How a user may call the layer of an array: with Linen's collection or without."""
    return {_SEPARATOR.join(parts[:-1]), _SEPARATOR.join(layer_of(parts))}


def _beginnings(name: str) -> list[str]:
    """What `rename` may call a name by: ``["", "a", "a.b"]`` for ``"a.b"``."""
    parts = name.split(_SEPARATOR)
    return [_SEPARATOR.join(parts[:count]) for count in range(len(parts) + 1)]


def _check_fit(option: str, wanted: Iterable[str], there: Collection[str], file: Path) -> None:
    """Refuse the first name of an option that is not there."""
    missing = next((name for name in wanted if name not in there), None)
    if missing is None:
        return
    near = difflib.get_close_matches(missing, sorted(filter(None, there)), n=1, cutoff=0)
    what = "name or beginning of one" if option == "rename" else "layer with a kernel and a window"
    hint = f": the nearest {what} is {near[0]!r}" if near else f", and there is no {what}"
    message = f"{file}: {option}= has {missing!r}, which fits nothing{hint}."
    raise WeightsError(message, path=file, name=missing)


def parts_of(keys: tuple[Any, ...]) -> tuple[str, ...]:
    """The path of a leaf in words; Flax's boxes around arrays (`nnx.Variable`) are not told."""
    is_boxed = len(keys) > 1 and keys[-1] == _BOX
    inner = keys[:-1] if is_boxed else keys
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in inner)


def _renamed(name: str, rename: Rename | None) -> str:
    """The name by `rename`; of a mapping's keys the longest that is the name or its beginning."""
    if rename is None:
        return name
    if not isinstance(rename, Mapping):
        return rename(name)
    for beginning in reversed(_beginnings(name)):
        if beginning in rename:
            rest = name.removeprefix(beginning).removeprefix(_SEPARATOR)
            return _SEPARATOR.join(filter(None, [rename[beginning], rest]))
    return name


def _check_distinct(found: list[Named], file: Path) -> None:
    by_name: dict[str, str] = {}
    for named in found:
        name = named.rule.name
        if name in by_name:
            raise WeightsError(
                f"{file}: {by_name[name]} and {named.path} would both be named {name!r}: write "
                "rename= that tells them apart.",
                path=file,
                name=name,
            )
        by_name[name] = named.path
