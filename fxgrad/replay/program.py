"""Programs: blocks compiled by XLA, shared by structure among all Functions, and bounded."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

import jax

from fxgrad.agreed import Agreed
from fxgrad.replay.code import Block, Literal
from fxgrad.replay.together import current

MAX_PROGRAMS: Final = 4096
MAX_BYTES: Final = 4 << 30
# XLA does not tell what a program holds. Resident memory on a CPU, with 4 to 1,600 operations.
_BYTES_OF_A_PROGRAM: Final = 480 << 10
_BYTES_OF_A_LINE: Final = 16 << 10
_MAX_VARIANTS: Final = 2


class Program:
    """A block, compiled when it is called; when it has been evicted, at the next call again."""

    __slots__ = ("__weakref__", "agreed", "block", "jitted", "nbytes", "used")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.agreed = Agreed()
        self.jitted: Callable[..., list[Any]] | None = None
        self.used = True
        self.nbytes = _BYTES_OF_A_PROGRAM + block.size * _BYTES_OF_A_LINE

    def __call__(self, *inputs: Any) -> list[Any]:
        """The outputs of the block."""
        self.used = True
        jitted = self.jitted
        if jitted is None:
            jitted = PROGRAMS.admit(self)
        together = current()
        return jitted(*inputs) if together is None else together.run(self.agreed, jitted, inputs)


class Programs:
    """The compiled programs. When they are too many, those not used for long are dropped."""

    def __init__(self, max_programs: int = MAX_PROGRAMS, max_bytes: int = MAX_BYTES) -> None:
        self._max_programs = max_programs
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._known: weakref.WeakValueDictionary[Hashable, Program] = weakref.WeakValueDictionary()
        self._literals: OrderedDict[Hashable, frozenset[tuple[Literal, ...]]] = OrderedDict()
        self._compiled: dict[Hashable, Program] = {}
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._compiled)

    def get(self, block: Block) -> Program:
        """The one program of this structure."""
        with self._lock:
            program = self._known.get(block.key)
            if program is None:
                program = self._known[block.key] = Program(block)
        return program

    def shared(self, block: Block) -> tuple[Program, tuple[jax.Array, ...]]:
        """The program of a block, and the values of its last parameters.

        Blocks that differ in scalars, as the turns of a counting loop do and calls with other
        Python numbers, share a program that takes them as inputs, from the third on.
        """
        generic, literals = block.generic()
        with self._lock:
            found = self._literals.pop(generic.key, frozenset())
            if len(found) <= _MAX_VARIANTS:
                found |= {literals}
            self._literals[generic.key] = found
            if len(self._literals) > self._max_programs:
                self._literals.popitem(last=False)
        if len(found) <= _MAX_VARIANTS:
            return self.get(block), ()
        return self.get(generic), tuple(literal.array() for literal in literals)

    def admit(self, program: Program) -> Callable[..., list[Any]]:
        """What runs `program`. It takes the place of others if there are too many."""
        with self._lock:
            if program.jitted is not None:  # another thread was first
                return program.jitted
            program.jitted = jitted = jax.jit(program.block.run)
            self._compiled[program.block.key] = program
            self.nbytes += program.nbytes
            self._evict(program)
        return jitted

    def _evict(self, newest: Program) -> None:
        """Take turns: who has been used since its last turn is spared once more."""
        for program in itertools.cycle(list(self._compiled.values())):
            if len(self._compiled) <= self._max_programs and self.nbytes <= self._max_bytes:
                return
            if program is newest:
                if len(self._compiled) == 1:
                    return
            elif program.used:
                program.used = False
            elif program.jitted is not None:
                del self._compiled[program.block.key]
                program.jitted = None
                self.nbytes -= program.nbytes


PROGRAMS: Final = Programs()
