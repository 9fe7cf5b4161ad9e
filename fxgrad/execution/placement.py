"""Placement: where arguments and outputs stand, for the modes that do not leave it to `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from fxgrad.execution.options import UNSET, Options, check_keywords
from fxgrad.paths import call_shape_of


class Placement:
    """Moves arguments and outputs to the shardings that the options name.

    Attributes:
      is_idle: whether they name none.
    """

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        self._options = options
        self.is_idle = options.in_shardings is UNSET and options.out_shardings is UNSET
        self._static_positions = _positions(fun, options.static_argnames)

    def place_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """The positional arguments, those that are not static at their shardings.

        Raises:
          ArgumentError: there are keyword arguments beside `in_shardings`.
        """
        if self._options.in_shardings is UNSET:
            return args
        wrong = check_keywords(self._options, kwargs)
        if wrong is not None:
            raise wrong
        dynamic = [i for i in range(len(args)) if i not in self._static_positions]
        placed = jax.device_put(tuple(args[i] for i in dynamic), self._options.in_shardings)
        by_position = dict(zip(dynamic, placed, strict=True))
        return tuple(by_position.get(i, args[i]) for i in range(len(args)))

    def place_output(self, output: Any) -> Any:
        """The output at its shardings."""
        if self._options.out_shardings is UNSET:
            return output
        return jax.device_put(output, self._options.out_shardings)


def _positions(fun: Callable[..., Any], names: frozenset[str]) -> frozenset[int]:
    call_shape = call_shape_of(fun)
    if call_shape is None:
        return frozenset()
    return frozenset(i for i, name in enumerate(call_shape.parameters) if name in names)
