"""Results as a file that says where, when and how they were measured, and as a markdown table."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import machine

FOLDER = Path(__file__).parent / "results"


OWN_PACKAGES = ("jax", "jaxlib", "fxgrad")


def write(
    benchmark: str,
    folder: Path,
    *,
    command: str,
    versions: Mapping[str, str] | None = None,
    **measured: Any,
) -> None:
    """Write ``<benchmark>-<device>.json`` into `folder`, and say so.

    `command` is what repeats the measurement, without paths of this machine. `versions` are those
    of the packages that were measured, by default in this process.
    """
    if versions is None:
        versions = {name: version(name) for name in OWN_PACKAGES}
    device = jax.devices()[0]
    result = {
        "benchmark": benchmark,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": machine.device_name(device.platform, device.device_kind),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **versions},
        **measured,
    }
    folder.mkdir(parents=True, exist_ok=True)
    name = machine.file_name(device.platform, device.device_kind)
    path = folder / f"{benchmark}-{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"\nMeasured on {result['device']}; written to {path.name}.")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table. The first column is text, the others are numbers."""
    rule = [":--", *("--:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
