"""Replay: Python runs once for each path; then what was recorded runs, compiled, without it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax

from fxgrad.agreement import are_many
from fxgrad.compilation import Work, count_trace, heard
from fxgrad.errors import ImpureWarning, ModeError
from fxgrad.execution.advice import PLAIN_OUTPUT, PURE, REPEATING
from fxgrad.execution.direct import NOT_SERVED
from fxgrad.execution.explain import History
from fxgrad.execution.options import Options
from fxgrad.execution.placement import Placement
from fxgrad.execution.recordings import MAX_TREES, Recordings
from fxgrad.execution.replayable import ARRAYS, Replayable
from fxgrad.execution.stats import Counts
from fxgrad.limits import current_limit
from fxgrad.paths import call_shape_of
from fxgrad.places import calling_place
from fxgrad.recorder import ForeignTracerError, Recorder, is_outermost, is_tracer
from fxgrad.replay.decisions import Decision, decisions
from fxgrad.replay.fold import Folded
from fxgrad.replay.layout import MISSED
from fxgrad.replay.paths import PathTree, path_tree
from fxgrad.replay.pending import ImpureError, OutputError
from fxgrad.replay.promotion import Tree
from fxgrad.replay.self_check import self_check
from fxgrad.replay.session import WHOLE, Session
from fxgrad.replay.together import Together, current, speaking
from fxgrad.replay.tree import Walk, walk
from fxgrad.signature import CallSignature, describe_call


@dataclass(frozen=True)
class _Call:
    """One call, taken apart."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    leaves: list[Any]
    structure: Any
    key: Hashable
    captured: tuple[Any, ...] = ()

    def arrays(self) -> list[Any]:
        """The leaves that are inputs of the programs."""
        return [leaf for leaf in self.leaves if isinstance(leaf, ARRAYS)]

    def with_tracers(self, recorder: Recorder) -> Any:
        """The arguments with a tracer for each array."""
        leaves = [
            recorder.tracer(jax.typeof(leaf)) if isinstance(leaf, ARRAYS) else leaf
            for leaf in self.leaves
        ]
        return jax.tree.unflatten(self.structure, leaves)


