"""The logs of a training: its JSON lines and, on request, TensorBoard's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jax

from fxgrad.train.log_file import LogFile
from fxgrad.train.recording import Entry, Recording
from fxgrad.train.tensorboard import TensorBoard

_NAME: Final = "metrics.jsonl"
_FLUSHED_EVERY: Final = 1.0  # seconds


class Logs:
    """Where each step's metrics are written to, if anywhere.

    Args:
      log_file: the file of JSON lines; by default `metrics.jsonl` in `checkpoints`.
      tensorboard: the folder of TensorBoard's files.
      checkpoints: the checkpoints' folder.
      recording: what was recorded before, which the logs will tell of exactly once.
      writes: False on every process but the first.

    Attributes:
      folder: the folder of the log file, or None.
      failure: why the log file takes no more, such as a full disk; or None.
    """

    def __init__(
        self,
        log_file: str | os.PathLike[str] | None,
        tensorboard: str | os.PathLike[str] | None,
        *,
        checkpoints: Path | None,
        recording: Recording,
        writes: bool,
    ) -> None:
        path = Path(log_file) if log_file is not None else checkpoints and checkpoints / _NAME
        self._path = path
        self.folder = path and path.parent
        self._file: LogFile | None = None
        self._board: TensorBoard | None = None
        self._flush_at = 0.0
        self.failure: OSError | None = None
        if writes and tensorboard is not None:
            self._board = TensorBoard(Path(tensorboard), recording.steps)
        if writes and path:
            try:
                self._file = LogFile(path, recording.entries())
            except OSError as error:
                raise _naming(path, error) from error

    def write(self, entry: Entry, seconds: float) -> None:
        """Write an entry, `seconds` after the training began."""
        self._to_file(lambda file: file.write(entry, seconds))
        if self._board is not None:
            self._board.write(entry)

    def flush(self, seconds: float) -> None:
        """Hand the lines to the system, so that they outlive this process; once a second.

        What a kill takes is written again by the run that goes on, as are its steps.
        """
        if seconds >= self._flush_at:
            self._to_file(LogFile.flush)
            self._flush_at = seconds + _FLUSHED_EVERY

    def sync(self) -> None:
        """Have all on the disk, before a checkpoint relies on it."""
        self._to_file(LogFile.sync)
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Write what is left, and close the files.

        Raises:
          OSError: it cannot be written, and no `failure` has told so before.
        """
        is_told = self.failure is not None
        try:
            self._to_file(LogFile.close)
        finally:
            if is_told and self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
            if self._board is not None:
                self._board.close()
        if self.failure is not None and not is_told:
            raise self.failure

    def _to_file(self, write: Callable[[LogFile], None]) -> None:
        """Write to the log file, if there is one that still takes it.

        One that does not ends the training, after a save; the next run writes the lines that lack.
        On several processes the error ends it at once, for the others know nothing of it.
        """
        if self._file is None or self._path is None or self.failure is not None:
            return
        try:
            write(self._file)
        except OSError as error:
            self.failure = _naming(self._path, error)
            if jax.process_count() > 1:
                raise self.failure from error


def _naming(path: Path, error: OSError) -> OSError:
    """The error, with the file that it is about."""
    return OSError(error.errno, error.strerror, str(path))
