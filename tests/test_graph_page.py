"""The page of a graph, looked at in a real browser, by what is on it."""

import hashlib
from pathlib import Path

import pytest

import fxgrad
from fxgrad.graphs.page import render_frame, render_page, render_view, viewer_assets
from fxgrad.graphs.record import Record
from tests import graph_records
from tests.browser import brightness, open_file
from tests.graph_view import View

ELK = Path(fxgrad.__file__).parent / "graphs" / "viewer" / "elk"


def test_the_page_shows_every_node_and_joins_those_that_have_an_edge(page_of):
    page = page_of(graph_records.network())
    assert page.nodes() == list(range(10))
    assert page.groups() == list(range(5))
    wanted = [[f"n{edge.source}", f"n{edge.target}"] for edge in graph_records.network().edges]
    assert sorted(page.lines()) == sorted(wanted)
    assert page.ends_off_boxes() == []


def test_data_flows_down_the_page(page_of):
    page = page_of(graph_records.network())
    tops = page.run(
        "return Object.fromEntries([...view.querySelectorAll('[data-node]')].map("
        "(box) => [box.dataset.key, box.querySelector('.shape').getBBox().y]))"
    )
    assert all(tops[source] < tops[target] for source, target in page.lines())


def test_boxes_of_one_level_do_not_overlap_and_lie_inside_their_group(page_of):
    page = page_of(graph_records.network())
    boxes = page.run(
        "return Object.fromEntries([...view.querySelectorAll('[data-node] .shape, .frame')].map("
        "(shape) => { const {x, y, width, height} = shape.getBBox(); return ["
        "shape.dataset.frame ? 'g' + shape.dataset.frame : shape.parentNode.dataset.key,"
        "[x, y, x + width, y + height]]; }))"
    )
    graph = graph_records.network()
    around = {f"n{node.number}": node.group for node in graph.nodes}
    around |= {f"g{group.number}": group.parent for group in graph.groups}
    for key, (left, top, right, bottom) in boxes.items():
        if around[key] is not None:
            outer = boxes[f"g{around[key]}"]
            assert outer[0] < left
            assert outer[1] < top
            assert right < outer[2]
            assert bottom < outer[3]
        for other, (left2, top2, right2, bottom2) in boxes.items():
            if key < other and around[key] == around[other]:
                assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top


def test_the_page_loads_nothing_and_logs_no_error(page_of, browser):
    page = page_of(graph_records.network())
    loaded = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert [name for name in page.run(loaded) if not name.startswith("blob:")] == []
    assert browser.get_log("browser") == []
    assert browser.title == "step"


def test_3000_nodes_without_groups_are_all_drawn(page_of):
    page = page_of(graph_records.flat())
    assert page.nodes() == list(range(3000))
    assert page.ends_off_boxes() == []


def test_paths_show_decisions_with_their_line_and_the_values_on_their_lines(page_of):
    page = page_of(graph_records.decisions())
    answers = "return [...view.querySelectorAll('.answers text')].map((text) => text.textContent)"
    assert sorted(page.run(answers)) == ["7", "False", "True"]
    decision = page.run("return view.querySelector('[data-node=\"1\"]').textContent")
    assert "if jnp.sum(x) > 0:" in decision
    assert "120 calls" in decision
    legend = page.run("return view.querySelector('.legend').innerText.split('\\n')")
    assert legend == ["segment", "decision", "Python", "output"]
    page.click("[data-node='2']")
    assert "80 calls" in page.panel()
    assert "forward" not in page.panel()


def test_words_of_the_program_are_never_taken_for_markup(page_of, browser):
    page = page_of(graph_records.hostile())
    assert browser.title == graph_records.HOSTILE
    assert page.run("return document.querySelector('h1').innerText") == graph_records.HOSTILE
    assert page.run("return document.querySelectorAll('b').length") == 0
    page.click("[data-node='0']")
    assert page.run("return view.querySelector('.panel h2').textContent") == graph_records.HOSTILE
    assert (
        page.run("return view.querySelector('.panel .source').textContent") == graph_records.HOSTILE
    )
    assert page.run("return document.querySelectorAll('b').length") == 0
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them_in_light_and_dark(page_of, theme):
    page = page_of(graph_records.network(), theme=theme)
    page.click("[data-node='5']")
    style = "return getComputedStyle(view.querySelector(arguments[1]))[arguments[2]]"
    paper = brightness(page.run("return getComputedStyle(view).backgroundColor"))
    assert (paper > 128) is (theme == "light")
    for selector in (".panel h2", ".panel dt", ".way", ".legend li", "button", "input"):
        assert abs(brightness(page.run(style, selector, "color")) - paper) > 90, selector
    for number in range(10):
        box = f"[data-node='{number}']"
        behind = brightness(page.run(style, f"{box} .shape", "fill"))
        for words in (".name", ".under"):
            front = brightness(page.run(style, f"{box} {words}", "fill"))
            assert abs(front - behind) > 90, (box, words)


