"""Names: which array of a tree goes by which name in a file, and in what layout."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import jax

from fxgrad.errors import OptionError, WeightsError
from fxgrad.weights.torch_layout import Rule, is_transposed_convolution, same, torch_rule

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
      OptionError: `layout` is none.
      WeightsError: the tree is a single array, or two arrays would have one name.
    """
    if layout not in get_args(Layout):
        choices = " or ".join(map(repr, get_args(Layout)))
        raise OptionError(f"layout={layout!r}: write {choices}.", option="layout")
    found = [
        _named(keys, leaf, layout, rename, transposed, file)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    _check_distinct(found, file)
    return found


def _named(
    keys: tuple[Any, ...],
    leaf: Any,
    layout: Layout,
    rename: Rename | None,
    transposed: Collection[str],
    file: Path,
) -> Named:
    if not keys:
        message = f"{file}: a single array has no name: write {{'w': array}}."
        raise WeightsError(message, path=file)
    parts = parts_of(keys)
    path = _SEPARATOR.join(parts)
    if layout == "torch":
        layer = _SEPARATOR.join(parts[:-1])
        is_transposed = layer in transposed or is_transposed_convolution(parts[-2:][0])
        rule = torch_rule(parts, len(leaf.shape), is_transposed=is_transposed)
    else:
        rule = same(path)
    return Named(path, leaf, rule._replace(name=_renamed(rule.name, rename)))


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
    parts = name.split(_SEPARATOR)
    for count in range(len(parts), -1, -1):
        beginning = _SEPARATOR.join(parts[:count])
        if beginning in rename:
            return _SEPARATOR.join([*filter(None, [rename[beginning]]), *parts[count:]])
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
