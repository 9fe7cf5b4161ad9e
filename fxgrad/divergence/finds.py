"""Finds: the first NaN or infinity of every mode.

Eager's run is followed element by element. A compiled one is asked whether it has what eager made
at the same equation; where it has not, one program says of every value what it holds, and of every
operation what it made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax.numpy as jnp
import numpy as np

from fxgrad.divergence.kinds import KINDS, Badness, can_be_bad, is_bad, is_down, is_up, where_bad
from fxgrad.divergence.nonfinite import look_inside, origins_inside
from fxgrad.divergence.outcomes import Leaf
from fxgrad.divergence.program import Program
from fxgrad.divergence.record import NonFinite, Site
from fxgrad.divergence.sites import site_inside
from fxgrad.divergence.tally import holds, run_and_tally
from fxgrad.divergence.trail import Trail, first_of
from fxgrad.divergence.ways import origin
from fxgrad.recorder import Operation, Slot


def find_nonfinite(
    program: Program,
    leaves: Sequence[Leaf],
    outputs: Mapping[str, Sequence[Any]],
    *,
    masked: bool,
) -> dict[str, NonFinite]:
    """For eager and each other mode, what was made on the way; nothing for what was given.

    Args:
      program: the observed operations: eager runs them op by op, the other modes compiled.
      leaves: eager's output.
      outputs: the leaves that each other mode returned.
      masked: report what reaches no output as well.
    """
    every = [[leaf.value for leaf in leaves], *outputs.values()]
    if not masked and not any(is_bad(v, kind) for vs in every for v in vs for kind in KINDS):
        return {}
    eager = _Eager(program, leaves, masked=masked)
    compiled = _Compiled(program, eager)
    finds = {"eager": eager.find()}
    finds |= {mode: compiled.find(values) for mode, values in outputs.items()}
    return {mode: find for mode, find in finds.items() if find is not None}


class _Eager:
    """Eager's run, followed.

    Attributes:
      leaves: its output.
      masked: whether what reaches no output counts.
      first: the first operation that made something, by its place, and what; None if none did.
    """

    def __init__(self, program: Program, leaves: Sequence[Leaf], *, masked: bool) -> None:
        self.leaves: Final = leaves
        self.masked: Final = masked
        self._program = program
        self._trail = Trail({}, origins_inside)
        for step in program.steps():
            self._trail.follow(*step[:4])
            self._trail.drop(step.ended)
        self.first: Final = next(filter(None, map(self._first, KINDS)), None)

    @functools.cache  # noqa: B019  (one lives as long as one search)
    def find(self) -> NonFinite | None:
        """What is to be told of it."""
        if self.first is None:
            return None
        number, kind = self.first
        of = self._trail.made[number].of if kind == "nan" else None
        return NonFinite(
            kind, self._site(number, kind), None if of is None else self._site(of, "inf")
        )

    def _first(self, kind: Badness) -> tuple[int, Badness] | None:
        ends = (leaf for leaf in self.leaves if leaf.slot is not None)
        values = (self._trail.traced(leaf.slot, leaf.value) for leaf in ends)
        number = self._trail.first_made(kind) if self.masked else first_of(values, kind)
        return None if number is None else (number, kind)

    def _site(self, number: int, kind: Badness) -> Site:
        operation, inputs = self._program.operations[number], self._trail.made[number].inputs
        return site_inside(self._program, number, look_inside(operation, inputs, kind))


class _Compiled:
    """The operations as one compiled program."""

    def __init__(self, program: Program, eager: _Eager) -> None:
        self._program, self._eager = program, eager

    def find(self, values: Sequence[Any]) -> NonFinite | None:
        """What is to be told of a mode that returned these leaves."""
        if self._eager.first is not None and self._has_eagers(values):
            return self._eager.find()
        pairs = list(zip(self._eager.leaves, values, strict=True))
        if self._eager.first is None:  # then what eager has as well was given
            pairs = [(leaf, value) for leaf, value in pairs if not _is_alike(leaf.value, value)]
        for kind in KINDS:
            ends = [leaf.slot for leaf, v in pairs if leaf.slot is not None and is_bad(v, kind)]
            if ends or self._eager.masked:
                find = self._notes.find(ends, kind, masked=self._eager.masked)
                if find is not None:
                    return find
        return None

    def _has_eagers(self, values: Sequence[Any]) -> bool:
        """Whether the mode has what eager made, in its output and at the same operation."""
        assert self._eager.first is not None
        number, kind = self._eager.first
        reaches = any(is_bad(value, kind) for value in values)
        return (reaches or self._eager.masked) and kind in self._kinds_at(number)

    @functools.cache  # noqa: B019
    def _kinds_at(self, number: int) -> list[Badness]:
        results = self._program.operations[number].results
        watched = list(dict.fromkeys([*self._program.outputs, *results]))
        made = [slot for slot in watched if slot in self._program.makers]
        values = self._program.given | self._program.compiled_values(made)
        return [kind for kind in KINDS if any(is_bad(values.get(s), kind) for s in results)]

    @functools.cached_property
    def _notes(self) -> _Notes:
        return _Notes(self._program)


class _Notes:
    """What one compiled program says of every value and operation, without returning values."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._held: dict[Badness, set[Slot]] = {kind: set() for kind in KINDS}
        self._made: dict[Badness, set[int]] = {kind: set() for kind in KINDS}
        for slot, value in program.given.items():
            self._note(slot, [is_bad(value, kind) for kind in KINDS])
        for number, (made, held) in program.compiled_notes(run_and_note).items():
            self._made_by(number, np.asarray(made))
            for slot, flags in zip(program.operations[number].results, held, strict=True):
                self._note(slot, np.asarray(flags))
        self._wiring = [
            (program.slots_read(n), o.results) for n, o in enumerate(program.operations)
        ]
        self._note_effects()

    def _note_effects(self) -> None:
        """What an operation with an effect gave, it made, unless it read such a thing."""
        for kind, held in self._held.items():
            for number, (reads, makes) in enumerate(self._wiring):
                is_apart = self._program.makers.keys().isdisjoint(makes)
                if is_apart and held.isdisjoint(reads) and not held.isdisjoint(makes):
                    self._made[kind].add(number)

    def find(self, ends: Sequence[Slot], kind: Badness, *, masked: bool) -> NonFinite | None:
        """The first of a kind on a way to the ends, or wherever it went."""
        held = self._held[kind]
        number = origin(self._wiring, list(held) if masked else ends, held, self._made[kind])
        if number is not None:
            return NonFinite(kind, self._site(number, kind), self._made_of(number, kind))
        # The program that tells of all values may have it otherwise.
        return NonFinite(kind, None) if ends and held.isdisjoint(ends) else None

    def _made_of(self, number: int, kind: Badness) -> Site | None:
        if kind == "inf":
            return None
        read = self._program.slots_read(number)
        before = origin(self._wiring, read, self._held["inf"], self._made["inf"])
        return None if before is None else self._site(before, "inf")

    def _site(self, number: int, kind: Badness) -> Site:
        program, operation = self._program, self._program.operations[number]
        values = program.given | program.compiled_values(program.slots_made(number))
        inside = look_inside(operation, operation.inputs_from(values), kind)
        return site_inside(program, number, inside)

    def _note(self, slot: Slot, flags: Sequence[Any] | np.ndarray) -> None:
        for kind, flag in zip(KINDS, flags, strict=True):
            if flag:
                self._held[kind].add(slot)

    def _made_by(self, number: int, flags: np.ndarray) -> None:
        for kind, flag in zip(KINDS, flags, strict=True):
            if flag:
                self._made[kind].add(number)


def run_and_note(operation: Operation, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    """The results of an operation, what it made, and what each result holds."""
    with operation.context.manager:
        results, made = run_and_tally(operation, inputs)
    held = [jnp.stack([holds([value], kind) for kind in KINDS]) for value in results]
    return results, (made, held)


def _is_alike(eager: Any, other: Any) -> bool:
    """Whether two leaves are not finite at the same elements, in the same way."""
    if np.shape(eager) != np.shape(other):
        return False
    if not (can_be_bad(eager) and can_be_bad(other)):
        return True
    a, b = np.asarray(eager), np.asarray(other)
    tests: list[Callable[[Any], Any]] = [lambda v: where_bad(v, "nan"), is_up, is_down]
    return all(bool((test(a) == test(b)).all()) for test in tests)
