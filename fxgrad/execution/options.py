"""What a user may say about a function besides its mode: static, donated and sharded arguments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

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


def names(given: str | Iterable[str]) -> frozenset[str]:
    """One name or several, as a set."""
    return frozenset([given]) if isinstance(given, str) else frozenset(given)
