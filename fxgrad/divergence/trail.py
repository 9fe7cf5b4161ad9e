"""A trail: equations followed one by one, each with what it read, from what is given to the end."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fxgrad.divergence.bodies import Equation
from fxgrad.divergence.kinds import KINDS, Badness
from fxgrad.divergence.origins import FINITE, HERE, Traced
from fxgrad.recorder import is_literal


class Wired(Equation, Protocol):
    """An equation that says what it reads and makes: by an operation's slots, or by variables."""

    @property
    def operands(self) -> tuple[Any, ...]:
        """For each input its name, or what is no name."""
        ...

    @property
    def results(self) -> tuple[Any, ...]:
        """For each output its name."""
        ...


OriginsOf = Callable[[Equation, Sequence[Traced], Sequence[Any]], Sequence[Traced]]
"""Traces the results of an equation back to its inputs, or `HERE`."""


@dataclass(frozen=True)
class Made:
    """An equation that made something.

    Attributes:
      inputs: what it read.
      kinds: what it made.
      of: the first equation that made an infinity that it read; None if it read none that was made.
    """

    inputs: tuple[Any, ...]
    kinds: Sequence[Badness]
    of: int | None


class Trail:
    """Follows equations in order.

    Attributes:
      made: by their numbers, the equations that made something.
    """

    def __init__(self, given: Mapping[Any, Traced], origins_of: OriginsOf) -> None:
        self._traced = dict(given)
        self._origins_of = origins_of
        self.made: dict[int, Made] = {}

    def follow(
        self, number: int, equation: Wired, inputs: Sequence[Any], results: Sequence[Any]
    ) -> None:
        """Take note of what an equation read and made, under its number, or `HERE` for none."""
        pairs = zip(equation.operands, inputs, strict=True)
        traced = [self.traced(name, value) for name, value in pairs]
        outputs = self._origins_of(equation, traced, results)
        kinds: list[Badness] = [
            k for k in KINDS if any(output.is_made_here(k) for output in outputs)
        ]
        if kinds:
            of = min((value.first("inf") for value in traced), default=FINITE)
            self.made[number] = Made(tuple(inputs), kinds, of if of < HERE else None)
        for name, output in zip(equation.results, outputs, strict=True):
            self._traced[name] = output.renamed(number)
        self._follow_references(equation, traced, outputs)

    def _follow_references(
        self, equation: Wired, inputs: Sequence[Traced], outputs: Sequence[Traced]
    ) -> None:
        """What is written to a mutable array is what it holds: it has no value of its own here."""
        written = next((value for value in inputs if value.origins is not None), None)
        names = (*equation.operands, *equation.results)
        for name, traced in zip(names, (*inputs, *outputs), strict=True):
            if written is not None and traced.value is None:
                self._traced[name] = written

    def drop(self, names: Iterable[Hashable]) -> None:
        """Forget values that nothing reads any more."""
        for name in names:
            self._traced.pop(name, None)

    def traced(self, name: Any, value: Any) -> Traced:
        """A value that is followed by its name; what has none was given."""
        has_name = isinstance(name, Hashable) and not is_literal(name)
        known = self._traced.get(name) if has_name else None
        return Traced.given(value) if known is None else known

    def first_made(self, kind: Badness) -> int | None:
        """The first equation that made a kind, wherever that went."""
        return next((number for number, made in self.made.items() if kind in made.kinds), None)


def first_of(values: Iterable[Traced], kind: Badness) -> int | None:
    """The first equation that made a kind that is in some values; None if none did."""
    found = min((value.first(kind) for value in values), default=FINITE)
    return found if found < HERE else None
