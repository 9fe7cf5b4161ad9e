"""Traffic: what devices send each other in one step, as records that theory and programs share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.quantities import in_bytes

_WIDE: Final = 80  # characters; XLA names what it joined by all the names of its parts

# What each device of n sends, as a share of the payload, along a ring: the least that is possible
# (Patarasu and Yuan 2009; ZeRO, Rajbhandari et al. 2020, section 7.1).
_RING: Final[dict[str, float]] = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0}


@dataclass(frozen=True)
class Collective:
    """One collective operation.

    Attributes:
      kind: what it does.
      bytes: its payload, on each device: of an all-gather what comes out, of all else what goes in.
      axes: along which axes of the mesh, in the mesh's order; empty where that is not known.
      devices: how many take part in each group; 0 where that is not known.
      runs: how often it runs in one step; None where that depends on values.
      why: what it is for: theory's reason, or JAX's name for the operation.
      place: the line behind it, such as ``model.py:12``, or the empty string.
    """

    kind: str
    bytes: int
    axes: tuple[str, ...]
    devices: int
    runs: int | None = 1
    why: str = ""
    place: str = ""

    @property
    def sent_bytes(self) -> float:
        """What each device sends for it along a ring; of other kinds the whole payload."""
        if self.kind not in _RING or not self.devices:
            return float(self.bytes)
        return _RING[self.kind] * self.bytes * (self.devices - 1) / self.devices


@dataclass(frozen=True, repr=False)
class Traffic:
    """The collectives of one step. It prints as a table; ``len()`` and iteration give them.

    Attributes:
      collectives: each with kind, payload and axes.
    """

    collectives: tuple[Collective, ...]

    def __iter__(self) -> Iterator[Collective]:
        return iter(self.collectives)

    def __len__(self) -> int:
        return len(self.collectives)

    def payloads(self) -> dict[tuple[str, tuple[str, ...]], int]:
        """The payload bytes of one step for each kind and axes; a loop's turns are counted.

        Collectives of unknown repetition count once.
        """
        found: dict[tuple[str, tuple[str, ...]], int] = {}
        for each in self:
            key = (each.kind, each.axes)
            found[key] = found.get(key, 0) + each.bytes * (1 if each.runs is None else each.runs)
        return dict(sorted(found.items()))

    @property
    def sent_bytes(self) -> float:
        """What each device sends in one step, all collectives along rings."""
        return sum(each.sent_bytes * (1 if each.runs is None else each.runs) for each in self)

    def without_reduce_scatter(self) -> Traffic:
        """The same where a compiler has no reduce-scatter: an all-reduce, of which a part is kept.

        XLA for the CPU is such a compiler.
        """
        return Traffic(
            tuple(
                dataclasses.replace(each, kind="all-reduce")
                if each.kind == "reduce-scatter"
                else each
                for each in self
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """The collectives as plain values."""
        return {
            "collectives": [dict(vars(each)) for each in self],
            "sent_bytes": self.sent_bytes,
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if not self.collectives:
            return "no collectives"
        header = ("collective", "along", "of", "payload", "each device sends", "why")
        return "\n".join(_lines([header, *map(_row, self), self._sum()]))

    def _sum(self) -> tuple[str, ...]:
        return ("all", "", "", "", in_bytes(self.sent_bytes), "")


def _row(each: Collective) -> tuple[str, ...]:
    times = "" if each.runs == 1 else f" × {each.runs or '?'}"
    return (
        each.kind + times,
        "×".join(each.axes) or "?",
        str(each.devices or "?"),
        in_bytes(each.bytes),
        in_bytes(each.sent_bytes * (each.runs or 1)),
        _cut(f"{each.place}  {each.why}".strip()),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"


def _lines(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "   ".join(map(str.ljust, row, widths)).rstrip()
