"""A session: one run of the function's Python. It follows what is known and records what is new.

Follow: the guard values that a walk has read are given again, and what is heard is checked against
what was recorded, operation by operation; nothing is run twice. Record: operations are kept until
Python asks for a value or ends; then they are one segment more. Live: past a decision that is no
longer recorded, operations run as eager runs them.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Hashable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.logs import deliver
from fxgrad.places import calling_place
from fxgrad.recorder import (
    ForeignTracerError,
    Operation,
    RecordedTracer,
    Recorder,
    Slot,
    record,
    running,
)
from fxgrad.replay.code import operands_of
from fxgrad.replay.pending import ImpureError, OutputError, Pending
from fxgrad.replay.structure import PLAIN, Step, constant_key, is_same_array
from fxgrad.replay.together import current
from fxgrad.replay.tree import Log, Node, Output, Walk, guard_key, is_kept

# A guard that keeps seeing new values, such as a logged loss, must not fill the table.
MAX_CHILDREN: Final = 32
# What Python makes of a large value is often as large, and part of the path.
MAX_GUARD_BYTES: Final = 4 << 20
# For one call signature; each takes some 3 KiB.
MAX_RECORDED: Final = 100_000

# What a path may return again and again, without Python making it anew.
_REPEATABLE: Final = (Slot, jax.Array, np.ndarray, np.generic, *PLAIN)

WHOLE: Final = object()
"""What a run returns that has recorded a whole path without a decision, and has not run it."""


class Session:
    """Listens to one run. `Recorder` calls what `Listener` names.

    With `records` false it follows what `walked` has run, and is live behind that.
    """

    def __init__(self, walked: Walk, *, records: bool = True) -> None:
        self._records = records
        self._values = walked.values
        self._path = walked.path
        self._answers = list(walked.answers)
        self._position = 0  # in the known path
        self._heard = 0  # operations of the known node
        self._answered: dict[Slot, np.ndarray] = {}
        self._captures: dict[Hashable, tuple[Slot, Any]] = {}
        self._constants: dict[Slot, Operation] = {}
        self._pending = Pending()
        self._parent: Node | None = None
        self._live = False
        self._recorder: Recorder
        self.root: Node | None = walked.path[0] if walked.path else None
        self._heard_all = 0
        self._heard_live = 0
        self.host_reads = 0
        self.notes: list[str] = []
        self.has_grown = False
        self.has_kept = False

    def run(self, fun: Callable[..., Any], make_arguments: Callable[[Recorder], Any]) -> Any:
        """Run `fun`, and return its output. The tree has grown by what was new.

        `WHOLE` is returned if the path has no decision; then nothing of it has been run.
        """

        def starting(recorder: Recorder) -> Any:
            self._recorder = recorder
            return make_arguments(recorder)

        try:
            returned, recorder = record(fun, starting, self)
        except (ImpureError, ForeignTracerError):
            raise
        except BaseException:
            self._end_by_exception()
            raise
        try:
            output = self._end(returned)
            del returned
            self.has_kept = not self._path and _is_any_alive(recorder)
            return output
        finally:
            recorder.invalidate()

    def hear(self, operation: Operation) -> None:
        """Check an operation against what was recorded, or keep it."""
        self._heard_all += 1
        if not operation.has_effects and all(map(self._is_constant, operation.operands)):
            self._constants.update(dict.fromkeys(operation.results, operation))
        if self._following is None:
            self._pending.steps.append(Step(operation))
            return
        known = self._following.steps
        if self._heard == len(known) or not _is_same(Step(operation), known[self._heard]):
            more = self._heard < len(known)
            expected = known[self._heard].operation.name if more else "no operation"
            found = operation.name
            if found == expected:
                found = f"{found} of other operands or parameters"
            raise ImpureError(f"{found} where {expected} was recorded", calling_place())
        self._heard += 1

    def capture(self, value: Any) -> Slot:
        """A slot for a captured array. NumPy's are copied: Python may change them later."""
        key = (id(value), constant_key(value) if isinstance(value, np.ndarray) else None)
        if key in self._captures:
            return self._captures[key][0]
        slot = self._recorder.new_slot()
        self._captures[key] = slot, value
        if self._following is None:
            self._pending.captured[slot] = self._values[slot] = _held(value)
        elif not is_same_array(self._following.captured.get(slot), value):
            raise ImpureError("another captured array than was recorded", calling_place())
        return slot

    def force(self, slot: Slot) -> np.ndarray:
        """The value that Python needs: known from the walk, or read now and a new decision."""
        if slot in self._answered:
            return self._answered[slot]
        if slot in self._constants:
            answer = np.asarray(self._constant(slot))
        elif self._live:
            value = self.value(slot)
            answer = np.asarray(value)
            self._compare(value, answer)
        elif self._following is not None:
            answer = self._follow(slot)
        else:
            answer = self._decide(slot)
        self._answered[slot] = answer
        return answer

    def log(self, name: str, value: Any) -> None:
        """Keep what is observed. Where a known path is followed, the walk has told it."""
        if self._live:
            deliver(name, self._finished(value))
        elif self._following is None and isinstance(value, RecordedTracer):
            self._pending.logs.append(Log(name, value.slot, value.aval))
        elif self._following is None:
            self._pending.logs.append(Log(name, _held(value), None))

    def is_live(self) -> bool:
        """Whether operations are to be run at once from here on."""
        return self._live

    def hear_live(self) -> None:
        """An operation runs by itself."""
        self._heard_live += 1

    @property
    def share_live(self) -> float:
        """The share of the operations of this run that did not run compiled."""
        return self._heard_live / max(self._heard_all + self._heard_live, 1)

    def value(self, slot: Slot) -> Any:
        """The array of a slot, while live."""
        if slot not in self._values:
            return self._constant(slot)
        return self._values[slot]

    @property
    def _following(self) -> Node | None:
        return self._path[self._position] if self._position < len(self._path) else None

    def _follow(self, slot: Slot) -> np.ndarray:
        node = self._path[self._position]
        if self._heard != len(node.steps) or slot != node.guard:
            raise ImpureError("a value is needed where none was recorded", calling_place())
        answer = self._answers[self._position]
        self._position += 1
        self._heard = 0
        if self._following is None:
            self._branch_off(node, answer.nbytes)
        return answer

    def _decide(self, slot: Slot) -> np.ndarray:
        node = self._segment(guard=slot)
        with running():
            node.run(self._values)  # may raise, and then it is not part of the tree
        self._hang_in(node)
        answer = np.asarray(self._values[slot])
        self.host_reads += 1
        self._compare(self._values[slot], answer)
        self._answers.append(answer)
        self._branch_off(node, answer.nbytes)
        return answer

    def _compare(self, value: Any, answer: np.ndarray) -> None:
        """Go on only if all processes have this answer, where there are several."""
        together = current()
        if together is not None:
            together.also(value for _, value in self._captures.values())
            with running():
                together.decide(value, answer, calling_place())

    def _branch_off(self, node: Node, nbytes: int) -> None:
        """From here on all is new, or live if no more is to be recorded here."""
        self._parent = node
        full = _fullness(node, max(nbytes, 1), self.root)
        if full and not node.eager_from_here:
            node.eager_from_here = full
            self.notes.append(f"{node.place}: {full}")
        self._live = bool(node.eager_from_here) or not self._records

    def _segment(self, *, guard: Slot | None = None, output: Output | None = None) -> Node:
        """Make a node of what is pending."""
        pending, self._pending = self._pending, Pending()
        if output is not None:
            return pending.end(output, self._values)
        captured = (slot for slot, _ in self._captures.values())
        return pending.decision(guard, {*self._recorder.alive(), *captured}, self._values)

    def _hang_in(self, node: Node) -> None:
        if self.root is None:
            self.root = node
        else:
            assert self._parent is not None
            answer = self._answers[-1]
            node.answer = answer if is_kept(answer) else None
            self._parent.children[guard_key(answer)] = node
        self.root.recorded += len(node.steps) + 1
        self.has_grown = True

    def _end(self, returned: Any) -> Any:
        leaves, tree = jax.tree.flatten(returned)
        if self._live:
            values = [self._finished(leaf) for leaf in leaves]
            return jax.tree.unflatten(tree, values)
        output = _output(tree, leaves)
        if self._following is not None:
            self._check_end(self._following)
        else:
            if not all(isinstance(leaf, _REPEATABLE) for leaf in output.leaves):
                for leaf in filter(inspect.iscoroutine, leaves):
                    leaf.close()  # the caller gets another one
                raise OutputError("it returns an object that Python made", None)
            node = self._segment(output=output)
            self._hang_in(node)
            if node is self.root:
                return WHOLE
            with running():
                node.run(self._values)
        return output.build(self._values)

    def _check_end(self, node: Node) -> None:
        is_end = node.guard is None and node.output is None
        if not is_end or self._heard != len(node.steps):
            raise ImpureError("the function returned where more was recorded", None)

    def _end_by_exception(self) -> None:
        if self._following is None and not self._live:
            node = self._pending.exception(self._values)
            with running():
                node.run(self._values)
            self._hang_in(node)

    def _finished(self, leaf: Any) -> Any:
        return self.value(leaf.slot) if isinstance(leaf, RecordedTracer) else leaf

    def _is_constant(self, operand: Any) -> bool:
        return not isinstance(operand, Slot) or operand in self._constants

    def _constant(self, slot: Slot) -> Any:
        """The value of what was computed from constants alone: no decision hangs on it."""
        if slot not in self._values:
            operation = self._constants[slot]
            inputs = [self._constant(o) if isinstance(o, Slot) else o for o in operation.operands]
            with running():
                results = operation.run(inputs)
            self._values.update(zip(operation.results, results, strict=True))
        return self._values[slot]


