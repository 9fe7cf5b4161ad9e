"""`Checkpoints`: a folder of steps, each there whole or not at all.

What a step holds is in `manifest`, how it comes in `writing`, how it is read in `reading`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from fxgrad.checkpoints.folder import found_steps, step_folder
from fxgrad.checkpoints.manifest import check_contents, read_manifest
from fxgrad.checkpoints.reading import Reader, Which
from fxgrad.checkpoints.restored import Restored
from fxgrad.checkpoints.retention import Direction, Retention
from fxgrad.checkpoints.writing import Writer
from fxgrad.errors import CheckpointError, OptionError


class Checkpoints:
    """A folder of checkpoints, one for each saved step.

    A step is written beside its place, with a manifest that holds the SHA-256 and the size of every
    file, and renamed when all is on the disk: it exists only if its manifest verifies. One writer
    may use the folder at a time, from its first save (or the start of a ``with``) until `close`.
    Readers need nothing. The processes of a run make the same calls, in the same order, on one
    folder that they all see.

    Args:
      folder: made if it is not there; a folder on a disk, with POSIX's locks and renames.
      keep_last: how many of the newest steps are kept.
      keep_best: how many of the best are kept beside them.
      best: the metric that decides which is best. One that is not finite is never best.
      best_is: ``"min"`` or ``"max"``.
      asynchronous: True to write in a background thread, one save at a time.

    Raises:
      OptionError: an option has a value that makes no sense.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep_last: int = 2,
        keep_best: int = 1,
        best: str = "loss",
        best_is: Direction = "min",
        asynchronous: bool = True,
    ) -> None:
        if "://" in os.fspath(folder):
            raise OptionError(
                f"folder={str(folder)!r}: checkpoints are saved on a disk, with its renames and "
                "locks. Save there, and copy whole steps.",
                option="folder",
            )
        self.folder = Path(os.path.abspath(folder))
        self._retention = Retention(keep_last, keep_best, best, best_is)
        self._is_asynchronous = asynchronous
        self._reader: Reader | None = None
        self._writer: Writer | None = None
        self._damaged: frozenset[int] = frozenset()  # as far as restoring has shown

    def __enter__(self) -> Self:
        self._open_writer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except CheckpointError as failure:
            if error is None:
                raise
            error.add_note(f"And a save failed: {failure}")

    def __repr__(self) -> str:
        return f"Checkpoints({str(self.folder)!r}, steps {list(self.steps())})"

    def save(
        self,
        state: Any,
        *,
        step: int,
        record: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Save a state under the number of a step; a step that has the number is replaced.

        Returns when the arrays are copied to the host: they may be donated and changed then. All
        else happens in the background, and at most one save is on its way; a second waits for it.

        Args:
          state: any pytree of JAX and NumPy arrays of any dtype, random keys, Python numbers,
            strings and None.
          step: its number, from 0.
          record: JSON values to keep beside it.
          metrics: numbers by which steps are compared.

        Raises:
          CheckpointError: the state or the record holds what cannot be saved, another writer has
            the folder, the disk is full, or the save before this one failed. What was saved stays.
          OptionError: `step` is negative or no whole number.
        """
        self._open_writer().save(step, state, record or {}, metrics or {})
        if not self._is_asynchronous:
            self.wait()

    def wait(self) -> None:
        """Wait until all that was saved is on the disk.

        Raises:
          CheckpointError: the save on its way failed.
        """
        if self._writer is not None:
            self._writer.wait()

    def steps(self) -> tuple[int, ...]:
        """The steps that are there, in the order in which they were saved.

        Their manifests verify and their files have the right sizes; the bytes are not looked at.
        """
        return tuple(manifest.step for manifest in found_steps(self.folder).values())

    def restore(
        self, like: Any, *, step: int | Literal["last", "best"] = "last", strict: bool = True
    ) -> Restored:
        """A saved state.

        Every byte is checked first. ``"last"`` is the step that was saved last and is whole; the
        damaged ones that it passes over are warned about and listed.

        Args:
          like: a state of the same structure, whose arrays say where the restored ones go: NumPy,
            the default device, or the devices of their sharding, which need not be those that
            saved. A `jax.ShapeDtypeStruct` with a sharding does too.
          step: a number, ``"last"`` or ``"best"``.
          strict: False to keep the leaves of `like` that were not saved, and to leave out saved
            ones that it does not have. Shapes and dtypes must be the same in any case.

        Raises:
          CheckpointError: no such step is whole; or a leaf differs, and it is named.

        Warns:
          TrainingWarning: a damaged step was passed over.
        """
        which: Which = step
        if self._reader is None:
            self._reader = Reader(self.folder, self._retention)
        self.wait()
        restored = self._reader.restore(like, which, strict=strict)
        self._damaged |= {skipped.step for skipped in restored.skipped}
        if self._writer is not None:
            self._writer.note_damaged(self._damaged)
        return restored

    def verify(self, step: int) -> None:
        """Check every byte of a step.

        Raises:
          CheckpointError: it is damaged or not there.
        """
        path = step_folder(self.folder, step)
        try:
            check_contents(path, read_manifest(path))
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{self.folder} has no step {step}; it has {list(self.steps())}.",
                path=path,
                step=step,
            ) from error

    def close(self) -> None:
        """Wait for the save on its way and let the next writer in. A later save begins anew.

        Raises:
          CheckpointError: the save on its way failed.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    @contextlib.contextmanager
    def held(self) -> Iterator[Self]:
        """Have the folder's lock within a ``with``; after it, only if it was had before.

        Raises:
          CheckpointError: another writer has the folder, or a save failed.
        """
        if self._writer is not None:
            yield self
        else:
            with self:
                yield self

    def _open_writer(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(self.folder, self._retention, self._damaged)
        return self._writer
