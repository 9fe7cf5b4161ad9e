"""Replay: Python runs once for each path; then the path's compiled segments run without it."""

from __future__ import annotations

import inspect
import threading
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jax
import numpy as np

from fxgrad.closures import closure_of
from fxgrad.compilation import heard
from fxgrad.errors import ImpureWarning, ModeError
from fxgrad.execution.explain import History
from fxgrad.execution.options import Options
from fxgrad.execution.placement import Placement
from fxgrad.execution.stats import Counts
from fxgrad.paths import bind_names, call_shape_of
from fxgrad.places import calling_place, code_of
from fxgrad.recorder import (
    ForeignTracerError,
    Recorder,
    is_outermost,
    is_tracer,
    trace_context,
)
from fxgrad.replay.paths import PathTree, path_tree
from fxgrad.replay.self_check import self_check
from fxgrad.replay.session import ImpureError, Session
from fxgrad.replay.structure import PLAIN, params_key
from fxgrad.replay.tree import Node, Walk, walk

MAX_TREES: Final = 256
MAX_VALUES: Final = 32
_ARRAYS: Final = (jax.Array, np.ndarray, np.generic)
# What cannot change between two calls, so that a path may be told by its value.
_CONSTANT: Final = (*PLAIN, types.FunctionType, types.BuiltinFunctionType)


