"""Eager: Python runs at every call and every operation runs as it is met: the dynamic graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from fxgrad.compilation import heard
from fxgrad.execution.options import UNSET, Options, check_keywords
from fxgrad.execution.stats import Counts
from fxgrad.paths import call_shape_of


class Eager:
    """Runs a function op by op. A static or donated argument is an ordinary one here."""

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        self._fun = fun
        self._options = options
        self._static_positions = _positions(fun, options.static_argnames)
        self.counts = Counts()

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the function's Python, op by op."""
        self.counts.add_call()
        self.counts.add_python_run()
        mark = heard.work
        try:
            return self._run(args, kwargs)
        finally:
            work = heard.work.since(mark)
            heard.work = mark
            if work.programs:
                self.counts.add_work(work, miss=True)

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        wrong = check_keywords(self._options, kwargs)
        if wrong is not None:
            raise wrong
        if self._options.in_shardings is not UNSET:
            args = self._place_arguments(args)
        result = self._fun(*args, **kwargs)
        if self._options.out_shardings is not UNSET:
            result = jax.device_put(result, self._options.out_shardings)
        return result

    def _place_arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        dynamic = [i for i in range(len(args)) if i not in self._static_positions]
        placed = jax.device_put(tuple(args[i] for i in dynamic), self._options.in_shardings)
        by_position = dict(zip(dynamic, placed, strict=True))
        return tuple(by_position.get(i, args[i]) for i in range(len(args)))


def _positions(fun: Callable[..., Any], names: frozenset[str]) -> frozenset[int]:
    call_shape = call_shape_of(fun)
    if call_shape is None:
        return frozenset()
    return frozenset(i for i, name in enumerate(call_shape.parameters) if name in names)
