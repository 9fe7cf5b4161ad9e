"""How the processes of a run speak about a checkpoint: short texts through JAX's coordinator.

No device takes part, so a thread may speak while the devices compute.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jax

from fxgrad.errors import CheckpointError
from fxgrad.recorder import coordination

_SECONDS: Final = 600
_channels: Final = itertools.count()  # each process opens its channels in the same order


class Channel:
    """A sequence of agreements; each process makes the same calls in the same order."""

    def __init__(self) -> None:
        self._client = coordination()
        self._name = f"fxgrad/checkpoints/{next(_channels)}"
        self._count = 0

    def first_does(self, action: Callable[[], None], folder: Path) -> None:
        """The first process does something, and the others wait for it.

        Raises:
          CheckpointError: the action failed; where it ran, its own error.
        """
        failure: Exception | None = None

        def say() -> str:
            nonlocal failure
            try:
                action()
            except Exception as error:
                failure = error
            return "" if failure is None else str(failure) or repr(failure)

        said = self.from_first(say)
        if failure is not None:
            raise failure
        if said:
            raise CheckpointError(said, path=folder)

    def from_first(self, say: Callable[[], str]) -> str:
        """What the first process says, heard by all. Only there is `say` called; it never fails."""
        if self._client is None:
            return say()
        key = self._next_key()
        if jax.process_index() == 0:
            self._client.key_value_set(key, say())
        return self._client.blocking_key_value_get(key, _SECONDS * 1000)

    def from_all(self, text: str) -> list[str]:
        """What each process says, heard by all, in the order of the processes."""
        if self._client is None:
            return [text]
        key = self._next_key()
        self._client.key_value_set(f"{key}/{jax.process_index()}", text)
        self._client.wait_at_barrier(key, _SECONDS * 1000)
        said = self._client.key_value_dir_get(key)
        return [text for _, text in sorted(said, key=lambda item: int(item[0].rsplit("/", 1)[1]))]

    def _next_key(self) -> str:
        self._count += 1
        return f"{self._name}/{self._count}"
