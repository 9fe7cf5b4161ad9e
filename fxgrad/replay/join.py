"""Join: what several branches end with alike is taken out of them and follows once.

So n decisions in a row become code that grows with n, although they have 2^n paths. What is small
stays in each branch, where XLA makes more of it: an update by gradients that are zeros there costs
nothing. That takes an early-exit network's train step on a CPU from 1.2 to 0.96 of `lax.cond`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from fxgrad.replay.code import Code, Line, Ref, Var

MAX_REPEATED: Final = 32
"""How many operations may be repeated in branches instead of being shared."""

Alike = tuple[Ref, ...]
"""For each branch, what one value is called there."""


class Joined(NamedTuple):
    """Branches split in two.

    Attributes:
      prefixes: what each branch does by itself; their outs are the values of `joints`.
      joints: the variables by which `rest` knows those values.
      rest: what they all do next.
    """

    prefixes: list[Code]
    joints: list[Var]
    rest: Code


def join(branches: Sequence[Code]) -> Joined:
    """Take the longest common end out of the branches."""
    if len(branches) == 1:
        return Joined([], [], branches[0])
    joined = _Join(branches)
    unjoined = joined.joined()
    while joined.take_last():
        pass
    shared = joined.joined()
    repeated = sum(line.action.size for line in shared.rest.lines) * (len(branches) - 1)
    return unjoined if repeated <= MAX_REPEATED else shared


class _Join:
    def __init__(self, branches: Sequence[Code]) -> None:
        self._lines = [list(branch.lines) for branch in branches]
        self._joints: dict[Alike, Var] = {}
        self._rest: list[Line] = []
        self._outs = tuple(map(self._ref, zip(*(b.outs for b in branches), strict=True)))

    def joined(self) -> Joined:
        """What has been taken out so far."""
        outs = zip(*self._joints, strict=True) if self._joints else [()] * len(self._lines)
        prefixes = [Code(tuple(lines), refs) for lines, refs in zip(self._lines, outs, strict=True)]
        rest = Code(tuple(reversed(self._rest)), self._outs)
        return Joined(prefixes, list(self._joints.values()), rest)

    def take_last(self) -> bool:
        """Move the last line of every branch to the rest, if they are alike."""
        if not all(self._lines):
            return False
        lasts = [lines[-1] for lines in self._lines]
        first = lasts[0]
        if any(line.action.key != first.action.key for line in lasts[1:]):
            return False
        operands = list(zip(*(line.operands for line in lasts), strict=True))
        if not all(map(_can_be_one, operands)):
            return False
        results: list[Alike] = list(zip(*(line.results for line in lasts), strict=True))
        if not self._are_only_alike(results, lasts):
            return False
        made = tuple(
            self._joints.pop(alike, None) or Var(var.aval)
            for alike, var in zip(results, first.results, strict=True)
        )
        for lines in self._lines:
            lines.pop()
        self._rest.append(Line(first.action, tuple(map(self._ref, operands)), made))
        return True

    def _are_only_alike(self, results: list[Alike], lasts: list[Line]) -> bool:
        """Whether the rest reads the results of these lines as one value, if at all."""
        made = {result for line in lasts for result in line.results}
        known = set(results)
        return all(alike in known or made.isdisjoint(alike) for alike in self._joints)

    def _ref(self, alike: Alike) -> Ref:
        """What the rest calls a value: what all branches call it, or a joint."""
        if all(ref == alike[0] for ref in alike[1:]):
            return alike[0]
        if alike not in self._joints:
            self._joints[alike] = Var(alike[0].aval)
        return self._joints[alike]


def _can_be_one(alike: Alike) -> bool:
    """Whether an operand is in all branches a variable, or in all the same literal."""
    return all(isinstance(r, Var) for r in alike) or all(r == alike[0] for r in alike[1:])
