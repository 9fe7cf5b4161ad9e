"""A divergence in words: what a terminal shows of a record, and what to do about each cause."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from fxgrad.divergence.record import Cause, Found, Kind, Nearer, NonFinite, Record, Site

ADVICE: Final[Mapping[Kind, str]] = {
    "fusion": (
        "Operations that are compiled together round less often, or in another order: a multiply "
        "and an add become one instruction, an expression is rewritten. Rewrite what cancels "
        "(expm1, log1p, a difference taken earlier), compute it in more bits, or put "
        "jax.lax.optimization_barrier before the equation; the CPU may fuse across that."
    ),
    "reduction order": (
        "Sums of floats depend on their order, and a larger program may choose another. Neither is "
        "right: allow for it with rtol, sum in more bits (dtype= of a sum, preferred_element_type= "
        "of a product), or take large terms that cancel out before."
    ),
    "matmul precision": (
        "The two choose kernels that multiply in fewer bits. Write precision='highest' at the "
        "product, or with jax.default_matmul_precision('highest'): …"
    ),
    "fast-math": (
        "Fast-math lets the compiler reorder sums and forget NaN, infinity and signed zero. Leave "
        "the option out, of XLA_FLAGS too."
    ),
    "excess precision": (
        "The compiler left out roundings to 16 bits that eager makes. For eager's numbers, compile "
        "with compiler_options={'xla_allow_excess_precision': False}; the compiled ones are "
        "usually the better."
    ),
    "constant folding": (
        "The compiler computed with captured arrays beforehand, in its own way. Pass them as "
        "arguments."
    ),
    "unknown": (
        "Nothing that was taken away brought eager's value back. The equation itself may be "
        "compiled otherwise inside of a larger program."
    ),
}
_IN_PLACE: Final = (
    "eager changes the caller's object, a compiled mode a copy that is dropped. Return what is new "
    "and pass it to the next call; with NNX, nnx.split outside and nnx.merge inside."
)
_TINY: Final = 1e-3


def in_words(record: Record) -> str:
    """All of a record, line by line."""
    return "\n".join(_lines(record))


def summary(record: Record) -> str:
    """One line: what leaves eager, where; or what is not finite."""
    modes = _listed(record.diverging)
    if record.found is not None:
        site = record.found.site
        verb = "leaves" if len(record.diverging) == 1 else "leave"
        return f"{record.title}: {modes} {verb} eager at {_where(site)}"
    if record.diverging:
        return f"{record.title}: {modes} ends up apart from eager, and no equation shows it alone"
    if record.first_nonfinite:
        return f"{record.title}: the modes agree, but not all of the output is finite"
    return f"{record.title}: one call agrees in every mode, and further calls need not"


def _lines(record: Record) -> Iterable[str]:
    yield summary(record)
    if record.found is not None:
        yield from _found_lines(record.found)
    for mode, output in record.diverging.items():
        leaf = f" at output{output.path}" if output.path else ""
        yield f"  {mode}'s output differs by {_number(output.gap.relative)} (relative){leaf}"
    yield from _nonfinite_lines(record.first_nonfinite)
    if record.changed_arguments:
        yield f"  {_listed(record.changed_arguments)} changed in place: {_IN_PLACE}"
    if record.agreeing and record.diverging:
        yield f"  {_listed(record.agreeing)} agrees with eager"
    for mode, reason in record.failures.items():
        yield f"  {mode} was not run: {reason.splitlines()[0]}"
    for note in record.notes:
        yield f"  note: {note}"


def _found_lines(found: Found) -> Iterable[str]:
    gap, site = found.gap, found.site
    yield from _source(site)
    ulps = "" if gap.ulps is None else f" ({gap.ulps} ULP)"
    yield (
        f"  largest relative error {_number(gap.relative)}{ulps} in {gap.beyond} of {gap.size} "
        f"elements of {gap.value}: eager {gap.eager!r}, compiled {gap.compiled!r}"
    )
    if found.nearer is not None:
        yield _nearer(found.nearer)
    yield from _cause(found.cause)
    if found.first_bits is not None:
        yield f"  the first bits differ earlier, at {_where(found.first_bits)}"


def _nearer(nearer: Nearer) -> str:
    sizes = f"eager {_number(nearer.eager)}, compiled {_number(nearer.compiled)}"
    doubt = ""
    if nearer.rounded_from is not None:
        doubt = f"; equation {nearer.rounded_from} on the way has no form in float64"
    return f"  nearer to float64: {nearer.side} ({sizes}{doubt})"


def _cause(cause: Cause) -> Iterable[str]:
    if cause.kind == "unknown":
        tried = "; ".join(f"{t.removed}: {_number(t.remaining)}" for t in cause.trials)
        yield f"  cause: unknown (left of the difference with {tried})"
    else:
        last = cause.trials[-1]
        yield (
            f"  cause: {cause.kind} — with {last.removed}, the difference is "
            f"{_number(last.remaining)}"
        )
    yield f"  {cause.advice}"


def _nonfinite_lines(finds: Mapping[str, NonFinite]) -> Iterable[str]:
    for modes, find in _grouped(finds):
        kind = "NaN" if find.kind == "nan" else "infinity"
        if find.site is None:
            yield f"  first {kind} in {modes}: seen in the output only"
            continue
        yield f"  first {kind} in {modes}: made at {_where(find.site)}"
        yield from _source(find.site)
        if find.site.reads:
            yield f"    of {', '.join(find.site.reads)}"
        if find.made_of is not None:
            yield f"    the infinity in it was made at {_where(find.made_of)}"
            yield from _source(find.made_of)


def _grouped(finds: Mapping[str, NonFinite]) -> list[tuple[str, NonFinite]]:
    groups: list[tuple[list[str], NonFinite]] = []
    for mode, find in finds.items():
        same = next((modes for modes, other in groups if other == find), None)
        if same is None:
            groups.append(([mode], find))
        else:
            same.append(mode)
    return [(_listed(modes), find) for modes, find in groups]


def _where(site: Site) -> str:
    inside = f", in {', in '.join(reversed(site.within))}" if site.within else ""
    at = f", {site.place}" if site.place else ""
    return f"equation {site.number} of {site.count}, {site.operation}{inside}{at}"


def _source(site: Site) -> Iterable[str]:
    if site.place and site.place.line:
        yield f"    {site.place.line}"


def _listed(names: Iterable[str]) -> str:
    several = list(names)
    return " and ".join([", ".join(several[:-1]), several[-1]] if several[1:] else several)


def _number(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.1e}" if abs(value) < _TINY or abs(value) >= 1 / _TINY else f"{value:.2g}"
