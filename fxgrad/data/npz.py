"""NPZ, NumPy's archive of named arrays: read with every checksum compared, and nothing unpickled.

Which names make a data set of images, and what their numbers mean, belongs to `images`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np

from fxgrad.errors import DataError

_BAD_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,  # encrypted
    ValueError,
)


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, in its order; any dtype but object, any shape.

    Args:
      path: a file from `numpy.savez` or `numpy.savez_compressed`.

    Raises:
      DataError: the file is missing, damaged, or holds what would have to be unpickled. Its
        ``field`` is ``npz``, or the name of the array.
    """
    path = Path(path)
    names, packed = read_members(path, None)
    if not names:
        raise _error(path, "npz", "holds no arrays. Write it again with np.savez")
    return {name: read_npy(path, name, packed[name]) for name in packed}


def read_members(path: Path, wanted: Collection[str] | None) -> tuple[list[str], dict[str, bytes]]:
    """The names of an .npz file, and the bytes of those arrays that are wanted; None for all.

    Raises:
      DataError: the file is missing or damaged.
    """
    # zipfile rather than np.load: it compares each checksum before NumPy parses the content.
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            chosen = [name for name in names if wanted is None or name in wanted]
            return names, {name: _unpack(archive, name) for name in chosen}
    except _BAD_ZIP as error:
        message = f"could not be read ({error}). Write it again with np.savez"
        raise _error(path, "npz", message) from error


def read_npy(path: Path, name: str, packed: bytes) -> np.ndarray:
    """The array in the bytes of a .npy file.

    Raises:
      DataError: it is no array, or one of Python objects.
    """
    try:
        return np.lib.format.read_array(io.BytesIO(packed), allow_pickle=False)
    # NumPy parses the header with tokenize and ast: damaged ones raised ValueError, TypeError,
    # SyntaxError, OverflowError and TokenError. The cause is kept, and none gets out.
    except Exception as error:
        message = f"is not a plain array, and nothing is unpickled here ({error})"
        remedy = "Write it again with np.savez, as an array of numbers"
        raise _error(path, name, f"{message}. {remedy}") from error


def _unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(f"{name}.npy")
    # The other kinds raise errors of their own modules, which Python may be built without.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{info.filename} has compression {info.compress_type}")
    return archive.read(info)


def _error(path: Path, field: str, message: str) -> DataError:
    return DataError(f"{path}: {field} {message}.", path=path, field=field)
