"""Checkups: what this machine has for fxgrad, what runs on it, and what is off and why, as data."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax

from fxgrad.cli.mode_checks import ModeCheck, check_every_mode
from fxgrad.errors import ModeError, first_line_of
from fxgrad.modes import ENVIRONMENT_VARIABLE, check_mode

_PREFIXES: Final = ("FXGRAD_", "JAX_", "XLA_", "CUDA_VISIBLE_DEVICES", "TPU_")
_TOOLS: Final = "dev"  # the extra of those who work on fxgrad itself
_REQUIREMENT: Final = re.compile(r"([\w.-]+)[^;]*(?:;.*extra == ['\"]([\w-]+)['\"])?")

# For a fxgrad that is run from a folder of sources, where nothing says what it needs.
_OF_SOURCES: Final = [
    *("jax", "jaxlib", "flax", "optax", "numpy", "rich"),
    *("scikit-learn; extra == 'data'", "jinja2; extra == 'report'"),
    "matplotlib; extra == 'report'",
]

# Which settings change what runs or what it gives, and how. Others are not looked at.
_SETTINGS: Final = {
    "jax_enable_x64": "if on, numbers may have 64 bits",
    "jax_default_matmul_precision": "how products are rounded; None is the device's own choice",
    "jax_numpy_dtype_promotion": "which dtypes may be mixed",
    "jax_default_device": "where arrays are made",
    "jax_debug_nans": "if on, a NaN raises an error, and replay runs as eager",
    "jax_transfer_guard": "if disallow, numbers of Python's and values for it may not be moved",
    "jax_disable_jit": "if on, nothing is compiled: static and replay run as eager",
}


@dataclass(frozen=True)
class Devices:
    """Devices of one kind; `memory_bytes` is that of one of them, None if it is not told."""

    kind: str
    count: int
    memory_bytes: int | None


@dataclass(frozen=True)
class Package:
    """A package; `version` is None if it is not installed, and `extra` brings it."""

    name: str
    version: str | None
    extra: str | None

    @property
    def how_to_install(self) -> str:
        """The command that installs it."""
        return f"pip install 'fxgrad[{self.extra}]'" if self.extra else "pip install fxgrad"


@dataclass(frozen=True)
class Setting:
    """A setting of JAX: its value, and what it changes."""

    name: str
    value: str
    effect: str


@dataclass(frozen=True)
class CompileCache:
    """JAX's cache of compiled programs on disk.

    Attributes:
      folder: where it is; None if it is off.
      files: how many files are there; None if that cannot be told, as on a remote disk.
      size_bytes: their size.
    """

    folder: str | None
    files: int | None
    size_bytes: int | None


@dataclass(frozen=True)
class Checkup:
    """What this machine has, and what is off.

    Attributes:
      host: operating system, machine type, number of cores, and Python.
      devices: those that JAX sees, by kind.
      packages: fxgrad, what it needs, and what its extras bring.
      modes: whether each mode works.
      cache: the cache of compiled programs.
      settings: of JAX, as they are.
      environment: the variables that JAX, XLA and fxgrad read.
      faults: what is off or wrong, and why.
    """

    host: str
    devices: tuple[Devices, ...]
    packages: tuple[Package, ...]
    modes: tuple[ModeCheck, ...]
    cache: CompileCache
    settings: tuple[Setting, ...]
    environment: Mapping[str, str]
    faults: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The checkup as plain values."""
        several = ("devices", "packages", "modes", "settings")
        return {
            **vars(self),
            **{name: [dict(vars(one)) for one in getattr(self, name)] for name in several},
            "cache": dict(vars(self.cache)),
            "environment": dict(self.environment),
            "faults": list(self.faults),
        }


def check_up() -> Checkup:
    """Look at this machine, and run a tiny function in every mode."""
    environment = {n: v for n, v in sorted(os.environ.items()) if n.startswith(_PREFIXES)}
    devices, no_device = _devices()
    modes = check_every_mode() if devices else ()
    packages = _packages()
    return Checkup(
        host=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        devices=devices,
        packages=packages,
        modes=modes,
        cache=_cache(),
        settings=tuple(Setting(name, _value(name), what) for name, what in _SETTINGS.items()),
        environment=environment,
        faults=(
            *no_device,
            *_wrong_mode(environment),
            *(f"{p.name} is not installed: {p.how_to_install}" for p in packages if _lacks(p)),
            *(f"{check.mode} is {check.state}: {check.why}" for check in modes if check.why),
        ),
    )


def _devices() -> tuple[tuple[Devices, ...], tuple[str, ...]]:
    """The devices by kind; or none, and why."""
    try:
        found = sorted(jax.devices(), key=lambda device: device.device_kind)
    except Exception as error:  # what a backend raises that cannot start is up to the backend
        asked = f"JAX_PLATFORMS={jax.config.jax_platforms}: " if jax.config.jax_platforms else ""
        return (), (f"JAX finds no device, so nothing runs: {asked}{first_line_of(error)}",)
    by_kind = [list(group) for _, group in itertools.groupby(found, lambda d: d.device_kind)]
    return tuple(Devices(d[0].device_kind, len(d), _memory(d[0])) for d in by_kind), ()


def _memory(device: Any) -> int | None:
    try:
        return (device.memory_stats() or {}).get("bytes_limit")
    except (RuntimeError, NotImplementedError):  # some backends do not tell
        return None


def _packages() -> tuple[Package, ...]:
    return tuple(Package(name, _version(name), extra) for name, extra in _required().items())


def _required() -> dict[str, str | None]:
    """Each package that fxgrad and its extras name, with the extra; as its metadata says."""
    try:
        lines = importlib.metadata.requires("fxgrad") or []
    except importlib.metadata.PackageNotFoundError:
        lines = _OF_SOURCES
    found: dict[str, str | None] = {"fxgrad": None}
    for name, extra in (match.groups() for line in lines if (match := _REQUIREMENT.match(line))):
        if extra != _TOOLS:
            found.setdefault(name, extra)
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lacks(package: Package) -> bool:
    """Whether a package is missing that fxgrad cannot do without."""
    return package.version is None and package.extra is None and package.name != "fxgrad"


def _cache() -> CompileCache:
    folder = jax.config.jax_compilation_cache_dir
    if not folder or not jax.config.jax_enable_compilation_cache:
        return CompileCache(None, None, None)
    if "://" in folder:
        return CompileCache(folder, None, None)
    sizes = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
    return CompileCache(folder, len(sizes), sum(sizes))


def _value(name: str) -> str:
    value = getattr(jax.config, name)
    return str(getattr(value, "value", value))


def _wrong_mode(environment: Mapping[str, str]) -> tuple[str, ...]:
    name = environment.get(ENVIRONMENT_VARIABLE)
    try:
        if name:
            check_mode(name, source=f"{ENVIRONMENT_VARIABLE}=")
    except ModeError as error:
        return (f"every call of a Function outside fx.mode fails: {error}",)
    return ()
