"""A program: the operations of one observed run, run again op by op or compiled, whole or in part.

Arguments, captured arrays, and what an operation with an effect gave are its inputs: nothing is
printed or called back a second time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.observed import Observed
from fxgrad.recorder import Operation, Slot

Run = Callable[[Operation, Sequence[Any]], Sequence[Any]]
"""Gives the results of an operation."""


NotedRun = Callable[[Operation, Sequence[Any]], tuple[Sequence[Any], Any]]
"""Gives the results of an operation, and a note on it."""


def run_as_is(operation: Operation, inputs: Sequence[Any]) -> Sequence[Any]:
    """Bind the primitive of an operation with its own parameters."""
    return operation.run(inputs)


class Step(NamedTuple):
    """An operation run op by op.

    Attributes:
      number: its place.
      operation: the operation.
      inputs: what it read; None for a reference to a mutable array.
      results: what it gave, likewise.
      ended: the slots that nothing reads any more.
    """

    number: int
    operation: Operation
    inputs: list[Any]
    results: list[Any]
    ended: list[Slot]


class Program:
    """Operations on slots, and the values of the slots that no operation makes.

    Attributes:
      operations: all that ran, in order.
      makers: for each slot that an operation makes, its place in `operations`.
      given: the values of the other slots.
      outputs: the slots of the function's outputs that operations made, each once.
      options: compiler options for whatever is compiled.
    """

    def __init__(
        self, observed: Observed, options: Mapping[str, Any] | None = None, *, embed: bool = False
    ) -> None:
        self.operations: Final = observed.operations
        self.options: Final = dict(options or {})
        self._embedded = observed.captured if embed else {}
        self.makers: Final = {
            slot: number
            for number, operation in enumerate(observed.operations)
            if is_pure(operation)
            for slot in operation.results
        }
        self._numbers = {id(o): number for number, o in enumerate(observed.operations)}
        made = self.makers
        self.given: Final = {
            slot: value
            for slot, value in observed.values.items()
            if slot not in made and not _is_reference(jax.typeof(value))
        }
        self._returned = set(observed.returned)
        self.outputs: Final = tuple(dict.fromkeys(s for s in observed.returned if s in made))

    def number_of(self, operation: Operation) -> int:
        """The place of an operation among all."""
        return self._numbers[id(operation)]

    def needed(self, wanted: Collection[Slot]) -> list[int]:
        """The operations that the wanted slots are computed by, in order."""
        found: set[int] = set()
        ahead = [self.makers[slot] for slot in wanted if slot in self.makers]
        while ahead:
            number = ahead.pop()
            if number not in found:
                found.add(number)
                ahead += [self.makers[s] for s in self.slots_read(number) if s in self.makers]
        return sorted(found)

    def slots_read(self, number: int) -> list[Slot]:
        """The slots that an operation reads."""
        return [o for o in self.operations[number].operands if isinstance(o, Slot)]

    def eagerly(
        self, wanted: Collection[Slot], run: Run = run_as_is
    ) -> Iterator[tuple[int, dict[Slot, Any]]]:
        """Run op by op what the wanted slots need, and give each operation's results.

        A value is dropped when nothing further reads it.
        """
        for step in self.steps(self.needed(wanted), run):
            yield step.number, dict(zip(step.operation.results, step.results, strict=True))

    def steps(self, numbers: Sequence[int] | None = None, run: Run = run_as_is) -> Iterator[Step]:
        """Run some operations op by op, all if none are given.

        Those with effects are not run, but gave what they gave.
        """
        numbers = range(len(self.operations)) if numbers is None else numbers
        last = {slot: number for number in numbers for slot in self._touched(number)}
        values = dict(self.given)
        for number in numbers:
            operation = self.operations[number]
            inputs = [values.get(o) if isinstance(o, Slot) else o for o in operation.operands]
            if is_pure(operation):
                values.update(zip(operation.results, run(operation, inputs), strict=True))
            results = [values.get(slot) for slot in operation.results]
            ended = [s for s in self._touched(number) - self._returned if last[s] == number]
            yield Step(number, operation, inputs, results, ended)
            for slot in ended:
                values.pop(slot, None)

    def _touched(self, number: int) -> set[Slot]:
        return {*self.operations[number].results, *self.slots_read(number)}

    def eager_values(self, wanted: Collection[Slot], run: Run = run_as_is) -> dict[Slot, Any]:
        """The wanted values, op by op."""
        kept = {slot: self.given[slot] for slot in wanted if slot in self.given}
        for _, made in self.eagerly(wanted, run):
            kept.update((slot, value) for slot, value in made.items() if slot in wanted)
        return kept

    def compiled_values(
        self,
        wanted: Sequence[Slot],
        *,
        run: Run = run_as_is,
        alone: Collection[int] = (),
        options: Mapping[str, Any] | None = None,
    ) -> dict[Slot, Any]:
        """The wanted values, all from one compiled program that returns them and nothing else.

        Args:
          wanted: the slots to return.
          run: how an operation is run.
          alone: operations that nothing is fused with: barriers stand around them.
          options: compiler options instead of the program's own.
        """
        needed = self.needed(wanted)
        fixed = {slot: self.given[slot] for slot in self._embedded}
        inputs = [slot for slot in self._read(needed, wanted) if slot not in fixed]

        def observed_program(*arrays: Any) -> list[Any]:
            values = {**fixed, **dict(zip(inputs, arrays, strict=True))}
            for number in needed:
                operation = self.operations[number]
                read = operation.inputs_from(values)
                results = _run_alone(run, operation, read, number in alone)
                values.update(zip(operation.results, results, strict=True))
            return [values[slot] for slot in wanted]

        chosen = self.options if options is None else dict(options)
        program = jax.jit(observed_program, compiler_options=chosen or None)
        returned = program(*(self.given[slot] for slot in inputs))
        return dict(zip(wanted, returned, strict=True))

    def compiled_notes(self, run: NotedRun) -> dict[int, Any]:
        """What is noted of each pure operation, by its place, when all are compiled as one.

        The program returns the outputs and the notes, pytrees of arrays, and no other values.
        """
        needed = self.needed(list(self.makers))
        inputs = self._read(needed, ())

        def observed_program(*arrays: Any) -> Any:
            values = dict(zip(inputs, arrays, strict=True))
            notes = {}
            for number in needed:
                operation = self.operations[number]
                results, notes[number] = run(operation, operation.inputs_from(values))
                values.update(zip(operation.results, results, strict=True))
            return [values[slot] for slot in self.outputs], notes

        program = jax.jit(observed_program, compiler_options=self.options or None)
        return program(*(self.given[slot] for slot in inputs))[1]

    def bytes_of(self, slots: Collection[Slot]) -> int:
        """Roughly how many bytes the values of these slots take together."""
        avals = dict(
            itertools.chain.from_iterable(
                zip(operation.results, operation.output_avals, strict=True)
                for operation in self.operations
            )
        )
        return sum(_bytes(avals[slot]) for slot in slots if slot in avals)

    def slots_made(self, number: int) -> list[Slot]:
        """Of the slots that an operation reads, those that operations made."""
        return [slot for slot in self.slots_read(number) if slot in self.makers]

    def _read(self, needed: Sequence[int], wanted: Collection[Slot]) -> list[Slot]:
        """The given slots that these operations read, or that are wanted themselves."""
        operands = (slot for number in needed for slot in self.slots_read(number))
        return list(dict.fromkeys(s for s in (*operands, *wanted) if s in self.given))


def is_pure(operation: Operation) -> bool:
    """Whether an operation does nothing besides its results, and knows of no mutable array."""
    avals = (*operation.input_avals, *operation.output_avals)
    return not operation.has_effects and not any(map(_is_reference, avals))


def _run_alone(run: Run, operation: Operation, inputs: list[Any], alone: bool) -> Sequence[Any]:
    if not alone:
        return run(operation, inputs)
    return _behind_barrier(run(operation, _behind_barrier(inputs)))


def _behind_barrier(values: Sequence[Any]) -> list[Any]:
    """The same values; what comes after cannot be fused with what was before."""
    numbers = [n for n, value in enumerate(values) if _is_plain(value)]
    behind = list(values)
    if numbers:
        passed = jax.lax.optimization_barrier([values[n] for n in numbers])
        for n, value in zip(numbers, passed, strict=True):
            behind[n] = value
    return behind


def _is_reference(aval: Any) -> bool:
    return hasattr(aval, "inner_aval")


def _is_plain(value: Any) -> bool:
    if not isinstance(value, jax.Array):
        return False
    return not jnp.issubdtype(value.dtype, jax.dtypes.extended)


def _bytes(aval: Any) -> int:
    return int(np.prod(aval.shape)) * getattr(aval.dtype, "itemsize", 8)
