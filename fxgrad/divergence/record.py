"""The record of a divergence: where, how far, who is nearer, why; as frozen data.

How it reads in words belongs to `words`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fxgrad.divergence.difference import Gap, plain
from fxgrad.places import Place

Kind = Literal[
    "fusion",
    "reduction order",
    "matmul precision",
    "fast-math",
    "excess precision",
    "constant folding",
    "unknown",
]
Side = Literal["eager", "compiled", "neither"]


@dataclass(frozen=True)
class Site:
    """An equation of the observed run, or one inside of it.

    Attributes:
      number: its place among all operations that ran, from 1.
      count: how many ran.
      operation: the primitive; the innermost one of `within`.
      value: dtype and shape of what it made: ``"f32[64]"``.
      place: the user's line, if it is known.
      scope: the transforms and named scopes around it: ``"jvp(Net)/Dense_0"``.
      within: the calls, branches and loops that it stands in, the outermost first:
        ``"loop, turn 7 of 100"``.
      reads: dtype, shape and range of each input: ``"f32[4] from 0 to 3.5"``.
    """

    number: int
    count: int
    operation: str
    value: str
    place: Place | None
    scope: str = ""
    within: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The site as plain values."""
        return {
            **vars(self),
            "place": self.place.to_dict() if self.place else None,
            "within": list(self.within),
            "reads": list(self.reads),
        }


@dataclass(frozen=True)
class NonFinite:
    """The first NaN or infinity that reaches an output, in one mode.

    Attributes:
      kind: ``"nan"`` or ``"inf"``; a NaN is named before an infinity.
      site: the equation that made it from what had none; None if it cannot be seen there without
        changing it.
      made_of: for a NaN that was made of infinities, where the infinity was made.
    """

    kind: Literal["nan", "inf"]
    site: Site | None
    made_of: Site | None = None

    def to_dict(self) -> dict[str, Any]:
        """The find as plain values."""
        return {
            "kind": self.kind,
            "site": self.site.to_dict() if self.site else None,
            "made_of": self.made_of.to_dict() if self.made_of else None,
        }


@dataclass(frozen=True)
class Nearer:
    """Which of the two is nearer to float64, at the equation that diverges.

    Attributes:
      side: ``"eager"``, ``"compiled"``, or ``"neither"`` when their errors are within a tenth.
      eager: eager's largest error relative to the size of the value; infinite if not finite.
      compiled: that of the compiled program.
      rounded_from: the number of the first equation, from 1, that could not be computed in
        float64, so that the reference is none from there on; None if all could.
    """

    side: Side
    eager: float
    compiled: float
    rounded_from: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain values; what is infinite as text."""
        return {name: plain(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Trial:
    """One suspect taken away, and what was left of the difference.

    Attributes:
      kind: the suspect.
      removed: what was done, in words.
      remaining: the largest relative difference at the same equation then.
      vanished: whether nothing was beyond the tolerance any more.
    """

    kind: Kind
    removed: str
    remaining: float
    vanished: bool

    def to_dict(self) -> dict[str, Any]:
        """The trial as plain values; what is infinite as text."""
        return {name: plain(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Cause:
    """Why, as far as an experiment shows.

    Attributes:
      kind: the first suspect whose removal took the difference away; ``"unknown"`` if none did.
      trials: all that was tried, in order.
      advice: what to do about it, in a sentence or two.
    """

    kind: Kind
    trials: tuple[Trial, ...]
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """The cause as plain values."""
        trials = [trial.to_dict() for trial in self.trials]
        return {"kind": self.kind, "trials": trials, "advice": self.advice}


@dataclass(frozen=True)
class OutputGap:
    """Where the output of a mode is furthest from eager's.

    Attributes:
      path: the leaf of the output: ``"['w1']"``; empty if the output is one array.
      gap: how far it is.
    """

    path: str
    gap: Gap

    def to_dict(self) -> dict[str, Any]:
        """The place and the difference as plain values."""
        return {"path": self.path, "gap": self.gap.to_dict()}


@dataclass(frozen=True)
class Found:
    """The first equation that diverges, and what is known of it.

    Attributes:
      site: where.
      gap: how far.
      nearer: which side is nearer to float64; None for values that are no floats.
      cause: why.
      seen: ``"all"`` if one program that returns every value shows it, ``"one"`` if only a
        program that returns this value beside the outputs does.
      first_bits: the first equation before it whose value differs at all; None if that is the
        same, or was not seen.
    """

    site: Site
    gap: Gap
    nearer: Nearer | None
    cause: Cause
    seen: Literal["all", "one"]
    first_bits: Site | None = None

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "site": self.site.to_dict(),
            "gap": self.gap.to_dict(),
            "nearer": self.nearer.to_dict() if self.nearer else None,
            "cause": self.cause.to_dict(),
            "seen": self.seen,
            "first_bits": self.first_bits.to_dict() if self.first_bits else None,
        }


@dataclass(frozen=True)
class Record:
    """What `fx.diverge` found.

    Attributes:
      title: the function.
      diverging: for each mode whose output leaves eager's, where it is furthest. ``"compiled"``
        is the observed run, compiled as one program, where no mode could be run.
      agreeing: the modes whose output does not leave eager's.
      failures: for each mode that did not run, the reason.
      found: the first equation that diverges; None if none does, or if it was not reproduced.
      first_nonfinite: for each mode whose output has a NaN or an infinity that was made on the
        way, eager among them.
      changed_arguments: the arguments that the function changes in place. Eager changes the
        caller's objects, a compiled mode copies of them, so that further calls differ.
      notes: what a reader should know besides, in sentences.
    """

    title: str
    diverging: Mapping[str, OutputGap]
    agreeing: tuple[str, ...]
    failures: Mapping[str, str]
    found: Found | None
    first_nonfinite: Mapping[str, NonFinite] = field(default_factory=dict)
    changed_arguments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All that was found, as plain values; numbers that JSON lacks are text."""
        return {
            "title": self.title,
            "diverging": {mode: gap.to_dict() for mode, gap in self.diverging.items()},
            "agreeing": list(self.agreeing),
            "failures": dict(self.failures),
            "found": self.found.to_dict() if self.found else None,
            "first_nonfinite": {mode: n.to_dict() for mode, n in self.first_nonfinite.items()},
            "changed_arguments": list(self.changed_arguments),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)
