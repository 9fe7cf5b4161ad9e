"""What a restore gives back. How it is read belongs to `reading`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Skipped(NamedTuple):
    """A step that was passed over.

    Attributes:
      step: its number.
      reason: what is wrong with it.
    """

    step: int
    reason: str


@dataclass(frozen=True)
class Restored:
    """A step of a training, as it was saved.

    Attributes:
      state: the pytree, in the structure and with the shardings that were asked for.
      step: the number that it was saved under.
      record: what was saved beside the state, such as the position in the data; JSON values.
      metrics: the metrics that were saved with it.
      skipped: newer steps that were passed over because they are damaged, newest first.
    """

    state: Any
    step: int
    record: Mapping[str, Any]
    metrics: Mapping[str, float]
    skipped: tuple[Skipped, ...] = ()
