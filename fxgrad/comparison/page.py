"""The page of a comparison: one self-contained HTML file, for a person who would rather look."""

from __future__ import annotations

from pathlib import Path

from fxgrad.comparison.details import Details, details_of
from fxgrad.comparison.plot import svg_of_losses, svg_of_times
from fxgrad.comparison.record import Record
from fxgrad.comparison.sections import (
    advice_of,
    agreement_of,
    graph_sections,
    memory_section,
)
from fxgrad.comparison.subject import Subject
from fxgrad.comparison.table import LEGEND, modes_of, rows, sentences
from fxgrad.errors import MissingExtraError
from fxgrad.graphs.page import as_script, viewer_assets

try:
    import jinja2
except ImportError as error:
    raise MissingExtraError("Jinja", extra="report", purpose="An HTML page") from error


def render_page(comparison: Record, subject: Subject | None) -> str:
    """The HTML text of the page. It loads nothing from anywhere.

    Given what was compared, its function is looked at closely, which takes some seconds.
    """
    details = details_of(subject) if subject else Details()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    source = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    times = {"alt": "Seconds so far against calls", "svg": svg_of_times(comparison)}
    figures = [times] if comparison.timings else []
    if comparison.training:
        figures.append({"alt": "Loss against steps", "svg": svg_of_losses(comparison)})
    return environment.from_string(source).render(
        title=comparison.title,
        modes=modes_of(comparison),
        rows=rows(comparison),
        sentences=sentences(comparison),
        figures=figures,
        legend=LEGEND,
        environment=str(comparison.environment),
        advice=advice_of(details),
        memory=memory_section(details.memory),
        graphs=graph_sections(details),
        agreement=agreement_of(details),
        missing=details.missing,
        assets=viewer_assets() if details.graphs else "",
        data=as_script(comparison.to_json()),
        details=as_script(details.to_json()),
    )
