"""The page of a graph: a picture to move about in, on its own, in a notebook, or in another page.

What the page does is written in `viewer/`; what it shows is the record's JSON.
"""

from __future__ import annotations

import base64
import functools
import gzip
import html
from pathlib import Path
from typing import Final

from fxgrad.errors import MissingExtraError
from fxgrad.graphs.record import Record

try:
    import jinja2
except ImportError as error:
    raise MissingExtraError("Jinja", extra="report", purpose="An HTML page") from error

_VIEWER = Path(__file__).parent / "viewer"
_ENGINE = _VIEWER / "elk" / "elk.bundled.js"
# They share one scope, in which a name must be there before a later file uses it at once.
_SCRIPTS = (
    "format.js",
    "elements.js",
    "gather.js",
    "hits.js",
    "model.js",
    "sizes.js",
    "layout.js",
    "engine.js",
    "boxes.js",
    "notes.js",
    "drawing.js",
    "overview.js",
    "where.js",
    "drag.js",
    "camera.js",
    "search.js",
    "legend.js",
    "panel.js",
    "first.js",
    "view.js",
    "controls.js",
)
STAGES: Final = {
    "jaxpr": "as JAX traced it",
    "hlo": "as XLA compiled it",
    "paths": "the paths that replay recorded",
}


def render_page(graph: Record) -> str:
    """The HTML text of a page that shows `graph`. It loads nothing from anywhere."""
    return _fill(
        "viewer.html",
        title=graph.title,
        subtitle=f"{STAGES[graph.stage]}: {_size(graph)}.",
        notes=graph.notes,
        assets=viewer_assets(),
        view=_view(graph, height="auto", alone=True),
    )


def render_frame(graph: Record, *, height: str = "40rem") -> str:
    """The same page within a frame, for a notebook; `height` is a length of CSS."""
    page = html.escape(render_page(graph), quote=True)
    title = html.escape(graph.title, quote=True)
    style = f"width: 100%; height: {html.escape(height, quote=True)}; border: none"
    return f'<iframe title="{title}" style="{style}" srcdoc="{page}"></iframe>'


@functools.cache
def viewer_assets() -> str:
    """Styles, scripts and the layout engine: HTML that a page with views holds once, anywhere."""
    engine = gzip.compress(_ENGINE.read_bytes(), mtime=0)
    return _fill(
        "assets.html",
        styles=_read("viewer.css"),
        engine=base64.b64encode(engine).decode("ascii"),
        script="\n".join(_read(name) for name in _SCRIPTS),
    )


def render_view(graph: Record, *, height: str = "36rem") -> str:
    """HTML of one view of `graph`, for a page that also holds `viewer_assets`.

    A page may hold any number of views. `height` is a length of CSS.
    """
    return _view(graph, height=height, alone=False)


def _view(graph: Record, *, height: str, alone: bool) -> str:
    data = as_script(graph.to_json())
    return _fill("view.html", title=graph.title, height=height, alone=alone, data=data)


def as_script(data: str) -> str:
    """JSON that can stand in a page: no label in it ends the script."""
    return data.replace("<", "\\u003c")


def _size(graph: Record) -> str:
    return f"{len(graph.nodes):,} nodes, {len(graph.edges):,} edges, {len(graph.groups):,} groups"


def _fill(template: str, **values: object) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_read(template)).render(**values)


def _read(name: str) -> str:
    return (_VIEWER / name).read_text(encoding="utf-8")
