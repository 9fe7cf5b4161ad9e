"""Where a measurement was made: the device and the versions that its numbers belong to."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from dataclasses import dataclass

import jax


@dataclass(frozen=True)
class Environment:
    """Device and versions.

    Attributes:
      device: the kind of device, such as ``"cpu"`` or ``"NVIDIA H100 80GB HBM3"``.
      device_count: how many of them JAX sees.
      host: operating system, machine type and number of cores of the host.
      versions: of Python, fxgrad, jax, jaxlib, flax, optax and numpy.
    """

    device: str
    device_count: int
    host: str
    versions: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.device_count} × {self.device} on {self.host}; {versions}"

    def to_dict(self) -> dict[str, object]:
        """The environment as plain values."""
        return dataclasses.asdict(self)


def this_environment() -> Environment:
    """The environment of this process."""
    packages = ("fxgrad", "jax", "jaxlib", "flax", "optax", "numpy")
    return Environment(
        device=jax.devices()[0].device_kind,
        device_count=jax.device_count(),
        host=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        versions={"Python": platform.python_version()}
        | {name: version_of(name) for name in packages},
    )


def version_of(package: str) -> str:
    """The installed version of a package, or words for a package run from its source folder."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
