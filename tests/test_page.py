"""The page of a comparison, looked at in a real browser, by what is on it."""

import jax.numpy as jnp
import optax
import pytest

import fxgrad as fx
from fxgrad import train
from fxgrad.comparison.table import rows
from tests.browser import brightness, open_file


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


def open_page(browser, tmp_path, comparison, width, theme="light"):
    path = tmp_path / "page.html"
    comparison.to_html(path)
    return open_file(browser, path, width, theme)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_the_table_and_both_figures_at_any_width(
    browser, tmp_path, comparison, width
):
    run = open_page(browser, tmp_path, comparison, width)
    assert run("return window.innerWidth") == width
    assert run("return document.documentElement.scrollWidth") <= width
    cells = run(
        "return [...document.querySelectorAll('tbody tr')].map("
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


def test_the_page_loads_nothing_runs_no_title_and_logs_no_error(browser, tmp_path, comparison):
    run = open_page(browser, tmp_path, comparison, 1280)
    assert run("return performance.getEntriesByType('resource').length") == 0
    assert run("return document.querySelector('h1').innerText") == comparison.title
    assert run("return document.title") == comparison.title
    assert browser.get_log("browser") == []


def test_the_page_carries_its_data(browser, tmp_path, comparison):
    run = open_page(browser, tmp_path, comparison, 1280)
    data = run("return JSON.parse(document.getElementById('comparison').textContent)")
    assert data["training"]["static"]["losses"] == list(comparison.training["static"].losses)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_the_paper_in_light_and_dark(browser, tmp_path, comparison, theme):
    run = open_page(browser, tmp_path, comparison, 1280, theme)
    paper = brightness(run("return getComputedStyle(document.body).backgroundColor"))
    assert (paper > 128) is (theme == "light")
    for selector in ("h1", "td", "figure svg text", "footer"):
        element = f"getComputedStyle(document.querySelector('{selector}'))"
        style = f"{element}.{'fill' if 'svg' in selector else 'color'}"
        assert abs(brightness(run(f"return {style}")) - paper) > 90, selector


def test_a_comparison_without_training_has_one_figure(browser, tmp_path):
    run = open_page(browser, tmp_path, fx.compare(jnp.sin, jnp.ones(3), calls=3), 1280)
    assert run("return document.querySelectorAll('figure svg').length") == 1
