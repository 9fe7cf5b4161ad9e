"""Places: the user's file and line behind a call, an error or a function."""

from __future__ import annotations

import functools
import itertools
import linecache
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import jax

_OWN_FOLDER = str(Path(__file__).parent) + os.sep
_DEMO = str(Path(__file__).parent / "cli" / "demo.py")  # what it trains is written as users write
# What runs a function: between these and its operations there are only frames of its own.
_ENTRANCES = tuple(str(Path(__file__).parent / name) for name in ("execution", "observed.py"))
_SCRIPTS = sysconfig.get_paths()["scripts"] + os.sep
_JAX_FOLDER = str(Path(jax.__file__).parent) + os.sep
_LIBRARY_FOLDERS = (_OWN_FOLDER, _JAX_FOLDER, sysconfig.get_paths()["stdlib"] + os.sep)
_SITE_PACKAGES = (sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"])


Frame = tuple[str, int, str]
"""File, line and function."""


@dataclass(frozen=True)
class Place:
    """A line of source: the file, its number from 1, and its text without indentation."""

    filename: str
    lineno: int
    line: str

    def __str__(self) -> str:
        if "ipykernel_" in self.filename:  # a notebook's cell has a made-up file name
            return f"notebook cell, line {self.lineno}"
        return f"{_short(self.filename)}:{self.lineno}"

    def to_dict(self) -> dict[str, Any]:
        """The place as plain values."""
        return {"filename": self.filename, "lineno": self.lineno, "line": self.line}


def place_of_function(fun: Callable[..., Any]) -> Place | None:
    """Where `fun` is defined, or None for what was not written in Python."""
    code = code_of(fun)
    return None if code is None else _place(code.co_filename, code.co_firstlineno)


def name_of_function(fun: Callable[..., Any]) -> str:
    """The name of a function, also of a partial, a method or a callable object."""
    name = getattr(fun, "__qualname__", None)
    code = code_of(fun)
    return name or (type(fun).__name__ if code is None else code.co_qualname)


def code_of(fun: Callable[..., Any]) -> CodeType | None:
    """The code object that `fun` runs, under wrappers, partials, methods and callable objects."""
    inner: Any = fun
    while True:
        if isinstance(inner, functools.partial):
            inner = inner.func
        elif hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        elif hasattr(inner, "__func__"):
            inner = inner.__func__
        elif hasattr(inner, "__code__"):
            return inner.__code__
        else:
            return getattr(type(inner).__call__, "__code__", None)


def calling_place() -> Place | None:
    """The innermost line on the stack that is the user's: not fxgrad's, JAX's or Python's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            return _place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def raising_place(traceback: TracebackType | None) -> Place | None:
    """The innermost line of a traceback that is the user's."""
    found = None
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if is_users(filename):
            found = _place(filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def inside_the_call(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Of the frames behind an operation, innermost first, those inside the function that ran it.

    The line that asked fxgrad to run the function made no operation of it.
    """
    return itertools.takewhile(lambda frame: not frame[0].startswith(_ENTRANCES), frames)


def place_of_frames(frames: Iterable[Frame]) -> Place | None:
    """The innermost frame of the user's; else the innermost that is neither JAX's nor fxgrad's."""
    found = None
    for filename, lineno, _ in inside_the_call(frames):
        if is_users(filename):
            return _place(filename, lineno)
        if found is None and not filename.startswith((_JAX_FOLDER, _OWN_FOLDER, "<frozen")):
            found = _place(filename, lineno)
    return found


def is_users(filename: str) -> bool:
    """Whether a source file is the user's own and not a library's."""
    if filename == _DEMO:
        return True
    if filename.startswith((*_SITE_PACKAGES, *_LIBRARY_FOLDERS, _SCRIPTS)):
        return False
    return not filename.startswith("<frozen")


def _place(filename: str, lineno: int) -> Place:
    return Place(filename, lineno, linecache.getline(filename, lineno).strip())


def _short(filename: str) -> str:
    for folder in _SITE_PACKAGES:
        if filename.startswith(folder + os.sep):
            return filename.removeprefix(folder + os.sep)
    try:
        relative = os.path.relpath(filename)
    except (ValueError, OSError):  # another drive, or a working folder that is gone
        return filename
    return Path(filename).name if relative.startswith("..") else relative
