"""The README's pictures: a graph and the report, as Chromium shows them.

Run from the repository's root: ``python -m docs.pictures``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import fxgrad as fx
from fxgrad.cli.demo import init, loss
from fxgrad.cli.main import main
from tests.browser import open_file, start_browser
from tests.graph_view import View

DOCS = Path(__file__).parent


def sgd_step(params: Any, batch: Any) -> Any:
    value, gradient = jax.value_and_grad(loss)(params, batch)
    return jax.tree.map(lambda old, slope: old - 0.01 * slope, params, gradient), value


def draw_graph(browser: Any, folder: Path) -> None:
    """The training step of the 784-128-10 network, with one product selected."""
    batch = {"image": jnp.ones((64, 28, 28)), "label": jnp.zeros(64, jnp.int32)}
    graph = fx.graph(sgd_step, init(jax.random.key(0)), batch)
    path = folder / "graph.html"
    graph.to_html(path)
    view = View(browser, path, width=1280)
    first_product = next(node.number for node in graph.nodes if node.label == "dot_general")
    view.click("[data-do='expand']")
    view.click(f"[data-node='{first_product}']")
    browser.save_screenshot(str(DOCS / "graph.png"))


def draw_report(browser: Any, folder: Path) -> None:
    """The page that ``fxgrad demo`` writes, down to its end."""
    path = folder / "report.html"
    main(["demo", "--output", str(path)])
    run = open_file(browser, path, width=1280)
    for number in range(3):
        View(browser, None, view=number).wait_until_ready()
    size = {"width": 1280, "height": run("return document.documentElement.scrollHeight")}
    metrics = {**size, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.save_screenshot(str(DOCS / "report.png"))


if __name__ == "__main__":
    driver = start_browser()
    with tempfile.TemporaryDirectory() as folder:
        draw_graph(driver, Path(folder))
        draw_report(driver, Path(folder))
    driver.quit()
