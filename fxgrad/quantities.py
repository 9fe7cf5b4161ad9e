"""Quantities in words, with three digits and the unit that fits."""

from __future__ import annotations


def in_bytes(count: int | None) -> str:
    """A size with the unit that fits, or ``n/a``."""
    if count is None:
        return "n/a"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return _three_digits(size, unit)
        size /= 1024
    return _three_digits(size, "GiB")


def _three_digits(size: float, unit: str) -> str:
    return f"{size:.0f} {unit}" if size >= 100 else f"{size:.3g} {unit}"
