"""The one door to grain: its import, its iterators' ends, and what its datasets are made of.

What a source of batches makes of them belongs to `by_number` and `in_order`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import jax
import numpy as np

from fxgrad.data.fingerprint import fingerprint
from fxgrad.errors import MissingExtraError

_SAMPLED: Final = 64
# Attributes of grain's own objects that say how and where work is done, or what was done so far.
_NO_MATTER: Final = frozenset(
    {
        "_ctx",
        "_generator_cache",
        "_options",
        "_read_options",
        "_shard_options",
        "_stats",
        "has_child",
    }
)


def import_grain() -> Any:
    """The module `grain`.

    Raises:
      MissingExtraError: it is not installed.
    """
    try:
        import grain  # noqa: PLC0415  (an extra, and half a second)
    except ModuleNotFoundError as error:
        raise MissingExtraError("grain", extra="data", purpose="train.from_grain") from error
    return grain


def settle_flags() -> None:
    """Let grain start processes in a program that is no absl app: it asks absl for its flags."""
    from absl import flags  # noqa: PLC0415  (comes with grain)

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


class Delivered:
    """Batches as plain arrays; what grain holds is let go at the end, and at `close`."""

    def __init__(self, iterator: Any) -> None:
        self._iterator: Any = iterator

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return jax.tree.map(_plain, next(self._iterator))
        except BaseException:  # the end too: nothing comes after it
            self.close()
            raise

    def close(self) -> None:
        """End grain's threads and processes."""
        # A DataLoader's iterator has no close of its own.
        inner = getattr(self._iterator, "_iterator", self._iterator)
        self._iterator = iter(())
        if hasattr(inner, "close"):
            inner.close()


def described(dataset: Any, content: str | None) -> str:
    """The fingerprint of a dataset: its operations, and its data by length and sample."""
    grain = import_grain()

    def instead(value: Any) -> Any:
        if isinstance(value, grain.MapDataset) and not value.parents:
            return [type(value), len(value), _sample(value) if content is None else content]
        if isinstance(value, grain.DataLoader):
            data = value._data_source
            sample = _sample(data) if content is None else content
            operations = [value._operations, value._sampler, value.multiprocessing_options]
            return [*operations, type(data), len(data), sample]
        return value

    return fingerprint(dataset, without=_NO_MATTER, instead=instead)


def _sample(data: Any) -> list[Any]:
    places = (
        np.unique(np.linspace(0, len(data) - 1, _SAMPLED).astype(np.int64)) if len(data) else []
    )
    return [data[int(place)] for place in places]


def _plain(leaf: Any) -> Any:
    """A copy of an array that a process has left in shared memory; anything else as it is."""
    shared = isinstance(leaf, np.ndarray) and type(leaf) is not np.ndarray
    return np.array(leaf, subok=False) if shared else leaf
