"""One writer at a time: a lock on a file of the folder, which ends with the process that has it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import weakref
from pathlib import Path
from typing import Any, Final

from fxgrad.errors import CheckpointError

try:
    import fcntl
except ImportError:  # a system without flock
    fcntl = None

LOCK: Final = "writer.lock"
_LARGEST_BYTES: Final = 4096


class WriterLock:
    """The right to write into a folder, held until `release` or the end of the process.

    Raises:
      CheckpointError: another writer holds it, in this process or in any other.
    """

    def __init__(self, folder: Path) -> None:
        if fcntl is None:
            raise CheckpointError(
                "Checkpoints need flock to keep a second writer out, and this system has none.",
                path=folder,
            )
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        self._close = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = _held_by(descriptor)
            self._close()
            raise CheckpointError(
                f"{folder} is being written by {held}, or save into another folder.", path=folder
            ) from error
        _write(descriptor, {"pid": os.getpid(), "host": socket.gethostname()})
        _held.add(self)

    def release(self) -> None:
        """Let the next writer in. A forked process lets go of its copy so."""
        _held.discard(self)
        self._close()


_held: Final[weakref.WeakSet[WriterLock]] = weakref.WeakSet()


def _release_all() -> None:
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_all)


def _write(descriptor: int, holder: dict[str, Any]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _held_by(descriptor: int) -> str:
    """Who has the lock, and what to do about it."""
    who, is_this = "another process", False
    with contextlib.suppress(ValueError, KeyError, TypeError):
        holder = json.loads(os.pread(descriptor, _LARGEST_BYTES, 0))
        who = f"process {holder['pid']} on {holder['host']}"
        is_this = (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
    if is_this:
        return f"{who}, which is this one. Call close() on the Checkpoints that has it"
    return f"{who}. Wait until that ends"
