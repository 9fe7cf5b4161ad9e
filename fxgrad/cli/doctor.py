"""``fxgrad doctor``: what this machine has, whether every mode works on it, and what is off."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final

from fxgrad.cli.checkup import Checkup, CompileCache, Devices, Package, check_up
from fxgrad.quantities import in_bytes

_HOW_TO_CACHE: Final = (
    "off: each new process compiles anew. To keep programs, set "
    "JAX_COMPILATION_CACHE_DIR to a folder"
)


def add_parser(subparsers: Any) -> None:
    """Declare the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor", help="what this machine has, whether every mode works, and what is off"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check and print; the status is 1 if something is off or wrong."""
    checkup = check_up()
    print(json.dumps(checkup.to_dict(), indent=1) if options.json else text(checkup))
    return 1 if checkup.faults else 0


def text(checkup: Checkup) -> str:
    """The checkup in words, the faults last."""
    sections = {
        "Devices": [_devices(devices) for devices in checkup.devices] or ["none"],
        "Modes": [f"{c.mode}: {c.state}{c.why and ', ' + c.why}" for c in checkup.modes],
        "Packages": [_package(package) for package in checkup.packages],
        "Compile cache": [_cache(checkup.cache)],
        "Settings": [f"{s.name} = {s.value} ({s.effect})" for s in checkup.settings],
        "Environment": [f"{name}={value}" for name, value in checkup.environment.items()],
        "Off or wrong": list(checkup.faults) or ["nothing"],
    }
    return "\n".join([checkup.host, *_lines(sections)])


def _lines(sections: dict[str, list[str]]) -> Iterator[str]:
    for title, lines in sections.items():
        if lines:
            yield f"\n{title}"
            yield from (f"  {line}" for line in lines)


def _devices(devices: Devices) -> str:
    memory = "" if devices.memory_bytes is None else f", {in_bytes(devices.memory_bytes)} each"
    return f"{devices.count} × {devices.kind}{memory}"


def _package(package: Package) -> str:
    if package.version is None:
        return f"{package.name}: not installed: {package.how_to_install}"
    return f"{package.name} {package.version}"


def _cache(cache: CompileCache) -> str:
    if cache.folder is None:
        return _HOW_TO_CACHE
    if cache.files is None:
        return f"on: {cache.folder}"
    return f"on: {cache.folder}, {cache.files} files, {in_bytes(cache.size_bytes)}"
