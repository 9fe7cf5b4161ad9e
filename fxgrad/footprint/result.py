"""`Memory`: the record of a function's memory with a door to its view."""

from __future__ import annotations

from dataclasses import dataclass

from fxgrad.footprint.record import Record


@dataclass(frozen=True)
class Memory(Record):
    """What a function takes: op by op at its worst, compiled, and for the backward pass.

    Printing it prints the tables.
    """

    def table(self) -> str:
        """Text tables: the parts side by side, what is held at the worst moment, what is kept."""
        from fxgrad.footprint.table import text_table  # noqa: PLC0415

        return text_table(self)

    __str__ = table
