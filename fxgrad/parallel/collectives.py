"""The collectives of a compiled step: read from XLA's program, not from what was asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import jax
from jax.sharding import Mesh, NamedSharding

from fxgrad.errors import ShardingError
from fxgrad.execution.function import as_function
from fxgrad.graphs.hlo_text import Instruction, Program, read_program
from fxgrad.parallel.groups import axes_of, groups_in
from fxgrad.parallel.mesh import sizes_of
from fxgrad.parallel.traffic import Collective, Traffic
from fxgrad.places import place_of_frames

_KINDS: Final = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    *("collective-broadcast", "ragged-all-to-all"),
)
_CHANNEL: Final = re.compile(r"\bchannel_id=(\d+)")
_BITS: Final = re.compile(r"[a-z]+?(\d+)")
# XLA for TPUs writes a reduce-scatter as a computation of this name that holds an all-reduce.
_SCATTERING: Final = "all-reduce-scatter"


def collectives(step: Callable[..., Any], *args: Any) -> Traffic:
    """What the devices send each other in one call of a compiled step.

    The step is compiled and not run. XLA joins small collectives into one; here each array of such
    a one is counted for itself, so that only bytes depend on the program and not on the joining.

    Args:
      step: a function or `Function` of arrays.
      args: its arguments by position, on a mesh: from `place` and `batch`, or
        `jax.ShapeDtypeStruct` with shardings.

    Raises:
      ShardingError: no argument lies on a mesh.
      ValueDependenceError: Python needs a value, so that there is no one program.
    """
    mesh = _mesh_of(args)
    return collectives_in(as_function(step).lower(*args).compile(), mesh)


def collectives_in(compiled: jax.stages.Compiled, mesh: Mesh) -> Traffic:
    """What the devices of a mesh send each other in one call of a compiled program."""
    program = read_program(compiled.as_text() or "")
    found: dict[Any, Collective] = {}
    for key, each in _Reading(program, mesh).all():
        found.setdefault(key, each)
    return Traffic(tuple(found.values()))


class _Reading:
    """Walks through a program, into loops, branches and fusions."""

    def __init__(self, program: Program, mesh: Mesh) -> None:
        self._program = program
        self._mesh = mesh

    def all(self) -> Iterator[tuple[Any, Collective]]:
        """Every collective with a key; pieces of one that runs beside others share their key."""
        yield from self._within(self._program.entry, 1)

    def _within(self, name: str, runs: int | None) -> Iterator[tuple[Any, Collective]]:
        for instruction in self._program.computations[name]:
            yield from self._read(instruction, name, runs)
            turns = instruction.trip_count if instruction.opcode == "while" else 1
            times = None if runs is None or turns is None else runs * turns
            for inner in (i for names in instruction.called.values() for i in names):
                if inner in self._program.computations:
                    yield from self._within(inner, times)

    def _read(
        self, instruction: Instruction, within: str, runs: int | None
    ) -> Iterator[tuple[Any, Collective]]:
        kind = instruction.opcode.removesuffix("-start")
        if kind not in _KINDS:
            return
        if kind == "all-reduce" and within.startswith(_SCATTERING):
            kind = "reduce-scatter"
        groups = groups_in(instruction.attributes, self._mesh.size)
        devices = 0 if groups is None else groups.shape[1]
        if devices == 1:
            return
        axes = () if groups is None else axes_of(groups, sizes_of(self._mesh)) or ()
        place = place_of_frames(instruction.frames)
        channel = _CHANNEL.search(instruction.attributes)
        # One that runs in pieces beside others has one channel; joined ones share a channel too.
        key: tuple[str, ...] = (kind, within, instruction.name)
        if channel and not within.startswith(_SCATTERING):
            key = (kind, channel[1])
        for number, count in enumerate(_payloads(instruction, devices)):
            told = instruction.op_name
            where = "" if place is None else str(place)
            yield (*key, number), Collective(kind, count, axes, devices, runs, told, where)


def _payloads(instruction: Instruction, devices: int) -> list[int]:
    """The bytes of each array of a collective; of a reduce-scatter what goes in."""
    arrays = list(instruction.arrays)
    if instruction.opcode == "all-gather-start":
        arrays = arrays[len(arrays) // 2 :]
    elif instruction.opcode == "collective-permute-start":
        arrays = arrays[1:2]
    times = devices if instruction.opcode == "reduce-scatter" else 1
    return [times * _bytes_of(dtype, sizes) for dtype, sizes in arrays]


def _bytes_of(dtype: str, sizes: tuple[int, ...]) -> int:
    bits = _BITS.match(dtype)
    return math.ceil(math.prod(sizes) * (int(bits[1]) if bits else 8) / 8)


def _mesh_of(args: tuple[Any, ...]) -> Mesh:
    for leaf in jax.tree.leaves(args):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
            return sharding.mesh
    raise ShardingError(
        "no argument lies on a mesh: write state = parallel.place(state, mesh, rules) and "
        "batch = parallel.batch(batch, mesh)."
    )
