"""The leaves of a state: what each is called, what it is, and whether another state has the same.

Where their bytes go belongs to `arrays`; how they come back, to `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import CheckpointError
from fxgrad.signature import array_in_words

Kind = Literal["array", "key", "python"]
_PYTHON: Final = (bool, int, float, str)


@dataclass(frozen=True)
class Leaf:
    """What is written down of a leaf.

    Attributes:
      path: where it stands in the state: ``params['w']``.
      kind: an array, an array of random keys, or a Python scalar.
      dtype: the dtype's name, or the type's for a Python scalar.
      shape: the shape, ``()`` for a Python scalar.
      is_weak: whether the array's dtype is weak, as of a Python number turned into an array.
      implementation: of random keys, such as ``"threefry2x32"``; otherwise "".
      stored_shape: the shape of the array that is stored.
      value: the value of a Python scalar, otherwise None.
    """

    path: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    is_weak: bool = False
    implementation: str = ""
    stored_shape: tuple[int, ...] = ()
    value: Any = None

    def __str__(self) -> str:
        if self.kind == "python":
            return f"a Python {self.dtype}"
        return array_in_words(self.shape, self.dtype)

    @property
    def stored_dtype(self) -> np.dtype:
        """The dtype of the array that is stored: random keys are stored as their integers."""
        return np.dtype(np.uint32) if self.kind == "key" else jnp.dtype(self.dtype)


def named_leaves(state: Any) -> list[tuple[str, Any]]:
    """The leaves of a state with their paths, in the order of `jax.tree.leaves`."""
    paths = jax.tree_util.tree_flatten_with_path(state)[0]
    return [(jax.tree_util.keystr(path).removeprefix(".") or "state", leaf) for path, leaf in paths]


def describe(path: str, leaf: Any, *, folder: Path) -> Leaf:
    """What a leaf is: an array or one that `jax.ShapeDtypeStruct` describes, or a Python scalar.

    Raises:
      CheckpointError: it is something else.
    """
    if type(leaf) in _PYTHON:
        return Leaf(path, "python", type(leaf).__name__, value=leaf)
    dtype, shape = getattr(leaf, "dtype", None), getattr(leaf, "shape", None)
    if dtype is None or shape is None or not _is_storable(dtype):
        raise CheckpointError(
            f"{path} is a {type(leaf).__name__}{'' if dtype is None else f' of {dtype}'}, which a "
            "checkpoint does not hold: make it an array, a Python number or a string, or keep it "
            "out of the state.",
            path=folder,
            leaf=path,
        )
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        implementation = str(jax.random.key_impl(leaf)) if isinstance(leaf, jax.Array) else ""
        stored = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(shape, dtype)).shape
        return Leaf(path, "key", str(dtype), tuple(shape), False, implementation, stored)
    is_weak = bool(getattr(leaf, "weak_type", False))
    return Leaf(path, "array", np.dtype(dtype).name, tuple(shape), is_weak, "", tuple(shape))


def check_same(
    saved: Mapping[str, Leaf],
    wanted: Mapping[str, Leaf],
    *,
    strict: bool,
    needed: Set[str] = frozenset(),
    path: Path,
    step: int,
) -> None:
    """Compare the leaves of a checkpoint with those of the state that it shall become.

    Args:
      saved: the leaves of the checkpoint, by path.
      wanted: those of the state.
      strict: whether both must have the same leaves; otherwise only those of both are compared.
      needed: leaves that the checkpoint must have in any case.
      path: the folder of the step, for errors.
      step: its number, for errors.

    Raises:
      CheckpointError: they differ; it names the first leaf that does.
    """
    for name, leaf in wanted.items():
        if name not in saved and (strict or name in needed):
            _refuse(f"{name}, {leaf} in the state, is not in", name, path, step)
        if name in saved and not _same(saved[name], leaf):
            found = f"{name} is {leaf} in the state and {saved[name]} in"
            _refuse(found, name, path, step)
    for name, leaf in saved.items() if strict else ():
        if name not in wanted:
            _refuse(f"{name} is not in the state, and {leaf} in", name, path, step)


def _refuse(difference: str, name: str, path: Path, step: int) -> None:
    raise CheckpointError(
        f"{difference} the checkpoint of step {step} in {path.parent}. Nothing is converted: "
        "restore into a state that is made as the saved one was, or train into another folder.",
        path=path,
        step=step,
        leaf=name,
    )


def _same(saved: Leaf, wanted: Leaf) -> bool:
    """Weak types are not compared: the first step of a training may end them."""
    return (saved.kind, saved.dtype, saved.shape) == (wanted.kind, wanted.dtype, wanted.shape)


def _is_storable(dtype: Any) -> bool:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return True
    return jnp.issubdtype(dtype, np.number) or np.dtype(dtype) == np.bool_
