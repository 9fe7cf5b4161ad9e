"""A view of a graph in the browser: what is on it, and what a user does with it."""

import re

import pytest

from tests.browser import open_file

webdriver = pytest.importorskip("selenium.webdriver")
support = pytest.importorskip("selenium.webdriver.support.ui")
wheel = pytest.importorskip("selenium.webdriver.common.actions.wheel_input")
Keys = webdriver.Keys

ON_PAGE = """
const view = document.querySelectorAll('.fxgraph')[arguments[0]];
const keys = (name) => [...view.querySelectorAll(`[data-${name}]`)].map((e) => e.dataset[name]);
"""


class View:
    """The view number `view` of the page at `path`, or of the page that is open."""

    def __init__(self, browser, path, width=1280, theme="light", view=0):
        self.browser = browser
        self.view = view
        if path is not None:
            open_file(browser, path, width, theme)
        self.wait_until_ready()

    def run(self, script, *arguments):
        return self.browser.execute_script(ON_PAGE + script, self.view, *arguments)

    def wait_until_ready(self, seconds=60):

        self.wait_for("['ready', 'failed'].includes(view.dataset.state)", seconds)
        assert self.state("state") == "ready"

    def wait_for(self, condition, seconds=10):
        holds = support.WebDriverWait(self.browser, seconds, 0.05)
        holds.until(lambda _: self.run(f"return {condition}"))

    def state(self, name):
        return self.run("return view.dataset[arguments[1]]", name)

    def nodes(self):
        return sorted(map(int, self.run("return keys('node')")))

    def groups(self):
        return sorted(map(int, self.run("return keys('group')")))

    def lines(self):
        return self.run(
            "return [...view.querySelectorAll('.line')].map("
            "(line) => [line.dataset.source, line.dataset.target])"
        )

    def ends_off_boxes(self):
        """The ends of lines that touch no box of theirs, within a pixel."""
        return self.run(
            """
            const box = (key) => view.querySelector(`[data-key="${key}"] .shape`)?.getBBox();
            const touches = (p, b) => b && p.x >= b.x - 1 && p.x <= b.x + b.width + 1
              && p.y >= b.y - 1 && p.y <= b.y + b.height + 1;
            return [...view.querySelectorAll('.line')].flatMap((line) => {
              const ends = [[line.dataset.source, 0], [line.dataset.target, line.getTotalLength()]];
              return ends.filter(([key, at]) => !touches(line.getPointAtLength(at), box(key)));
            });
            """
        )

    def places(self, selector):
        """Left, top, right and bottom of each in the window of the picture, in pixels."""
        return self.run(
            """
            const { left, top } = view.querySelector('.picture').getBoundingClientRect();
            return [...view.querySelectorAll(arguments[1])].map((e) => e.getBoundingClientRect())
              .map((box) => [box.left - left, box.top - top, box.right - left, box.bottom - top]);
            """,
            selector,
        )

    def window(self):
        """Width and height of the picture's window, in pixels."""
        return self.run(
            "const p = view.querySelector('.picture'); return [p.clientWidth, p.clientHeight]"
        )

    def outside(self, selector):
        """The places of those that are not wholly within the window."""
        width, height = self.window()
        return [
            (left, top, right, bottom)
            for left, top, right, bottom in self.places(selector)
            if left < 0 or top < 0 or right > width or bottom > height
        ]

    def click(self, selector):
        self.run(
            "view.querySelector(arguments[1])"
            ".dispatchEvent(new MouseEvent('click', {bubbles: true}))",
            selector,
        )
        self.wait_until_ready()

    def search(self, words):
        box = self.run("return view.querySelector('input')")
        box.clear()
        box.send_keys(words)

    def press(self, key):
        self.run("return view.querySelector('input')").send_keys(key)
        self.wait_until_ready()

    def picture(self):
        return self.run("return view.querySelector('.picture')")

    def roll_wheel(self, down):
        origin = wheel.ScrollOrigin.from_element(self.picture())
        webdriver.ActionChains(self.browser).scroll_from_origin(origin, 0, down).perform()

    def drag(self, selector, right, down):
        box = self.run("return view.querySelector(arguments[1])", selector)
        hand = webdriver.ActionChains(self.browser)
        hand.drag_and_drop_by_offset(box, right, down).perform()

    def panel(self):
        return self.run("return view.querySelector('.panel').innerText")

    def transform(self):
        values = self.run("return view.querySelector('.scene').getAttribute('transform')")
        return tuple(map(float, re.findall(r"-?[\d.]+(?:e-?\d+)?", values)))
