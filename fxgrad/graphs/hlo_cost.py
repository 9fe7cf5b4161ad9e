"""What an instruction of a compiled program costs, counted as XLA's own cost analysis counts.

XLA tells the sum over a whole program only. Tests compare the sums.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from fxgrad.graphs.hlo_text import Instruction

Arrays = Sequence[tuple[str, tuple[int, ...]]]

# One operation for each element of the result; transcendental functions count as one too.
_ELEMENTWISE: Final = frozenset(
    [
        *("abs", "add", "and", "atan2", "cbrt", "ceil", "clamp", "compare", "complex"),
        *("convert", "cosine", "divide", "erf", "exponential", "exponential-minus-one"),
        *("floor", "imag", "is-finite", "log", "log-plus-one", "logistic", "maximum"),
        *("minimum", "multiply", "negate", "not", "or", "popcnt", "power", "real"),
        *("reduce-precision", "remainder", "round-nearest-afz", "round-nearest-even"),
        *("rsqrt", "select", "shift-left", "shift-right-arithmetic", "shift-right-logical"),
        *("sign", "sine", "sqrt", "stochastic-convert", "subtract", "tan", "tanh", "xor"),
        *("count-leading-zeros"),
    ]
)
# These move data, or do nothing.
_FREE: Final = frozenset(
    [
        *("add-dependency", "after-all", "all-gather", "all-to-all", "bitcast"),
        *("bitcast-convert", "broadcast", "collective-broadcast", "collective-permute"),
        *("concatenate", "constant", "copy", "copy-done", "copy-start", "domain"),
        *("dynamic-slice", "dynamic-update-slice", "gather", "get-tuple-element", "iota"),
        *("opt-barrier", "pad", "parameter", "partition-id", "replica-id", "reshape"),
        *("reverse", "slice", "transpose", "tuple"),
    ]
)
_DTYPE_BITS: Final = re.compile(r"[a-z]+?(\d+)")
_CONTRACTED: Final = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_WINDOW: Final = re.compile(r"window=\{size=([\dx]+)")
_LABELS: Final = re.compile(r"dim_labels=[\w?]+_([\w?]+)->")


def flops_of(instruction: Instruction, shapes: Mapping[str, Arrays]) -> float | None:
    """Floating-point operations of one run; None for what XLA does not know either."""
    elements = sum(math.prod(sizes) for _, sizes in instruction.arrays)
    inputs = [shapes.get(name, ()) for name in instruction.operands]
    read = [math.prod(arrays[0][1]) for arrays in inputs if arrays]
    match instruction.opcode:
        case opcode if opcode in _ELEMENTWISE:
            return float(elements)
        case opcode if opcode in _FREE:
            return 0.0
        case "dot":
            return 2.0 * elements * _contracted(instruction, inputs)
        case "convolution":
            return 2.0 * elements * _window(instruction, inputs)
        case "reduce" | "all-reduce" | "reduce-scatter":
            return float(max(sum(read[: len(instruction.arrays)]) - elements, 0))
        case "reduce-window":
            window = _WINDOW.search(instruction.attributes)
            sizes = window[1].split("x") if window else []
            return float(elements * max(math.prod(map(int, sizes)) - 1, 0))
        case "scatter":
            return float(read[-1]) if read else None
    return None


def bytes_of(arrays: Arrays) -> float:
    """The bytes that arrays take."""
    return math.fsum(math.prod(sizes) * _bits(dtype) / 8 for dtype, sizes in arrays)


def _bits(dtype: str) -> int:
    if dtype == "pred":
        return 8
    if dtype in ("token", "opaque"):
        return 0
    known = _DTYPE_BITS.match(dtype)
    return int(known[1]) if known else 0


def _contracted(instruction: Instruction, inputs: Sequence[Arrays]) -> int:
    found = _CONTRACTED.search(instruction.attributes)
    if found is None or not inputs or not inputs[0]:
        return 1
    sizes = inputs[0][0][1]
    return math.prod(sizes[int(i)] for i in found[1].split(",") if i)


def _window(instruction: Instruction, inputs: Sequence[Arrays]) -> float:
    """Products for each element of the result: the kernel without its output features."""
    labels = _LABELS.search(instruction.attributes)
    if labels is None or len(inputs) < 2 or not inputs[1]:
        return 1
    kernel = inputs[1][0][1]
    return math.prod(n for n, label in zip(kernel, labels[1], strict=True) if label != "o")
