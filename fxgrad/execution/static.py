"""Static: one XLA program for each call signature, through `jax.jit`: the static graph.

A repeated call costs what `jax.jit` costs and a few reads. Only a call that compiled something is
described and explained.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from fxgrad.compilation import Work, count_trace, heard
from fxgrad.errors import ArgumentError
from fxgrad.execution.explain import History
from fxgrad.execution.options import Options
from fxgrad.execution.stats import Counts
from fxgrad.execution.value_dependence import VALUE_ERRORS, explain_value_dependence
from fxgrad.paths import bind_names, call_shape_of
from fxgrad.places import calling_place
from fxgrad.signature import describe_call, unsupported_leaves


class Static:
    """Runs a function as compiled programs."""

    def __init__(self, fun: Callable[..., Any], options: Options, history: History) -> None:
        self._options = options
        self._history = history
        self._call_shape = call_shape_of(fun)
        self.counts = Counts()
        self.jitted = jax.jit(_counting(fun, self.counts), **options.for_jit())

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the program for this call; build it first if there is none."""
        self.counts.add_call()
        mark = heard.work
        try:
            return self.jitted(*args, **kwargs)
        except VALUE_ERRORS as error:
            explained = explain_value_dependence(error)
            if explained is None:
                raise
            raise explained from error
        except (TypeError, ValueError) as error:
            explained = self._explain_arguments(args, kwargs)
            if explained is None:
                raise
            raise explained from error
        finally:
            if heard.work is not mark:
                work, heard.work = heard.work.since(mark), mark
                self._account(work, args, kwargs)

    def _account(self, work: Work, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.counts.add_work(work, miss=True)
        if jax.config.jax_disable_jit or not (work.programs or work.traces):
            return
        signature = describe_call(self._call_shape, self._options.static_argnames, args, kwargs)
        self._history.add(signature, work, call=self.counts.calls, place=calling_place())

    def _explain_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ArgumentError | None:
        """What is wrong with the arguments, or None: then the error is the function's own."""
        static = self._options.static_argnames
        try:
            named = bind_names(self._call_shape, args, kwargs)
            unsupported = next(unsupported_leaves(self._call_shape, static, args, kwargs), None)
        except TypeError:  # the call itself has the wrong arguments: Python says so best
            return None
        for name in sorted(static & named.keys()):
            if not _is_hashable(named[name]):
                return ArgumentError(
                    f"{name} is a {type(named[name]).__name__}, which has no hash, and static "
                    "arguments are part of a program's key. Pass a tuple or what else has a hash.",
                    path=name,
                )
        if unsupported is None:
            return None
        path, value = unsupported
        argument = path.split("[")[0].split(".")[0]
        return ArgumentError(
            f"{path} is a {type(value).__name__}, which a static graph cannot take as an input. "
            f"If it steers the computation, write static_argnames={argument!r}; if it is data, "
            "pass an array or a number.",
            path=path,
        )


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _counting(fun: Callable[..., Any], counts: Counts) -> Callable[..., Any]:
    """`fun`, counting the times that JAX runs it to trace it."""

    @functools.wraps(fun)
    def traced(*args: Any, **kwargs: Any) -> Any:
        counts.add_python_run()
        start = time.perf_counter()
        try:
            return fun(*args, **kwargs)
        finally:
            count_trace(time.perf_counter() - start)

    return traced
