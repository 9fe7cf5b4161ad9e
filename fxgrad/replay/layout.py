"""Layout: how one program gives back the outputs of many paths.

Paths whose outputs differ only in their arrays have one form. All forms share the program's
columns; when there are several, or when an outcome may be new, a code says which one it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.logs import deliver
from fxgrad.recorder import Slot
from fxgrad.replay.structure import params_key
from fxgrad.replay.tree import Output, fresh, own

MISS: Final = -1
MISSED: Final = object()


@dataclass(frozen=True)
class Column:
    """A leaf that is an output of the program, by its number there."""

    number: int


@dataclass(frozen=True)
class Argument:
    """A leaf that is an argument, returned as it came."""

    number: int


@dataclass(frozen=True)
class Form:
    """The output of some paths.

    Attributes:
      tree: the structure of the output.
      leaves: for each leaf a `Column`, an `Argument`, or a constant.
      logs: the names of the leaves behind those of `tree`, which are observed and not returned.
    """

    tree: Any
    leaves: tuple[Any, ...]
    logs: tuple[str, ...] = ()

    def build(self, columns: Sequence[Any], arguments: Callable[[], Sequence[Any]]) -> Any:
        """The output of a call. `arguments` is asked only where one of them is returned."""
        leaves = [
            columns[leaf.number]
            if isinstance(leaf, Column)
            else own(arguments()[leaf.number])
            if isinstance(leaf, Argument)
            else fresh(leaf)
            for leaf in self.leaves
        ]
        returned = len(leaves) - len(self.logs)
        for name, value in zip(self.logs, leaves[returned:], strict=True):
            deliver(name, value)
        return self.tree.unflatten(leaves[:returned])


class Layout:
    """The forms of the outputs of some paths, and the columns that they share."""

    def __init__(self, outputs: Iterable[Output], argument_count: int) -> None:
        by_key: dict[Hashable, list[Output]] = {}
        for output in outputs:
            by_key.setdefault(_form_key(output), []).append(output)
        self.avals: list[Any] = []
        self.forms: list[Form] = []
        self._numbers = {key: number for number, key in enumerate(by_key)}
        for alike in by_key.values():
            self.forms.append(self._form(alike, argument_count))

    def columns(self, output: Output) -> tuple[int, dict[int, Slot]]:
        """The number of the form of `output`, and which slot goes into which column."""
        number = self._numbers[_form_key(output)]
        leaves = zip(self.forms[number].leaves, output.leaves, strict=True)
        return number, {form.number: leaf for form, leaf in leaves if isinstance(form, Column)}

    def _form(self, alike: Sequence[Output], argument_count: int) -> Form:
        unused = list(range(len(self.avals)))
        taken: dict[tuple[Slot, ...], Column] = {}  # the same value twice is one column

        def column(slots: tuple[Slot, ...], aval: Any) -> Column:
            if slots not in taken:
                number = next((n for n in unused if self.avals[n] == aval), len(self.avals))
                if number == len(self.avals):
                    self.avals.append(aval)
                else:
                    unused.remove(number)
                taken[slots] = Column(number)
            return taken[slots]

        def leaf(slots: tuple[Any, ...], aval: Any) -> Any:
            first = slots[0]
            if not isinstance(first, Slot):
                return first
            if len(set(slots)) == 1 and first.number < argument_count:
                return Argument(first.number)
            return column(slots, aval)

        every = zip(*(output.leaves for output in alike), strict=True)
        leaves = tuple(map(leaf, every, alike[0].avals))
        return Form(alike[0].tree, leaves, alike[0].logs)


def _form_key(output: Output) -> Hashable:
    leaves = (
        aval if isinstance(leaf, Slot) else ("constant", params_key(leaf))
        for leaf, aval in zip(output.leaves, output.avals, strict=True)
    )
    return (output.tree, output.logs, *leaves)
