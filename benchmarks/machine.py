"""Which device a number was measured on. Standard library only: contenders import it too."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def device_name(platform_name: str, device_kind: str = "") -> str:
    """A device as the reader of a table would name it: ``AMD EPYC (CPU, 2 cores)``."""
    if platform_name != "cpu":
        return device_kind
    return f"{_processor()} (CPU, {os.cpu_count()} cores)"


def file_name(platform_name: str, device_kind: str) -> str:
    """The device in the name of a file of results: ``cpu``, ``nvidia-h100-80gb-hbm3``."""
    kind = "cpu" if platform_name == "cpu" else device_kind
    return re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")


def _processor() -> str:
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        described = ""
    model = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()
