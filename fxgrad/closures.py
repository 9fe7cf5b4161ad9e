"""Closures: what a function holds from where it was made."""

from __future__ import annotations

from typing import Any


def closure_of(fun: Any) -> tuple[Any, ...]:
    """The contents of the closure of `fun`, now; None for a variable that has no value yet."""
    return tuple(_contents(cell) for cell in getattr(fun, "__closure__", None) or ())


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None
