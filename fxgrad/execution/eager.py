"""Eager: Python runs at every call and every operation runs as it is met: the dynamic graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fxgrad.compilation import heard
from fxgrad.execution.options import Options
from fxgrad.execution.placement import Placement
from fxgrad.execution.stats import Counts


class Eager:
    """Runs a function op by op. A static or donated argument is an ordinary one here."""

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        self._fun = fun
        self._placement = Placement(fun, options)
        self.counts = Counts()

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the function's Python, op by op."""
        self.counts.add_call()
        self.counts.add_python_run()
        self.counts.add_uncompiled(1.0)
        mark = heard.work
        try:
            args = self._placement.place_arguments(args, kwargs)
            return self._placement.place_output(self._fun(*args, **kwargs))
        finally:
            work = heard.work.since(mark)
            heard.work = mark
            if work.programs:
                self.counts.add_work(work, miss=True)
