"""The graph of replay's paths: segments, the decisions between them, and the ends."""

from __future__ import annotations

from typing import Final

from fxgrad.graphs.sketch import Sketch
from fxgrad.replay.paths import PathTree, RecordedSegment

_KINDS_SHOWN: Final = 12


def draw_paths(sketch: Sketch, tree: PathTree) -> None:
    """Sketch a tree: for each segment its operations, then what comes after them."""
    ends: dict[int, int] = {}
    for segment in tree.segments:
        start = _segment(sketch, segment)
        if segment.parent is not None:
            sketch.connect([ends[segment.parent]], start, segment.answer, "answer")
        ends[segment.number] = _end(sketch, segment, start)


def _segment(sketch: Sketch, segment: RecordedSegment) -> int:
    shown = list(segment.kinds.items())[:_KINDS_SHOWN]
    words = ", ".join(f"{count} {name}" for name, count in shown)
    more = ", …" if len(segment.kinds) > len(shown) else ""
    served = f"served as {segment.served}; " if segment.served else ""
    return sketch.add(
        kind="segment",
        label=f"{segment.operations} operation{'s' * (segment.operations != 1)}",
        place=segment.begins,
        detail=f"{served}{words}{more}",
        hits=segment.hits,
    )


def _end(sketch: Sketch, segment: RecordedSegment, start: int) -> int:
    at = str(segment.place) if segment.place else "decision"
    words = {"decision": at, "output": "output", "python": "Python runs"}
    end = sketch.add(
        kind=segment.end, label=words[segment.end], place=segment.place, hits=segment.hits
    )
    sketch.connect([start], end, "")
    return end
