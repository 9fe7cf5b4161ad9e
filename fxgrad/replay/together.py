"""Together: a call of replay on several processes, which must all take the same path.

What a process reads from an array of its own may be another value elsewhere, and then the next
segment is another program. So where arrays of several processes are in play, each decision that
Python takes is compared before anything further is started, and so is that a path is recorded.
How processes speak belongs to `agreement`; which trees may decide inside one program, to
`ownership`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import numpy as np

from fxgrad.agreed import Agreed
from fxgrad.agreement import agree, are_many, processes_of
from fxgrad.places import Place
from fxgrad.statements import Statement

_DECIDE: Final = (
    "Decide by a value that is computed from the arrays of all processes, such as a mean over the "
    "whole batch, or send one process's value to all with "
    "jax.experimental.multihost_utils.broadcast_one_to_all."
)
_RECORD: Final = "Call it with the same shapes, dtypes and Python values in every process."


class Together:
    """A call whose arrays may belong to several processes."""

    def __init__(
        self, name: str, arrays: Iterable[Any], words: Callable[[], Mapping[str, str]]
    ) -> None:
        self._name = name
        self._words = words
        self._members = processes_of(arrays)

    def also(self, arrays: Iterable[Any]) -> None:
        """Arrays that are no arguments are in play, too."""
        self._members = self._members or processes_of(arrays)

    def record(self) -> None:
        """Go on to record when the others do.

        Raises:
          DisagreementError: they replay, or do something else.
        """
        topic = f"a new path of {self._name}"
        agree(self._members, Statement(topic, "", self._words(), _RECORD))

    def decide(self, value: Any, answer: np.ndarray, place: Place | None) -> None:
        """Go on with the answer that was read from `value` when the others have the same.

        Raises:
          DisagreementError: another process has another answer.
        """
        where = "an unknown line"
        if place:  # the folder may be another one on another machine
            where = f"{os.path.basename(place.filename)}:{place.lineno}, `{place.line}`"
        topic = f"the decision at {where} in {self._name}"
        key = hashlib.sha256(answer.tobytes()).hexdigest()
        members = self._members or processes_of([value])
        words = {"the value": np.array2string(answer, threshold=16)}
        agree(members, Statement(topic, key, words, _DECIDE))

    def run(self, agreed: Agreed, jitted: Any, inputs: Sequence[Any]) -> Any:
        """Run a segment or a folded tree; what has to be built is compared first."""
        return agreed(jitted, tuple(inputs), {}, name=self._name, words=self._words)


_current: ContextVar[Together | None] = ContextVar("fxgrad_together", default=None)
current: Final = _current.get
"""The call of replay on several processes that is under way in this thread, or None."""


@contextmanager
def speaking(call: Together) -> Iterator[None]:
    """While `call` is served."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)


def owners(leaves: Sequence[Any]) -> tuple[Any, ...]:
    """Whose the arrays of a call are, as a part of what it is told by; nothing in a run of one."""
    return tuple(processes_of([leaf]) for leaf in leaves) if are_many() else ()
