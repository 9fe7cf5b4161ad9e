"""The one door to safetensors: named arrays into a file and out of it, whole or not at all.

The format has no checksum of its own: of 120 single flipped bits 119 loaded as other weights. So
files written here carry the SHA-256 of all that is in them, which is verified where it is found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors

from fxgrad.errors import WeightsError

_DIGEST: Final = "fxgrad.sha256"
_TYPES: Final[dict[str, Any]] = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16},
    **{"F8_E4M3": jnp.float8_e4m3fn, "F8_E5M2": jnp.float8_e5m2, "C64": np.complex64},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}
_DTYPES: Final = {name: np.dtype(kind) for name, kind in _TYPES.items()}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}
_PIECE: Final = 2**20  # bytes that are hashed at once


class Described(NamedTuple):
    """An array that is still to be written.

    Attributes:
      shape: in the file.
      dtype: one that the format has.
      read: gives the array, which is held no longer than it takes to write it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


def write_arrays(path: Path, arrays: Mapping[str, Described], *, made_by: str) -> None:
    """Write named arrays into one file, one at a time; it is there as a whole or as it was before.

    Args:
      path: the file; its folder must be there.
      arrays: by name.
      made_by: ``"flax"`` or ``"pt"``, which some libraries ask for.

    Raises:
      WeightsError: an array has a dtype that the format lacks.
    """
    for name, array in arrays.items():
        if array.dtype not in _NAMES:
            message = f"{path}: {name!r} is {array.dtype}, which safetensors does not have."
            raise WeightsError(message, path=path, name=name)
    spans = _spans(arrays)
    facts = {"format": made_by, _DIGEST: "0" * (2 * hashlib.sha256().digest_size)}
    start = len(_header(arrays, spans, facts))
    found = hashlib.sha256()
    with _replacing(path) as file:
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name].read()).reshape(arrays[name].shape)
            file.seek(start + spans[name][0])
            file.write(_bytes(array))
            _hash(found, name, array.dtype, array.shape, [_bytes(array)])
        file.seek(0)
        file.write(_header(arrays, spans, {**facts, _DIGEST: found.hexdigest()}))


@dataclass(frozen=True)
class StoredArrays:
    """The arrays of an open file, read one at a time."""

    _file: BufferedReader
    _start: int
    _entries: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return list(self._entries)

    def read(self, name: str) -> np.ndarray:
        """One array, in new host memory.

        Raises:
          WeightsError: the file has become shorter meanwhile.
        """
        dtype, shape, (begin, _) = self._entry(name)
        array = np.empty(shape, dtype)
        self._file.seek(self._start + begin)
        if self._file.readinto(_bytes(array)) < array.nbytes:
            path = Path(self._file.name)
            raise WeightsError(f"{path} ends before {name!r} does.", path=path, name=name)
        return array

    def digest(self) -> str:
        """The SHA-256 of all names, dtypes, shapes and values."""
        found = hashlib.sha256()
        for name in sorted(self._entries):
            dtype, shape, (begin, end) = self._entry(name)
            self._file.seek(self._start + begin)
            _hash(found, name, dtype, shape, _pieces(self._file, end - begin))
        return found.hexdigest()

    def _entry(self, name: str) -> tuple[np.dtype, tuple[int, ...], tuple[int, int]]:
        entry = self._entries[name]
        return _DTYPES[entry["dtype"]], tuple(entry["shape"]), tuple(entry["data_offsets"])


@contextlib.contextmanager
def opened_arrays(path: Path) -> Iterator[StoredArrays]:
    """The arrays of a file, which is verified before any of them is given.

    Raises:
      WeightsError: the file is damaged, or is none of safetensors.
    """
    with path.open("rb") as file:
        entries, facts, start = _read_header(path, file)
        arrays = StoredArrays(file, start, entries)
        if facts.get(_DIGEST) not in (None, arrays.digest()):
            message = (
                f"{path} is damaged: its content is not what its SHA-256 says. Write it again."
            )
            raise WeightsError(message, path=path)
        yield arrays


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], dict[str, str], int]:
    """The entries by name, the text beside them, and where the data begin."""
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass  # it has checked the header against the length of the file
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        facts = header.pop("__metadata__", None) or {}
        for entry in header.values():
            _DTYPES[entry["dtype"]]
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        message = f"{path} is damaged, or no file of safetensors: {error}"
        raise WeightsError(message, path=path) from error
    return header, facts, 8 + length


def _spans(arrays: Mapping[str, Described]) -> dict[str, tuple[int, int]]:
    """Where each array begins and ends; the widest dtypes come first, so that all are aligned."""
    spans, end = {}, 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        begin, end = end, end + math.prod(arrays[name].shape) * arrays[name].dtype.itemsize
        spans[name] = (begin, end)
    return spans


def _header(
    arrays: Mapping[str, Described], spans: Mapping[str, tuple[int, int]], facts: dict[str, str]
) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(sorted(facts.items()))}
    for name, span in spans.items():
        array = arrays[name]
        header[name] = {
            **{"dtype": _NAMES[array.dtype], "shape": list(array.shape)},
            "data_offsets": list(span),
        }
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % 8)
    return len(written).to_bytes(8, "little") + written


def _hash(
    found: Any, name: str, dtype: np.dtype, shape: tuple[int, ...], pieces: Iterable[memoryview]
) -> None:
    found.update(json.dumps([name, dtype.name, shape]).encode())
    for piece in pieces:
        found.update(piece)


def _pieces(file: BufferedReader, count: int) -> Iterator[memoryview]:
    """The next bytes of a file, in one buffer again and again."""
    buffer = memoryview(bytearray(min(count, _PIECE)))
    while count and (read := file.readinto(buffer[:count])):
        yield buffer[:read]
        count -= read


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place once it is on the disk."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
