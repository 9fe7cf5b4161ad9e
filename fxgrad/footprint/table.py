"""A function's memory as text tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich import box
from rich.table import Table

from fxgrad.footprint.record import Backward, EagerPeak, Gradient, Holding, Program, Record, Saving
from fxgrad.printing import printed
from fxgrad.quantities import in_bytes

_SHOWN: Final = 12
_SHAPES: Final = 3


def text_table(memory: Record) -> str:
    """The parts side by side, what is held at the worst moment, what is kept, and notes."""
    return printed(*_parts(memory), width=120)


def _parts(memory: Record) -> Iterator[str | Table]:
    yield f"{memory.title} on {memory.device}"
    yield _side_by_side(memory)
    if memory.why_not_static:
        yield f"There is no static program: {memory.why_not_static}"
    yield _moment(memory.eager)
    if memory.eager.held:
        yield _holdings(memory.eager.held)
    if memory.gradient is not None:
        yield from _gradient(memory.gradient)
    if memory.backward is not None:
        yield from _backward(memory.backward)
    yield from memory.notes


def _side_by_side(memory: Record) -> Table:
    eager, compiled = memory.eager, memory.compiled
    table = _table("", "eager at its worst", compiled.of if compiled else "compiled")
    made, inner = eager.bytes_of("result"), eager.inner_bytes
    captured = eager.bytes_of("captured")
    rows: list[tuple[str, int | None, int | None]] = [
        ("all", eager.bytes, compiled and compiled.bytes),
        ("arguments", eager.bytes_of("argument"), compiled and compiled.argument_bytes),
        ("captured arrays", captured, None),
        ("results, in between and at the end", made, None),
        ("outputs", None, compiled and compiled.output_bytes),
        ("taken in between", inner, compiled and compiled.temporary_bytes),
        ("in place of arguments", None, compiled and compiled.aliased_bytes),
    ]
    for label, left, right in rows:
        table.add_row(label, _cell(left), _cell(right))
    return table


def _moment(eager: EagerPeak) -> str:
    if eager.number is None:
        return "Eager runs no operation."
    at = f" at {eager.place}  {eager.place.line}" if eager.place else ""
    return (
        f"Eager is at its worst in operation {eager.number + 1} of {eager.operations}, "
        f"{eager.operation}{at}. It holds:"
    )


def _holdings(held: Sequence[Holding]) -> Table:
    table = _table("bytes", "arrays", "shapes", "what", labels_from=2)
    for holding in held[:_SHOWN]:
        shapes = ", ".join(holding.shapes[:_SHAPES])
        more = ", …" if len(holding.shapes) > _SHAPES else ""
        table.add_row(in_bytes(holding.bytes), str(holding.count), shapes + more, _what(holding))
    rest = held[_SHOWN:]
    if rest:
        left = sum(holding.bytes for holding in rest)
        count = str(sum(holding.count for holding in rest))
        table.add_row(in_bytes(left), count, "…", f"{len(rest)} more")
    return table


def _what(holding: Holding) -> str:
    if holding.place is not None:
        return f"{holding.place}  {holding.place.line}"
    return f"argument {holding.label}" if holding.kind == "argument" else holding.label


def _gradient(gradient: Gradient) -> Iterator[str | Table]:
    yield "It is a loss. Its gradient by argument 0:"
    if gradient.why_not:
        yield f"not compiled: {gradient.why_not}"
    table = _table("", "all", "in between")
    table.add_row("eager at its worst", in_bytes(gradient.eager.bytes), "")
    for program in (gradient.plain, gradient.checkpointed):
        if program is not None:
            table.add_row(*_program_row(program))
    yield table


def _program_row(program: Program) -> tuple[str, str, str]:
    return f"compiled {program.of}", in_bytes(program.bytes), in_bytes(program.temporary_bytes)


def _backward(backward: Backward) -> Iterator[str | Table]:
    yield (
        f"For its backward pass {backward.of} keeps {in_bytes(backward.bytes)}, "
        "arguments not counted."
    )
    if not backward.kept:
        return
    yield _holdings(backward.kept)
    flops = backward.recompute_flops
    price = "an unknown number of" if flops is None else f"{flops:.3g}"
    yield (
        "jax.checkpoint around the whole loss would keep its arguments only, and make this again "
        f"for {price} floating-point operations. Around parts, each made again by itself:"
    )
    if backward.savings:
        yield _savings(backward.savings)


def _savings(found: Sequence[Saving]) -> Table:
    table = _table("part", "keeps", "saved", "made again at once", "less at the worst moment")
    for saving in found:
        label = (f"{saving.count} × " if saving.count > 1 else "") + saving.label
        sizes = (
            saving.kept_bytes,
            saving.saved_bytes,
            saving.made_again_bytes,
            max(saving.gain_bytes, 0),
        )
        table.add_row(label, *map(in_bytes, sizes))
    return table


def _table(*columns: str, labels_from: int | None = None) -> Table:
    """A table whose columns are numbers, but for the first, or for those from `labels_from` on."""
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        is_label = number == 0 if labels_from is None else number >= labels_from
        table.add_column(column, justify="left" if is_label else "right", overflow="fold")
    return table


def _cell(count: int | None) -> str:
    return "–" if count is None else in_bytes(count)
