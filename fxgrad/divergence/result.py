"""`Divergence`: the record of a divergence, which prints as words."""

from __future__ import annotations

from dataclasses import dataclass

from fxgrad.divergence.record import Record
from fxgrad.divergence.words import in_words


@dataclass(frozen=True)
class Divergence(Record):
    """Where a compiled program leaves eager, who is nearer to float64, why; or what is not finite.

    Printing it prints it in words. `to_dict` and `to_json` have all of it.
    """

    def __str__(self) -> str:
        return in_words(self)
