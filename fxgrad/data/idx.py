"""IDX, the file format of MNIST: one array of numbers in a file, plain or gzip.

Which files make a data set, and what their numbers mean, belongs to `images`.
"""

from __future__ import annotations

import gzip
import math
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np

from fxgrad.errors import DataError

_DTYPES: Final = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_GZIP_MAGIC: Final = b"\x1f\x8b"
# "The limit comes from the fact that one length/distance pair can represent at most 258 output
# bytes", in two bits: https://zlib.net/zlib_tech.html, Maximum Compression Factor.
_MOST_GZIP_EXPANSION: Final = 1032
# NumPy's own limit (NPY_MAXDIMS); the format could say 255.
_MOST_DIMENSIONS: Final = 64
_CHUNK_BYTES: Final = 1 << 20


def read_idx(path: Path) -> np.ndarray:
    """Read an array from an IDX file, plain or gzip; the content decides, not the name.

    The format: two zero bytes, a type code, the number of dimensions, each dimension as four
    bytes, and the numbers, all big endian (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of
    handwritten digits", section "File formats").

    No more memory is taken than the file's content fills, whatever its header says, and no more
    is unpacked than its header says.

    Args:
      path: the file.

    Returns:
      The array in the shape of the header, writable, in the machine's byte order: uint8, int8,
      int16, int32, float32 or float64.

    Raises:
      DataError: the file is missing, cut short, too long, damaged, or not IDX. Its ``field`` is
        ``file``, ``gzip``, ``magic``, ``type code``, ``number of dimensions``, ``dimension N``
        or ``data``.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            room = path.stat().st_size * (_MOST_GZIP_EXPANSION if packed else 1)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
            return _read_array(path, stream, room)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _error(path, "gzip", f"is damaged ({error}). Fetch the file again") from error
    except OSError as error:
        reason = error.strerror or error
        raise _error(path, "file", f"could not be read: {reason}. Check the path") from error


def _read_array(path: Path, stream: BinaryIO, room: int) -> np.ndarray:
    dtype, rank = _read_magic(path, stream)
    shape = _read_shape(path, stream, dtype, rank)
    size = math.prod(shape) * dtype.itemsize
    if size > room:
        raise _wrong_size(path, shape, size, f"at most {room}")
    # One byte more than promised: it finds trailing bytes, and takes gzip to its checksum.
    content = _read_up_to(stream, size + 1)
    if len(content) != size:
        raise _wrong_size(path, shape, size, len(content) if len(content) < size else "more")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _read_magic(path: Path, stream: BinaryIO) -> tuple[np.dtype, int]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        found = magic.hex(" ") or "nothing"
        message = (
            f"is {found}; an IDX file starts with 00 00, a type code and a number of dimensions"
        )
        raise _error(path, "magic", f"{message}. Give an IDX file, plain or gzip")
    code, rank = magic[2:]
    if code not in _DTYPES:
        known = ", ".join(f"{known:#04x} ({dtype.name})" for known, dtype in _DTYPES.items())
        raise _error(path, "type code", f"is {code:#04x}. Write the file with one of {known}")
    if rank > _MOST_DIMENSIONS:
        message = f"is {rank}; NumPy takes {_MOST_DIMENSIONS}. Write an array of fewer dimensions"
        raise _error(path, "number of dimensions", message)
    return _DTYPES[code], rank


def _read_shape(path: Path, stream: BinaryIO, dtype: np.dtype, rank: int) -> tuple[int, ...]:
    shape: list[int] = []
    size = dtype.itemsize
    for axis in range(rank):
        content = stream.read(4)
        if len(content) < 4:
            message = f"takes 4 bytes; the file ends after {len(content)} of them"
            raise _error(path, f"dimension {axis}", f"{message}. Fetch the file again")
        shape.append(int.from_bytes(content, "big"))
        size *= max(shape[-1], 1)  # NumPy refuses (0, huge, huge) too.
        if size > sys.maxsize:
            message = f"is {shape[-1]}, which makes the array larger than any memory"
            raise _error(path, f"dimension {axis}", f"{message}. Fetch the file again")
    return tuple(shape)


def _read_up_to(stream: BinaryIO, size: int) -> bytearray:
    """The next `size` bytes, or all there are; in chunks, for ``read(size)`` allocates `size`."""
    content = bytearray()
    while chunk := stream.read(min(size - len(content), _CHUNK_BYTES)):
        content += chunk
    return content


def _wrong_size(path: Path, shape: tuple[int, ...], size: int, found: object) -> DataError:
    message = f"takes {size} bytes for shape {shape}; the file holds {found}"
    return _error(path, "data", f"{message}. Fetch the file again")


def _error(path: Path, field: str, message: str) -> DataError:
    return DataError(f"{path}: {field} {message}.", path=path, field=field)
