"""The record of a function's memory: frozen data, in bytes. Its view belongs to `table`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fxgrad.places import Place

HoldingKind = Literal["argument", "captured", "result"]
Grouping = Literal["scope", "line"]


@dataclass(frozen=True)
class Holding:
    """Arrays that are held together: of one argument, or made by one line.

    Attributes:
      kind: whether an argument brought them, the function closes over them, or it made them.
      label: the argument's name, or the operations that made them.
      place: the user's line that made them, if it is known.
      bytes: what they take.
      count: how many they are.
      shapes: their shapes and dtypes, each once.
    """

    kind: HoldingKind
    label: str
    place: Place | None
    bytes: int
    count: int
    shapes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The holding as plain values."""
        place = self.place.to_dict() if self.place else None
        return {**vars(self), "place": place, "shapes": list(self.shapes)}


@dataclass(frozen=True)
class EagerPeak:
    """The worst moment of a run op by op: one operation with its results, and all that is held.

    Attributes:
      bytes: what is held then; the sum of `held` and of `inner_bytes`.
      inner_bytes: what the operation takes while it runs, besides operands and results. Only a
        nested function, a loop or a branch has any; None where the backend does not tell.
      number: the operation, from 0; None if the function has none.
      operations: how many there are.
      operation: the name of the operation.
      place: the user's line behind it, if it is known.
      held: what is held then, the largest first.
    """

    bytes: int
    inner_bytes: int | None
    number: int | None
    operations: int
    operation: str
    place: Place | None
    held: tuple[Holding, ...]

    def bytes_of(self, kind: HoldingKind) -> int:
        """The part that is of one kind."""
        return sum(holding.bytes for holding in self.held if holding.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """The moment as plain values."""
        place = self.place.to_dict() if self.place else None
        return {**vars(self), "place": place, "held": [holding.to_dict() for holding in self.held]}


@dataclass(frozen=True)
class Program:
    """What a compiled program takes on one device, by the compiler's own account.

    Attributes:
      of: what was compiled.
      argument_bytes: its inputs.
      output_bytes: its outputs.
      temporary_bytes: what it takes in between.
      aliased_bytes: outputs that take the place of donated inputs.
      code_bytes: the code; 0 on backends that do not count it.
    """

    of: str
    argument_bytes: int
    output_bytes: int
    temporary_bytes: int
    aliased_bytes: int
    code_bytes: int

    @property
    def bytes(self) -> int:
        """Inputs, outputs and what is taken in between."""
        taken = self.argument_bytes + self.output_bytes + self.temporary_bytes
        return taken - self.aliased_bytes

    def to_dict(self) -> dict[str, Any]:
        """The program as plain values."""
        return {**vars(self), "bytes": self.bytes}


@dataclass(frozen=True)
class Saving:
    """What `jax.checkpoint` around one part would save of what is kept for the backward pass.

    Attributes:
      label: the scope, ``"Net/Block_*"`` for all that differ by their number, or the line.
      grouped_by: whether it is a scope or a line.
      count: how many parts have this label; each would be checkpointed by itself.
      kept_bytes: what they keep now.
      saved_bytes: that, less the inputs that they would keep instead.
      made_again_bytes: what the largest one makes again, and holds, for its backward pass.
    """

    label: str
    grouped_by: Grouping
    count: int
    kept_bytes: int
    saved_bytes: int
    made_again_bytes: int

    @property
    def gain_bytes(self) -> int:
        """What is held less at the worst moment, if that is when a part is made again."""
        return self.saved_bytes - self.made_again_bytes

    def to_dict(self) -> dict[str, Any]:
        """The saving as plain values."""
        return {**vars(self), "gain_bytes": self.gain_bytes}


@dataclass(frozen=True)
class Backward:
    """What a run op by op keeps from the forward for the backward pass.

    Attributes:
      of: the function, or its gradient.
      bytes: what is kept at one time, at most. Arguments and captured arrays are not in it.
      kept: the values, by the line that made them, the largest first.
      savings: where `jax.checkpoint` would save most, the most first.
      recompute_flops: floating-point operations to make all of it again, which is the price of
        `jax.checkpoint` around the whole loss; a sine is one, a loop counts by its turns, and by
        one where they are not known. None if the compiler does not tell.
    """

    of: str
    bytes: int
    kept: tuple[Holding, ...]
    savings: tuple[Saving, ...]
    recompute_flops: float | None

    def to_dict(self) -> dict[str, Any]:
        """What is kept as plain values."""
        return {
            "of": self.of,
            "bytes": self.bytes,
            "kept": [holding.to_dict() for holding in self.kept],
            "savings": [saving.to_dict() for saving in self.savings],
            "recompute_flops": self.recompute_flops,
        }


@dataclass(frozen=True)
class Gradient:
    """The gradient of a loss by its first argument, compiled in two ways.

    Attributes:
      eager: the worst moment of `jax.grad` of the loss, run op by op.
      plain: `jax.grad` of the loss; None where it cannot be compiled.
      checkpointed: `jax.grad` of the loss under `jax.checkpoint`, as a whole.
      why_not: why there are no programs, or the empty string.
    """

    eager: EagerPeak
    plain: Program | None
    checkpointed: Program | None
    why_not: str

    def to_dict(self) -> dict[str, Any]:
        """Both programs as plain values."""
        return {
            "eager": self.eager.to_dict(),
            "plain": self.plain.to_dict() if self.plain else None,
            "checkpointed": self.checkpointed.to_dict() if self.checkpointed else None,
            "why_not": self.why_not,
        }


@dataclass(frozen=True)
class Record:
    """What a function takes.

    Attributes:
      title: the function.
      device: the kind of device.
      eager: its worst moment op by op.
      compiled: the static program, or the path's where static cannot run the function; None where
        the backend is silent.
      why_not_static: why `compiled` is not the static program, or the empty string.
      backward: what is kept for the backward pass; None for a function without derivatives.
      gradient: for a loss, its gradient compiled; None for all others.
      notes: what the figures leave out, in sentences.
    """

    title: str
    device: str
    eager: EagerPeak
    compiled: Program | None
    why_not_static: str
    backward: Backward | None
    gradient: Gradient | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values."""
        return {
            "title": self.title,
            "device": self.device,
            "eager": self.eager.to_dict(),
            "compiled": self.compiled.to_dict() if self.compiled else None,
            "why_not_static": self.why_not_static,
            "backward": self.backward.to_dict() if self.backward else None,
            "gradient": self.gradient.to_dict() if self.gradient else None,
            "notes": list(self.notes),
        }
