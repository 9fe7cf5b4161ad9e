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

from fxgrad.agreed import Agreed
from fxgrad.agreement import are_many
from fxgrad.compilation import Work, count_trace, heard
from fxgrad.errors import ArgumentError, FxError
from fxgrad.execution.explain import History
from fxgrad.execution.options import Options, check_keywords
from fxgrad.execution.stats import Counts
from fxgrad.execution.value_dependence import VALUE_ERRORS, explain_value_dependence
from fxgrad.limits import current_limit
from fxgrad.paths import LEFT_OUT, bind_names, call_forms, call_shape_of
from fxgrad.places import calling_place
from fxgrad.recorder import is_outermost
from fxgrad.signature import CallSignature, describe_call, unsupported_leaves


class _NotAllowedError(Exception):
    """Nothing more may be traced, and the call is to run in eager."""


class Static:
    """Runs a function as compiled programs."""

    def __init__(self, fun: Callable[..., Any], options: Options, history: History) -> None:
        self._fun = fun
        self._options = options
        self._history = history
        self._call_shape = call_shape_of(fun)
        self.counts = Counts()
        self._name = getattr(fun, "__qualname__", repr(fun))
        self._agreed = Agreed()
        self.jitted = jax.jit(_counting(fun, self.counts), **options.for_jit())

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the program for this call; build it first if there is none."""
        call = self.counts.add_call()
        mark = heard.work
        try:
            result = self._run_agreed(args, kwargs) if are_many() else self.jitted(*args, **kwargs)
        except _NotAllowedError:
            self.counts.add_python_run()
            self.counts.add_uncompiled(1.0)
            return self._fun(*args, **kwargs)
        except Exception as error:
            work, heard.work = heard.work.since(mark), mark
            self.counts.add_work(work, miss=False)
            explained = self._explain(error, args, kwargs)
            if explained is None:
                raise
            raise explained from error
        if heard.work is not mark:
            work, heard.work = heard.work.since(mark), mark
            self._account(work, call, args, kwargs)
        return result

    def _run_agreed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run; a program that is new is first compared with the other processes' programs."""
        if not is_outermost() or jax.config.jax_disable_jit:
            return self.jitted(*args, **kwargs)
        static: tuple[Any, ...] = ()
        if self._options.static_argnames:
            named = bind_names(self._call_shape, args, kwargs)
            static = tuple(named.get(name) for name in sorted(self._options.static_argnames))
        if not _is_hashable(static):  # the call says what is wrong
            return self.jitted(*args, **kwargs)

        def words() -> dict[str, str]:
            return self._history.in_words(self._described(args, kwargs))

        return self._agreed(self.jitted, args, kwargs, name=self._name, words=words, static=static)

    def _described(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> CallSignature:
        return describe_call(self._call_shape, self._options.static_argnames, args, kwargs)

    def trace(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The static graph for such a call, traced and not run.

        Raises:
          FxError: as a call raises it.
        """
        try:
            return self.jitted.trace(*args, **kwargs)
        except Exception as error:
            explained = self._explain(error, args, kwargs)
            if explained is None:
                raise
            raise explained from error

    def _account(
        self, work: Work, call: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        is_miss = not jax.config.jax_disable_jit
        self.counts.add_work(work, miss=is_miss)
        limit = current_limit()
        if limit is not None:
            limit.count(work.programs)
        if is_miss:
            signature = self._described(args, kwargs)
            self._history.add(signature, work, "static", call=call, place=calling_place())

    def _explain(
        self, error: Exception, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> FxError | None:
        """The error in the user's words, or None: then it is the function's own, or says enough."""
        if isinstance(error, VALUE_ERRORS):
            return explain_value_dependence(error)
        if isinstance(error, TypeError | ValueError):
            return check_keywords(self._options, kwargs) or self._explain_arguments(args, kwargs)
        return None

    def _explain_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ArgumentError | None:
        static = self._options.static_argnames
        named = bind_names(self._call_shape, args, kwargs)
        forms = call_forms(self._call_shape, args, kwargs)
        unsupported = next(unsupported_leaves(self._call_shape, static, args, kwargs), None)
        for name in sorted(static & named.keys()):
            if forms[name] != LEFT_OUT and not _is_hashable(named[name]):
                return ArgumentError(
                    f"{name} is a {type(named[name]).__name__}, which has no hash, and static "
                    "arguments are part of a program's key. Pass a tuple or what else has a hash.",
                    path=name,
                )
        if unsupported is None:
            return None
        path, value = unsupported
        name = f"static_argnames={path!r}"
        if not path.isidentifier():
            name = "an argument of its own and name that in static_argnames"
        return ArgumentError(
            f"{path} is {_in_words(value)}, which a static graph cannot take as an input. "
            f"If it steers the computation, write {name}; if it is data, pass an array of numbers.",
            path=path,
        )


def _in_words(value: Any) -> str:
    kind = f"a {type(value).__name__}"
    return f"{kind} of dtype {value.dtype}" if hasattr(value, "dtype") else kind


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _counting(fun: Callable[..., Any], counts: Counts) -> Callable[..., Any]:
    """`fun`, counting the times that JAX runs it to trace it, where it may be traced."""
    name = getattr(fun, "__qualname__", repr(fun))

    @functools.wraps(fun)
    def traced(*args: Any, **kwargs: Any) -> Any:
        limit = current_limit()
        if limit is not None and not limit.meet_miss(name, lambda: "a call of a new signature"):
            raise _NotAllowedError
        counts.add_python_run()
        start = time.perf_counter()
        try:
            return fun(*args, **kwargs)
        finally:
            count_trace(time.perf_counter() - start)

    return traced
