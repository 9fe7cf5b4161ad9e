"""Tables and sentences as plain text: no colours, no trailing blanks, the same everywhere."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def printed(*parts: str | Table, width: int = 100) -> str:
    """The parts one below the other; tables fit `width` columns, sentences are never broken."""
    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None, force_jupyter=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").splitlines())
