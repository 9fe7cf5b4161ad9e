"""The one door to tensorboardX: metrics for TensorBoard. Its types stay here."""

from __future__ import annotations

from pathlib import Path

from fxgrad.errors import MissingExtraError
from fxgrad.train.recording import Entry


class TensorBoard:
    """Scalars of each step under their names, those of evaluations under ``evaluation/``.

    What an earlier run wrote into the folder about later steps is hidden when a training goes on
    from a checkpoint.

    Raises:
      MissingExtraError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from tensorboardX import SummaryWriter  # noqa: PLC0415  an extra
        except ImportError:
            raise MissingExtraError(
                "tensorboardX", extra="tensorboard", purpose="A log for TensorBoard"
            ) from None
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, entry: Entry) -> None:
        """Add the scalars of a step or an evaluation."""
        prefix = "evaluation/" if entry.is_evaluation else ""
        for name, value in entry.metrics.items():
            self._writer.add_scalar(prefix + name, value, entry.step)

    def flush(self) -> None:
        """Write what is waiting."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is waiting, and close the files."""
        self._writer.close()
