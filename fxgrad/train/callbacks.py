"""Callbacks: objects that are told of what happens in a training, and may end it.

A callback has any of the methods of `EVENTS`, and no base class. If it also has ``state_dict()``,
which returns what JSON can hold, and ``load_state_dict(state)``, its state is part of every
checkpoint.
"""

from __future__ import annotations

import difflib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from fxgrad.errors import OptionError, TrainingWarning

# on_start(training)                       before the first step, with restored state
# on_step_end(training)                    the step has been called; the device may still make it
# on_metrics(training, step, metrics)      the metrics of a step from 1, some steps later, in order
# on_evaluation(training, evaluation)      evaluate has returned
# on_epoch_end(training, means)            with the epoch's mean metrics, after its evaluation
# on_save(training)                        a checkpoint of this step is on its way
# on_end(training)                         nothing follows; also after an error or an interruption
EVENTS: Final = (
    "on_start",
    "on_step_end",
    "on_metrics",
    "on_evaluation",
    "on_epoch_end",
    "on_save",
    "on_end",
)


class Training(Protocol):
    """What a callback sees of the training.

    Attributes:
      state: the state after the last step. A step that donates takes it over, so copy what is kept.
    """

    state: Any

    @property
    def step(self) -> int:
        """How many steps have been made."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch, from 0; how many have ended, in ``on_epoch_end``."""
        ...

    @property
    def evaluates(self) -> bool:
        """Whether `fit` was given an ``evaluate``."""
        ...

    def stop(self, reason: str) -> None:
        """End the training after this step, or before the first. The history keeps the reason."""
        ...


class Callbacks:
    """The callbacks of a training; an event that nobody has a method for costs nothing.

    Raises:
      OptionError: a method is named like an event and is none, or only half of the state's pair of
        methods is there.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        if not isinstance(callbacks, Sequence):
            raise OptionError(f"callbacks={callbacks!r}: write a list of them.", option="callbacks")
        for callback in callbacks:
            _check(callback)
        self._told: dict[str, list[Callable[..., None]]] = {
            event: [getattr(c, event) for c in callbacks if hasattr(c, event)] for event in EVENTS
        }
        self._stateful = {
            name: callback
            for name, callback in _named(callbacks)
            if hasattr(callback, "state_dict")
        }

    def hear(self, event: str) -> bool:
        """Whether any callback has a method for the event."""
        return bool(self._told[event])

    def tell(self, event: str, *facts: Any) -> None:
        """Call the method of the event in every callback that has it, in their order."""
        for method in self._told[event]:
            method(*facts)

    def state_dict(self) -> dict[str, Any]:
        """The state of each callback that has one.

        Raises:
          OptionError: JSON cannot hold it, or would give back something else.
        """
        return {name: _checked(name, c.state_dict()) for name, c in self._stateful.items()}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Give each callback its state back; warn of one that has none, or is not there."""
        for name in self._stateful.keys() ^ states.keys():
            where = "the checkpoint" if name in self._stateful else "callbacks"
            text = f"{name} is not in {where}: its state begins anew."
            warnings.warn(text, TrainingWarning, stacklevel=2)
        for name in self._stateful.keys() & states.keys():
            self._stateful[name].load_state_dict(states[name])


def _check(callback: Any) -> None:
    if isinstance(callback, type):
        message = f"callbacks has the class {callback.__name__}: write {callback.__name__}()."
        raise OptionError(message, option="callbacks")
    for name in dir(callback):
        if name.startswith("on_") and name not in EVENTS:
            near = difflib.get_close_matches(name, EVENTS, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            message = f"{type(callback).__name__}.{name} is no event: {meant}"
            raise OptionError(f"{message}The events are {', '.join(EVENTS)}.", option="callbacks")
    if hasattr(callback, "state_dict") != hasattr(callback, "load_state_dict"):
        message = f"{type(callback).__name__} needs both state_dict and load_state_dict, or neither"
        raise OptionError(f"{message}.", option="callbacks")
    if not any(hasattr(callback, event) for event in EVENTS):
        message = f"{callback!r} has no method of an event"
        raise OptionError(f"{message}: {', '.join(EVENTS)}.", option="callbacks")


def _named(callbacks: Sequence[Any]) -> list[tuple[str, Any]]:
    """A name for each callback, the same in the next run: its class, numbered if repeated."""
    count: Counter[str] = Counter()
    named = []
    for callback in callbacks:
        kind = type(callback).__name__
        count[kind] += 1
        named.append((kind if count[kind] == 1 else f"{kind} {count[kind]}", callback))
    return named


def _checked(name: str, state: Any) -> Any:
    try:
        again = json.loads(json.dumps(state, allow_nan=False))
    except (TypeError, ValueError) as error:
        message = f"{name}.state_dict() returned what JSON cannot hold: {error}"
        raise OptionError(f"{message}.", option="callbacks") from None
    if again != state:
        message = f"{name}.state_dict() would come back as {again!r}: use lists and text keys"
        raise OptionError(f"{message}.", option="callbacks")
    return again
