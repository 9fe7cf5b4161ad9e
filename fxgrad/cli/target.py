"""Targets: ``package.module:function`` or ``path/to/file.py:function`` from the command line."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from fxgrad.errors import TargetError


def load_target(target: str) -> Callable[..., Any]:
    """The callable that `target` names. The current folder is searched first.

    Raises:
      TargetError: the target is not of this form, the module does not exist or fails to import, or
        it has no such callable.
    """
    module_name, colon, attributes = target.rpartition(":")
    if not colon or not module_name or not attributes:
        raise TargetError(f"{target!r} is not a target. Write package.module:function.")
    module = _load_module(module_name, target)
    found: Any = module
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise TargetError(f"{target}: {_name(found)} has no {attribute!r}.{_similar(found)}")
        found = getattr(found, attribute)
    if not callable(found):
        raise TargetError(f"{target} is a {type(found).__name__}, not a function.")
    return found


def _load_module(name: str, target: str) -> ModuleType:
    path = Path(name)
    folder = path.parent if name.endswith(".py") else Path.cwd()
    if str(folder.resolve()) not in sys.path:
        sys.path.insert(0, str(folder.resolve()))
    try:
        return _load_file(path) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetError(f"{target}: there is no module {error.name!r}.") from error
        raise TargetError(f"{target}: importing {name} failed: {error}.") from error
    except FileNotFoundError as error:
        raise TargetError(f"{target}: there is no file {name}.") from error
    except SystemExit as error:
        raise TargetError(
            f"{target}: {name} is a script that ran and exited when it was imported. Put what it "
            "runs under if __name__ == '__main__'."
        ) from error
    except Exception as error:
        raise TargetError(
            f"{target}: importing {name} failed: {type(error).__name__}: {error}"
        ) from error


@functools.cache
def _load_file(path: Path) -> ModuleType:
    """The module of a file, loaded once, so that the classes of two targets are the same."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    argv, sys.argv = sys.argv, [str(path)]  # a script reads its own options, not these
    try:
        spec.loader.exec_module(module)
    finally:
        sys.argv = argv
    return module


def _name(found: Any) -> str:
    return getattr(found, "__name__", repr(found))


def _similar(found: Any) -> str:
    own = found.__name__ if isinstance(found, ModuleType) else found.__module__
    names = [
        name
        for name, value in vars(found).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == own
    ]
    return f" It has: {', '.join(sorted(names)[:12])}." if names else ""
