"""JAX as strict as it gets, on eight CPU devices."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import pytest

from tests.browser import start_browser

jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_addoption(parser):
    parser.addoption("--programs", type=int, default=200, help="how many random programs to make")


@pytest.fixture(scope="session")
def browser():
    driver = start_browser()
    yield driver
    driver.quit()


@pytest.fixture
def page_of(browser, tmp_path):
    from fxgrad.graphs.page import render_page  # noqa: PLC0415  (Jinja and Selenium are extras)
    from tests.graph_view import View  # noqa: PLC0415

    def open_page(graph, **look):
        path = tmp_path / "graph.html"
        path.write_text(render_page(graph), encoding="utf-8")
        return View(browser, path, **look)

    return open_page
