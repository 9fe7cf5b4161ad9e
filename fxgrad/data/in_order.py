"""Batches of a grain dataset that is read in order: its own state says where it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.grain_door import Delivered, described, settle_flags
from fxgrad.data.shard import Shard, share
from fxgrad.data.source import Position, check_whole
from fxgrad.errors import DataError


@dataclass(frozen=True, eq=False)
class IterSource:
    """Batches of a grain dataset that is read in order. Made by `from_grain`."""

    dataset_of: Callable[[int], Any]
    shard: Shard | None
    content: str | None

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex; see `from_grain` for what it covers. Of the first epoch."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return fingerprint("grain", described(self.dataset_of(0), self.content))

    def epoch(self, number: int, start: Position = 0) -> Iterator[Any]:
        """The batches of epoch `number` from `start` on: 0, or what ``position()`` gave.

        Raises:
          DataError: `start` is neither.
        """
        check_whole("epoch", number, 0)
        settle_flags()
        iterator = iter(self.dataset_of(number))
        if start != 0:
            _restore(iterator, start)
        return _Stateful(iterator, self.shard)


class _Stateful(Delivered):
    """Batches with grain's state, as JSON can hold it."""

    def __init__(self, iterator: Any, shard: Shard | None) -> None:
        super().__init__(iterator)
        self._shard = shard
        self._last: Any = None  # the state when it was closed

    def __next__(self) -> Any:
        return share(super().__next__(), self._shard)

    def position(self) -> Position:
        state = self._iterator.get_state() if self._last is None else self._last
        position = {"bytes": state.decode()} if isinstance(state, bytes) else {"state": state}
        try:
            same = json.loads(json.dumps(position)) == position
        except TypeError:
            same = False
        if not same:
            message = f"the state of a {type(self._iterator).__name__} is no JSON: {state!r:.200}"
            remedy = "Save such a dataset as a MapDataset, or without that transformation"
            raise DataError(f"{message}. {remedy}.", path=None, field="position")
        return position

    def close(self) -> None:
        if self._last is None:
            self._last = self._iterator.get_state()
        super().close()


def _restore(iterator: Any, position: Position) -> None:
    try:
        ((kind, state),) = position.items()
        iterator.set_state(state.encode() if kind == "bytes" else state)
    # Each kind of iterator raises errors of its own on a state that is not its own.
    except Exception as error:
        message = f"start={position!r:.200} is no position of this dataset ({error})"
        remedy = "Write 0, or restore a checkpoint of this data"
        raise DataError(f"{message}. {remedy}.", path=None, field="start") from error
