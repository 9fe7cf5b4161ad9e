"""One run of a training: steps, and what is due between them. This is the loop.

What is due when is told by `timetable`; what is done then has a file for each thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from fxgrad.data.source import AnySource, batches_from, close, fingerprint_of, position_of
from fxgrad.train.callbacks import Callbacks
from fxgrad.train.clock import Clock
from fxgrad.train.evaluation import Evaluate, floats
from fxgrad.train.history import TrainHistory
from fxgrad.train.in_flight import InFlight, Made
from fxgrad.train.logs import Logs
from fxgrad.train.nonfinite import NonFinite
from fxgrad.train.progress import Reporter
from fxgrad.train.recording import Recording
from fxgrad.train.saves import Found, Place, Saves, comparable
from fxgrad.train.signals import Interrupted, Signals
from fxgrad.train.telling import Telling
from fxgrad.train.timetable import Timetable, check_has_batches, count_batches
from fxgrad.train.together import Together

StepFunction = Callable[[Any, Any], tuple[Any, Mapping[str, Any]]]

_NO_MORE: Final = object()
_ABANDONED: Final = object()


@dataclass(eq=False)
class Run:
    """A training on its way; callbacks see it as `Training`.

    Attributes:
      step_function: makes the steps.
      state: the state after the last step.
      step: how many steps have been made, those of earlier runs included.
      place: where in the data it is.
      together: why it ends before its last step, if it does.
    """

    step_function: StepFunction
    state: Any
    batches: AnySource
    timetable: Timetable
    evaluate: Evaluate | None
    callbacks: Callbacks
    saves: Saves
    logs: Logs
    nonfinite: NonFinite
    signals: Signals
    in_flight: InFlight
    recording: Recording
    clock: Clock
    reporter: Reporter
    telling: Telling
    place: Place
    step: int
    together: Together = field(default_factory=Together)
    _last_batch: Any = None
    _epoch_began: float = 0.0

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""
        return self.place.epoch

    @property
    def evaluates(self) -> bool:
        """Whether there is an evaluation."""
        return self.evaluate is not None

    def stop(self, reason: str) -> None:
        """End the training after this step; with other processes, where all meet the next time."""
        self.together.ask(reason)

    def train(self) -> tuple[Any, TrainHistory]:
        """Make all steps; returns the last state and the history."""
        try:
            if self.step:
                self.reporter.say(f"goes on after step {self.step}")
            self.callbacks.tell("on_start", self)
            self._prepare_saves()
            if not self._is_ended():
                self._evaluate_within_epoch()  # an interrupted run left it to this one
            self._meet()
            while not self._is_ended():
                self._make_epoch()
            self._finish()
        finally:
            self.callbacks.tell("on_end", self)
        return self.state, self.recording.history(self.clock.spent(), self.together.reason)

    def _prepare_saves(self) -> None:
        """Refuse what could never be saved, and look at the state before a step takes it over."""
        if self.saves.are_wanted:
            self.callbacks.state_dict()
            self.nonfinite.begin(self.state)
            self.clock.lap("saving")
            self.clock.compiled("saving")

    def _make_epoch(self) -> None:
        place = self.place
        iterator = batches_from(self.batches, place.epoch, place.position)
        self._epoch_began = self.clock.training() - place.seconds
        try:
            has_more = True
            while has_more and not self._is_ended():
                has_more = self._make_steps(iterator)
                self._meet()  # before a wait for steps that need a process which has gone on
                self._read(self.in_flight.take_all())
                if has_more and not self._is_told_to_end():
                    self._evaluate_within_epoch()
                    self._save_within_epoch()
                    self._meet()
            if self.signals.is_reached and self.saves.are_wanted:
                self._save()  # before the source, which may be late, is waited for
        finally:
            close(iterator)
        is_whole = not has_more or place.batches == count_batches(self.batches)
        if is_whole and not self._is_told_to_end():
            self._end_epoch()

    def _make_steps(self, iterator: Iterator[Any]) -> bool:
        """Make steps until something is due; False when there are no more batches."""
        clock, in_flight = self.clock, self.in_flight
        hears_steps = self.callbacks.hear("on_step_end")
        until = self.timetable.pause_after(self.step)
        batch = None
        while self.step < until and not self._is_told_to_end():
            batch = self._next(iterator)
            clock.lap("data")
            if batch is _ABANDONED:
                return True
            if batch is _NO_MORE:
                break
            self.together.begin(self.step_function, self.state, batch, self.batches)
            self.state, metrics = self.step_function(self.state, batch)
            now = clock.lap("step")
            self.step += 1
            self.place.batches += 1
            in_flight.add(metrics, batch)
            if hears_steps:
                self.callbacks.tell("on_step_end", self)
            if in_flight.is_due(now):
                self._read(in_flight.take(now))
        self.place.position = position_of(iterator, self.place.batches)
        return batch is not _NO_MORE

    def _next(self, iterator: Iterator[Any]) -> Any:
        """The next batch, or why there is none; a signal leaves it to the next run."""
        if not self.signals.may_abandon:
            return next(iterator, _NO_MORE)
        self.place.position = position_of(iterator, self.place.batches)
        return self.signals.unless_received(partial(next, iterator, _NO_MORE), _ABANDONED)

    def _read(self, made: Sequence[Made]) -> None:
        """Take in the metrics of steps, which have just been read."""
        self.clock.lap("step")
        self.clock.compiled("step")
        seconds = self.clock.total()
        for metrics, batch in made:
            if not self.together.is_lost:
                self._take(metrics, batch, seconds)
        self._meet()
        self.logs.flush(seconds)
        self.reporter.steps(self.step, self._words)
        self.clock.lap("other")

    def _take(self, metrics: Mapping[str, float], batch: Any, seconds: float) -> None:
        entry = self.recording.add_step(metrics)
        self.logs.write(entry, seconds)
        self._last_batch = batch
        self._lose(self.nonfinite.look(entry.step, metrics, batch))
        self.callbacks.tell("on_metrics", self, entry.step, metrics)

    def _lose(self, reason: str | None) -> None:
        """End the training, for a reason after which its state is worth nothing."""
        if reason:
            self.together.ask(reason, is_lost=True)

    def _meet(self) -> None:
        """Come to where the processes decide whether the training ends."""
        self.together.meet(self.state, f"step {self.step} in epoch {self.epoch} of the training")

    def _evaluate_within_epoch(self) -> None:
        if self.timetable.evaluates_at(self.step):
            self._evaluate()

    def _save_within_epoch(self) -> None:
        is_at_end = self.place.batches == count_batches(self.batches)
        if self.saves.are_wanted and self.timetable.saves_at(self.step) and not is_at_end:
            self._save()

    def _end_epoch(self) -> None:
        check_has_batches(self.place.batches, self.epoch)
        if self.timetable.evaluate_every is None:
            self._evaluate()
        if self.signals.reached(self.step):
            return
        number, means = self.epoch, self.recording.means(self.recording.epoch_start)
        seconds = self.clock.training() - self._epoch_began
        steps = self.recording.end_epoch(seconds)
        self.place = Place(epoch=number + 1)
        self.callbacks.tell("on_epoch_end", self, means)
        facts = {**means, **self.recording.evaluation_at(self.step)}
        self.reporter.epoch(number, facts, seconds, self.telling.at_epoch_end(self.step))
        self.nonfinite.warn_of_epoch(number, means, steps)
        is_due = self.timetable.save_every is None or self.timetable.saves_at(self.step)
        if is_due and self.saves.are_wanted:
            self._save()
        self._meet()

    def _evaluate(self) -> None:
        """Evaluate the state, unless that is done; a signal leaves it to the next run."""
        evaluate = self.evaluate
        if evaluate is None or self.recording.has_evaluation_at(self.step):
            return
        self.clock.lap("other")
        evaluation = self.signals.unless_received(lambda: floats(evaluate(self.state)), None)
        self.clock.lap("evaluation")
        self.clock.compiled("evaluation")
        if evaluation is None:
            return
        self.together.compare(self.state, f"step {self.step}", evaluation)
        entry = self.recording.add_evaluation(self.step, evaluation)
        self.logs.write(entry, self.clock.total())
        self.callbacks.tell("on_evaluation", self, evaluation)

    def _save(self) -> None:
        """Save the state, unless that is done, or it is not worth it."""
        mark = (self.step, self.epoch, len(self.recording.evaluation_steps))
        is_done = self.together.is_lost or not self.step or self.saves.has(mark)
        if is_done or not self._is_good():
            return
        self.clock.lap("other")
        self.logs.sync()
        self.place.seconds = self.clock.training() - self._epoch_began
        metrics = comparable(self.recording, self.timetable.save_every, evaluates=self.evaluates)
        self.saves.save(self._found(), metrics)
        self.clock.lap("saving")
        self.callbacks.tell("on_save", self)

    def _is_good(self) -> bool:
        """Whether the state may be saved; what a bad one means is up to `nonfinite`."""
        flaw = self.nonfinite.flaw(self.state, self.recording.last())
        self.clock.lap("saving")
        self.clock.compiled("saving")
        if flaw:
            self._lose(self.nonfinite.tell_of_state(self.step, flaw, self._last_batch))
        return not flaw

    def _found(self) -> Found:
        """The training as the next run will find it."""
        return Found(
            state=self.state,
            step=self.step,
            place=self.place,
            fingerprint=fingerprint_of(self.batches),
            recording=self.recording.to_record(),
            callbacks=self.callbacks.state_dict(),
            seconds=self.clock.spent().to_dict(),
        )

    def _finish(self) -> None:
        is_lost = self.together.is_lost or self.logs.failure is not None
        if not is_lost and not self.signals.is_reached:
            self._evaluate()
        if self.saves.are_wanted:
            self._save()
            self.saves.wait()
            self.clock.lap("saving")
            is_left = self.together.reason or self.signals.is_reached
            if self.step and not self.saves.last_step and not is_left:
                self.nonfinite.refuse_to_end_unsaved(self.step)
        if failure := self.logs.failure:
            failure.add_note(
                f"Steps are made up to {self.step}, saved up to {self.saves.last_step}."
            )
            raise failure
        if self.signals.received is not None:
            self.reporter.say(
                f"ended after step {self.saves.last_step} by {self.signals.received}, and saved: "
                "run it again to go on"
            )
            raise Interrupted(self.saves.last_step, self.signals.received)
        reason = self.together.reason
        stopped = f"stopped after step {self.step}: {reason}; " if reason else ""
        self.reporter.say(f"{stopped}{self.clock.spent()}")

    def _words(self) -> str:
        return self.telling.words(self.step, self.recording.recent_means(100))

    def _is_ended(self) -> bool:
        return self.timetable.is_over(self.step, self.epoch) or self._is_told_to_end()

    def _is_told_to_end(self) -> bool:
        is_stopped = self.together.reason is not None or self.logs.failure is not None
        return is_stopped or self.signals.reached(self.step)
