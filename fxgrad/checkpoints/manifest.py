"""The manifest of a step: its leaves, its files with their checksums, and a checksum of itself.

A step exists only if its manifest verifies. When it is written and taken away belongs to `folder`.
What was saved beside the state is a file of its own, since it may be large and is seldom read.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from fxgrad.checkpoints.leaves import Leaf
from fxgrad.errors import CheckpointError

MANIFEST: Final = "manifest.json"
ARRAYS: Final = "arrays"
RECORD: Final = "record.json"
FORMAT: Final = 1
LARGEST_BYTES: Final = 64 * 2**20  # of a manifest that is read; one of 10,000 leaves has 2 MB


@dataclass(frozen=True)
class StoredFile:
    """A file of a step.

    Attributes:
      name: its path below the folder of the step, with forward slashes.
      bytes: its size.
      sha256: its SHA-256, hexadecimal.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a step holds.

    Attributes:
      step: its number.
      serial: how many saves came before in this folder; the newest step has the largest.
      leaves: the leaves of the state, in order.
      files: all other files of the step.
      metrics: the metrics saved with it.
      versions: of the libraries that wrote it.
    """

    step: int
    serial: int
    leaves: tuple[Leaf, ...]
    files: tuple[StoredFile, ...]
    metrics: Mapping[str, float]
    versions: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """The file: JSON of the manifest and of the SHA-256 over the bytes that it has there."""
        body = json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=True).encode()
        return _framed(body)

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """The manifest of a file.

        Raises:
          ValueError: a byte is not as it was written, or the content is no manifest.
        """
        start, end = len(_framed(b"")) - 1, len(content) - 1
        body = content[start - 1 : end - 1]
        if content != _framed(body):
            raise ValueError("its checksum is wrong")
        try:
            return _parsed(json.loads(body))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it is no manifest: {error!r}") from error


def read_manifest(step_folder: Path) -> Manifest:
    """The manifest of a step, checked against its own checksum.

    Raises:
      FileNotFoundError: there is none.
      CheckpointError: it is damaged, or no manifest, or of another step.
    """
    path = step_folder / MANIFEST
    try:
        manifest = Manifest.from_bytes(_content(path))
        if f"{manifest.step:08d}" != step_folder.name:
            raise ValueError(f"it is of step {manifest.step}")
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}.", path=path) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", path=path) from error
    return manifest


def read_record(step_folder: Path, manifest: Manifest) -> Mapping[str, Any]:
    """What was saved beside the state.

    Raises:
      CheckpointError: its bytes are not those that were written, or it is not there.
    """
    path = step_folder / RECORD
    try:
        content = path.read_bytes()
        listed = {file.name: file for file in manifest.files}[RECORD]
        if hashlib.sha256(content).hexdigest() != listed.sha256:
            raise ValueError("its bytes are not those that were written")
        return _mapping(json.loads(content))
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged(path, manifest.step, str(error)) from error


def describe_file(path: Path, name: str) -> StoredFile:
    """Size and checksum of a file as it is on disk, written through to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return StoredFile(name, os.fstat(file.fileno()).st_size, digest)


def check_sizes(step_folder: Path, manifest: Manifest) -> None:
    """See whether all files are there with their sizes.

    Raises:
      CheckpointError: one is not.
    """
    for file in manifest.files:
        _check_file(step_folder / file.name, file, manifest.step)


def check_contents(step_folder: Path, manifest: Manifest) -> None:
    """See whether all files have the bytes that were written, and no others lie among them.

    Raises:
      CheckpointError: one has not.
    """
    check_sizes(step_folder, manifest)
    paths = [step_folder / file.name for file in manifest.files]
    with ThreadPoolExecutor() as pool:  # a hash lets other threads run
        list(pool.map(_check_digest, paths, manifest.files, itertools.repeat(manifest.step)))
    known = {*paths}
    for path in sorted((step_folder / ARRAYS).rglob("*")):
        if path not in known and not path.is_dir():
            raise _damaged(path, manifest.step, "the manifest does not list it")


def _check_file(path: Path, file: StoredFile, step: int) -> None:
    try:
        found = path.lstat()
    except OSError as error:
        raise _damaged(path, step, str(error.strerror)) from error
    if not stat.S_ISREG(found.st_mode):
        raise _damaged(path, step, "it is no regular file")
    if found.st_size != file.bytes:
        raise _damaged(path, step, f"it has {found.st_size} bytes of {file.bytes}")


def _check_digest(path: Path, file: StoredFile, step: int) -> None:
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise _damaged(path, step, str(error.strerror)) from error
    if digest != file.sha256:
        raise _damaged(path, step, "its bytes are not those that were written")


def _damaged(path: Path, step: int, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} of step {step} is damaged: {reason}.", path=path, step=step)


def _content(path: Path) -> bytes:
    """The bytes of a manifest that is a regular file of no more than `LARGEST_BYTES`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES} bytes")
    return content


def _framed(body: bytes) -> bytes:
    digest = hashlib.sha256(body).hexdigest().encode()
    return b'{"sha256": "' + digest + b'", "manifest": ' + body + b"}\n"


def _parsed(content: Any) -> Manifest:
    if content["format"] != FORMAT:
        raise ValueError(
            f"it has format {content['format']}, and this fxgrad reads {FORMAT}: read it with the "
            f"fxgrad that wrote it, {content.get('versions')}"
        )
    return Manifest(
        step=_natural(content["step"]),
        serial=_natural(content["serial"]),
        leaves=tuple(_leaf(**leaf) for leaf in content["leaves"]),
        files=tuple(_stored_file(**file) for file in content["files"]),
        metrics={name: float(value) for name, value in _mapping(content["metrics"]).items()},
        versions=_mapping(content["versions"]),
    )


def _leaf(shape: Any, stored_shape: Any, **facts: Any) -> Leaf:
    return Leaf(
        shape=tuple(map(_natural, shape)), stored_shape=tuple(map(_natural, stored_shape)), **facts
    )


def _stored_file(name: str, bytes: int, sha256: str) -> StoredFile:
    parts = PurePosixPath(name).parts
    is_inside = name == RECORD or (len(parts) > 1 and parts[0] == ARRAYS and ".." not in parts)
    if not is_inside or "\0" in name or "\\" in name:
        raise ValueError(f"it lists {name!r}, which is neither {RECORD} nor below {ARRAYS}/")
    return StoredFile(name, _natural(bytes), str(sha256))


def _natural(number: Any) -> int:
    if type(number) is not int or not 0 <= number < 2**63:
        raise ValueError(f"{number!r} is no count")
    return number


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value
