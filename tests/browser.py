"""A real browser, for pages that are tested by what is on them."""

import os
import re
import shutil

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def start_browser():
    """Selenium's driver of a Chromium without a window."""
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium-browser", "google-chrome")
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(find_program("chromedriver"))
    return selenium.Chrome(options=options, service=service)


def find_program(*names):
    for name in names:
        if path := shutil.which(name):
            return path
    if os.environ.get("FXGRAD_REQUIRE_BROWSER"):
        pytest.fail(f"none of {names} is installed")
    return pytest.skip(f"none of {names} is installed: apt-get install chromium chromium-driver")


def open_file(browser, path, width, theme="light"):
    """Shows the page at `path` and returns what runs JavaScript in it."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(path.as_uri())
    return browser.execute_script


def brightness(colour):
    """From 0, black, to 255, of a colour in CSS's ``rgb(…)``."""
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue
