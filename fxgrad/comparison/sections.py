"""The sections of a page that are made of a comparison's details, as plain values to fill in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fxgrad.comparison.details import Details
from fxgrad.footprint.record import Holding, Saving
from fxgrad.footprint.result import Memory
from fxgrad.graphs.page import STAGES, render_view
from fxgrad.quantities import in_bytes, in_flops

_SHOWN: Final = 8
_ADVISED: Final = 3


def graph_sections(details: Details) -> list[dict[str, Any]]:
    """Each graph with its heading."""
    found = []
    for graph in details.graphs:
        whole = graph.summary().whole
        size = f"{len(graph.nodes):,} nodes"
        if graph.stage != "paths":
            cost = f"{in_flops(whole.flops)}, {in_bytes(whole.bytes)} read and written"
            size = f"{whole.count:,} operations, {cost}"
        kind = "dynamic" if graph.stage == "paths" else "static"
        title = f"{kind}, {STAGES[graph.stage]}: {size}"
        found.append({"title": title, "view": render_view(graph), "notes": graph.notes})
    return found


def advice_of(details: Details) -> list[str]:
    """What decides, what it costs, and what to write instead."""
    if details.explanation is None:
        return []
    found = [f"decision at {decision}" for decision in details.explanation.decisions]
    for reason, instead in details.explanation.fallbacks_with_advice():
        found.append(f"{reason}\n→ {instead}" if instead else reason)
    return found


def agreement_of(details: Details) -> str:
    """Where a compiled value leaves eager's, or that none does."""
    if details.divergence is not None:
        return str(details.divergence)
    if "agreement" in details.missing:
        return ""
    return "No compiled value leaves eager's beyond rounding, and nothing became NaN or infinite."


def memory_section(memory: Memory | None) -> dict[str, Any] | None:
    """The tables of a function's memory."""
    if memory is None:
        return None
    return {"tables": list(_tables(memory)), "notes": list(_notes(memory))}


def _tables(memory: Memory) -> Iterator[dict[str, Any]]:
    yield _side_by_side(memory)
    at = f", at {memory.eager.place}" if memory.eager.place else ""
    yield _bars(f"What eager holds at its worst moment{at}", memory.eager.held)
    if memory.backward is not None and memory.backward.kept:
        size = in_bytes(memory.backward.bytes)
        title = f"Activations that {memory.backward.of} keeps for the backward pass: {size}"
        yield _bars(title, memory.backward.kept)


def _side_by_side(memory: Memory) -> dict[str, Any]:
    eager, compiled = memory.eager, memory.compiled
    rows = [
        ("all", eager.bytes, compiled and compiled.bytes),
        ("arguments", eager.bytes_of("argument"), compiled and compiled.argument_bytes),
        ("captured arrays", eager.bytes_of("captured"), None),
        ("results, at the end and in between", eager.bytes_of("result"), None),
        ("outputs", None, compiled and compiled.output_bytes),
        ("taken in between", eager.inner_bytes, compiled and compiled.temporary_bytes),
    ]
    name = compiled.of if compiled else "compiled: the backend does not tell"
    return {
        "title": "Eager beside compiled",
        "columns": ["eager, at its worst", name],
        "rows": [{"label": label, "cells": list(map(_cell, cells))} for label, *cells in rows],
        "bars": False,
    }


def _bars(title: str, held: Sequence[Holding]) -> dict[str, Any]:
    largest = max((holding.bytes for holding in held), default=0)
    rows = [
        {
            "size": in_bytes(holding.bytes),
            "share": round(100 * holding.bytes / largest, 1) if largest else 0,
            "label": str(holding.place) if holding.place else holding.label,
            "line": holding.place.line if holding.place else "",
        }
        for holding in held[:_SHOWN]
    ]
    return {"title": title, "columns": [], "rows": rows, "bars": True}


def _notes(memory: Memory) -> Iterator[str]:
    if memory.why_not_static:
        yield f"There is no static program: {memory.why_not_static}"
    yield from map(_advice, _worth(memory)[:_ADVISED])
    yield from memory.notes


def _worth(memory: Memory) -> list[Saving]:
    """The savings by which less is held at the worst moment."""
    found = memory.backward.savings if memory.backward else ()
    return [saving for saving in found if saving.gain_bytes > 0]


def _advice(saving: Saving) -> str:
    parts = f"{saving.count} × {saving.label}" if saving.count > 1 else saving.label
    return (
        f"jax.checkpoint around {parts} would hold {in_bytes(saving.gain_bytes)} less at the worst "
        f"moment: {in_bytes(saving.saved_bytes)} less is kept for the backward pass, and "
        f"{in_bytes(saving.made_again_bytes)} at a time is made again."
    )


def _cell(count: int | None) -> str:
    return "–" if count is None else in_bytes(count)
