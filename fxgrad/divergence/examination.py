"""An examination: from the outputs of every mode to what is reported of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax
import numpy as np

from fxgrad.divergence.causes import find_cause
from fxgrad.divergence.difference import Gap, Tolerance, as_wide, gap_between, is_inexact, scale_of
from fxgrad.divergence.finds import find_nonfinite
from fxgrad.divergence.locate import Sighting, locate
from fxgrad.divergence.outcomes import (
    Leaf,
    gaps_of,
    leaves_of,
    run_in_mode,
    values_by_slot,
    worst_of,
)
from fxgrad.divergence.program import Program
from fxgrad.divergence.record import Cause, Found, Nearer, OutputGap, Side, Trial
from fxgrad.divergence.reference import reference_values
from fxgrad.divergence.result import Divergence
from fxgrad.divergence.sites import site_of
from fxgrad.divergence.words import ADVICE
from fxgrad.modes import Mode
from fxgrad.observed import Observed
from fxgrad.recorder import Slot

_OTHERS: Final[tuple[Mode, ...]] = ("static", "replay")
# An output is zero but for rounding if float64 has it smaller by the first factor, and if it is
# smaller than the inputs by the second.
_ZERO: Final = 1e-3
_TINY: Final = 1e-4
_ALIKE: Final = 1.1


class Examination:
    """One function on one set of arguments, eager's run at hand."""

    def __init__(
        self,
        fun: Callable[..., Any],
        args: tuple[Any, ...],
        observed: Observed,
        tolerance: Tolerance,
        options: Mapping[str, Any] | None,
        *,
        masked: bool,
    ) -> None:
        self._fun, self._args, self._observed = fun, args, observed
        self._tolerance, self._masked = tolerance, masked
        self._options = options
        self._program = Program(observed, options)
        self._leaves = leaves_of(observed)
        self._failures: dict[str, str] = {}
        self._notes: list[str] = []

    def result(self, changed: tuple[str, ...] = ()) -> Divergence | None:
        """What there is to report, or None; `changed` names arguments changed in place."""
        outputs = self._outputs_by_mode()
        gaps = {mode: gaps_of(self._leaves, v, self._tolerance) for mode, v in outputs.items()}
        self._forgive_zeros(gaps, outputs)
        apart = {m: [pair for pair in g if pair[1].diverges] for m, g in gaps.items()}
        diverging = {mode: worst_of(pairs) for mode, pairs in apart.items() if pairs}
        nonfinite = find_nonfinite(self._program, self._leaves, outputs, masked=self._masked)
        if not (diverging or nonfinite or changed):
            return None
        found = self._find(apart, diverging) if diverging else None
        return Divergence(
            title=getattr(self._fun, "__qualname__", repr(self._fun)),
            diverging=diverging,
            agreeing=tuple(mode for mode in outputs if mode not in diverging),
            failures=self._failures,
            found=found,
            first_nonfinite=nonfinite,
            changed_arguments=changed,
            notes=tuple(self._notes),
        )

    def _outputs_by_mode(self) -> dict[str, list[Any]]:
        """The leaves that each mode returns; the observed program's where none can be run."""
        outputs: dict[str, list[Any]] = {}
        reason = self._why_not_run()
        for mode in _OTHERS:
            if reason:
                self._failures[mode] = reason
                continue
            try:
                output = run_in_mode(self._fun, self._args, mode)
            except Exception as error:  # eager ran, so the mode cannot: its reason is the answer
                self._failures[mode] = f"{type(error).__name__}: {error}"
                continue
            if self._has_eagers_structure(output, mode):
                outputs[mode] = jax.tree.leaves(output)
        if not outputs:
            values = self._program.compiled_values(self._program.outputs)
            outputs["compiled"] = values_by_slot(self._leaves, values)
        return outputs

    def _why_not_run(self) -> str:
        if self._options:
            return "it takes no compiler options; the operations of eager are compiled with them"
        effects = sum(operation.has_effects for operation in self._observed.operations)
        if effects:
            return (
                f"{effects} operation(s) print, call back or write, and do so once only; the "
                "operations of eager are compiled without them"
            )
        return ""

    def _has_eagers_structure(self, output: Any, mode: str) -> bool:
        eager = jax.tree.structure(self._observed.output, is_leaf=lambda x: isinstance(x, Slot))
        if jax.tree.structure(output) == eager:
            return True
        self._failures[mode] = f"its output is {jax.tree.structure(output)}, eager's is {eager}"
        return False

    def _forgive_zeros(
        self, gaps: dict[str, list[tuple[Leaf, Gap]]], outputs: Mapping[str, Sequence[Any]]
    ) -> None:
        """Take out the outputs that are zero but for rounding, unless `atol` rules that."""
        if self._tolerance.atol is not None:
            return
        tiny = {mode: self._tiny(pairs, outputs[mode]) for mode, pairs in gaps.items()}
        zeros = self._zeros_among(list(set().union(*tiny.values())))
        for mode, pairs in gaps.items():
            gaps[mode] = [pair for pair in pairs if pair[0].slot not in zeros & tiny[mode]]

    def _tiny(self, pairs: Sequence[tuple[Leaf, Gap]], output: Sequence[Any]) -> set[Slot]:
        """The slots that diverge, and are tiny beside the inputs in eager and in the mode."""
        inputs = [v for v in self._program.given.values() if is_inexact(v)]
        most = _TINY * max((_size(value) for value in inputs), default=0.0)
        compiled = {leaf.slot: v for leaf, v in zip(self._leaves, output, strict=True)}
        return {
            leaf.slot
            for leaf, gap in pairs
            if leaf.slot is not None and _may_be_zero(leaf, gap)
            if max(_size(leaf.value), _size(compiled[leaf.slot])) < most
        }

    def _zeros_among(self, slots: Sequence[Slot]) -> set[Slot]:
        if not slots:
            return set()
        values = {leaf.slot: leaf.value for leaf in self._leaves if leaf.slot is not None}
        reference = reference_values(self._program, slots).values
        return {s for s in slots if _size(reference[s]) <= _ZERO * _size(values[s])}

    def _find(
        self, apart: Mapping[str, list[tuple[Leaf, Gap]]], diverging: Mapping[str, OutputGap]
    ) -> Found | None:
        slots = (leaf.slot for pairs in apart.values() for leaf, _ in pairs if leaf.slot)
        wanted = [slot for slot in dict.fromkeys(slots) if slot in self._program.makers]
        seen = locate(self._program, wanted, self._tolerance) if wanted else None
        if seen is not None:
            cause = find_cause(self._program, seen, self._tolerance)
            return self._found(self._program, seen, cause)
        folding = Program(self._observed, self._options, embed=True)
        seen = locate(folding, wanted, self._tolerance) if wanted else None
        if seen is not None:
            return self._found(folding, seen, self._cause_with_constants(folding, seen))
        self._notes.append(
            "the operations that eager ran, compiled as one program, do not show it: it comes "
            f"from how {' and '.join(diverging)} puts the program together"
        )
        return None

    def _cause_with_constants(self, folding: Program, seen: Sighting) -> Cause:
        """Why, when it is seen only with captured arrays as constants in the program."""
        watched = [*self._program.outputs, seen.slot]
        value = self._program.compiled_values(watched)[seen.slot]
        gap = gap_between(seen.eager, value, self._tolerance)
        if gap.diverges:
            return find_cause(folding, seen, self._tolerance)
        trial = Trial("constant folding", "captured arrays as arguments", gap.relative, True)
        return Cause("constant folding", (trial,), ADVICE["constant folding"])

    def _found(self, program: Program, seen: Sighting, cause: Cause) -> Found:
        before = seen.first_bits
        return Found(
            site=site_of(program, seen.number, seen.slot),
            gap=seen.gap,
            nearer=_nearer(program, seen),
            cause=cause,
            seen=seen.seen,
            first_bits=None if before is None else site_of(program, before),
        )


