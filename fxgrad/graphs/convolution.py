"""The products of a convolution: those of padding and of dilation are not made, as XLA counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fxgrad.graphs.hlo_text import Arrays, Instruction

_LABELS: Final = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW: Final = re.compile(r"window=\{([^}]*)\}")
_GROUPS: Final = re.compile(r"(feature|batch)_group_count=(\d+)")


def products_of(instruction: Instruction, read: Sequence[Arrays]) -> float:
    """Multiplications of one run."""
    labels = _LABELS.search(instruction.attributes)
    if labels is None:
        return 0.0
    image, kernel, result = (
        dict(zip(names, arrays[0][1], strict=True))
        for names, arrays in zip(labels.groups(), (*read[:2], instruction.arrays), strict=True)
    )
    groups = {name: int(count) for name, count in _GROUPS.findall(instruction.attributes)}
    products = kernel["i"] * kernel["o"] * image["b"] / groups.get("batch", 1)
    window = _fields(instruction)
    for number, name in enumerate(sorted(key for key in image if key.isdigit())):
        products *= _positions(image[name], kernel[name], result[name], window, number)
    return products


def _fields(instruction: Instruction) -> dict[str, list[str]]:
    """``{"size": ["3", "3"], "pad": ["1_1", "1_1"]}``."""
    found = _WINDOW.search(instruction.attributes)
    pairs = (field.split("=", 1) for field in found[1].split()) if found else ()
    return {name: value.split("x") for name, value in pairs}


def _positions(
    image: int, kernel: int, result: int, window: dict[str, list[str]], number: int
) -> int:
    """How many pairs of a result and a kernel position meet an element of the image."""

    def field(name: str) -> int:
        return int(window[name][number]) if name in window else 1

    before = int(window["pad"][number].split("_")[0]) if "pad" in window else 0
    spread, dilation = field("lhs_dilate"), field("rhs_dilate")
    met = 0
    for k in range(kernel):
        for r in range(result):
            at = r * field("stride") - before + k * dilation
            met += at % spread == 0 and 0 <= at // spread < image
    return met
