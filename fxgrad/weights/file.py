"""The one door to safetensors: named arrays into a file and out of it, whole or not at all.

The format has no checksum of its own: of 120 single flipped bits 119 loaded as other weights. So
files written here carry the SHA-256 of all that is in them, which is verified where it is found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from fxgrad.errors import WeightsError

_DIGEST: Final = "fxgrad.sha256"
_DTYPES: Final[dict[str, Any]] = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16},
    **{"F8_E4M3": jnp.float8_e4m3fn, "F8_E5M2": jnp.float8_e5m2, "C64": np.complex64},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}
_KNOWN: Final = frozenset(np.dtype(dtype) for dtype in _DTYPES.values())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, made_by: str) -> None:
    """Write named arrays into one file, which is there as a whole or as it was before.

    Args:
      path: the file; its folder must be there.
      arrays: by name, in C order, of dtypes that the format has.
      made_by: ``"flax"`` or ``"pt"``, which some libraries ask for.

    Raises:
      WeightsError: an array has another dtype.
    """
    for name, array in arrays.items():
        if array.dtype not in _KNOWN:
            message = f"{path}: {name!r} is {array.dtype}, which safetensors does not have."
            raise WeightsError(message, path=path, name=name)
    facts = {"format": made_by, _DIGEST: _digest(arrays)}
    written = _in_order(safetensors.numpy.save(dict(arrays), metadata=facts))
    with _replacing(path) as file:
        file.write(written)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, in host memory.

    Raises:
      WeightsError: the file is damaged, or is none of safetensors.
    """
    content = path.read_bytes()
    try:
        entries = safetensors.deserialize(content)
        arrays = {name: _array(entry) for name, entry in entries}
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        message = f"{path} is damaged, or no file of safetensors: {error}"
        raise WeightsError(message, path=path) from error
    expected = _metadata(content).get(_DIGEST)
    if expected is not None and expected != _digest(arrays):
        message = f"{path} is damaged: its content is not what its SHA-256 says. Write it again."
        raise WeightsError(message, path=path)
    return arrays


def _array(entry: Any) -> np.ndarray:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    return np.frombuffer(entry["data"], dtype=dtype).reshape(entry["shape"])


def _metadata(content: bytes) -> dict[str, str]:
    """The text that a file carries beside its arrays; its header has been read without error."""
    return _parted(content)[0].get("__metadata__") or {}


def _parted(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the data after it."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _in_order(content: bytes) -> bytes:
    """The file with its text sorted, which comes in random order: equal weights, equal files."""
    header, data = _parted(content)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % 8)
    return len(written).to_bytes(8, "little") + written + data


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        found.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


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
