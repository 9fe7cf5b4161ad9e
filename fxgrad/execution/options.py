"""What a user may say about a function besides its mode: static, donated and sharded arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from fxgrad.errors import ArgumentError
from fxgrad.paths import call_shape_of

Unset = Literal["unset"]
UNSET: Final[Unset] = "unset"


@dataclass(frozen=True)
class Options:
    """The options of a Function; `jax.jit`'s own meanings."""

    static_argnames: frozenset[str] = frozenset()
    donate_argnames: frozenset[str] = frozenset()
    in_shardings: Any = UNSET
    out_shardings: Any = UNSET

    def for_jit(self) -> dict[str, Any]:
        """The keyword arguments that `jax.jit` takes."""
        keywords: dict[str, Any] = {}
        if self.static_argnames:
            keywords["static_argnames"] = sorted(self.static_argnames)
        if self.donate_argnames:
            keywords["donate_argnames"] = sorted(self.donate_argnames)
        if self.in_shardings is not UNSET:
            keywords["in_shardings"] = self.in_shardings
        if self.out_shardings is not UNSET:
            keywords["out_shardings"] = self.out_shardings
        return keywords

    def without_first(self, fun: Callable[..., Any]) -> Options:
        """The options of a method that has been given its first argument."""
        call_shape = call_shape_of(fun)
        first = frozenset(list(call_shape.parameters)[:1] if call_shape else ())
        return dataclasses.replace(
            self,
            static_argnames=self.static_argnames - first,
            donate_argnames=self.donate_argnames - first,
        )


def check_keywords(options: Options, kwargs: Mapping[str, Any]) -> ArgumentError | None:
    """What is wrong with keyword arguments beside `in_shardings`, which go by position."""
    if options.in_shardings is UNSET or not kwargs:
        return None
    name = next(iter(kwargs))
    return ArgumentError(
        f"{name} is passed by keyword, and in_shardings go by position: pass it by position.",
        path=name,
    )


def names(given: str | Iterable[str]) -> frozenset[str]:
    """One name or several, as a set."""
    return frozenset([given]) if isinstance(given, str) else frozenset(given)