def _nearer(program: Program, seen: Sighting) -> Nearer | None:
    if not is_inexact(seen.eager):
        return None
    reference = reference_values(program, [seen.slot])
    truth = reference.values[seen.slot]
    wide = [as_wide(np.asarray(value)) for value in (seen.eager, seen.compiled)]
    size = max(scale_of(value, truth) for value in wide) or 1.0
    eager, compiled = (_error(value, truth, size) for value in wide)
    side: Side = "neither"
    if max(eager, compiled) > _ALIKE * min(eager, compiled):
        side = "eager" if eager < compiled else "compiled"
    rounded = reference.rounded_from
    return Nearer(side, eager, compiled, None if rounded is None else rounded + 1)


def _error(wide: np.ndarray, truth: np.ndarray, size: float) -> float:
    """The largest error relative to a size; equal infinities and NaNs are none."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(wide - truth)
    same = (wide == truth) | (np.isnan(wide) & np.isnan(truth))
    difference = np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))
    return float(np.max(difference, initial=0.0)) / size


def _may_be_zero(leaf: Leaf, gap: Gap) -> bool:
    return is_inexact(leaf.value) and gap.diverges and math.isfinite(gap.absolute)


def _size(value: Any) -> float:
    array = np.abs(as_wide(np.asarray(value)))
    return float(np.max(array, initial=0.0, where=np.isfinite(array)))
