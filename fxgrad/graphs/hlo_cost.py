"""What an instruction of a compiled program costs, counted as XLA's own cost analysis counts.

XLA tells the sums over a whole program only, and those are what the tests compare with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from fxgrad.graphs.convolution import products_of
from fxgrad.graphs.hlo_text import Arrays, Instruction, Program

# One operation for each element of the result; transcendental functions count as one too.
_ELEMENTWISE: Final = frozenset(
    [
        *("abs", "add", "and", "atan2", "cbrt", "ceil", "clamp", "compare", "complex"),
        *("convert", "cosine", "count-leading-zeros", "divide", "erf", "exponential"),
        *("exponential-minus-one", "floor", "imag", "is-finite", "log", "log-plus-one"),
        *("logistic", "maximum", "minimum", "multiply", "negate", "not", "or", "popcnt"),
        *("power", "real", "reduce-precision", "remainder", "round-nearest-afz"),
        *("round-nearest-even", "rsqrt", "select", "shift-left", "shift-right-arithmetic"),
        *("shift-right-logical", "sign", "sine", "sqrt", "stochastic-convert", "subtract"),
        *("tan", "tanh", "xor"),
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
_SLICES: Final = frozenset(["slice", "dynamic-slice", "gather"])
_DTYPE_BITS: Final = re.compile(r"[a-z]+?(\d+)")
_CONTRACTED: Final = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_WINDOW: Final = re.compile(r"window=\{size=([\dx]+)")


class HloCost:
    """The costs of the instructions of one program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._shapes: Mapping[str, Arrays] = {
            instruction.name: instruction.arrays
            for computation in program.computations.values()
            for instruction in computation
        }

    def arrays_of(self, name: str) -> Arrays:
        """What an instruction gives."""
        return self._shapes.get(name, ())

    def flops_of(self, instruction: Instruction) -> float | None:
        """Floating-point operations of one run; None where they are not known."""
        elements = _elements(instruction.arrays)
        read = [self.arrays_of(name) for name in instruction.operands]
        match instruction.opcode:
            case opcode if opcode in _ELEMENTWISE:
                return float(elements)
            case opcode if opcode in _FREE:
                return 0.0
            case "dot":
                return 2.0 * elements * _contracted(instruction, read)
            case "convolution":
                return 2.0 * products_of(instruction, read)
            case "reduce":
                inputs = sum(map(_elements, read[: len(instruction.arrays)]))
                return self._times(instruction, (inputs - elements) / len(instruction.arrays))
            case "reduce-window":
                return self._times(instruction, elements * (_window(instruction) - 1))
            case "all-reduce" | "reduce-scatter":
                return self._times(instruction, sum(map(_elements, read)))
            case "scatter":
                return self._times(instruction, _elements(read[-1]) if read else 0)
            case "sort":
                return float(_elements(read[0]) * _log2(_elements(read[0])))
            case "fft":
                return 8.0 * _elements(read[0]) * _log2(_elements(read[0]))
        return None

    def flops_of_computation(self, name: str) -> float | None:
        """Those of all instructions of a computation, loops of known length by their turns."""
        total = 0.0
        for instruction in self._program.computations[name]:
            called = [inner for names in instruction.called.values() for inner in names]
            if instruction.opcode in ("fusion", "call", "while"):
                parts = [self.flops_of_computation(inner) for inner in called]
                flops = None if None in parts else math.fsum(part or 0.0 for part in parts)
                turns = instruction.trip_count if instruction.opcode == "while" else 1
                flops = None if flops is None or turns is None else flops * turns
            else:
                flops = self.flops_of(instruction)
            if flops is None:
                return None
            total += flops
        return total

    def bytes_of(self, instruction: Instruction) -> float:
        """Bytes read and written by an instruction that stands alone."""
        written = bytes_of(instruction.arrays)
        if instruction.opcode in _SLICES:
            return 2 * written  # what is left out is not read
        if instruction.opcode == "dynamic-update-slice":
            return 2 * bytes_of(self.arrays_of(instruction.operands[1]))
        return written + sum(bytes_of(self.arrays_of(name)) for name in instruction.operands)

    def bytes_of_fusion(self, instruction: Instruction) -> float:
        """Bytes read and written by a fusion: of what it only slices or updates, that part."""
        inside = self._program.computations[instruction.called["calls"][0]]
        read = sum(self._read(p, inside) for p in inside if p.opcode == "parameter")
        (root,) = (i for i in inside if i.is_root)
        roots = [i for i in inside if i.name in root.operands] if root.opcode == "tuple" else [root]
        return read + sum(map(self._written, roots))

    def _read(self, parameter: Instruction, inside: Sequence[Instruction]) -> float:
        parts = []
        for reader in inside:
            if parameter.name not in reader.operands:
                continue
            is_first = reader.operands[0] == parameter.name
            if is_first and reader.opcode in _SLICES:
                parts.append(bytes_of(reader.arrays))
            elif is_first and reader.opcode == "dynamic-update-slice":
                parts.append(0.0)  # it is written where it lies
            else:
                return bytes_of(parameter.arrays)
        return min(sum(parts), bytes_of(parameter.arrays))

    def _written(self, root: Instruction) -> float:
        if root.opcode == "dynamic-update-slice":
            return bytes_of(self.arrays_of(root.operands[1]))
        return bytes_of(root.arrays)

    def _times(self, instruction: Instruction, count: float) -> float | None:
        """A computation that is applied so often."""
        flops = self.flops_of_computation(instruction.called["to_apply"][0])
        return None if flops is None else max(count, 0) * flops


def bytes_of(arrays: Arrays) -> float:
    """The bytes that arrays take."""
    return math.fsum(math.prod(sizes) * _bits(dtype) / 8 for dtype, sizes in arrays)


def _elements(arrays: Arrays) -> int:
    return sum(math.prod(sizes) for _, sizes in arrays)


def _log2(count: int) -> int:
    return (count - 1).bit_length() if count > 1 else 0


def _bits(dtype: str) -> int:
    if dtype == "pred":
        return 8
    if dtype in ("token", "opaque"):
        return 0
    known = _DTYPE_BITS.match(dtype)
    return int(known[1]) if known else 0


def _contracted(instruction: Instruction, read: Sequence[Arrays]) -> int:
    found = _CONTRACTED.search(instruction.attributes)
    if found is None or not read or not read[0]:
        return 1
    sizes = read[0][0][1]
    return math.prod(sizes[int(i)] for i in found[1].split(",") if i)


def _window(instruction: Instruction) -> int:
    found = _WINDOW.search(instruction.attributes)
    return math.prod(map(int, found[1].split("x"))) if found else 1