def _fullness(node: Node, nbytes: int, root: Node | None) -> str:
    """Why nothing more is recorded behind a decision, or the empty string."""
    if len(node.children) >= min(MAX_CHILDREN, max(1, MAX_GUARD_BYTES // nbytes)):
        return f"{len(node.children)} different values were seen here; others run in eager"
    if root is not None and root.recorded >= MAX_RECORDED:
        return f"{MAX_RECORDED} operations are recorded for such calls; what follows runs in eager"
    return ""


def _is_same(step: Step, known: Step) -> bool:
    return (
        operands_of(step) == operands_of(known)
        and step.operation.results == known.operation.results
        and step.followed_key == known.followed_key
    )


def _is_any_alive(recorder: Recorder) -> bool:
    """Whether an array of a run that has ended is held by something that outlives it."""
    if recorder.alive():
        gc.collect()
    return bool(recorder.alive())


def _held(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        with running():
            return jnp.asarray(value.copy())
    return value


def _output(tree: Any, leaves: list[Any]) -> Output:
    slots = tuple(leaf.slot if isinstance(leaf, RecordedTracer) else leaf for leaf in leaves)
    avals = tuple(leaf.aval if isinstance(leaf, RecordedTracer) else None for leaf in leaves)
    return Output(tree, slots, avals)
