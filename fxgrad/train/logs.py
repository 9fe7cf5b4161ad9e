"""The logs of a training: its JSON lines and, on request, TensorBoard's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

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
        self.folder = path and path.parent
        self._file: LogFile | None = None
        self._board: TensorBoard | None = None
        self._flush_at = 0.0
        if writes and tensorboard is not None:
            self._board = TensorBoard(Path(tensorboard), recording.steps)
        if writes and path:
            self._file = LogFile(path, recording.entries())

    def write(self, entry: Entry, seconds: float) -> None:
        """Write an entry, `seconds` after the training began."""
        if self._file is not None:
            self._file.write(entry, seconds)
        if self._board is not None:
            self._board.write(entry)

    def flush(self, seconds: float) -> None:
        """Hand the lines to the system, so that they outlive this process; once a second.

        What a kill takes is written again by the run that goes on, as are its steps.
        """
        if self._file is not None and seconds >= self._flush_at:
            self._file.flush()
            self._flush_at = seconds + _FLUSHED_EVERY

    def sync(self) -> None:
        """Have all on the disk, before a checkpoint relies on it."""
        if self._file is not None:
            self._file.sync()
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Write what is left, and close the files."""
        for log in (self._file, self._board):
            if log is not None:
                log.close()