def test_each_pass_and_each_end_of_the_graph_has_a_colour_of_its_own(page_of):
    page = page_of(graph_records.network())
    stroke = "return getComputedStyle(view.querySelector(arguments[1])).stroke"
    colours = [page.run(stroke, f"[data-node='{n}'] .shape") for n in (2, 5, 7, 0, 8)]
    assert len(set(colours)) == 5


def test_a_phone_shows_the_picture_and_the_panel_under_it(page_of):
    page = page_of(graph_records.network(), width=390)
    page.click("[data-do='expand']")
    page.click("[data-node='5']")
    assert page.run("return document.documentElement.scrollWidth") <= 390
    box = "const {top, bottom, width} = view.querySelector(arguments[1]).getBoundingClientRect();"
    picture = page.run(box + "return [top, bottom, width]", ".picture")
    panel = page.run(box + "return [top, bottom, width]", ".panel")
    assert picture[1] - picture[0] > 200
    assert picture[1] <= panel[0]
    assert panel[1] <= 900
    assert panel[2] == pytest.approx(390, abs=1)


def test_views_on_one_page_do_not_disturb_each_other(browser, tmp_path):
    path = tmp_path / "two.html"
    graphs = [graph_records.network(), graph_records.decisions()]
    views = [render_view(graph, height="60rem") for graph in graphs]
    path.write_text(f"<!doctype html><meta charset=utf-8>{views[0]}{viewer_assets()}{views[1]}")
    first = View(browser, path)
    second = View(browser, None, view=1)
    assert first.nodes() == list(range(10))
    assert second.nodes() == list(range(5))
    before = second.transform()
    first.click("[data-node='5']")
    first.click("[data-do='collapse']")
    first.click("[data-do='zoom-in']")
    assert second.state("selected") is None
    assert second.nodes() == list(range(5))
    assert second.transform() == before
    assert browser.get_log("browser") == []


def test_a_wheel_over_a_picture_in_a_longer_page_scrolls_the_page(browser, tmp_path):
    path = tmp_path / "long.html"
    view = render_view(graph_records.network())
    path.write_text(
        f"<!doctype html><meta charset=utf-8>{viewer_assets()}{view}<div style='height: 3000px'>"
    )
    page = View(browser, path)
    before = page.transform()
    page.roll_wheel(120)
    page.wait_for("scrollY > 0")
    assert page.transform() == before


def test_a_view_that_is_hidden_at_first_looks_at_its_graph_once_it_is_shown(browser, tmp_path):
    path = tmp_path / "hidden.html"
    view = render_view(graph_records.network())
    path.write_text(f"<!doctype html><meta charset=utf-8>{viewer_assets()}<div hidden>{view}</div>")
    page = View(browser, path)
    assert page.run("return view.querySelector('.scene').hasAttribute('transform')") is False
    page.run("document.querySelector('[hidden]').hidden = false")
    page.wait_for("view.querySelector('.scene').hasAttribute('transform')")


def test_a_frame_in_a_notebook_shows_the_same_page(browser, tmp_path):
    path = tmp_path / "notebook.html"
    frame = render_frame(graph_records.hostile())
    path.write_text(f"<!doctype html><meta charset=utf-8>{frame}", encoding="utf-8")
    open_file(browser, path, 1000)
    browser.switch_to.frame(0)
    try:
        page = View(browser, None)
        assert page.nodes() == [0, 1]
        assert page.run("return innerHeight") > 400
        assert page.run("return document.querySelector('h1').innerText") == graph_records.HOSTILE
    finally:
        browser.switch_to.default_content()
    assert browser.get_log("browser") == []


def test_where_workers_are_not_to_be_had_the_layout_runs_in_the_page(browser, tmp_path):
    path = tmp_path / "no_worker.html"
    page = render_page(graph_records.network())
    path.write_text(page.replace("<head>", "<head><script>delete window.Worker</script>", 1))
    assert View(browser, path).nodes() == list(range(10))


def test_a_page_is_about_as_large_as_its_layout_engine_packed():
    page = render_page(graph_records.network())
    assert len(page) < 800_000
    assert page == render_page(graph_records.network())


def test_an_empty_graph_has_a_page(page_of):
    assert page_of(Record("nothing", "jaxpr", (), ())).nodes() == []


def test_the_layout_engine_is_the_file_that_its_readme_names():
    readme = (ELK / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((ELK / "elk.bundled.js").read_bytes()).hexdigest()
    assert digest in readme
    assert (ELK / "LICENSE.md").read_text(encoding="utf-8").startswith("# Eclipse Public License")