class Replay:
    """Runs a function by its recorded paths."""

    def __init__(self, fun: Callable[..., Any], options: Options, history: History) -> None:
        self._fun = fun
        self._name = getattr(fun, "__qualname__", repr(fun))
        self._options = options
        self._placement = Placement(fun, options)
        self._history = history
        self._replayable = Replayable(fun, options)
        self._recordings = Recordings(fun, options)
        self._impure: set[Hashable] = set()
        self.counts = Counts()

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Serve the call by what is recorded; where that ends, let Python run and record."""
        mark = heard.work
        recordings = self._recordings
        direct = recordings.direct
        try:
            if direct is None or not is_outermost():
                return self._place_and_run(args, kwargs)
            # A program without effects is started first and may have been started for nothing: on
            # a step of 50 µs a microsecond before the start is seen, and one after it is not.
            if direct.is_pure or recordings.captures_are(direct.captured):
                try:
                    output = direct.jitted(*args, **kwargs)
                except NOT_SERVED:
                    return self._run(args, kwargs, direct="refused")
                if not direct.is_pure or recordings.captures_are(direct.captured):
                    return self._built(direct.open, output, args, kwargs)
            return self._place_and_run(args, kwargs)
        finally:
            self.counts.add_call()
            if heard.work is not mark:
                self._account(mark)

    def _built(
        self, folded: Folded | None, columns: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The output of a program: what it gave, or what is built from that if it may miss."""
        if folded is None:
            return columns
        output = folded.build(columns, lambda: jax.tree.leaves((args, kwargs)))
        self.counts.add_host_reads(folded.has_code)
        return self._run(args, kwargs, direct="missed") if output is MISSED else output

    def _place_and_run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._check()
        if self._placement.is_idle:
            return self._run(args, kwargs)
        args = self._placement.place_arguments(args, kwargs)
        return self._placement.place_output(self._run(args, kwargs))

    def _check(self) -> None:
        reason = self_check()
        if reason:
            raise ModeError(f"{reason}. Write 'eager' or 'static'.", mode="replay")

    def _account(self, mark: Work) -> None:
        work, heard.work = heard.work.since(mark), mark
        self.counts.add_work(work, miss=False)
        limit = current_limit()
        if limit is not None:
            limit.count(work.programs)

    def tree(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> PathTree:
        """The recorded paths: all, or those of calls with such arguments."""
        if not args and not kwargs:
            return path_tree(self._recordings.trees())
        leaves, structure = jax.tree.flatten((args, dict(kwargs)))
        tree = self._recordings.get(self._recordings.key(structure, leaves))
        return path_tree([] if tree is None else [tree])

    def decisions(self) -> tuple[Decision, ...]:
        """The lines that force values."""
        return decisions(self._recordings.trees())

    def _run(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        direct: Literal["not tried", "missed", "refused"] = "not tried",
    ) -> Any:
        if not is_outermost() or jax.config.jax_disable_jit or jax.config.jax_debug_nans:
            return self._run_eagerly(args, kwargs)
        try:
            leaves, structure = jax.tree.flatten((args, kwargs))
        except ValueError:  # a dict whose keys cannot be sorted
            return self._run_eagerly(args, kwargs)
        call = _Call(args, kwargs, leaves, structure, self._recordings.key(structure, leaves))
        if not are_many():
            return self._serve(call, direct)

        def words() -> dict[str, str]:
            return self._history.in_words(self._described(call))

        with speaking(Together(self._name, leaves, words)):
            return self._serve(call, direct)

    def _serve(self, call: _Call, direct: Literal["not tried", "missed", "refused"]) -> Any:
        """Serve a call by the tree that is recorded for it, or record one."""
        leaves, tree = call.leaves, self._recordings.get(call.key)
        if tree is None:
            return self._run_new(call)
        if direct == "refused":
            self._recordings.tell_by_key()
        arrays = leaves if len(leaves) == tree.argument_count else call.arrays()
        promoted = tree.promoted
        if promoted is not None and direct != "missed":
            output = promoted(arrays)
            self.counts.add_host_reads(promoted.folded.has_code)
            if output is not MISSED:
                return output
        return self._walk(call, tree, arrays)

    def _run_new(self, call: _Call) -> Any:
        """Record the first path of a signature, if its calls can be replayed."""
        if call.key in self._impure or any(map(is_tracer, call.leaves)):
            return self._run_eagerly(call.args, call.kwargs)
        reasons = self._replayable.may_change(call.args, call.kwargs, call.leaves)
        notes = self._replayable.keep_changing(call.leaves, call.structure)
        for reason in (*reasons, *notes):
            self._history.add_fallback(reason)
        if reasons:
            self._recordings.tell_by_key()
            return self._run_eagerly(call.args, call.kwargs)
        if not self._may_record(lambda: self._what_is_new(call)):
            return self._run_eagerly(call.args, call.kwargs)
        mark = heard.work
        call = dataclasses.replace(call, captured=self._recordings.captured())
        _record_together(call.captured)
        try:
            result = self._run_python(call, Walk({}), call.arrays())
            return self._run_whole(call) if result is WHOLE else result
        finally:
            work, place = heard.work.since(mark), calling_place()
            number = self.counts.calls + 1
            self._history.add(self._described(call), work, "replay", call=number, place=place)

    def _described(self, call: _Call) -> CallSignature:
        static, shape = self._options.static_argnames, call_shape_of(self._fun)
        return describe_call(shape, static, call.args, call.kwargs, python_values=True)

    def _what_is_new(self, call: _Call) -> str:
        facts = self._history.differences_from_nearest(self._described(call))
        return "; ".join(["a call of a new signature", *map(str, facts)])

    def _run_whole(self, call: _Call) -> Any:
        """Run for the first time what has been recorded without a decision."""
        direct, tree = self._recordings.direct, self._recordings.get(call.key)
        if direct is not None and self._recordings.captures_are(direct.captured):
            with contextlib.suppress(*NOT_SERVED):
                output = direct.jitted(*call.args, **call.kwargs)
                return self._built(direct.open, output, call.args, call.kwargs)
        # Its own run may have changed what the function captures, or another thread the tree.
        if tree is None or tree.promoted is None:
            return self._run_eagerly(call.args, call.kwargs)
        return tree.promoted(call.arrays())

    def _walk(self, call: _Call, tree: Tree, arrays: Sequence[Any]) -> Any:
        walked = walk(tree.root, arrays)
        self.counts.add_host_reads(walked.host_reads)
        last = walked.path[-1]
        if last.output is not None:
            limit = current_limit()
            if (limit is None or not limit.is_reached) and tree.was_walked():
                self._recordings.choose_way()
                self._compile(call, tree)
            return last.output.build(walked.values)
        is_known = last.guard is None or last.eager_from_here
        records = bool(is_known) or self._may_record(lambda: f"a new value at {last.place}")
        _record_together(())
        return self._run_python(call, walked, arrays, records=records)

    def _compile(self, call: _Call, tree: Tree) -> None:
        """Run the program of a tree that was just folded for nothing, so that no later call waits.

        A program that takes over its arguments is left to the next call.
        """
        direct, promoted = self._recordings.direct, tree.promoted
        if promoted is None:
            return
        if direct is None:
            promoted.run(call.arrays())
        elif direct.is_pure:
            with contextlib.suppress(*NOT_SERVED):
                direct.jitted(*call.args, **call.kwargs)

    def _may_record(self, reason: Callable[[], str]) -> bool:
        limit = current_limit()
        return limit is None or limit.meet_miss(self._name, reason)

    def _run_eagerly(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self.counts.add_python_run()
        self.counts.add_uncompiled(1.0)
        return self._fun(*args, **kwargs)

    def _run_python(
        self, call: _Call, walked: Walk, arrays: Sequence[Any], *, records: bool = True
    ) -> Any:
        self.counts.add_python_run()
        self.counts.add_miss()
        walked.give_arguments(arrays)
        session = Session(walked, records=records)
        start, mark = time.perf_counter(), heard.work
        try:
            return session.run(self._fun, call.with_tracers)
        except ForeignTracerError:
            session.root = None  # what was heard belongs to the outer transform
            return self._run_eagerly(call.args, call.kwargs)
        except ImpureError as error:
            self._give_up(call.key, error)
            return self._run_eagerly(call.args, call.kwargs)
        finally:
            count_trace(time.perf_counter() - start - heard.work.since(mark).seconds)
            self._remember(call, session, arrays)

    def _remember(self, call: _Call, session: Session, arrays: Sequence[Any]) -> None:
        self.counts.add_host_reads(session.host_reads)
        self.counts.add_uncompiled(session.share_live)
        for note in session.notes:
            self._history.add_fallback(note, REPEATING)
        if session.has_kept:
            self._warn(
                f"{self._name} keeps an array of its run in an object, a list or a global. Replay "
                "does not do that again, and the array cannot be used: return it, or observe it "
                "with fx.log"
            )
        if session.root is None or call.key in self._impure:
            return
        # Recording holds no lock: a function may start threads that call it, and wait for them.
        tree = self._recordings.get(call.key)
        if tree is None:
            leaf_count = len(call.leaves)
            self._recordings.add(call.key, session.root, arrays, leaf_count, call.captured)
        elif session.has_grown:
            tree.has_grown()

    def _give_up(self, key: Hashable, error: ImpureError) -> None:
        where = f" at {error.place}" if error.place else ""
        reason = f"{self._name} cannot be replayed: {error.what}{where}"
        if len(self._impure) >= MAX_TREES:
            self._impure.clear()
        self._impure.add(key)
        self._recordings.drop(key)
        instead = PLAIN_OUTPUT if isinstance(error, OutputError) else PURE
        self._warn(f"{reason}; it runs in eager", instead)

    def _warn(self, words: str, instead: str = "") -> None:
        self._history.add_fallback(words, instead)
        place = calling_place()
        if place is not None:
            warnings.warn_explicit(words, ImpureWarning, place.filename, place.lineno)


def _record_together(captured: tuple[Any, ...]) -> None:
    """Go on to record when the other processes do, if arrays of theirs are in play."""
    together = current()
    if together is not None:
        together.also(jax.tree.leaves(captured))
        together.record()