@dataclass(frozen=True)
class _Call:
    """One call, taken apart."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    leaves: list[Any]
    tree: Any

    def arrays(self) -> list[Any]:
        """The leaves that are inputs of the programs."""
        return [leaf for leaf in self.leaves if isinstance(leaf, _ARRAYS)]

    def with_tracers(self, recorder: Recorder) -> Any:
        """The arguments with a tracer for each array."""
        leaves = [
            recorder.tracer(jax.typeof(leaf)) if isinstance(leaf, _ARRAYS) else leaf
            for leaf in self.leaves
        ]
        return jax.tree.unflatten(self.tree, leaves)


class Replay:
    """Runs a function by its recorded paths."""

    def __init__(self, fun: Callable[..., Any], options: Options, history: History) -> None:
        self._fun = fun
        self._options = options
        self._placement = Placement(fun, options)
        self._history = history
        self._captures = _Captures(fun)
        self._lock = threading.Lock()
        self._trees: OrderedDict[Hashable, Node] = OrderedDict()
        self._held: dict[Hashable, tuple[Any, ...]] = {}
        self._numbers: dict[Hashable, set[str]] = {}
        self._eager: set[Hashable] = set()
        self.counts = Counts()

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Go down the tree for this call; where it ends, let Python run and record."""
        reason = self_check()
        if reason:
            raise ModeError(f"{reason}. Write 'eager' or 'static'.", mode="replay")
        self.counts.add_call()
        mark = heard.work
        try:
            args = self._placement.place_arguments(args, kwargs)
            return self._placement.place_output(self._run(args, kwargs))
        finally:
            if heard.work is not mark:
                work, heard.work = heard.work.since(mark), mark
                self.counts.add_work(work, miss=False)

    def tree(self) -> PathTree:
        """The recorded paths."""
        with self._lock:
            return path_tree(self._trees.values())

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not is_outermost() or jax.config.jax_disable_jit or jax.config.jax_debug_nans:
            return self._run_eagerly(args, kwargs)
        try:
            leaves, tree = jax.tree.flatten((args, dict(kwargs)))
        except ValueError:  # a dict whose keys cannot be sorted
            return self._run_eagerly(args, kwargs)
        if any(map(is_tracer, leaves)):
            return self._run_eagerly(args, kwargs)
        call = _Call(args, kwargs, leaves, tree)
        key = self._key(call)
        if key in self._eager or not self._is_plain(call) or self._keeps_changing(call):
            return self._run_eagerly(args, kwargs)
        root = self._trees.get(key)
        if root is not None:
            return self._replay(call, key, root)
        return self._run_python(call, key, Walk({}))

    def _replay(self, call: _Call, key: Hashable, root: Node) -> Any:
        walked = walk(root, call.arrays())
        self.counts.add_host_reads(walked.host_reads)
        output = walked.path[-1].output
        if output is not None:
            return output.build(walked.values)
        return self._run_python(call, key, walked)

    def _run_eagerly(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self.counts.add_python_run()
        return self._fun(*args, **kwargs)

    def _run_python(self, call: _Call, key: Hashable, walked: Walk) -> Any:
        self.counts.add_python_run()
        self.counts.add_miss()
        walked.give_arguments(call.arrays())
        session = Session(walked)
        try:
            result = session.run(self._fun, call.with_tracers)
        except ForeignTracerError:
            session.root = None  # what was heard belongs to the outer transform
            return self._run_eagerly(call.args, call.kwargs)
        except ImpureError as error:
            self._give_up(key, error)
            return self._run_eagerly(call.args, call.kwargs)
        finally:
            self._remember(key, session)
        return result

    def _remember(self, key: Hashable, session: Session) -> None:
        self.counts.add_host_reads(session.host_reads)
        for note in session.notes:
            self._history.add_fallback(note)
        if session.root is None or key in self._eager:
            return
        # Recording holds no lock: a function may start threads that call it, and wait for them. Of
        # two threads that record one tree, the first one's stays.
        with self._lock:
            self._trees.setdefault(key, session.root)
            self._held[key] = self._captures.now()  # so that no identity in the key returns
            while len(self._trees) > MAX_TREES:
                self._held.pop(self._trees.popitem(last=False)[0], None)

    def _give_up(self, key: Hashable, error: ImpureError) -> None:
        where = f" at {error.place}" if error.place else ""
        name = getattr(self._fun, "__qualname__", repr(self._fun))
        reason = f"{name} cannot be replayed: {error.what}{where}"
        self._eager.add(key)
        self._trees.pop(key, None)
        self._history.add_fallback(reason)
        place = calling_place()
        if place is not None:
            words = f"{reason}; it runs in eager"
            warnings.warn_explicit(words, ImpureWarning, place.filename, place.lineno)

    def _key(self, call: _Call) -> Hashable:
        leaves = (
            jax.typeof(leaf) if isinstance(leaf, _ARRAYS) else params_key(leaf)
            for leaf in call.leaves
        )
        captured = tuple(map(id, self._captures.now()))
        return (call.tree, tuple(leaves), trace_context(), captured)

    def _keeps_changing(self, call: _Call) -> bool:
        """Whether a Python number has had too many values to record a path for each."""
        for position, leaf in enumerate(call.leaves):
            if not isinstance(leaf, int | float | complex):
                continue
            seen = self._numbers.setdefault((call.tree, position), set())
            if repr(leaf) not in seen and len(seen) == MAX_VALUES:
                self._history.add_fallback(
                    f"an argument that is a Python {type(leaf).__name__} has had {MAX_VALUES} "
                    "values; calls with others run in eager. To make it an input, pass an array: "
                    "jnp.asarray(x)"
                )
                return True
            seen.add(repr(leaf))
        return False

    def _is_plain(self, call: _Call) -> bool:
        """Whether no leaf is an object that could change without the path being told."""
        odd = [leaf for leaf in call.leaves if not isinstance(leaf, (*_CONSTANT, *_ARRAYS))]
        if not odd:
            return True
        named = bind_names(call_shape_of(self._fun), call.args, call.kwargs)
        static = [id(named[name]) for name in self._options.static_argnames if name in named]
        reasons = [
            f"an argument is a {type(leaf).__name__}, which may change between calls: name it in "
            "static_argnames if it does not"
            for leaf in odd
            if id(leaf) not in static
        ]
        for reason in reasons:
            self._history.add_fallback(reason)
        return not reasons


class _Captures:
    """What the function itself reads from its closure, defaults and module, by identity, now."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self._fun = inspect.unwrap(fun)
        self._globals = getattr(self._fun, "__globals__", {})
        code = code_of(fun) if isinstance(self._fun, types.FunctionType) else None
        self._names = tuple(sorted(_names(code))) if code else ()

    def now(self) -> tuple[Any, ...]:
        """The objects themselves."""
        return (
            *closure_of(self._fun),
            *(self._globals.get(name) for name in self._names),
            *(getattr(self._fun, "__defaults__", None) or ()),
            *(getattr(self._fun, "__kwdefaults__", None) or {}).values(),
        )


def _names(code: types.CodeType) -> set[str]:
    """The names that a code object and those inside of it may read from the module."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))
