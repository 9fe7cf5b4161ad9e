"""The page of a comparison, looked at in a real browser, by what is on it."""

import itertools

import jax
import jax.numpy as jnp
import optax
import pytest

import fxgrad as fx
from fxgrad import train
from fxgrad.comparison import details
from fxgrad.comparison.table import rows
from fxgrad.quantities import in_bytes
from tests.browser import brightness, open_file
from tests.graph_view import View


@pytest.fixture(scope="module")
def comparison():
    def loss(params, batch):
        return jnp.mean((batch["x"] @ params - batch["y"]) ** 2)

    data = {"x": jnp.ones((32, 3)), "y": jnp.arange(32.0)}
    optimizer = optax.sgd(0.01)
    return train.compare_training(
        loss,
        optimizer,
        train.TrainState.create(jnp.zeros(3), optimizer),
        train.Batches({name: jnp.asarray(values) for name, values in data.items()}, 8),
        epochs=3,
        progress=False,
        title="a <script>alert(1)</script> title & more",
    )


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "page.html"
    comparison.to_html(path)
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_the_table_and_both_figures_at_any_width(browser, page, comparison, width):
    run = open_file(browser, page, width)
    assert run("return window.innerWidth") == width
    assert run("return document.documentElement.scrollWidth") <= width
    cells = run(
        "return [...document.querySelectorAll('.table tbody tr')].map("
        "row => [...row.children].map(cell => cell.innerText))"
    )
    assert cells == [[row.label, *row.cells] for row in rows(comparison)]
    figures = run(
        "return [...document.querySelectorAll('figure svg')].map("
        "svg => svg.getBoundingClientRect()).map(box => [box.left, box.right, box.height])"
    )
    assert len(figures) == 2
    for left, right, height in figures:
        assert left >= 0
        assert right <= width
        assert height > 150
    side_by_side = figures[0][1] <= figures[1][0]
    assert side_by_side is (width > 600)


def test_the_page_loads_nothing_runs_no_title_and_logs_no_error(browser, page, comparison):
    run = open_file(browser, page, 1280)
    assert run("return performance.getEntriesByType('resource').length") == 0
    assert run("return document.querySelector('h1').innerText") == comparison.title
    assert run("return document.title") == comparison.title
    assert browser.get_log("browser") == []


def test_the_page_carries_its_data(browser, page, comparison):
    run = open_file(browser, page, 1280)
    data = run("return JSON.parse(document.getElementById('comparison').textContent)")
    assert data["training"]["static"]["losses"] == list(comparison.training["static"].losses)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_the_paper_in_light_and_dark(browser, page, theme):
    run = open_file(browser, page, 1280, theme)
    paper = brightness(run("return getComputedStyle(document.body).backgroundColor"))
    assert (paper > 128) is (theme == "light")
    for selector in ("h1", "td", "figure svg text", "footer", "#memory td", "#agreement pre"):
        element = f"getComputedStyle(document.querySelector('{selector}'))"
        style = f"{element}.{'fill' if 'svg' in selector else 'color'}"
        assert abs(brightness(run(f"return {style}")) - paper) > 90, selector


def test_a_comparison_without_training_has_one_figure(browser, tmp_path):
    path = tmp_path / "page.html"
    fx.compare(jnp.sin, jnp.ones(3), calls=3).to_html(path)
    run = open_file(browser, path, 1280)
    assert run("return document.querySelectorAll('figure svg').length") == 1


def test_the_recommendation_stands_first(browser, page, comparison):
    run = open_file(browser, page, 1280)
    words = run("return document.querySelector('.verdict').innerText")
    assert words == f"Recommended: {comparison.recommendation}"


def test_the_three_graphs_stand_side_by_side_and_each_can_be_used(browser, page):
    views = [View(browser, page if i == 0 else None, view=i) for i in range(3)]
    run = browser.execute_script
    boxes = run(
        "return [...document.querySelectorAll('.fxgraph')].map("
        "view => view.getBoundingClientRect()).map(box => [box.left, box.right, box.top])"
    )
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(boxes))
    assert len({box[2] for box in boxes}) == 1
    number = views[0].nodes()[0]
    views[0].click(f"[data-node='{number}']")
    assert views[0].state("selected") == f"n{number}"
    assert not views[1].state("selected")
    assert any("dot" in label for label in run(LABELS, 1))


LABELS = """
const graph = JSON.parse(
  document.querySelectorAll('.fxgraph')[arguments[0]].querySelector('script').textContent);
return graph.nodes.map((node) => node.label);
"""


def test_memory_stands_by_line_beside_the_compiled_program(browser, page, comparison):
    run = open_file(browser, page, 1280)
    rows_shown = run(
        "return [...document.querySelectorAll('#memory table')].map((table) => "
        "[...table.querySelectorAll('tr')].map((row) => row.innerText.replace(/\\s+/g, ' ')))"
    )
    side_by_side, held, kept = rows_shown
    assert side_by_side[0].strip() == "eager, at its worst the static program"
    eager = in_bytes(comparison.timings["eager"].memory_bytes)
    assert side_by_side[1].startswith(f"all {eager}")
    assert any("test_page.py" in row for row in held + kept)
    widths = run(
        "return [...document.querySelectorAll('#memory .amount')].map(bar => bar.clientWidth)"
    )
    assert all(width > 0 for width in widths)


def test_a_function_that_decides_has_advice_and_its_paths(browser, tmp_path):
    def steep(x):
        return x * 2 if x > 0 else -x

    path = tmp_path / "page.html"
    fx.compare(steep, jnp.float32(3), calls=3).to_html(path)
    run = open_file(browser, path, 1280)
    advice = run("return document.querySelector('#advice').innerText")
    assert "return x * 2 if x > 0 else -x" in advice
    assert "call with arguments for the others once" in advice
    assert "decision" in run(LABELS, 2)[1] or "test_page.py" in run(LABELS, 2)[1]
    agreement = run("return document.querySelector('#agreement').innerText")
    assert "No compiled value leaves eager's" in agreement


def test_a_divergence_is_told_with_its_line_and_cause(browser, tmp_path):
    def rounded(x):
        return jnp.tanh(jnp.exp(x) * x + x).astype(jnp.float32)

    path = tmp_path / "page.html"
    x = jax.random.normal(jax.random.key(0), (256, 256)).astype(jnp.bfloat16)
    fx.compare(rounded, x, calls=3).to_html(path)
    run = open_file(browser, path, 1280)
    data = run("return JSON.parse(document.getElementById('details').textContent)")
    words = run("return document.querySelector('#agreement').innerText")
    assert data["divergence"]["found"]["site"]["place"]["line"].startswith("return jnp.tanh")
    assert data["divergence"]["found"]["cause"]["kind"] == "excess precision"
    assert "excess precision" in words


def test_a_view_that_fails_is_named_and_the_others_stand(browser, tmp_path, monkeypatch):
    def fails(*args):
        raise RuntimeError("no memory of it")

    monkeypatch.setattr(details, "memory", fails)
    path = tmp_path / "page.html"
    fx.compare(jnp.sin, jnp.ones(3), calls=3).to_html(path)
    run = open_file(browser, path, 1280)
    assert "Not shown, memory: RuntimeError: no memory of it" in run(
        "return document.body.innerText"
    )
    assert run("return document.querySelectorAll('.fxgraph').length") == 3
