"""Quantities in words: durations, sizes and counts with three digits and the unit that fits."""

from __future__ import annotations


def in_seconds(seconds: float) -> str:
    """A duration with three digits and the unit that fits: ``1.23 ms``."""
    for size, unit in ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms")):
        words = f"{seconds / size:.3g}"
        if float(words) < 1000:
            return f"{words} {unit}"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"


def in_bytes(count: float | None) -> str:
    """A size with the unit that fits, or ``n/a``."""
    if count is None:
        return "n/a"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return _three_digits(size, unit)
        size /= 1024
    return _three_digits(size, "GiB")


def in_flops(count: float | None) -> str:
    """A number of floating-point operations with the unit that fits, or ``n/a``."""
    if count is None:
        return "n/a"
    size = float(count)
    for unit in ("FLOP", "kFLOP", "MFLOP", "GFLOP"):
        if size < 1000:
            return _three_digits(size, unit)
        size /= 1000
    return _three_digits(size, "TFLOP")


def _three_digits(size: float, unit: str) -> str:
    return f"{size:.0f} {unit}" if size >= 100 else f"{size:.3g} {unit}"
