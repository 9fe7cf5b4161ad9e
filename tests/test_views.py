"""Every view is made of a small network, a large one and one that decides, and can be used."""

import json

import pytest

import fxgrad as fx
from tests.browser import open_file
from tests.graph_view import View
from tests.subjects import SUBJECTS


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request):
    return SUBJECTS[request.param]()


@pytest.mark.parametrize("stage", ["jaxpr", "hlo", "paths"])
def test_the_graph_can_be_walked_through(page_of, subject, stage):
    fun, *args = subject
    graph = fx.graph(fun, *args, stage=stage)
    view = page_of(graph)
    shown = len(view.nodes()) + len(view.groups())
    assert 2 <= shown <= 150  # a first look is readable
    assert view.ends_off_boxes() == []
    if stage != "paths":
        place = graph.summary().by_line[0].label
        view.search(place)
        assert int(view.state("matches")) == sum(place == str(n.place) for n in graph.nodes)
        view.click("[data-do='expand']")
    number = next(n for n in view.nodes() if graph.nodes[n].place)
    view.click(f"[data-node='{number}']")
    assert str(graph.nodes[number].place) in view.panel()
    assert view.browser.get_log("browser") == []


def test_the_report_holds_all_of_it(browser, subject, tmp_path):
    fun, *args = subject
    path = tmp_path / "report.html"
    fx.compare(fun, *args, calls=2).to_html(path)
    run = open_file(browser, path, 1280)
    for number in range(3):
        View(browser, None, view=number).wait_until_ready()
    details = json.loads(run("return document.getElementById('details').textContent"))
    assert details["missing"] == {}
    assert details["memory"]["eager"]["bytes"] > 0
    assert details["divergence"] is None
    for section in ("memory", "graphs", "agreement"):
        assert run(f"return document.getElementById('{section}').offsetHeight") > 0
    assert run("return document.documentElement.scrollWidth") <= 1280
    assert browser.get_log("browser") == []
